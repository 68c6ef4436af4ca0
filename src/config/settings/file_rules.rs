//! Which files a cluster keeps equal, as written (`spec/protocol.md` 10.1). The room `files` makes its rules of these.

use serde_json::{Value, json};

use super::section::Section;
use crate::files::{Item, Items, ItemsFault, Names};

/// Most directories that may be named.
const MOST_ITEMS: usize = 255;

/// In `files` of a [`FileRule`]: every name.
pub const ALL_FILES: &str = "all";

/// Keys of the directories whose files `get_hash` answers for (`spec/protocol.md` 13.4).
pub const RULESET_KEYS: [&str; 3] = ["etc/rules/", "etc/decoders/", "etc/lists/"];

/// The file whose exclusion can not be lifted: each node has its own.
const NEVER_SENT: &str = "ossec.conf";

/// All rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRules {
    /// The directories, ordered by key.
    pub items: Vec<FileRule>,
    /// File names that are never taken, in whatever directory.
    pub excluded_files: Vec<String>,
    /// Endings of file names that are never taken, with their dot if they have one.
    pub excluded_extensions: Vec<String>,
}

/// The rule of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    /// The directory below the home, with a slash at its end; a safe relative path without `.` and `..`.
    pub key: String,
    /// Whether directories below it are taken too.
    pub recursive: bool,
    /// Mode bits of its files on a worker.
    pub permissions: u32,
    /// Names that are taken, or [`ALL_FILES`].
    pub files: Vec<String>,
    /// Whether a worker removes directories below it that became empty.
    pub remove_subdirs_if_empty: bool,
}

impl FileRules {
    /// `standard` are the directories and lists that there are by default. A directory that is `null` is left out.
    pub(super) fn read(mut section: Section<'_>, standard: &[String]) -> Self {
        let name = "a list of file names without slashes that has ossec.conf, of which each node keeps its own";
        let excluded = |value: &Value| file_names(value).filter(|names| names.iter().any(|name| name == NEVER_SENT));
        let excluded_files = section.convert("excluded_files", name, excluded).unwrap_or_default();
        let excluded_extensions = section.texts("excluded_extensions", "a list of endings such as .tmp", is_file_name);
        let mut keys = section.names_left();
        keys.sort();
        let (left_out, keys): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| section.is_null(key));
        for key in left_out {
            if !standard.contains(&key) {
                let known: Vec<_> = standard.iter().filter(|key| is_item_key(key)).map(String::as_str).collect();
                let remedy =
                    format!("name a directory that is synchronised by default; known are {}", known.join(", "));
                section.fault(&key, "is not left out, as it is not there", "null", &remedy);
            }
            section.take(&key);
        }
        let items: Vec<_> = keys.into_iter().filter_map(|key| FileRule::read(&mut section, key)).collect();
        if let Some(item) = items.get(MOST_ITEMS) {
            section.fault(
                &item.key,
                "is one directory too many",
                &items.len().to_string(),
                "name at most 255 directories",
            );
        }
        // Ordered by key, all that lies in a directory follows it, with what lies deeper in the same directory.
        let mut families: Vec<(&str, Vec<&str>)> = Vec::new();
        for FileRule { key, .. } in items.iter().filter(|item| item.recursive) {
            match families.last_mut() {
                Some((outer, inner)) if key.starts_with(*outer) => inner.push(key),
                _ => families.push((key, Vec::new())),
            }
        }
        for (outer, inner) in families {
            let Some((first, others)) = inner.split_first() else { continue };
            let mut problem = format!("lies in {outer}, and both are recursive: its files would have two rules");
            if !others.is_empty() {
                problem.push_str(&format!(" (and so would those of {})", others.join(", ")));
            }
            section.fault(first, &problem, "true", "set recursive of one of them to false");
        }
        section.finish();
        Self { items, excluded_files, excluded_extensions }
    }
}

impl TryFrom<&FileRules> for Items {
    type Error = ItemsFault;

    fn try_from(rules: &FileRules) -> Result<Self, ItemsFault> {
        let names = |rule: &FileRule| match rule.files.iter().any(|name| name == ALL_FILES) {
            true => Names::All,
            false => Names::Only(rule.files.clone()),
        };
        let item = |rule: &FileRule| Item {
            key: rule.key.clone(),
            recursive: rule.recursive,
            mode: rule.permissions,
            names: names(rule),
            remove_empty_directories: rule.remove_subdirs_if_empty,
        };
        let items = rules.items.iter().map(item).collect();
        Self::new(items, rules.excluded_files.clone(), rules.excluded_extensions.clone())
    }
}

impl Items {
    /// Those of a node whose own cluster.json names none: the `files` of `etc/cluster.json`.
    pub fn standard() -> Self {
        let rules = super::Settings::default().files;
        Self::try_from(&rules).expect("the embedded settings are checked by the tests")
    }
}

impl FileRule {
    fn read(section: &mut Section<'_>, key: String) -> Option<Self> {
        if !is_item_key(&key) {
            let remedy = "write a directory below the home as a/b/, without . and .. and with a slash at its end";
            section.fault(&key, "is not the path of a directory", &key, remedy);
            section.take(&key);
            return None;
        }
        // A new directory needs to state only what differs from the usual.
        let mut value = json!({
            "permissions": "0660", "source": "master", "files": [ALL_FILES], "recursive": true, "restart": false,
            "remove_subdirs_if_empty": false, "extra_valid": false, "description": "",
        });
        super::merge(&mut value, section.take(&key)?);
        let mut item = Section::new(section.sink(), section.path_of(&key), value);

        let mode =
            "a text of octal digits from 0600 to 0775; the daemon must read and write its files, others must not write";
        let permissions =
            item.convert("permissions", mode, |value| value.as_str().and_then(permissions)).unwrap_or(0o640);
        let worker = "master: a worker never sends files";
        item.convert("source", worker, |value| (value == "master").then_some(()));
        let extra_valid = "false: a worker never sends files to the master, files that only it has are removed";
        item.convert("extra_valid", extra_valid, |value| (value == false).then_some(()));
        let recursive = item.flag("recursive");
        let remove_subdirs_if_empty = item.flag("remove_subdirs_if_empty");
        item.flag("restart");
        item.convert("description", "a text", |value| value.as_str().map(drop));
        let files =
            item.convert("files", "a list of file names without slashes, or [\"all\"]", file_names).unwrap_or_default();
        item.finish();
        Some(Self { key, recursive, permissions, files, remove_subdirs_if_empty })
    }
}

fn file_names(value: &Value) -> Option<Vec<String>> {
    let name = |value: &Value| value.as_str().filter(|name| is_file_name(name)).map(str::to_owned);
    value.as_array().filter(|names| !names.is_empty())?.iter().map(name).collect()
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c.is_control())
}

fn is_item_key(key: &str) -> bool {
    key.strip_suffix('/').is_some_and(|path| path.len() < 1024 && path.split('/').all(is_file_name))
}

/// The mode bits of `0640` or `640`.
fn permissions(text: &str) -> Option<u32> {
    let digits = text.len() == 3 || (text.len() == 4 && text.starts_with('0'));
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits && octal)?;
    (mode & 0o600 == 0o600 && mode & 0o002 == 0).then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(permissions("0640"), Some(0o640));
        assert_eq!(permissions("775"), Some(0o775));
        for text in ["", "0", "0888", "4755", "00640", "0666", "0400", "-640", "0o64", "rw-", "+640"] {
            assert_eq!(permissions(text), None, "{text}");
        }
    }

    #[test]
    fn keys() {
        for key in ["etc/", "etc/shared/", "a b/..c/", "x/.y/"] {
            assert!(is_item_key(key), "{key}");
        }
        for key in ["", "/", "etc", "/etc/", "etc//x/", "../", "etc/../x/", "./etc/", "etc/./", "a\n/", "a\0/"] {
            assert!(!is_item_key(key), "{key:?}");
        }
    }
}
