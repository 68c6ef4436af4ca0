//! What the values mean: JSON objects, whose unknown members are passed over, so that a later version may add some.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Entry, Key};
use crate::system::at_most::AtMost;

/// Candidates that a cluster may have; more are of no use, and each of them delays registrations.
pub const MOST_CANDIDATES: usize = 16;

/// Who is master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// Its name.
    pub node: String,
    /// Where workers reach it.
    pub address: String,
    /// The port there.
    pub port: u16,
    /// When it became master, in seconds since 1970, by its own clock: for people.
    pub since: u64,
    /// The fingerprint of the key of its cluster: another one means another cluster of the same name.
    pub cluster: String,
}

/// Who may become master without a person's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSync {
    /// The term of the master that says so, as the nodes count them: one more with each master (`spec/native.md` 5).
    pub term: u64,
    /// The fingerprint of the key of the cluster, as in [`Master`].
    pub cluster: String,
    /// The candidates, best first.
    #[serde(deserialize_with = "names")]
    pub candidates: Vec<String>,
}

/// A candidate that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where others reach it.
    pub address: String,
    /// The version of its daemon.
    pub version: String,
    /// Why it could not be master now; nothing if it could.
    #[serde(default)]
    pub obstacle: Option<String>,
}

/// That the master is to hand over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The candidate that is to follow.
    pub to: String,
    /// The node where a person has asked for it.
    pub by: String,
    /// Seconds since 1970 before which it is not to happen, for people's windows of maintenance; 0 for at once.
    #[serde(default)]
    pub not_before: u64,
}

/// A value that this daemon has not written, or a later version of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the arbiter's key '{key}' holds no value of this daemon ({reason}); delete the key, or run one version on all candidates"
)]
pub struct Malformed {
    key: &'static str,
    reason: String,
}

impl Entry {
    /// The value of [`Key::Master`].
    ///
    /// # Errors
    /// [`Malformed`]; a person or another version has written it.
    pub fn master(&self) -> Result<Master, Malformed> {
        self.parse("master")
    }

    /// The value of [`Key::Sync`].
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn sync(&self) -> Result<InSync, Malformed> {
        self.parse("sync")
    }

    /// The value of [`Key::Ids`].
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn ids(&self) -> Result<u64, Malformed> {
        let text = std::str::from_utf8(&self.value).unwrap_or_default();
        text.parse().map_err(|_| Malformed { key: "ids", reason: "it is not a number".to_owned() })
    }

    /// The value of a [`Key::Node`].
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn node(&self) -> Result<Node, Malformed> {
        self.parse("node/…")
    }

    /// The value of [`Key::Switch`].
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn switch(&self) -> Result<Switch, Malformed> {
        self.parse("switch")
    }

    fn parse<T: DeserializeOwned>(&self, key: &'static str) -> Result<T, Malformed> {
        serde_json::from_slice(&self.value).map_err(|error| Malformed { key, reason: error.to_string() })
    }
}

/// The text of a value.
pub(super) fn text(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers only.
    serde_json::to_vec(value).unwrap_or_default()
}

impl super::Write {
    /// That [`Key::Sync`] is to hold this.
    pub fn sync(sync: &InSync) -> Self {
        Self::Put(Key::Sync, text(sync))
    }

    /// That [`Key::Ids`] is to hold this.
    pub fn ids(highest: u64) -> Self {
        Self::Put(Key::Ids, highest.to_string().into_bytes())
    }
}

fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    AtMost::<String, MOST_CANDIDATES>::deserialize(deserializer).map(|list| list.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> Entry {
        Entry { value: value.as_bytes().to_vec(), created: 1, changed: 1, lease: 0 }
    }

    #[test]
    fn values_come_back_and_others_are_told() {
        let sync = InSync { term: 7, cluster: "k".into(), candidates: vec!["b".into(), "c".into()] };
        assert_eq!(String::from_utf8(text(&sync)).unwrap(), r#"{"term":7,"cluster":"k","candidates":["b","c"]}"#);
        assert_eq!(entry(r#"{"term":7,"cluster":"k","candidates":["b","c"],"later":1}"#).sync(), Ok(sync));
        assert_eq!(entry("1200").ids(), Ok(1200));
        let many = format!(r#"{{"term":1,"cluster":"k","candidates":[{}"x"]}}"#, r#""x","#.repeat(MOST_CANDIDATES));
        for fault in [
            entry("{").master().unwrap_err().to_string(),
            entry(&many).sync().unwrap_err().to_string(),
            entry("12x").ids().unwrap_err().to_string(),
            entry("[]").switch().unwrap_err().to_string(),
            entry("\u{0}").node().unwrap_err().to_string(),
        ] {
            assert!(fault.contains("delete the key, or run one version"), "{fault}");
        }
    }
}
