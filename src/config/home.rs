//! Where things stand on this node.

use std::{
    env, fmt,
    path::{self, Path, PathBuf},
};

/// The directory of the installation, always absolute, and the paths in it that the daemon and its tools use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The stock daemon's place.
    pub const DEFAULT: &'static str = "/var/ossec";

    /// A home at `directory`; a relative path is taken from the working directory, since the daemon changes that later.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref();
        Self(path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf()))
    }

    /// The home to use: `--home` > `WAZUH_HOME` > the parent of the binary's directory if it holds `etc/ossec.conf` >
    /// `/var/ossec`. An empty option or variable counts as not given.
    pub fn find(option: Option<&Path>) -> Self {
        let variable = env::var_os("WAZUH_HOME").map(PathBuf::from);
        Self::choose(option, variable.as_deref(), env::current_exe().ok().as_deref())
    }

    fn choose(option: Option<&Path>, variable: Option<&Path>, binary: Option<&Path>) -> Self {
        let given = |path: &&Path| !path.as_os_str().is_empty();
        let installed = || {
            let directory = binary?.parent()?.parent()?;
            directory.join("etc/ossec.conf").is_file().then_some(directory)
        };
        let chosen = option.filter(given).or(variable.filter(given)).or_else(installed);
        Self::new(chosen.unwrap_or(Path::new(Self::DEFAULT)))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration that all daemons of the node share.
    pub fn ossec_conf(&self) -> PathBuf {
        self.0.join("etc/ossec.conf")
    }

    /// The optional override of the embedded settings.
    pub fn cluster_json(&self) -> PathBuf {
        self.0.join("etc/cluster.json")
    }

    /// Working files of the daemon, emptied at start.
    pub fn cluster_dir(&self) -> PathBuf {
        self.0.join("queue/cluster")
    }

    /// Working files for the node `name`, which the caller has checked with [`is_node_name`](super::is_node_name).
    pub fn node_dir(&self, name: &str) -> PathBuf {
        self.cluster_dir().join(name)
    }

    /// What the cluster daemon remembers over its restarts; never emptied.
    pub fn cluster_state_dir(&self) -> PathBuf {
        self.0.join("queue/cluster-state")
    }

    /// The workers that a master knows.
    pub fn known_nodes(&self) -> PathBuf {
        self.cluster_state_dir().join("nodes.json")
    }

    /// The largest agent id that was ever given, if client.keys has it no more.
    pub fn highest_id(&self) -> PathBuf {
        self.cluster_state_dir().join("highest-id")
    }

    /// The master with which a worker has had a session.
    pub fn known_master(&self) -> PathBuf {
        self.cluster_state_dir().join("master.json")
    }

    /// Which master this node follows, or is.
    pub fn term(&self) -> PathBuf {
        self.cluster_state_dir().join("term.json")
    }

    /// Where a former master sets aside what it has alone.
    pub fn diverged(&self) -> PathBuf {
        self.0.join("queue/diverged")
    }

    /// The socket of local clients.
    pub fn control_socket(&self) -> PathBuf {
        self.cluster_dir().join("c-internal.sock")
    }

    /// The file of the embedded agent database.
    pub fn agent_database(&self) -> PathBuf {
        self.0.join("queue/db/global.db")
    }

    /// The socket of the agent database.
    pub fn agent_database_socket(&self) -> PathBuf {
        self.0.join("queue/db/wdb")
    }

    /// The HTTP socket of the agent database.
    pub fn agent_database_http_socket(&self) -> PathBuf {
        self.0.join("queue/sockets/wdb-http.sock")
    }

    /// The socket of the registrar.
    pub fn registration_socket(&self) -> PathBuf {
        self.0.join("queue/sockets/auth")
    }

    /// The socket of the program that talks with the agents.
    pub fn remoted_socket(&self) -> PathBuf {
        self.0.join("queue/sockets/remote")
    }

    /// The socket of the program that keeps the tasks of upgrades.
    pub fn task_manager_socket(&self) -> PathBuf {
        self.0.join("queue/tasks/task")
    }

    /// The socket of the program that applies the rules.
    pub fn analysis_socket(&self) -> PathBuf {
        self.0.join("queue/sockets/analysis")
    }

    /// The keys of the agents.
    pub fn client_keys(&self) -> PathBuf {
        self.0.join("etc/client.keys")
    }

    /// When the agents were registered.
    pub fn agents_timestamp(&self) -> PathBuf {
        self.0.join("queue/agents-timestamp")
    }

    /// What client.keys says and the agent database may not know yet; ours.
    pub fn agents_pending(&self) -> PathBuf {
        self.cluster_state_dir().join("agents-pending")
    }

    /// There while information on agents may be on its way to the master; ours.
    pub fn agent_info_under_way(&self) -> PathBuf {
        self.cluster_state_dir().join("agent-info-under-way")
    }

    /// What is kept of the agents' files, by name of the agent.
    pub fn diff_dir(&self) -> PathBuf {
        self.0.join("queue/diff")
    }

    /// Counters of the agents' messages, by id of the agent.
    pub fn rids_dir(&self) -> PathBuf {
        self.0.join("queue/rids")
    }

    /// The folder of the groups' folders.
    pub fn shared_dir(&self) -> PathBuf {
        self.0.join("etc/shared")
    }

    /// Whether the manager's program `name` is installed.
    pub fn has_program(&self, name: &str) -> bool {
        self.0.join("bin").join(name).is_file()
    }

    /// Where logs stand.
    pub fn log_dir(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The daemon's log.
    pub fn log_file(&self) -> PathBuf {
        self.log_dir().join("cluster.log")
    }

    /// Where pid files stand.
    pub fn run_dir(&self) -> PathBuf {
        self.0.join("var/run")
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_most_explicit_wins() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("etc")).expect("etc");
        let binary = directory.path().join("bin/wazuh-clusterd");
        let (option, variable) = (Path::new("/option"), Path::new("/variable"));

        let chosen = |option, variable| Home::choose(option, variable, Some(&binary));
        assert_eq!(chosen(Some(option), Some(variable)).path(), option);
        assert_eq!(chosen(None, Some(variable)).path(), variable);
        assert_eq!(chosen(Some(Path::new("")), Some(Path::new(""))).path(), Path::new("/var/ossec"));
        fs::write(directory.path().join("etc/ossec.conf"), "").expect("ossec.conf");
        assert_eq!(chosen(None, None).path(), directory.path());
        assert_eq!(Home::choose(None, None, None).path(), Path::new("/var/ossec"));
    }

    #[test]
    fn a_relative_home_becomes_absolute() {
        assert!(Home::new("here").path().is_absolute());
        assert_eq!(Home::new("/h").node_dir("w1"), Path::new("/h/queue/cluster/w1"));
        assert_eq!(Home::new("/h").to_string(), "/h");
    }
}
