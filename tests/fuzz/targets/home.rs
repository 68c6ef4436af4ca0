//! The directory of a Wazuh home that hostile updates are applied to, and what may be different in it afterwards.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, LazyLock},
};

use clusterd::files::{Items, items::is_staged};
use flate2::{Compression, write::ZlibEncoder};
use tempfile::TempDir;

/// Stands between two members of an archive.
pub const FILE_SEP: &[u8; 8] = b"|@@//@@|";

const PATH_SEP: &[u8; 8] = b"|//@@//|";

/// What is there before.
const FILES: [(&str, &str); 7] = [
    ("etc/ossec.conf", "own"),
    ("etc/client.keys", "001 a any k\n"),
    ("etc/shared/default/agent.conf", "<agent_config/>\n"),
    ("etc/shared/plain", "plain\n"),
    ("etc/rules/local_rules.xml", "<group name=\"a,\"></group>\n"),
    ("outside/secret", "secret"),
    ("queue/cluster/w1/own", "own"),
];

/// Links that lead out.
const LINKS: [(&str, &str); 2] =
    [("etc/shared/way", "../../outside"), ("etc/shared/default/file", "../../../outside/secret")];

/// The items of a node that names none itself.
pub fn items() -> Arc<Items> {
    static ITEMS: LazyLock<Arc<Items>> = LazyLock::new(|| Arc::new(Items::standard()));
    ITEMS.clone()
}

/// A member of an archive, with any name.
pub fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new([name.as_bytes(), PATH_SEP].concat(), Compression::fast());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes it")
}

/// A directory of its own.
pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// The files of a node.
pub struct Home(TempDir);

/// Path and content of each file; the target of a link; nothing of a directory.
type Tree = BTreeMap<String, Vec<u8>>;

impl Home {
    /// With all that is there before.
    pub fn new() -> Self {
        let home = Self(directory());
        for (path, content) in FILES {
            home.write(path, content.as_bytes());
        }
        for (path, to) in LINKS {
            symlink(to, home.path().join(path)).expect("a link");
        }
        home
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and the directories above it.
    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the home")).expect("directories");
        fs::write(path, content).expect("a file");
    }

    /// All that is there now.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        walk(self.path(), "", &mut tree);
        tree
    }

    /// Looks at what has become of `before`.
    ///
    /// # Panics
    /// If anything is different that no update may touch, if something staged is left, or if a file has a content that is
    /// neither its old one nor one of `contents`.
    pub fn check(&self, before: &Tree, contents: &[(String, Vec<u8>)]) {
        let (after, items) = (self.tree(), items());
        for (path, content) in &after {
            if before.get(path) == Some(content) {
                continue;
            }
            let name = path.rsplit('/').next().unwrap_or_default();
            assert!(!is_staged(name), "{path} is left");
            assert!(may_change(&items, path), "{path} was written");
            let given = contents.iter().any(|(of, given)| of == path && given == content);
            assert!(given || path.ends_with('/'), "{path} has a content that nobody gave it");
        }
        for path in before.keys().filter(|path| !after.contains_key(*path)) {
            assert!(may_change(&items, path), "{path} is gone");
        }
    }
}

/// Whether an update may change this path, or a directory, which ends with a slash.
fn may_change(items: &Items, path: &str) -> bool {
    let is_directory = path.ends_with('/');
    items.iter().any(|(id, item)| match is_directory {
        true => path.starts_with(&*item.key) || item.key.starts_with(path),
        false => items.permits(id, path).is_ok(),
    })
}

fn walk(root: &Path, below: &str, tree: &mut Tree) {
    for entry in fs::read_dir(root.join(below)).expect("it is there").flatten() {
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("it is known");
        if kind.is_dir() {
            let path = format!("{path}/");
            walk(root, &path, tree);
            tree.insert(path, Vec::new());
        } else if kind.is_symlink() {
            let to = fs::read_link(root.join(&path)).expect("it is there");
            tree.insert(path, to.to_string_lossy().into_owned().into_bytes());
        } else {
            let content = fs::read(root.join(&path)).expect("it can be read");
            tree.insert(path, content);
        }
    }
}
