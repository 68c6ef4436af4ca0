//! One typed configuration from all that a person can write.
//!
//! | file | what it gives |
//! |---|---|
//! | `etc/ossec.conf` | the `<cluster>` block: who this node is and whom it talks to ([`Cluster`]); the `<auth>` block: who is registered ([`Auth`]); of `<global>`, when an agent is disconnected ([`Global`]) |
//! | `etc/cluster.json` | optional; overrides the embedded settings key by key ([`Settings`]) |
//! | `etc/internal_options.conf` | how much is logged ([`debug_level`]); whether groups are guessed ([`guesses_groups`]) |
//!
//! [`Config::load`] reports all faults at once. It opens no socket and writes no log: notes and faults go back to the
//! caller.

mod address;
mod auth;
mod cluster;
mod failover;
mod fault;
mod global;
mod home;
mod internal_options;
mod key;
mod keys;
mod note;
mod ossec_conf;
mod outline;
mod places;
mod privacy;
mod published;
mod secret;
pub mod settings;
mod source;
mod xml;

pub use auth::{Auth, Force, seconds};
pub use cluster::{Cluster, NodeType, is_node_name};
pub use fault::{Fault, Faults};
pub use global::Global;
pub use home::Home;
pub use internal_options::{debug_level, guesses_groups};
pub use key::ClusterKey;
pub use keys::Keys;
pub use note::{Note, NoteLevel};
#[cfg(test)]
pub use outline::outline_of_text;
pub use outline::{Setting, outline};
pub use places::{Lack, Need, Places};
pub use secret::Secret;
pub use settings::Settings;

use std::path::Path;

use crate::logging::LogSettings;
use ossec_conf::OssecConf;

/// All that the daemon and its tools are told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the installation stands.
    pub home: Home,
    /// Who this node is.
    pub cluster: Cluster,
    /// Whom a master registers, if that is left to this daemon.
    pub auth: Auth,
    /// When an agent counts as disconnected, if that is left to this daemon.
    pub global: Global,
    /// How it works. The embedded settings if the cluster is disabled.
    pub settings: Settings,
}

/// A configuration without faults, and what is worth a log line about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Notes in the order of the files.
    pub notes: Vec<Note>,
}

impl Config {
    /// Reads and checks the configuration of `home`; `ossec_conf` names another file than that of the home (`-c`).
    ///
    /// If the cluster is disabled, the rest is not checked and the settings are the embedded ones: look at
    /// `cluster.disabled` before anything else.
    ///
    /// # Errors
    /// All faults of all files, first those of `ossec.conf` in the order of the stock checks (`spec/protocol.md`
    /// 15.1).
    pub fn load(home: Home, ossec_conf: Option<&Path>) -> Result<Loaded, Faults> {
        let file = ossec_conf.map_or_else(|| home.ossec_conf(), Path::to_path_buf);
        let settings = Settings::load(&home.cluster_json());
        let version = settings.as_ref().map_or_else(|_| Settings::default().version, |settings| settings.version);
        let OssecConf { cluster, auth, mut auth_faults, global, mut global_faults } = ossec_conf::load(&file, version);
        if let Ok((Cluster { disabled: true, .. }, _)) = &cluster {
            return cluster
                .map(|(cluster, notes)| {
                    let settings = Settings::default();
                    Loaded { config: Self { home, cluster, auth, global, settings }, notes }
                })
                .map_err(Faults);
        }
        // What the stock daemon reads is its own affair.
        let is_external = |settings: &Settings| settings.registration.is_external(&home, "wazuh-authd");
        if cluster.as_ref().is_ok_and(|(cluster, _)| cluster.node_type == NodeType::Worker)
            || settings.as_ref().is_ok_and(is_external)
        {
            auth_faults.clear();
        }
        let is_external = |settings: &Settings| settings.agent_database.is_external(&home, "wazuh-db");
        if home.has_program("wazuh-monitord") || settings.as_ref().is_ok_and(is_external) {
            global_faults.clear();
        }
        let mut block_faults = auth_faults;
        block_faults.extend(global_faults);
        let key_fault = match (&cluster, &settings) {
            (Ok((cluster, _)), Ok(settings)) => {
                keys::fault(&cluster.key, &settings.link.accept_keys, &home.cluster_json())
            }
            _ => None,
        };
        let failover_faults = match (&cluster, &settings) {
            (Ok((cluster, _)), Ok(Settings { failover: Some(failover), .. })) => {
                failover::faults(failover, &home, cluster)
            }
            _ => Vec::new(),
        };
        let is_whole = block_faults.is_empty() && key_fault.is_none() && failover_faults.is_empty();
        match (cluster, settings) {
            (Ok((cluster, mut notes)), Ok(settings)) if is_whole => {
                notes.extend(privacy::note(&file));
                notes.extend(keys::notes(&settings.link.accept_keys, &home.cluster_json()));
                let is_external = settings.registration.is_external(&home, "wazuh-authd");
                notes.extend(
                    settings.failover.iter().flat_map(|failover| failover::notes(failover, &home, is_external)),
                );
                Ok(Loaded { config: Self { home, cluster, auth, global, settings }, notes })
            }
            (cluster, settings) => {
                let mut faults = cluster.err().unwrap_or_default();
                faults.extend(block_faults);
                faults.extend(settings.err().into_iter().flat_map(|faults| faults.0));
                faults.extend(key_fault);
                faults.extend(failover_faults);
                Err(Faults(faults))
            }
        }
    }
}

/// How the log is to be written, known before anything is logged, so that faults of a configuration are logged in the
/// form that it asks for. As long as `etc/cluster.json` has faults, which [`Config::load`] reports, it is the embedded
/// one.
pub fn logging_settings(home: &Home) -> LogSettings {
    Settings::load(&home.cluster_json()).unwrap_or_default().logging
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::logging::LogFormat;

    fn home(ossec_conf: &str, cluster_json: &str) -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("etc")).expect("etc");
        let home = Home::new(directory.path());
        fs::write(home.ossec_conf(), ossec_conf).expect("ossec.conf");
        fs::set_permissions(home.ossec_conf(), fs::Permissions::from_mode(0o640)).expect("a mode");
        fs::write(home.cluster_json(), cluster_json).expect("cluster.json");
        (directory, home)
    }

    #[test]
    fn faults_of_both_files_come_together() {
        let (_directory, home) = home("<ossec_config><cluster><port>1</port></cluster></ossec_config>", "{\"x\": 1}");
        let faults = Config::load(home.clone(), None).expect_err("faults");
        let codes: Vec<_> = faults.0.iter().map(Fault::code).collect();
        assert_eq!(codes, [3004, 3004, 3004, 3005]);
        assert!(faults.to_string().starts_with("Error 3004 - Error in cluster configuration: Unspecified key"));
        assert_eq!(faults.to_string().lines().count(), 4);
        let faults = Config::load(home, Some(Path::new("/nonexistent"))).expect_err("faults");
        assert_eq!(faults.0.iter().map(Fault::code).collect::<Vec<_>>(), [3006, 3005]);
    }

    #[test]
    fn a_disabled_cluster_has_no_faults() {
        let (_directory, home) = home(DISABLED, "not JSON");
        assert!(Config::load(home, None).expect("disabled").config.cluster.disabled);
    }

    const DISABLED: &str = "<ossec_config><cluster><disabled>yes</disabled></cluster></ossec_config>";

    const RIGHT: &str = "<ossec_config><cluster><key>0123456789abcdef0123456789abcdef</key>\
                         <nodes><node>m</node></nodes></cluster></ossec_config>";

    #[test]
    fn what_is_wrong_with_auth_concerns_only_who_registers_agents() {
        let text = |node_type: &str| {
            format!(
                "<ossec_config><cluster><key>0123456789abcdef0123456789abcdef</key><node_type>{node_type}</node_type>\
                 <nodes><node>m</node></nodes></cluster><auth><purge>x</purge></auth></ossec_config>"
            )
        };
        let (_directory, home) = home(&text("master"), "{}");
        let load = || Config::load(home.clone(), None).map_err(|faults| faults.to_string());
        assert!(load().expect_err("a fault").contains("<purge> of <auth> is not yes or no"));
        fs::write(home.cluster_json(), "{\"registration\": \"authd\"}").expect("cluster.json");
        assert!(load().is_ok());
        fs::write(home.cluster_json(), "{}").expect("cluster.json");
        fs::create_dir(home.path().join("bin")).expect("bin");
        fs::write(home.path().join("bin/wazuh-authd"), "").expect("authd");
        assert!(load().is_ok());
        fs::write(home.cluster_json(), "{\"registration\": \"embedded\"}").expect("cluster.json");
        assert!(load().is_err());
        fs::write(home.ossec_conf(), text("worker")).expect("ossec.conf");
        assert!(load().is_ok());
    }

    #[test]
    fn a_configuration_without_faults() {
        let (_directory, home) = home(RIGHT, "{\"local\": {\"show_key\": true}}");
        let loaded = Config::load(home, None).expect("right");
        assert!(loaded.notes.is_empty() && loaded.config.settings.local.show_key && !loaded.config.cluster.disabled);
        let debug = format!("{loaded:?}");
        assert!(!debug.contains("0123456789") && debug.contains("node01"), "{debug}");
    }

    #[test]
    fn a_configuration_that_everybody_may_read() {
        let (_directory, home) = home(RIGHT, "{}");
        fs::set_permissions(home.ossec_conf(), fs::Permissions::from_mode(0o644)).expect("a mode");
        let notes = Config::load(home.clone(), None).expect("right").notes;
        assert!(
            notes.len() == 1 && notes[0].level == NoteLevel::Warning && notes[0].text.contains("chmod o="),
            "{notes:?}"
        );
        fs::write(home.ossec_conf(), DISABLED).expect("ossec.conf");
        assert!(Config::load(home, None).expect("disabled").notes.is_empty(), "there is no key in it");
    }

    #[test]
    fn the_log_is_known_before_the_rest() {
        let (_directory, home) = home("<nothing", "{\"logging\": {\"format\": \"json\", \"max_size\": 1048576}}");
        let logging = logging_settings(&home);
        assert_eq!((logging.format, logging.max_size), (LogFormat::Json, 1 << 20));
        fs::write(home.cluster_json(), "{\"logging\": {\"format\": \"json\"}, \"x\": 1}").expect("cluster.json");
        assert_eq!(logging_settings(&home), Settings::default().logging);
    }
}
