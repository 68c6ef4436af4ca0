//! Where two outlines differ.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::config::Setting;

/// Differences of one node that are told one by one.
const MOST: usize = 500;

/// The longest name and the longest label that are told, in bytes: one of both comes from another node.
const LONGEST: usize = 128;

/// One option that is not the same on a node and on the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `syscheck > frequency`, `localfile [/var/log/syslog] > log_format`.
    pub option: String,
    /// In what it differs.
    pub difference: DifferenceKind,
    /// The line in the master's file.
    pub master_line: Option<usize>,
    /// The line in the node's file.
    pub node_line: Option<usize>,
}

/// In what an option differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Both have it, with another value.
    Differs,
    /// The node has not got it.
    OnlyOnMaster,
    /// The master has not got it.
    OnlyOnNode,
}

/// The differences, and whether there are more than are told.
pub fn compare(master: &[Setting], node: &[Setting]) -> (Vec<Difference>, bool) {
    let mut found = Vec::new();
    level("", master, node, &mut found);
    let more = found.len() > MOST;
    found.truncate(MOST);
    (found, more)
}

/// Compares what stands at one place, name by name.
fn level(path: &str, master: &[Setting], node: &[Setting], found: &mut Vec<Difference>) {
    let mut names: BTreeMap<&str, [Vec<&Setting>; 2]> = BTreeMap::new();
    for (side, settings) in [master, node].into_iter().enumerate() {
        for setting in settings {
            names.entry(&setting.name).or_default()[side].push(setting);
        }
    }
    for [master, node] in names.into_values() {
        if found.len() <= MOST {
            same_name(path, master, node, found);
        }
    }
}

/// Finds out which setting of one side is which of the other: those that are equal, then those of the same label, then
/// blocks in the order of the files.
fn same_name<'a>(path: &str, mut master: Vec<&'a Setting>, mut node: Vec<&'a Setting>, found: &mut Vec<Difference>) {
    pairs(&mut master, &mut node, |setting| Some(setting.hash.as_str()));
    for (one, other) in pairs(&mut master, &mut node, |setting| setting.label.as_deref()) {
        pair(path, one, other, found);
    }
    let nameless = |setting: &Setting| setting.label.is_none() && !setting.settings.is_empty();
    let one_each = master.len() == 1 && node.len() == 1 && master[0].label.is_none() && node[0].label.is_none();
    let alike = |(one, other): &(&&Setting, &&Setting)| one_each || (nameless(one) && nameless(other));
    let count = master.iter().zip(&node).take_while(alike).count();
    for (one, other) in master.drain(..count).zip(node.drain(..count)) {
        pair(path, one, other, found);
    }
    let only_on_master = master.into_iter().map(|setting| Difference {
        option: option(path, setting),
        difference: DifferenceKind::OnlyOnMaster,
        master_line: Some(setting.line),
        node_line: None,
    });
    let only_on_node = node.into_iter().map(|setting| Difference {
        option: option(path, setting),
        difference: DifferenceKind::OnlyOnNode,
        master_line: None,
        node_line: Some(setting.line),
    });
    // One more than is told says that there are more.
    let room = (MOST + 1).saturating_sub(found.len());
    found.extend(only_on_master.chain(only_on_node).take(room));
}

/// Takes the pairs with the same key out of both lists, whose rest keeps its order.
fn pairs<'a>(
    master: &mut Vec<&'a Setting>,
    node: &mut Vec<&'a Setting>,
    key: fn(&'a Setting) -> Option<&'a str>,
) -> Vec<(&'a Setting, &'a Setting)> {
    let mut waiting: HashMap<&str, Vec<&Setting>> = HashMap::new();
    // The last is taken first.
    for setting in node.iter().rev() {
        if let Some(key) = key(setting) {
            waiting.entry(key).or_default().push(setting);
        }
    }
    let mut pairs = Vec::new();
    master.retain(|one| match key(one).and_then(|key| waiting.get_mut(key)).and_then(Vec::pop) {
        Some(other) => {
            pairs.push((*one, other));
            false
        }
        None => true,
    });
    let taken: HashSet<*const Setting> = pairs.iter().map(|(_, other)| std::ptr::from_ref(*other)).collect();
    node.retain(|setting| !taken.contains(&std::ptr::from_ref(*setting)));
    pairs
}

/// Two settings that are meant to be the same, and are not.
fn pair(path: &str, master: &Setting, node: &Setting, found: &mut Vec<Difference>) {
    let (path, before) = (option(path, master), found.len());
    if !master.settings.is_empty() && !node.settings.is_empty() {
        level(&path, &master.settings, &node.settings, found);
    }
    if found.len() == before {
        let (master_line, node_line) = (Some(master.line), Some(node.line));
        found.push(Difference { option: path, difference: DifferenceKind::Differs, master_line, node_line });
    }
}

fn option(path: &str, setting: &Setting) -> String {
    let cut = |text: &'_ str| text[..text.floor_char_boundary(LONGEST)].to_owned();
    let label = setting.label.as_deref().map(|label| format!(" [{}]", cut(label))).unwrap_or_default();
    let between = if path.is_empty() { "" } else { " > " };
    format!("{path}{between}{}{label}", cut(&setting.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::outline_of_text;

    /// The differences of two files, as lines.
    fn differences(master: &str, node: &str) -> Vec<String> {
        let outline =
            |blocks: &str| outline_of_text(&format!("<ossec_config>\n{blocks}</ossec_config>"), b"n").unwrap();
        let (found, more) = compare(&outline(master), &outline(node));
        assert!(!more);
        let line = |line: Option<usize>| line.map_or_else(|| "-".to_owned(), |line| line.to_string());
        let text = |one: Difference| {
            format!("{} {:?} {} {}", one.option, one.difference, line(one.master_line), line(one.node_line))
        };
        found.into_iter().map(text).collect()
    }

    #[test]
    fn an_option_is_named_by_its_way_and_its_lines() {
        let master = "<syscheck>\n<frequency>43200</frequency>\n<disabled>no</disabled></syscheck>";
        assert_eq!(differences(master, master), [""; 0]);
        let node = "<syscheck><disabled>no</disabled>\n\n<frequency>3600</frequency></syscheck>\n<sca/>";
        assert_eq!(differences(master, node), ["sca OnlyOnNode - 5", "syscheck > frequency Differs 3 4"]);
        assert_eq!(
            differences("<a><b><c>1</c></b></a>", "<a><b x='1'><c>1</c></b></a>"),
            ["a > b Differs 2 2"],
            "an attribute belongs to its element"
        );
        assert_eq!(differences("<a>1</a>", "<a><b>1</b></a>"), ["a Differs 2 2"]);
    }

    #[test]
    fn lists_are_compared_as_sets() {
        let list = |entries: &[&str]| {
            let entries: String = entries.iter().map(|entry| format!("<ignore>{entry}</ignore>\n")).collect();
            format!("<syscheck>{entries}</syscheck>")
        };
        assert_eq!(
            differences(&list(&["/a", "/b", "/c"]), &list(&["/c", "/d", "/a", "/e"])),
            [
                "syscheck > ignore OnlyOnMaster 3 -",
                "syscheck > ignore OnlyOnNode - 3",
                "syscheck > ignore OnlyOnNode - 5"
            ]
        );
        assert_eq!(differences(&list(&["/a", "/a"]), &list(&["/a"])), ["syscheck > ignore OnlyOnMaster 3 -"]);
    }

    #[test]
    fn blocks_of_one_kind_are_told_apart_by_their_labels_or_their_order() {
        let file = |name: &str, format: &str| {
            format!("<localfile><location>{name}</location><log_format>{format}</log_format></localfile>\n")
        };
        let master = [file("/a", "syslog"), file("/b", "syslog"), file("/c", "json")].concat();
        let node = [file("/c", "json"), file("/b", "audit"), file("/d", "syslog")].concat();
        assert_eq!(
            differences(&master, &node),
            [
                "localfile [/b] > log_format Differs 3 3",
                "localfile [/a] OnlyOnMaster 2 -",
                "localfile [/d] OnlyOnNode - 4"
            ]
        );
        for (block, child, name) in
            [("remote", "protocol", "remote"), ("active-response", "command", "active-response [c]")]
        {
            let one = |level: u8| format!("<{block}><{child}>c</{child}><level>{level}</level></{block}>\n");
            assert_eq!(
                differences(&[one(1), one(2)].concat(), &[one(3), one(1), one(4)].concat()),
                [format!("{name} > level Differs 3 2"), format!("{name} OnlyOnNode - 4")]
            );
        }
    }

    #[test]
    fn what_is_told_is_bounded() {
        let many: String = (0..2000).map(|number| format!("<o{number}>1</o{number}>")).collect();
        let outline = |text: &str| outline_of_text(&format!("<ossec_config>{text}</ossec_config>"), b"n").unwrap();
        let (found, more) = compare(&outline(&many), &[]);
        assert!((found.len(), more) == (MOST, true));
        // What a hostile node may say: the same name without end, and names and labels without end.
        let setting = |name: &str| Setting {
            name: name.to_owned(),
            label: Some("é".repeat(100_000)),
            line: 1,
            hash: String::new(),
            settings: Vec::new(),
        };
        let (found, more) = compare(&[], &vec![setting("a"); 2000]);
        assert!((found.len(), more) == (MOST, true));
        assert_eq!(found[0].option, format!("a [{}]", "é".repeat(LONGEST / 2)));
        assert_eq!(compare(&[], &[setting(&"n".repeat(100_000))]).0[0].option.len(), 2 * LONGEST + 3);
    }
}
