//! `logging`: ours.

use serde_json::Value;

use super::section::Section;

/// The smallest limit: below it, more would be archived than written.
const SMALLEST: u64 = 64 * 1024;

/// How `logs/cluster.log` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// The form of its lines.
    pub format: LogFormat,
    /// Bytes from which on it is archived before midnight, too; 0 for no limit.
    pub max_size: u64,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// That of the original (`spec/protocol.md` 15.5).
    Plain,
    /// One JSON object on each line.
    Json,
}

impl Logging {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let sizes = format!("0, or a whole number of bytes from {SMALLEST}");
        let size = |value: &Value| value.as_u64().filter(|size| *size == 0 || *size >= SMALLEST);
        let logging = Self {
            format: section.convert("format", "plain or json", format).unwrap_or(LogFormat::Plain),
            max_size: section.convert("max_size", &sizes, size).unwrap_or_default(),
        };
        section.finish();
        logging
    }
}

fn format(value: &Value) -> Option<LogFormat> {
    match value.as_str()? {
        "plain" => Some(LogFormat::Plain),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}
