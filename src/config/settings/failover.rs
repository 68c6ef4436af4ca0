//! `failover`: ours.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use super::{link::is_any_node_name, section::Section};
use crate::{
    arbiter::{MOST_CANDIDATES, etcd::Url},
    files::private::may_be_named,
};

/// Members of etcd that may be named. More than that make it slower, and no safer.
const MOST_MEMBERS: usize = 9;

/// Seconds of a lease.
const TTL: std::ops::RangeInclusive<u64> = 5..=600;

/// `failover`, of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Members of etcd, an odd number.
    pub etcd: Vec<Url>,
    /// A user of etcd; empty if it wants none.
    pub user: String,
    /// The file with the password of the user.
    pub password_file: Option<PathBuf>,
    /// The authorities that may have signed the certificates of the members.
    pub ca: Option<PathBuf>,
    /// The certificate of this node for etcd, and its private key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// How long a node that is silent stays the master.
    pub ttl: Duration,
    /// The nodes that may be master, this one among them.
    pub candidates: Vec<String>,
    /// What a registration waits for.
    pub registrations: Registrations,
    /// A program and its arguments, run when this node has become master; empty for none.
    pub on_master: Vec<String>,
    /// The same when it is master no more.
    pub on_standby: Vec<String>,
    /// Private files, which candidates take from the master.
    pub files: Vec<String>,
    /// Whether a candidate becomes master without a person's word.
    pub auto: bool,
}

/// `failover` > `registrations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registrations {
    /// A registration is in etcd before it is answered.
    Sync,
    /// It is not.
    Off,
}

impl Failover {
    /// None if no member is named.
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let etcd = members(&mut section);
        let (user, password_file) = (word(&mut section, "user"), path(&mut section, "password_file"));
        if user.is_empty() != password_file.is_none() {
            let remedy = "write both user and password_file, or neither";
            section.hidden_fault("user", "and its password belong together", None, remedy);
        }
        let ca = path(&mut section, "ca");
        if ca.is_none() && etcd.iter().any(|url| url.tls) {
            let remedy = "write the file of the authority that has signed the certificates of etcd";
            section.hidden_fault("ca", "is needed by https", None, remedy);
        }
        let own = match (path(&mut section, "cert"), path(&mut section, "key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                section.hidden_fault("cert", "and key belong together", None, "write both, or neither");
                None
            }
        };
        let ttl = Duration::from_secs(section.number("ttl", TTL));
        let candidates = candidates(&mut section, !etcd.is_empty());
        let registrations = section.convert("registrations", "sync or off", |value| match value.as_str()? {
            "sync" => Some(Registrations::Sync),
            "off" => Some(Registrations::Off),
            _ => None,
        });
        let (on_master, on_standby) = (command(&mut section, "on_master"), command(&mut section, "on_standby"));
        let what = "a list of files, and of directories that end with a slash, beneath etc/, api/ or integrations/, and none that is \
                    equal on all nodes, or each node's own";
        let files = section.texts("files", what, may_be_named);
        let auto = section.flag("auto");
        section.finish();
        let registrations = registrations.unwrap_or(Registrations::Off);
        let failover = Self {
            etcd,
            user,
            password_file,
            ca,
            own,
            ttl,
            candidates,
            registrations,
            on_master,
            on_standby,
            files,
            auto,
        };
        (!failover.etcd.is_empty()).then_some(failover)
    }
}

fn members(section: &mut Section<'_>) -> Vec<Url> {
    let what = "a list of URLs like http://10.0.0.1:2379 or https://etcd-1.example:2379, one for each member of etcd, or [] \
                for no failover";
    let texts = section.texts("etcd", what, |text| text.parse::<Url>().is_ok());
    let urls: Vec<Url> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    let count = urls.len();
    if count > MOST_MEMBERS {
        let remedy = format!("write {MOST_MEMBERS} at most");
        section.fault("etcd", "names too many members", &count.to_string(), &remedy);
    } else if count > 0 && count.is_multiple_of(2) {
        let remedy = format!(
            "write all {} members of an odd number: {count} of them outlive no more than {}",
            count + 1,
            count - 1
        );
        section.fault("etcd", "names an even number of members", &count.to_string(), &remedy);
    }
    if let Some(twice) = urls.iter().enumerate().find(|(at, url)| urls[..*at].contains(url)) {
        section.fault("etcd", "names a member twice", &twice.1.to_string(), "write each once");
    }
    urls
}

fn candidates(section: &mut Section<'_>, is_needed: bool) -> Vec<String> {
    let what = format!("a list of at most {MOST_CANDIDATES} node names");
    let names = section.texts("candidates", &what, is_any_node_name);
    if is_needed && names.is_empty() {
        let remedy = "write the names of the nodes that may be master, two at least";
        section.hidden_fault("candidates", "names no node", None, remedy);
    }
    if names.len() > MOST_CANDIDATES {
        section.fault("candidates", "names too many nodes", &names.len().to_string(), &format!("write {what}"));
    }
    if let Some((_, twice)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        section.fault("candidates", "names a node twice", twice, "write each once");
    }
    names
}

fn word(section: &mut Section<'_>, name: &str) -> String {
    section.convert(name, "a name, or \"\" for none", |value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn path(section: &mut Section<'_>, name: &str) -> Option<PathBuf> {
    let what = "the path of a file, relative to the Wazuh home unless it begins with a slash, or \"\" for none";
    let text =
        section.convert(name, what, |value| value.as_str().filter(|text| !text.contains('\0')).map(PathBuf::from));
    text.filter(|path| !path.as_os_str().is_empty())
}

fn command(section: &mut Section<'_>, name: &str) -> Vec<String> {
    let what = "a list: the absolute path of a program, then its arguments; or [] for none";
    let words = section.convert(name, what, |value| {
        let word = |value: &Value| value.as_str().filter(|word| !word.contains('\0')).map(str::to_owned);
        let words: Option<Vec<String>> = value.as_array()?.iter().map(word).collect();
        words.filter(|words| words.first().is_none_or(|program| program.starts_with('/')))
    });
    words.unwrap_or_default()
}
