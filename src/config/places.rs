//! What the daemon has to write to: the one table from which it makes, tries and reports directories.

use std::{io, path::PathBuf};

use super::{Config, Home, NodeType, Settings};
use crate::system::{
    place::{self, Kind, Obstacle},
    user::Owner,
};

/// What depends on a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The daemon does not start without it.
    Start,
    /// Without it, the daemon serves and fails in a duty.
    Duty,
    /// Files of the master belong there. They may be equal to those that are there, and then nothing is written.
    Copies,
}

/// Which nodes write to a place.
#[derive(Clone, Copy)]
enum Who {
    All,
    /// Where the agent database is embedded.
    Database,
    /// Where this daemon serves one of the sockets of the manager's programs.
    Sockets,
    /// A master that registers agents.
    Registrar,
}

/// A row of the table. A directory that is missing is made at every start.
struct Row {
    path: &'static str,
    kind: Kind,
    mode: u32,
    who: Who,
    need: Need,
    /// What is so without it.
    without: &'static str,
}

const fn directory(path: &'static str, mode: u32, who: Who, need: Need, without: &'static str) -> Row {
    Row { path, kind: Kind::Directory, mode, who, need, without }
}

const fn file(path: &'static str, mode: u32, who: Who, need: Need, without: &'static str) -> Row {
    Row { path, kind: Kind::File, mode, who, need, without }
}

/// Modes are those of the stock daemon, where it has the directory.
const TABLE: [Row; 9] = [
    directory("logs", 0o770, Who::All, Need::Duty, "there is no logs/cluster.log"),
    directory("var/run", 0o770, Who::All, Need::Start, "other programs cannot see that the daemon runs"),
    directory("queue/cluster", 0o770, Who::All, Need::Start, "nothing can be received, and no program can ask"),
    directory("queue/cluster-state", 0o750, Who::All, Need::Duty, "what is to outlast a restart is lost"),
    directory("queue/sockets", 0o770, Who::Sockets, Need::Start, "no program of the manager can ask"),
    directory("queue/db", 0o750, Who::Database, Need::Start, "there is no agent database"),
    file("queue/db/global.db", 0o640, Who::Database, Need::Start, "there is no agent database"),
    directory("etc", 0o770, Who::Registrar, Need::Duty, "no agent can be registered or removed"),
    file(
        "queue/agents-timestamp",
        0o660,
        Who::Registrar,
        Need::Copies,
        "when agents were registered is in the agent database only",
    ),
];

/// The mode of a directory of synchronised files (`spec/protocol.md` 10.7).
const SYNCHRONISED: u32 = 0o770;

/// A directory or file of this node that the daemon has to write to.
struct Place {
    path: String,
    kind: Kind,
    mode: u32,
    need: Need,
    without: &'static str,
    /// Whether every start makes it. One of synchronised files is made with the first of them.
    is_made: bool,
}

/// The places of one node.
pub struct Places {
    home: PathBuf,
    places: Vec<Place>,
}

/// A place that the daemon cannot write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What depends on it.
    pub need: Need,
    /// What is wrong, what that means and the remedy, in one line.
    pub text: String,
    /// Whether nothing is wrong but that it is not there: a daemon that root starts makes it.
    pub is_missing: bool,
}

impl Places {
    /// Those of the node with this configuration.
    pub fn of(Config { home, cluster, settings, .. }: &Config) -> Self {
        Self::new(home, cluster.node_type, settings)
    }

    /// Those of every node, whatever its configuration.
    pub fn of_any(home: &Home) -> Self {
        let rows = TABLE.iter().filter(|row| matches!(row.who, Who::All));
        Self { home: home.path().to_owned(), places: rows.map(Place::of).collect() }
    }

    /// Those of a node of this type.
    pub fn new(home: &Home, node_type: NodeType, settings: &Settings) -> Self {
        let database = !settings.agent_database.is_external(home, "wazuh-db");
        let registers = !settings.registration.is_external(home, "wazuh-authd");
        let is_written = |row: &&Row| match row.who {
            Who::All => true,
            Who::Database => database,
            Who::Sockets => database || registers,
            Who::Registrar => registers && node_type == NodeType::Master,
        };
        let mut places: Vec<_> = TABLE.iter().filter(is_written).map(Place::of).collect();
        if node_type == NodeType::Worker {
            places.extend(settings.files.items.iter().map(|item| Place {
                path: item.key.trim_end_matches('/').to_owned(),
                kind: Kind::Directory,
                mode: SYNCHRONISED,
                need: if item.key == "etc/" { Need::Duty } else { Need::Copies },
                without: "files of the master cannot be written there",
                is_made: false,
            }));
        }
        Self { home: home.path().to_owned(), places }
    }

    /// Makes the directories that are missing; with `owner`, for a process of root, all of them and for that user
    /// ([`place::make`]). Gives those that could not be made for another reason than a missing right, which
    /// [`Places::lacks`] tells.
    pub fn make(&self, owner: Option<Owner>) -> Vec<Lack> {
        let directories = self.places.iter().filter(|place| place.kind == Kind::Directory);
        let made = directories.filter(|place| place.is_made || owner.is_some());
        made.filter_map(|place| {
            let error = place::make(&self.home, &place.path, place.mode, owner).err()?;
            let is_told = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem].contains(&error.kind());
            (!is_told).then(|| {
                let problem = format!("{} cannot be made: {error}", self.home.join(&place.path).display());
                let remedy = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Make room on its disk",
                    _ => "See to its file system",
                };
                place.lack(&Obstacle { problem, remedy: remedy.to_owned(), is_missing: false })
            })
        })
        .collect()
    }

    /// What keeps the daemon from its duties now. A directory of synchronised files is left out: it may be read-only on
    /// purpose, and what a worker could not write of them it reports to the master.
    pub fn urgent_lacks(&self) -> Vec<Lack> {
        self.lacks().into_iter().filter(|lack| lack.need != Need::Copies).collect()
    }

    /// Tries all of them without writing; gives each problem once.
    pub fn lacks(&self) -> Vec<Lack> {
        let mut found: Vec<(Obstacle, Lack)> = Vec::new();
        for place in &self.places {
            let Some(obstacle) = place::obstacle(&self.home, &place.path, place.kind, place.mode) else { continue };
            // A directory on the way to several is told once, for what matters most.
            match found.iter_mut().find(|(known, _)| *known == obstacle) {
                Some((_, lack)) if lack.need == Need::Start || place.need != Need::Start => {}
                Some((_, lack)) => *lack = place.lack(&obstacle),
                None => found.push((obstacle.clone(), place.lack(&obstacle))),
            }
        }
        found.into_iter().map(|(_, lack)| lack).collect()
    }
}

impl Place {
    fn of(row: &Row) -> Self {
        let Row { path, kind, mode, need, without, .. } = *row;
        Self { path: path.to_owned(), kind, mode, need, without, is_made: true }
    }

    fn lack(&self, Obstacle { problem, remedy, is_missing }: &Obstacle) -> Lack {
        let text = format!("{problem}: {}. {remedy}", self.without);
        Lack { need: self.need, text, is_missing: *is_missing }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn places(home: &Home, node_type: NodeType) -> Places {
        Places::new(home, node_type, &Settings::default())
    }

    /// Who installs a package is to find made what the daemon needs, with the same modes.
    #[test]
    fn packages_lay_out_what_the_table_names() {
        let layout = include_str!("../../scripts/package/layout");
        let laid_out = |path: &str| {
            let path = format!("@PREFIX@/{path}/");
            let row = layout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            row.into_iter().find(|row| row.get(3) == Some(&&*path)).map(|row| (row[0].to_owned(), row[1] == "@USER@"))
        };
        let home = Home::new("/nonexistent");
        for node_type in [NodeType::Master, NodeType::Worker] {
            for place in places(&home, node_type).places {
                // A file is made in its directory.
                let path = match place.kind {
                    Kind::Directory => &*place.path,
                    Kind::File => place.path.rsplit_once('/').unwrap().0,
                };
                let (mode, is_users) = laid_out(path).unwrap_or_else(|| panic!("{path} is in no package"));
                let mode = u32::from_str_radix(&mode, 8).unwrap();
                assert!(mode & 0o070 == 0o070 || is_users, "{path} cannot be written to by the daemon");
                if place.kind == Kind::Directory {
                    assert_eq!(mode, place.mode, "{path}");
                }
            }
        }
    }

    #[test]
    fn a_start_makes_what_the_node_needs() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let exists = |path: &str| home.path().join(path).exists();
        places(&home, NodeType::Worker).make(None);
        for made in ["logs", "var/run", "queue/cluster", "queue/cluster-state", "queue/db", "queue/sockets"] {
            assert!(exists(made), "{made}");
        }
        assert!(!exists("etc") && !exists("var/multigroups"), "files of the master make these");
        fs::create_dir(home.path().join("bin")).unwrap();
        for program in ["wazuh-db", "wazuh-authd"] {
            fs::write(home.path().join("bin").join(program), "").unwrap();
        }
        fs::remove_dir_all(home.path().join("queue")).unwrap();
        places(&home, NodeType::Master).make(None);
        assert!(exists("queue/cluster") && !exists("queue/db") && !exists("queue/sockets") && !exists("etc"));
        assert_eq!(places(&home, NodeType::Master).lacks(), []);
    }

    #[test]
    fn what_several_places_lack_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        fs::write(home.path().join("queue"), "").unwrap();
        let lacks = places(&home, NodeType::Master).lacks();
        let problem =
            format!("{home}/queue is not a directory: nothing can be received, and no program can ask. Move it away");
        assert_eq!(lacks, [Lack { need: Need::Start, text: problem, is_missing: false }]);
        assert_eq!(places(&home, NodeType::Master).make(None), [], "that is told already");
    }
}
