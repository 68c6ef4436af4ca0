//! The keys that a node has at a time: one, and more while the key of its cluster is being changed.

use std::{iter, path::Path};

use super::{
    ClusterKey, Config, Note,
    fault::{Code, Fault},
    privacy,
    published::is_published_key,
};
use crate::crypto::Fernet;

/// The keys of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// `<key>` of ossec.conf. A worker connects with it.
    pub current: ClusterKey,
    /// `link.accept_keys` of cluster.json. A master accepts them too; a worker tries them when its master does not take
    /// the current one.
    pub accepted: Vec<ClusterKey>,
}

impl Keys {
    /// All of them, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &ClusterKey> {
        iter::once(&self.current).chain(&self.accepted)
    }

    /// The ciphers of all of them.
    pub fn ciphers(&self) -> Vec<Fernet> {
        self.all().map(|key| key.cipher().clone()).collect()
    }

    /// Whether a link may use this cipher.
    pub fn accept(&self, cipher: &Fernet) -> bool {
        self.all().any(|key| key.cipher() == cipher)
    }
}

impl Config {
    /// Takes the keys out. They change while a node runs, and the rest does not: what is left holds none.
    pub fn take_keys(&mut self) -> Keys {
        let current = std::mem::replace(&mut self.cluster.key, ClusterKey::unset());
        let mut accepted = std::mem::take(&mut self.settings.link.accept_keys);
        accepted.retain(|key| *key != current);
        Keys { current, accepted }
    }
}

/// What is wrong with the keys as a whole: those of a node are told apart by who has signed a message, and the first half
/// of a key signs. `file` names the accepted ones.
pub(super) fn fault(current: &ClusterKey, accepted: &[ClusterKey], file: &Path) -> Option<Fault> {
    let alike = |one: &ClusterKey, other: &ClusterKey| one != other && one.signing_half() == other.signing_half();
    let among = |(at, key): (usize, &ClusterKey)| {
        alike(current, key) || accepted[..at].iter().any(|earlier| alike(earlier, key))
    };
    accepted.iter().enumerate().any(among).then(|| {
        let problem = "two keys, among link > accept_keys and <key>, begin with the same 16 characters";
        Fault::new(Code::Settings, file, problem, "make another one with: wazuh-clusterd --generate-key")
    })
}

/// What a person should know of the accepted keys that `file` names.
pub(super) fn notes(accepted: &[ClusterKey], file: &Path) -> Vec<Note> {
    if accepted.is_empty() {
        return Vec::new();
    }
    let name = file.display();
    let mut notes = Vec::from_iter(privacy::note(file));
    if accepted.iter().any(|key| is_published_key(key.expose())) {
        let text = "A key of link.accept_keys is a published example that everybody knows: whoever reaches the port is \
                    let in; remove it as soon as no node uses it";
        notes.push(Note::warning(format!("{text} ({name})")));
    }
    notes.push(Note::info(format!(
        "Besides <key>, {} more may be used (link.accept_keys in {name}); remove what 'cluster_control --key-status' \
         shows as unused",
        accepted.len()
    )));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_sign_alike_are_a_fault() {
        let key = |text: &str| ClusterKey::new(text).expect("a key");
        let [one, alike, other] = [
            "0123456789abcdef0123456789abcdef",
            "0123456789abcdefXXXXXXXXXXXXXXXX",
            "X123456789abcdef0123456789abcdef",
        ]
        .map(key);
        let is_fault = |current: &ClusterKey, accepted: &[&ClusterKey]| {
            let accepted: Vec<_> = accepted.iter().map(|key| (*key).clone()).collect();
            fault(current, &accepted, Path::new("/c.json")).is_some()
        };
        assert!(is_fault(&one, &[&alike]) && is_fault(&other, &[&one, &alike]));
        assert!(!is_fault(&one, &[]) && !is_fault(&one, &[&other]));
        assert!(!is_fault(&one, &[&one, &other]), "between two changes of files a key may stand in both");
    }
}
