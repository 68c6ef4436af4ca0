//! What the receiving end of agent information or agent groups reports when it has stored them (`spec/protocol.md` 11,
//! 12): the same on both ways.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::system::json;

/// Bytes of the errors in a report: written as JSON they must fit into one request of 64 KiB.
const ERRORS: usize = 16 * 1024;

/// The payload of `syn_m_a_e`, `syn_w_g_e` and `syn_wgc_e`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Chunks that were stored.
    pub updated_chunks: usize,
    /// Texts of the database about chunks that it refused.
    pub error_messages: Vec<String>,
    /// Seconds.
    pub time_spent: f64,
}

impl Report {
    /// Of something that took so long. Errors that do not fit are left out.
    pub fn new(updated_chunks: usize, mut error_messages: Vec<String>, took: Duration) -> Self {
        let mut room = ERRORS;
        error_messages.retain(|error| {
            let left = room.checked_sub(error.len());
            room = left.unwrap_or(room);
            left.is_some()
        });
        Self { updated_chunks, error_messages, time_spent: took.as_secs_f64() }
    }

    /// As it travels.
    pub fn to_json(&self) -> String {
        json::text(self)
    }

    /// A report that has come.
    ///
    /// # Errors
    /// What is wrong with it; the peer is at fault.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(payload).map_err(|error| error.to_string())
    }
}

/// What came of a message: the report, or the text of the failure that came instead.
pub type Outcome = Result<Report, String>;

/// What a payload that has come means; a report that cannot be read counts as a failure.
pub fn outcome(payload: &[u8], failed: bool) -> Outcome {
    if failed { Err(String::from_utf8_lossy(payload).into_owned()) } else { Report::parse(payload) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_form_of_the_original() {
        let report = Report::new(3, Vec::new(), Duration::from_micros(2900));
        assert_eq!(report.to_json(), r#"{"updated_chunks": 3, "error_messages": [], "time_spent": 0.0029}"#);
        assert_eq!(Report::parse(report.to_json().as_bytes()), Ok(report));
        assert!(outcome(b"nonsense", false).is_err());
        assert_eq!(outcome(b"why", true), Err("why".to_owned()));
    }

    #[test]
    fn many_errors_do_not_make_it_too_long_for_a_request() {
        let report = Report::new(0, vec!["ä".repeat(500); 1000], Duration::ZERO);
        assert_eq!(report.error_messages.len(), 16);
        assert!(report.to_json().len() < 64 * 1024, "{}", report.to_json().len());
    }
}
