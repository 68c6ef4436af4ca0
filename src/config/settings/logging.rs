//! `logging`: the member of cluster.json for [`crate::logging`].

use serde_json::Value;

use super::section::Section;
use crate::logging::{LogFormat, LogSettings};

/// The smallest limit: below it, more would be archived than written.
const SMALLEST: u64 = 64 * 1024;

pub(super) fn read(mut section: Section<'_>) -> LogSettings {
    let sizes = format!("0, or a whole number of bytes from {SMALLEST}");
    let size = |value: &Value| value.as_u64().filter(|size| *size == 0 || *size >= SMALLEST);
    let settings = LogSettings {
        format: section.convert("format", "plain or json", format).unwrap_or(LogFormat::Plain),
        max_size: section.convert("max_size", &sizes, size).unwrap_or_default(),
    };
    section.finish();
    settings
}

fn format(value: &Value) -> Option<LogFormat> {
    match value.as_str()? {
        "plain" => Some(LogFormat::Plain),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}
