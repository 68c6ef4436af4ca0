//! SIGHUP: the configuration is read again, and what may change while the node runs comes into force.

use super::{arguments::Arguments, notes::tell, running::Running};
use crate::{
    config::{Config, NodeType, debug_level},
    logging::{self, LogFile, Scope, error, info, warn},
};

/// How the configuration is read again.
pub struct Reload<'a> {
    arguments: &'a Arguments,
    /// What the node was started with, without the keys: in all this it stays as it is.
    started: Config,
    log: &'a LogFile,
}

impl<'a> Reload<'a> {
    /// As it was read at the start.
    pub fn new(arguments: &'a Arguments, config: Config, log: &'a LogFile) -> Self {
        Self { arguments, started: config, log }
    }

    /// Reads what was read at the start, with the same checks, and puts the keys and how the log is written in force. If
    /// anything is wrong, everything stays as it is, and each fault has its line; what needs a restart is named in one.
    /// Gives whether nothing was wrong.
    pub fn run(&self, running: &Running, scope: &Scope) -> bool {
        let home = &self.started.home;
        let loaded = match Config::load(home.clone(), self.arguments.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(faults) => {
                let told = |fault| error!(scope, "The old configuration stays in force: {fault}");
                faults.0.iter().for_each(told);
                return false;
            }
        };
        tell(&loaded.notes, scope);
        let mut config = loaded.config;
        let keys = config.take_keys();
        let changes = self.changes(&config);
        if !changes.is_empty() {
            warn!(scope, "What has changed here needs a restart: {}.", changes.join(", "));
        }
        if config.cluster.disabled {
            return true;
        }
        let debug = debug_level(home, self.arguments.debug);
        logging::set_level(debug);
        if self.log.settings() != config.settings.logging {
            self.log.change(config.settings.logging);
            info!(scope, "From here on the log is written as 'logging' in cluster.json says now.");
        }
        let before = running.role().node().keys();
        let key = if keys.current == before.current { "the same" } else { "another one now" };
        info!(
            scope,
            "The configuration has been read again: the key is {key}, {} more accepted, the debug level is {debug}.",
            keys.accepted.len()
        );
        drop(before);
        running.change_keys(keys);
        running.role().services().api.renew();
        true
    }

    /// What has another value than at the start.
    fn changes(&self, config: &Config) -> Vec<String> {
        if config.cluster.disabled {
            // The rest was not read.
            return vec!["<disabled>".to_owned()];
        }
        let mut options = self.started.cluster.differences(&config.cluster);
        if config.cluster.node_type == NodeType::Master && config.auth != self.started.auth {
            options.push("auth");
        }
        if config.global != self.started.global {
            options.push("agents_disconnection_time");
        }
        let options = options.into_iter().map(|option| format!("<{option}>"));
        let settings = self.started.settings.differences(&config.settings).into_iter();
        options.chain(settings.map(|setting| format!("{setting} of cluster.json"))).collect()
    }
}
