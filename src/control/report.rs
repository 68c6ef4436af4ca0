//! What every answer has in common: remarks on standard error, the verdict, JSON documents.

use std::fmt::Write;

use serde_json::Value;

use super::{Exit, Output, status::Health};

/// The output `out` with a remark for each node that keeps the verdict from being good.
///
/// `listed` are the nodes that are shown, `asked` those that were named on the command line.
pub(super) fn judged<'a>(
    out: String,
    health: &Health,
    listed: impl IntoIterator<Item = (&'a str, bool)>,
    asked: &[String],
) -> Output {
    let mut err = String::new();
    let mut seen = Vec::new();
    for (name, master) in listed {
        seen.push(name);
        let reason = if master { None } else { health.reason(name) };
        if let Some(reason) = reason {
            // Writing to a string cannot fail.
            let _ = writeln!(err, "Not in sync: {}: {}.", visible(name), visible(&reason));
        }
    }
    for name in asked.iter().filter(|name| !seen.contains(&name.as_str())) {
        let _ = writeln!(err, "Not connected: {}.", visible(name));
    }
    let exit = if err.is_empty() { Exit::InSync } else { Exit::NotInSync };
    Output { out, err, exit }
}

/// The text of a JSON document, indented by two blanks, and a line end.
pub(super) fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Text of another node as it may stand on a terminal: without control characters.
pub(super) fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
