//! The items: which directories the cluster holds equal, and the rule that says whether a path belongs to one.

use super::path::{self, PathFault};

/// Directories below an item's own are followed, and made, this deep: each level holds a file descriptor.
pub const DEEPEST: usize = 64;

/// Index of an [`Item`] in its [`Items`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub u8);

/// Which file names of a directory belong to an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Every name that is not excluded.
    All,
    /// These names only.
    Only(Vec<String>),
}

/// One directory of the cluster's file set (`spec/protocol.md` 10.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Directory relative to the home, with a final slash: `etc/shared/`. On the wire: `cluster_item_key`.
    pub key: String,
    /// Whether files of subdirectories belong to it.
    pub recursive: bool,
    /// Permission bits that a worker gives to each file.
    pub mode: u32,
    /// The names that belong to it.
    pub names: Names,
    /// Whether a worker removes a directory from which it has deleted the last file.
    pub remove_empty_directories: bool,
}

/// All items of a node and what is excluded from every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    items: Vec<Item>,
    excluded_files: Vec<String>,
    excluded_endings: Vec<String>,
}

/// Why a set of items cannot be used. The configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemsFault {
    /// The key is no directory below the home.
    #[error("file set '{key}' must be a relative directory that ends with a slash: {fault}")]
    Key {
        /// The faulty key.
        key: String,
        /// The lexical rule that it breaks.
        fault: PathFault,
    },
    /// A key stands twice.
    #[error("file set '{0}' is given twice")]
    Twice(String),
    /// More than 255 items.
    #[error("there are {0} file sets, at most 255 are possible")]
    TooMany(usize),
}

/// Why a path does not belong to an item. Whoever named the path is at fault: a peer, or a file on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path '{path}' is not permitted: {rule}")]
pub struct Refusal {
    /// The path as it was given.
    pub path: String,
    /// The rule that it breaks.
    pub rule: Rule,
}

/// The rules of [`Items::permits`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The spelling is wrong.
    #[error("{0}")]
    Spelling(#[from] PathFault),
    /// It lies in another directory than its key says.
    #[error("it is outside '{0}'")]
    Outside(String),
    /// It lies in a subdirectory of an item that has none.
    #[error("subdirectories of '{0}' are not synchronised")]
    Subdirectory(String),
    /// It lies deeper than any node looks: what were made there could never be removed again.
    #[error("it is more than {DEEPEST} directories deep")]
    Deep,
    /// The item takes other names only.
    #[error("only certain files of '{0}' are synchronised")]
    Name(String),
    /// The name is excluded everywhere.
    #[error("files of this name are never synchronised")]
    Excluded,
    /// No item has this key.
    #[error("'{0}' is not a synchronised directory of this node (etc/cluster.json, files)")]
    UnknownKey(String),
}

impl Items {
    /// The items in the order given.
    ///
    /// `excluded_files` are whole file names, `excluded_endings` ends of file names. What this node stages
    /// ([`is_staged`]) is excluded besides, whatever these lists say.
    ///
    /// # Errors
    /// [`ItemsFault`]: which rule cannot be one; the configuration is at fault.
    pub fn new(
        items: Vec<Item>,
        excluded_files: Vec<String>,
        excluded_endings: Vec<String>,
    ) -> Result<Self, ItemsFault> {
        if items.len() > usize::from(u8::MAX) {
            return Err(ItemsFault::TooMany(items.len()));
        }
        for (at, item) in items.iter().enumerate() {
            let directory = item.key.strip_suffix('/').unwrap_or("");
            path::check(directory).map_err(|fault| ItemsFault::Key { key: item.key.clone(), fault })?;
            if items[..at].iter().any(|other| other.key == item.key) {
                return Err(ItemsFault::Twice(item.key.clone()));
            }
        }
        Ok(Self { items, excluded_files, excluded_endings })
    }

    /// The item of this key (`etc/shared/`), if there is one.
    pub fn id_of_key(&self, key: &str) -> Option<ItemId> {
        self.items.iter().position(|item| item.key == key).and_then(|at| u8::try_from(at).ok()).map(ItemId)
    }

    /// The item with this id.
    ///
    /// # Panics
    /// If the id comes from another `Items`: a fault of the program.
    pub fn item(&self, id: ItemId) -> &Item {
        &self.items[usize::from(id.0)]
    }

    /// All items with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ItemId, &Item)> {
        (0u8..).map(ItemId).zip(&self.items)
    }

    /// Whole file names that are excluded everywhere. A directory that holds nothing else counts as empty (10.7).
    pub fn excluded_files(&self) -> &[String] {
        &self.excluded_files
    }

    /// Whether files of this name (the last component) are excluded everywhere.
    pub fn excludes(&self, name: &str) -> bool {
        self.excluded_files.iter().any(|file| file == name)
            || self.excluded_endings.iter().any(|ending| name.ends_with(ending.as_str()))
            || is_staged(name)
    }

    /// Whether files of this name (the last component) belong to the item, wherever in it they are.
    pub fn takes_name(&self, id: ItemId, name: &str) -> bool {
        let named = match &self.item(id).names {
            Names::All => true,
            Names::Only(list) => list.iter().any(|only| only == name),
        };
        named && !self.excludes(name)
    }

    /// Whether `path`, relative to the home, names a file that may belong to the item. Purely lexical.
    ///
    /// # Errors
    /// [`Refusal`]: the rule that `path` breaks; whoever named it is at fault.
    pub fn permits(&self, id: ItemId, path: &str) -> Result<(), Refusal> {
        self.rule_against(id, path).map_or(Ok(()), |rule| Err(Refusal { path: path.to_owned(), rule }))
    }

    /// The item to which a file of this path belongs, if any: that of the deepest directory. Purely lexical.
    pub fn owner(&self, path: &str) -> Option<ItemId> {
        let around = self.iter().filter(|(_, item)| path.starts_with(item.key.as_str()));
        let (id, _) = around.max_by_key(|(_, item)| item.key.len())?;
        self.permits(id, path).is_ok().then_some(id)
    }

    /// The id of the key, and that `path` belongs to it: the check for what a peer names.
    ///
    /// # Errors
    /// [`Refusal`], as [`Items::permits`], also for a key that no item has.
    pub fn permits_key(&self, key: &str, path: &str) -> Result<ItemId, Refusal> {
        let unknown = || Refusal { path: path.to_owned(), rule: Rule::UnknownKey(key.to_owned()) };
        let id = self.id_of_key(key).ok_or_else(unknown)?;
        self.permits(id, path).map(|()| id)
    }

    fn rule_against(&self, id: ItemId, path: &str) -> Option<Rule> {
        let item = self.item(id);
        if let Err(fault) = path::check(path) {
            return Some(fault.into());
        }
        let Some(inside) = path.strip_prefix(item.key.as_str()) else {
            return Some(Rule::Outside(item.key.clone()));
        };
        let (directory, name) = path::split(inside);
        if !directory.is_empty() && !item.recursive {
            Some(Rule::Subdirectory(item.key.clone()))
        } else if directory.bytes().filter(|byte| *byte == b'/').count() > DEEPEST {
            Some(Rule::Deep)
        } else if self.excludes(name) {
            Some(Rule::Excluded)
        } else if !self.takes_name(id, name) {
            Some(Rule::Name(item.key.clone()))
        } else {
            None
        }
    }
}

/// The keys of the agents: without them no agent is let in.
pub const KEYS: &str = "etc/client.keys";

/// Start of the names under which an update is staged beside its destinations.
pub const STAGED_PREFIX: &str = ".cluster-";
/// End of these names, which stock nodes exclude too.
pub const STAGED_SUFFIX: &str = ".tmp";

/// Whether this is a name under which [`super::apply`] stages: `.cluster-<8 hex digits>-<number>.tmp`.
pub fn is_staged(name: &str) -> bool {
    let Some(middle) = name.strip_prefix(STAGED_PREFIX).and_then(|rest| rest.strip_suffix(STAGED_SUFFIX)) else {
        return false;
    };
    let Some((token, number)) = middle.split_once('-') else { return false };
    token.len() == 8
        && token.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(key: &str, path: &str) -> Option<Rule> {
        Items::standard().permits_key(key, path).err().map(|refusal| refusal.rule)
    }

    #[test]
    fn the_standard_set_takes_its_own_files() {
        for (key, path) in [
            ("etc/", "etc/client.keys"),
            ("etc/shared/", "etc/shared/default/agent.conf"),
            ("etc/shared/", "etc/shared/x"),
            ("etc/shared/", "etc/shared/x.merged"),
            ("var/multigroups/", "var/multigroups/ab12/merged.mg"),
            ("etc/lists/", "etc/lists/a/b/c"),
        ] {
            assert_eq!(rule(key, path), None, "{path}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_rule() {
        let key = |text: &str| text.to_owned();
        for (item, path, expected) in [
            ("etc/", "etc/ossec.conf", Rule::Excluded),
            ("etc/", "etc/local_internal_options.conf", Rule::Name(key("etc/"))),
            ("etc/", "etc/shared/a", Rule::Subdirectory(key("etc/"))),
            ("etc/shared/", "etc/rules/a", Rule::Outside(key("etc/shared/"))),
            ("etc/shared/", "etc/shared/../rules/a", Rule::Spelling(PathFault::DotComponent)),
            ("etc/shared/", "/etc/shared/a", Rule::Spelling(PathFault::Absolute)),
            ("etc/shared/", "etc/shared/", Rule::Spelling(PathFault::EmptyComponent)),
            ("etc/shared/", "etc/shared/a/ar.conf", Rule::Excluded),
            ("etc/shared/", "etc/shared/a~", Rule::Excluded),
            ("etc/shared/", "etc/shared/a.tmp", Rule::Excluded),
            ("var/multigroups/", "var/multigroups/a/other", Rule::Name(key("var/multigroups/"))),
            ("bin/", "bin/x", Rule::UnknownKey(key("bin/"))),
            ("etc/rules/", &format!("etc/rules/{}x", "d/".repeat(DEEPEST + 1)), Rule::Deep),
        ] {
            assert_eq!(rule(item, path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_refusal_is_a_sentence_with_the_path() {
        let refusal = Items::standard().permits_key("etc/", "etc/shared/a").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "path 'etc/shared/a' is not permitted: subdirectories of 'etc/' are not synchronised"
        );
    }

    #[test]
    fn staged_names_are_excluded_even_if_no_ending_is() {
        let items = Items::new(Items::standard().items, vec![], vec![]).unwrap();
        assert!(items.excludes(".cluster-0123abcd-17.tmp"));
        for other in [".cluster-.tmp", ".cluster-0123abcd-.tmp", ".cluster-xyz-1.tmp", "a.tmp", ".cluster-0123abcd-1"] {
            assert!(!items.excludes(other), "{other}");
        }
    }

    #[test]
    fn keys_must_be_directories_below_the_home() {
        for bad in ["", "/", "etc", "/etc/", "../x/", "a//"] {
            let mut items = Items::standard().items;
            items[0].key = bad.to_owned();
            assert!(Items::new(items, vec![], vec![]).is_err(), "{bad}");
        }
        let mut twice = Items::standard().items;
        twice[0].key = twice[1].key.clone();
        assert!(Items::new(twice, vec![], vec![]).is_err());
    }
}
