//! What `failover` of cluster.json needs beside itself: the name of this node, and files.

use std::path::Path;

use zeroize::Zeroizing;

use super::{
    Cluster, Home, Note,
    fault::{Code, Fault},
    privacy,
    settings::{Failover, Registrations},
    source,
};
use crate::{
    arbiter::etcd::{Etcd, Options, User, tls},
    system::shutdown,
};

/// Bytes that a password may have.
const LONGEST: u64 = 4096;

impl Failover {
    /// How etcd is reached, with the password as the file has it now.
    ///
    /// # Errors
    /// When the password cannot be read; a person is at fault.
    pub fn options(&self, home: &Home, cluster: &Cluster) -> Result<Options, Fault> {
        let user = match &self.password_file {
            None => None,
            Some(file) => Some(User { name: self.user.clone(), password: password(&home.path().join(file), home)? }),
        };
        let whole = |path: &Path| home.path().join(path);
        let own = self.own.as_ref().map(|(certificate, key)| (whole(certificate), whole(key)));
        let tls = self.ca.as_deref().map(|ca| tls::Files { ca: whole(ca), own });
        let (endpoints, cluster) = (self.etcd.clone(), cluster.name.clone());
        Ok(Options { cluster, endpoints, user, tls, ttl: self.ttl })
    }
}

fn password(path: &Path, home: &Home) -> Result<Zeroizing<String>, Fault> {
    let fault = |problem: String, remedy: &str| {
        let problem = format!("failover > password_file: {}: {problem}", path.display());
        Fault::new(Code::Settings, &home.cluster_json(), problem, remedy)
    };
    let bytes = source::read(path, LONGEST).map_err(|error| fault(error.to_string(), source::remedy(&error)))?;
    let text = std::str::from_utf8(&bytes).ok().map(|text| text.trim_end_matches(['\r', '\n']));
    let text = text.filter(|text| !text.is_empty() && !text.contains(char::is_control));
    text.map(|text| Zeroizing::new(text.to_owned()))
        .ok_or_else(|| fault("it holds no password".to_owned(), "write the password in one line of UTF-8"))
}

/// What is wrong with it as a whole.
pub(super) fn faults(failover: &Failover, home: &Home, cluster: &Cluster) -> Vec<Fault> {
    let file = home.cluster_json();
    let mut faults = Vec::new();
    if !failover.candidates.contains(&cluster.node_name) {
        let problem = format!("failover > candidates does not name this node, '{}'", cluster.node_name);
        let remedy = "add it, or remove failover > etcd here: nodes that may not be master need no failover";
        faults.push(Fault::new(Code::Settings, &file, problem, remedy));
    }
    // What is made of the options here asks nobody, and is dropped at once.
    let (_trigger, order) = shutdown::channel();
    match failover.options(home, cluster) {
        Ok(options) => {
            let unusable = Etcd::new(&options, &order).err();
            faults.extend(unusable.map(|error| {
                let remedy = "name a readable file in PEM form in failover > ca, cert and key";
                Fault::new(Code::Settings, &file, format!("failover: {error}"), remedy)
            }));
        }
        Err(fault) => faults.push(fault),
    }
    faults
}

/// What a person should know of it; `is_external` is whether the stock enrolment daemon registers the agents.
pub(super) fn notes(failover: &Failover, home: &Home, is_external: bool) -> Vec<Note> {
    let file = home.cluster_json();
    let open = failover.etcd.iter().filter(|url| !url.tls && !url.is_loopback());
    let open: Vec<String> = open.map(ToString::to_string).collect();
    let mut notes = Vec::new();
    if !open.is_empty() {
        notes.push(Note::warning(format!(
            "failover > etcd is reached without TLS over the network: whoever can change what is sent there decides who is \
             master; write https:// and failover > ca for {} ({})",
            open.join(", "),
            file.display()
        )));
    }
    if is_external && failover.registrations == Registrations::Sync {
        notes.push(Note::warning(format!(
            "wazuh-authd registers the agents, so an agent that it registers immediately before the master fails may be lost;              write \"registration\": \"embedded\", or \"registrations\": \"off\" in failover if that is meant ({})",
            file.display()
        )));
    }
    if failover.candidates.len() == 1 {
        let text = "failover > candidates names one node only: nobody follows when it fails";
        notes.push(Note::warning(format!("{text} ({})", file.display())));
    }
    let secrets = failover.password_file.iter().chain(failover.own.as_ref().map(|(_, key)| key));
    notes
        .extend(secrets.filter_map(|path| privacy::note_on("A secret of this node for etcd", &home.path().join(path))));
    notes
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    const OSSEC_CONF: &str = "<ossec_config><cluster><name>c</name><node_name>a</node_name><key>0123456789abcdef0123456789abcdef\
                              </key><nodes><node>m</node></nodes></cluster></ossec_config>";

    /// Faults, or warnings, with these members of `failover` beside those of a good one.
    fn told(members: &Value) -> (bool, String) {
        told_with(members, &json!({}))
    }

    /// The same with further settings.
    fn told_with(members: &Value, more: &Value) -> (bool, String) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        fs::create_dir(directory.path().join("etc")).unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
        };
        write("etc/ossec.conf", OSSEC_CONF);
        write("etc/password", "secret\n");
        write("etc/empty", "\n");
        let mut failover = json!({"etcd": ["http://127.0.0.1:2379"], "candidates": ["a", "b"]});
        failover.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let mut settings = json!({ "failover": failover });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        write("etc/cluster.json", &settings.to_string());
        match Config::load(home, None) {
            Ok(loaded) => (true, loaded.notes.iter().map(|note| note.text.clone() + "\n").collect()),
            Err(faults) => (false, faults.to_string()),
        }
    }

    #[test]
    fn each_fault_names_the_thing_and_the_remedy() {
        for (members, problem, remedy) in [
            (json!({"etcd": ["http://a:1", "http://b:1"]}), "an even number of members", "write all 3 members"),
            (json!({"etcd": ["http://a:1", "http://b:1", "http://a:1"]}), "names a member twice", "write each once"),
            (json!({"etcd": ["a:2379"]}), "failover > etcd is not acceptable", "http://10.0.0.1:2379"),
            (json!({"ttl": 4}), "failover > ttl", "from 5 to 600"),
            (json!({"candidates": []}), "candidates names no node", "write the names of the nodes"),
            (json!({"candidates": ["b", "c"]}), "candidates does not name this node, 'a'", "add it, or remove"),
            (json!({"candidates": ["a", "a"]}), "names a node twice", "write each once"),
            (json!({"user": "u"}), "user and its password belong together", "write both"),
            (json!({"user": "u", "password_file": "etc/none"}), "etc/none: No such file", "create it"),
            (json!({"user": "u", "password_file": "etc/empty"}), "etc/empty: it holds no password", "in one line"),
            (json!({"etcd": ["https://a:1"]}), "ca is needed by https", "authority"),
            (json!({"etcd": ["https://a:1"], "ca": "etc/none"}), "etc/none: No such file", "readable file in PEM"),
            (json!({"etcd": ["https://a:1"], "ca": "etc/password"}), "it holds no certificate", "PEM"),
            (json!({"cert": "x"}), "cert and key belong together", "write both"),
            (json!({"registrations": "async"}), "failover > registrations", "write sync or off"),
            (json!({"on_master": ["run"]}), "failover > on_master", "the absolute path of a program"),
            (json!({"on_standby": "x"}), "failover > on_standby", "write a list"),
            (json!({"failsafe": "off"}), "failover > failsafe is not a setting", "remove it"),
        ] {
            let (is_good, text) = told(&members);
            assert!(!is_good && text.contains(problem) && text.contains(remedy), "{members}: {text}");
        }
    }

    #[test]
    fn what_works_is_told_only_if_it_is_dangerous() {
        let quiet = |members: Value| {
            let (is_good, text) = told(&members);
            assert!(is_good, "{text}");
            !text.contains("failover")
        };
        assert!(quiet(json!({"user": "u", "password_file": "etc/password", "ttl": 600})));
        assert!(quiet(json!({"etcd": []})) && quiet(json!({"etcd": [], "candidates": []})));
        let open = told(&json!({"etcd": ["http://10.0.0.1:2379"]})).1;
        assert!(open.contains("without TLS over the network") && open.contains("http://10.0.0.1:2379"), "{open}");
        assert!(told(&json!({"candidates": ["a"]})).1.contains("names one node only"));
        assert!(
            told_with(&json!({}), &json!({"registration": "authd"})).1.contains("wazuh-authd registers the agents")
        );
    }

    #[test]
    fn the_password_is_that_of_the_file_and_shown_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "a secret \r\n").unwrap();
        assert_eq!(*password(&file, &Home::new("/nonexistent")).unwrap(), "a secret ");
    }
}
