//! What to do about a daemon that does not run, as far as its configuration tells.

use std::{fs::File, path::Path};

use crate::config::{Config, Home};

/// How it is started.
const START: &str = "'systemctl start wazuh-clusterd' or the manager's 'wazuh-control start'";

/// What a person is to do who found no daemon in `home`. Where the configuration keeps it from running, that is told; this
/// may be asked by a user who cannot read it.
pub(super) fn remedy(home: &Home) -> String {
    let general = format!(
        "start it, with {START} (the reason why it stopped is in logs/cluster.log), or name another Wazuh home with --home"
    );
    if !home.path().join("etc").exists() {
        return format!("no Wazuh installation at {home}; name the Wazuh home with --home");
    }
    if !is_readable(&home.ossec_conf()) {
        return general;
    }
    match Config::load(home.clone(), None) {
        Ok(loaded) if loaded.config.cluster.disabled => format!(
            "<cluster> in {} says <disabled>yes</disabled>: write no to run this node in a cluster, then start it, with {START}",
            home.ossec_conf().display()
        ),
        Ok(_) => general,
        Err(faults) => {
            let first = faults.0.first().map(ToString::to_string).unwrap_or_default();
            let more = match faults.0.len() {
                1 => String::new(),
                all => format!(" (the first of {all} errors; 'wazuh-clusterd -t' lists them)"),
            };
            format!("correct its configuration: {first}{more}, then start it, with {START}")
        }
    }
}

fn is_readable(path: &Path) -> bool {
    File::open(path).is_ok()
}
