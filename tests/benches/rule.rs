//! The rule that is changed on the master.

use std::{fs, io, path::Path};

/// Where it is in a home.
pub const RULE: &str = "etc/rules/local_rules.xml";

/// Replaces it as an editor does.
pub fn change(rule: &Path, text: &str) -> io::Result<()> {
    let new = rule.with_extension("tmp");
    fs::write(&new, content(text))?;
    fs::rename(new, rule)
}

/// About 1 KB.
pub fn content(text: &str) -> String {
    format!("{}{}</group>\n", begin(text), "x".repeat(900))
}

/// Whether the rule at this path has this text.
pub fn reads(rule: &Path, text: &str) -> bool {
    fs::read(rule).is_ok_and(|content| content.starts_with(begin(text).as_bytes()))
}

fn begin(text: &str) -> String {
    format!("<group name=\"{text}\">")
}
