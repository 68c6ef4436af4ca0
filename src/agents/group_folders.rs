//! The folders of groups in etc/shared, on a worker: a group is one whether or not its folder holds a file, and a folder
//! without a file never travels.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, fcntl::OFlag};

use super::embedded::is_group_name;
use crate::{
    logging::{info, warn},
    system::{disk::Disk, user::Owner},
};

/// The mode of such a folder: that of one that an update makes (`spec/protocol.md` 10.7).
const MODE: u32 = 0o770;

/// Whether `name` is a group: it may be called so, and there is a folder for it in `shared`, which is etc/shared. Who registers
/// agents and who keeps their rows both ask this.
pub fn is_group(shared: &Path, name: &str) -> bool {
    is_group_name(name) && shared.join(name).is_dir()
}

/// etc/shared, and who is to own the folders in it.
pub struct GroupFolders {
    path: PathBuf,
    owner: Option<Owner>,
    disk: Disk,
}

impl GroupFolders {
    /// The folders below `path`, for the user `owner` if this process can give files away.
    pub fn new(path: PathBuf, owner: Option<Owner>) -> Self {
        Self { path, owner, disk: Disk::new() }
    }

    /// Makes the folders of these groups that are missing, and says so; a name that is none is left out. One that cannot
    /// be made is told in the log: agents of that group have no shared configuration here until it can.
    pub fn make<'n>(&self, names: impl IntoIterator<Item = &'n str>) {
        for name in names.into_iter().filter(|name| is_group_name(name)) {
            let path = self.path.join(name);
            if path.symlink_metadata().is_ok() {
                continue;
            }
            let shown = path.display();
            match self.make_one(name) {
                Ok(()) => {
                    info!("[Cluster] [Agent database]", "Made {shown}, the directory of a group of the master.")
                }
                Err(error) => warn!(
                    "[Cluster] [Agent database]",
                    "The folder of the master's group '{name}' cannot be made: {shown}: {error}. Let the user of this daemon \
                     write to {}.",
                    self.path.display()
                ),
            }
        }
    }

    fn make_one(&self, name: &str) -> Result<(), Errno> {
        let shared = self.disk.directory(&self.path)?;
        match self.disk.make_directory(&shared, name) {
            // An update was faster.
            Err(Errno::EEXIST) => return Ok(()),
            made => made?,
        }
        let made = self.disk.look(&shared, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)?;
        self.disk.set_mode(&made, MODE)?;
        self.owner.map_or(Ok(()), |owner| self.disk.set_owner(&made, (owner.uid, owner.gid)))
    }

    /// Removes the empty folders of groups that are not among `names`, which are all that the master has.
    ///
    /// # Errors
    /// When etc/shared cannot be listed.
    pub fn remove_others(&self, names: &BTreeSet<String>) -> io::Result<()> {
        let shared = self.disk.directory(&self.path)?;
        for entry in self.path.read_dir()? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let is_others = is_group_name(&name) && !names.contains(&name) && entry.file_type()?.is_dir();
            // One that holds anything stays, and what is in it is not for this to decide.
            if is_others && self.disk.remove_directory(&shared, &name).is_ok() {
                let shown = entry.path().display().to_string();
                info!("[Cluster] [Agent database]", "Removed {shown}: the master has no such group, and it was empty.");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    #[test]
    fn what_is_missing_is_made_and_what_holds_nothing_and_is_nobodys_goes() {
        let folder = tempfile::tempdir().unwrap();
        let folders = GroupFolders::new(folder.path().to_owned(), None);
        fs::write(folder.path().join("ar.conf"), "").unwrap();
        fs::create_dir(folder.path().join("full")).unwrap();
        fs::write(folder.path().join("full/agent.conf"), "").unwrap();
        symlink("full", folder.path().join("link")).unwrap();
        folders.make(["web", "db", "ar.conf", "link", "..", "a/b", "", "not a group"]);
        let names = || {
            let mut names: Vec<_> = folder
                .path()
                .read_dir()
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names(), "ar.conf db full link web");
        assert_eq!(folder.path().join("web").metadata().unwrap().mode() & 0o7777, 0o770);
        folders.remove_others(&["web".to_owned()].into()).unwrap();
        assert_eq!(names(), "ar.conf full link web");
    }
}
