//! What is wrong with a configuration, in sentences for the person who wrote it.
//!
//! The first part of every sentence is the text of the stock daemon, where it has one: log readers know it. What
//! follows in parentheses is ours: the place, what stands there, and what to write instead.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::system::visible;

/// The longest quotation of what stands in a file, in characters.
const LONGEST: usize = 200;

/// The same for what may quote it among words of ours.
const LONGEST_ADVICE: usize = 1000;

/// One thing that is wrong, with its place and its remedy. Always the fault of the configuration, never of a peer.
///
/// A fault about the key never holds the key's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: Code,
    problem: String,
    file: PathBuf,
    line: Option<usize>,
    detail: Option<String>,
    remedy: String,
}

/// The stock daemon's error codes for configuration (`spec/protocol.md` 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// A value of the `<cluster>` block is not acceptable.
    Cluster = 3004,
    /// `cluster.json` can not be read or holds a value that is not acceptable.
    Settings = 3005,
    /// `ossec.conf` can not be read.
    Reading = 3006,
}

impl Code {
    fn title(self) -> &'static str {
        match self {
            Self::Cluster => "Error in cluster configuration",
            Self::Settings => "Error reading cluster.json",
            Self::Reading => "Error reading cluster configuration",
        }
    }
}

impl Fault {
    pub(super) fn new(code: Code, file: &Path, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code,
            problem: printable(&problem.into()),
            file: file.to_path_buf(),
            line: None,
            detail: None,
            remedy: fit(&remedy.into(), LONGEST_ADVICE),
        }
    }

    /// The line of the file, counted from 1.
    pub(super) fn line(mut self, line: impl Into<Option<usize>>) -> Self {
        self.line = line.into();
        self
    }

    /// What stands in the file, unless the problem has named it. Never to be used for the key.
    pub(super) fn found(self, text: &str) -> Self {
        let shown = format!("'{}'", printable(text));
        if self.problem.contains(&shown) { self } else { self.detail(format!("found {shown}")) }
    }

    /// More about what stands in the file, in words.
    pub(super) fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = Some(fit(&text.into(), LONGEST_ADVICE));
        self
    }

    /// The stock daemon's error code: 3004, 3005 or 3006.
    pub fn code(&self) -> u16 {
        self.code as u16
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error {} - {}: {} ({}", self.code(), self.code.title(), self.problem, self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(detail) = &self.detail {
            write!(f, "{detail}; ")?;
        }
        write!(f, "{})", self.remedy)
    }
}

impl std::error::Error for Fault {}

/// All faults of a configuration, so that they can be mended in one go. Its text has one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// `text` fit for one log line: what a terminal would obey is escaped, so that a value can not forge a line, and the
/// length is bounded.
pub(super) fn printable(text: &str) -> String {
    fit(text, LONGEST)
}

/// [`printable`], with a length of its own, in characters.
fn fit(text: &str, longest: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(longest));
    for (count, character) in text.chars().enumerate() {
        if count == longest {
            shown.push_str("...");
            break;
        }
        visible::push(&mut shown, character);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_place_finding_and_remedy() {
        let fault =
            Fault::new(Code::Cluster, Path::new("/o.conf"), "Port is wrong.", "write another").line(14).found("80");
        assert_eq!(
            fault.to_string(),
            "Error 3004 - Error in cluster configuration: Port is wrong. (/o.conf:14: found '80'; write another)"
        );
        let bare = Fault::new(Code::Reading, Path::new("/o.conf"), "gone", "make it");
        assert_eq!(bare.to_string(), "Error 3006 - Error reading cluster configuration: gone (/o.conf: make it)");
        assert_eq!(Faults(vec![bare.clone(), bare]).to_string().lines().count(), 2);
    }

    #[test]
    fn a_value_can_not_forge_a_log_line() {
        assert_eq!(printable("a\nERROR: b\u{1b}"), "a\\nERROR: b\\u{1b}");
        assert_eq!(printable(&"é".repeat(300)), format!("{}...", "é".repeat(200)));
        let quoting = "write </a\nERROR: b>";
        let fault = Fault::new(Code::Reading, Path::new("/o.conf"), quoting, quoting).detail(quoting).to_string();
        assert!(!fault.contains('\n') && fault.matches("a\\nERROR: b").count() == 3, "{fault}");
    }
}
