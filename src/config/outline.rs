//! `ossec.conf` without its values: names of options, the lines where they stand, and a keyed hash of each.
//!
//! Two outlines that were made with the same nonce show where two nodes differ: passwords and keys of integrations stand in
//! that file, so no value leaves its node. Only what tells blocks of one kind apart stays readable, such as the name or the
//! place of the file that a block is about. Whoever has an outline and its nonce can try guesses at a value; that shows
//! what is one of a few, and not what was made at random.

use std::{collections::HashMap, path::Path};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    Secret, ossec_conf, source,
    xml::{self, Element},
};
use crate::system::hex::hex;

/// Blocks that may be there more than once, each for itself. Several blocks of any other name are one to their daemon.
const SEVERAL: [&str; 12] = [
    "active-response",
    "agentless",
    "command",
    "email_alerts",
    "gcp-bucket",
    "integration",
    "localfile",
    "remote",
    "reports",
    "socket",
    "syslog_output",
    "wodle",
];

/// The longest label, in bytes.
const LONGEST: usize = 128;

/// Bytes of a hash that are kept.
const HASH: usize = 16;

/// An option, or a block of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The name of the element.
    pub name: String,
    /// What tells it apart from others of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where it begins in the file.
    pub line: usize,
    /// Of its attributes, its text and all that is in it, in hexadecimal digits. The order of options does not count.
    pub hash: String,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Self>,
}

/// The outline of the file, without `<cluster>`, in which nodes always differ.
///
/// # Errors
/// A sentence: the file cannot be read, or is no XML.
pub fn outline(file: &Path, nonce: &[u8]) -> Result<Vec<Setting>, String> {
    let bytes = source::read(file, ossec_conf::LIMIT).map_err(|error| format!("{}: {error}", file.display()))?;
    outline_of_text(&Secret::lossy(&bytes), nonce).map_err(|reason| format!("{}{reason}", file.display()))
}

/// [`outline`] of a text.
///
/// # Errors
/// A sentence that begins with the line: the text is no XML.
pub fn outline_of_text(text: &str, nonce: &[u8]) -> Result<Vec<Setting>, String> {
    let mut blocks =
        xml::other_blocks(text).map_err(|malformed| format!(":{}: {}", malformed.line, malformed.problem))?;
    merge(&mut blocks);
    Ok(blocks.iter().map(|block| setting(block, nonce)).collect())
}

/// Makes one of the blocks of a name that are one to their daemon.
fn merge(blocks: &mut Vec<Element>) {
    let (mut merged, mut first) = (Vec::<Element>::with_capacity(blocks.len()), HashMap::new());
    for block in blocks.drain(..) {
        if SEVERAL.contains(&block.name.as_str()) {
            merged.push(block);
            continue;
        }
        let at = *first.entry(block.name.clone()).or_insert(merged.len());
        match merged.get_mut(at) {
            Some(earlier) => {
                earlier.children.extend(block.children);
                earlier.attributes.extend(block.attributes);
            }
            None => merged.push(block),
        }
    }
    *blocks = merged;
}

fn setting(element: &Element, nonce: &[u8]) -> Setting {
    let settings: Vec<Setting> = element.children.iter().map(|child| setting(child, nonce)).collect();
    Setting {
        name: element.name.clone(),
        label: label(element),
        line: element.line,
        hash: hash(element, &settings, nonce),
        settings,
    }
}

/// The children that tell blocks of one kind apart; the first may be an attribute. In the documented configuration none of
/// them is a secret.
fn labels(block: &str) -> &'static [&'static str] {
    match block {
        // Its location is one of four words.
        "active-response" => &["command"],
        _ => &["name", "location", "alias"],
    }
}

fn label(element: &Element) -> Option<String> {
    let names = labels(&element.name);
    let attribute = element.attributes.iter().find(|(name, _)| name == names[0]).map(|(_, value)| &**value);
    let child = |name: &&str| element.children.iter().find(|child| child.name == *name).map(|child| &*child.text);
    let text = attribute.or_else(|| names.iter().find_map(child))?.trim();
    Some(text[..text.floor_char_boundary(LONGEST)].to_owned()).filter(|text| !text.is_empty())
}

/// Each part goes in with its length, so that no two elements are alike by chance.
fn hash(element: &Element, settings: &[Setting], nonce: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(nonce).expect("HMAC takes a key of any length");
    let mut add = |part: &str| {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    };
    add(&element.name);
    let mut attributes: Vec<(&str, &str)> =
        element.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    attributes.sort();
    add(&attributes.len().to_string());
    for (name, value) in attributes {
        add(name);
        add(value.trim());
    }
    let mut text = Secret::with_capacity(element.text.len());
    for word in element.text.split_whitespace() {
        text.push_str(word);
        text.push_str(" ");
    }
    add(&text);
    let mut hashes: Vec<&str> = settings.iter().map(|setting| setting.hash.as_str()).collect();
    hashes.sort_unstable();
    hashes.into_iter().for_each(&mut add);
    hex(&mac.finalize().into_bytes()[..HASH])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(blocks: &str) -> Vec<Setting> {
        outline_of_text(&format!("<ossec_config>{blocks}</ossec_config>"), b"nonce").unwrap()
    }

    fn same(one: &str, other: &str) -> bool {
        let hashes = |text| read(text).into_iter().map(|setting| setting.hash).collect::<Vec<_>>();
        hashes(one) == hashes(other)
    }

    #[test]
    fn order_space_comments_and_parts_do_not_count_and_all_else_does() {
        let one = "<global><a>1</a><b x='1' y='2'>two  words</b></global>";
        assert!(same(one, "<global>\n<!-- c --><b y='2' x='1'> two\nwords </b><a> 1 </a></global>"));
        assert!(same(
            one,
            "<global><a>1</a></global></ossec_config><ossec_config><global><b x='1' y='2'>two words</b></global>"
        ));
        for other in [
            "<global><a>2</a><b x='1' y='2'>two words</b></global>",
            "<global><a>1</a><b x='1'>two words</b></global>",
            "<global><a>1</a><b x='1' y='2'>two words</b><b/></global>",
            "<global><a>1<b x='1' y='2'>two words</b></a></global>",
            "<globals><a>1</a><b x='1' y='2'>two words</b></globals>",
        ] {
            assert!(!same(one, other), "{other}");
        }
        assert!(!same("<global><a>1</a><a>2</a></global>", "<global><a>12</a></global>"));
    }

    #[test]
    fn values_do_not_show_and_another_nonce_makes_other_hashes() {
        let text = "<ossec_config><integration><name>slack</name><api_key>s3cr3t</api_key></integration>\
                    <cluster><key>0123</key></cluster>\n<wodle name='w' user='s3cr3t'><disabled>no</disabled></wodle>\
                    <localfile><location>/var/log/x</location></localfile>\
                    <localfile><command>ps s3cr3t</command><alias>processes</alias></localfile>\
                    <active-response><location>local</location><command>drop</command></active-response>\
                    </ossec_config>";
        let outline = outline_of_text(text, b"1").unwrap();
        let json = serde_json::to_string(&outline).unwrap();
        assert!(!json.contains("s3cr3t") && !json.contains("cluster") && json.contains("api_key"), "{json}");
        let labels: Vec<_> = outline.iter().map(|block| block.label.as_deref().unwrap()).collect();
        assert_eq!(labels, ["slack", "w", "/var/log/x", "processes", "drop"]);
        assert_eq!((outline[0].line, outline[1].line, outline[0].settings.len()), (1, 2, 2));
        assert_ne!(outline, outline_of_text(text, b"2").unwrap());
        assert_eq!(serde_json::from_str::<Vec<Setting>>(&json).unwrap(), outline);
    }

    #[test]
    fn blocks_that_stand_for_themselves_are_not_put_together() {
        let blocks = "<localfile><location>a</location></localfile><localfile><location>b</location></localfile>";
        assert_eq!(read(blocks).len(), 2);
        assert_eq!(outline_of_text("<ossec_config><a>", b"").unwrap_err(), ":1: <a> is never closed");
    }
}
