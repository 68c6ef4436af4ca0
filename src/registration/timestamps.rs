//! `queue/agents-timestamp`: when agents were registered, for who makes the agent database anew
//! (`spec/registration.md` 1).
//!
//! A line for each agent, `ID NAME IP YYYY-MM-DD HH:MM:SS` in local time. It is written after client.keys and is not worth
//! a wait for the disk.

use std::{collections::HashSet, fs, io, path::Path, time::SystemTime};

use super::lines::Agent;
use crate::{
    agents::client_keys::number,
    system::{clock::local_date, disk::Disk, replacement::Replacement},
};

/// The mode of the file, should somebody have removed it this instant.
const MODE: u32 = 0o640;

/// Takes out the lines of agents that were removed and adds those of new ones.
///
/// # Errors
/// Those of the file system.
pub(super) fn update(disk: &Disk, path: &Path, removed: &[String], added: &[Agent], now: SystemTime) -> io::Result<()> {
    // A symbolic link stays.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !removed.is_empty() || !path.exists() {
        let before = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let gone: HashSet<&str> = removed.iter().map(|id| number(id)).collect();
        let is_there = |line: &&str| !gone.contains(number(line.split(' ').next().unwrap_or_default()));
        let stays = || before.split_inclusive('\n').filter(is_there);
        let replaced = Replacement::new(disk, path, false, stays().map(str::as_bytes)).and_then(Replacement::commit);
        match replaced {
            // Beside a manager only root may make a file there.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let (folder, name) = disk.place(path)?;
                let file = disk.open(folder, name)?;
                disk.set_length(&file, 0)?;
                disk.write(&file, stays().collect::<String>().as_bytes())?;
            }
            replaced => _ = replaced?,
        }
    }
    let date = local_date(now);
    let lines: String =
        added.iter().map(|agent| format!("{} {} {} {date}\n", agent.id(), agent.name(), agent.ip())).collect();
    let (folder, name) = disk.place(path)?;
    Ok(disk.write(&disk.append(folder, name, MODE)?, lines.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::table::Table;

    #[test]
    fn lines_come_and_go_with_the_agents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agents-timestamp");
        let table = Table::parse(b"001 web any k\n002 db 10.0.0.0/8 k\n", false);
        let now = SystemTime::now();
        let agents = [0, 1].map(|at| table.agent(at));
        update(&Disk::new(), &path, &[], &agents, now).unwrap();
        let date = local_date(now).to_string();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("001 web any {date}\n002 db 10.0.0.0/8 {date}\n"));
        update(&Disk::new(), &path, &["1".to_owned(), "9".to_owned()], &agents[1..], now).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("002 db 10.0.0.0/8 {date}\n").repeat(2));
        fs::remove_file(&path).unwrap();
        update(&Disk::new(), &path, &["1".to_owned()], &[], now).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
