//! The keys of a cluster, below `/threatlockdown/CLUSTER/` (`spec/failover.md` 2).

use std::fmt::Write;

const ROOT: &str = "/threatlockdown/";

/// One key of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Who is master: [`Master`](super::Master).
    Master,
    /// Who may follow: [`InSync`](super::InSync).
    Sync,
    /// The highest agent id that a master has reserved, in decimal digits.
    Ids,
    /// An answered registration or removal that not all candidates have yet; the bytes are the registrar's.
    Registration(u64),
    /// A candidate that is there: [`Node`](super::Node).
    Node(String),
    /// That the master is to hand over: [`Switch`](super::Switch).
    Switch,
    /// Which write of the term was the last; only [`Guard`](super::Guard) knows it.
    Turn,
}

/// Keys that are listed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Each [`Key::Registration`], in the order of their numbers.
    Registrations,
    /// Each [`Key::Node`].
    Nodes,
}

/// The place of the keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix(String);

impl Prefix {
    /// That of the cluster of this name. Bytes other than letters, digits, `-`, `_` and `.` are written as `%XX`, so that no
    /// name reaches into the keys of another.
    pub(super) fn new(cluster: &str) -> Self {
        Self(format!("{ROOT}{}/", escaped(cluster)))
    }

    /// The key as the arbiter has it.
    pub(super) fn path(&self, key: &Key) -> String {
        let prefix = &self.0;
        match key {
            Key::Master => format!("{prefix}master"),
            Key::Sync => format!("{prefix}sync"),
            Key::Ids => format!("{prefix}ids"),
            // In the order of the numbers, which is that of the texts.
            Key::Registration(number) => format!("{prefix}reg/{number:020}"),
            Key::Node(name) => format!("{prefix}node/{}", escaped(name)),
            Key::Switch => format!("{prefix}switch"),
            Key::Turn => format!("{prefix}turn"),
        }
    }

    /// The beginning of all keys of the folder.
    pub(super) fn folder(&self, folder: Folder) -> String {
        let name = match folder {
            Folder::Registrations => "reg/",
            Folder::Nodes => "node/",
        };
        format!("{}{name}", self.0)
    }

    /// The key of this folder that `path` is; none if it is not one that this daemon has written.
    pub(super) fn key(&self, folder: Folder, path: &[u8]) -> Option<Key> {
        let name = std::str::from_utf8(path).ok()?.strip_prefix(&self.folder(folder))?;
        let key = match folder {
            Folder::Registrations => Key::Registration(name.parse().ok()?),
            Folder::Nodes => Key::Node(unescaped(name)?),
        };
        (self.path(&key).as_bytes() == path).then_some(key)
    }
}

fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_stand_below_the_name_of_the_cluster() {
        let prefix = Prefix::new("wazuh");
        assert_eq!(prefix.path(&Key::Master), "/threatlockdown/wazuh/master");
        assert_eq!(prefix.path(&Key::Registration(7)), "/threatlockdown/wazuh/reg/00000000000000000007");
        assert_eq!(prefix.path(&Key::Node("a b/c".into())), "/threatlockdown/wazuh/node/a%20b%2Fc");
        assert_eq!(Prefix::new("a/../b").path(&Key::Sync), "/threatlockdown/a%2F..%2Fb/sync");
    }

    #[test]
    fn what_others_have_put_into_a_folder_is_no_key() {
        let prefix = Prefix::new("w");
        for path in
            ["", "/threatlockdown/w/reg/", "/threatlockdown/w/reg/7", "/threatlockdown/w/reg/+0000000000000000007"]
        {
            assert_eq!(prefix.key(Folder::Registrations, path.as_bytes()), None, "{path}");
        }
        for path in ["/threatlockdown/w/node/a%", "/threatlockdown/w/node/a%2", "/threatlockdown/w/node/%zz"] {
            assert_eq!(prefix.key(Folder::Nodes, path.as_bytes()), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_name_comes_back_from_its_key(cluster in ".{0,8}", name in ".{0,16}", number: u64) {
            let prefix = Prefix::new(&cluster);
            for (folder, key) in [(Folder::Nodes, Key::Node(name)), (Folder::Registrations, Key::Registration(number))] {
                prop_assert_eq!(prefix.key(folder, prefix.path(&key).as_bytes()), Some(key));
            }
        }

        #[test]
        fn no_path_panics(path in "/threatlockdown/w/(reg|node)/[0-9%a-fé]{0,24}") {
            let prefix = Prefix::new("w");
            let _ = prefix.key(Folder::Nodes, path.as_bytes());
            let _ = prefix.key(Folder::Registrations, path.as_bytes());
        }
    }
}
