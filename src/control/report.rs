//! What every answer has in common: remarks on standard error, the verdict, JSON documents.

use std::fmt::Write;

use serde_json::Value;

use super::{Exit, Output, status::Health};
use crate::system::visible::is_hidden;

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
    escaped(&format!("{value:#}\n"))
}

/// The same in one line.
pub(super) fn line(value: &Value) -> String {
    escaped(&format!("{value}\n"))
}

/// JSON leaves some characters as they are that may mean something to a terminal.
fn escaped(json: &str) -> String {
    let escape = |c: char| match c {
        '\n' => "\n".to_owned(),
        c if is_hidden(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    json.chars().map(escape).collect()
}

/// Text of another node as it may stand on a terminal.
pub(super) fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if is_hidden(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_written() {
        let text = "é日\u{9b}2J\u{7f}\u{202e}\n\x1b";
        assert_eq!(visible(text), r"é日\u{9b}2J\u{7f}\u{202e}\n\u{1b}");
        let told = document(&json!([text]));
        assert_eq!(told, "[\n  \"é日\\u009b2J\\u007f\\u202e\\n\\u001b\"\n]\n");
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json!([text]));
        assert_eq!(line(&json!([text])).lines().count(), 1);
    }
}
