//! What every answer has in common: remarks on standard error, the verdict, JSON documents.

use std::fmt::Write;

use serde_json::Value;

use super::{Exit, Output, moment::utc};
use crate::{
    system::visible::{is_hidden, visible},
    verdict::{Listed, State, sum},
};

/// The output `out` with a remark for each node that keeps the verdict from being good, and their sum.
///
/// `nodes` are those that are shown, `asked` those that were named on the command line.
pub(super) fn judged(out: String, nodes: &[Listed], asked: &[String]) -> Output {
    let mut err = String::new();
    // Writing to a string cannot fail.
    let _ = nodes.iter().filter(|node| !is_in_sync(node)).try_for_each(|node| remark(&mut err, node));
    for name in asked.iter().filter(|name| nodes.iter().all(|node| node.name != **name)) {
        let _ = writeln!(err, "Not known: {}.", visible(name));
    }
    let exit = if err.is_empty() { Exit::InSync } else { Exit::NotInSync };
    if exit == Exit::NotInSync && !nodes.is_empty() {
        err.insert_str(0, &format!("{}.\n", sum(nodes.iter().map(|node| node.state))));
    }
    // A doubt does not count against a node.
    for (name, doubt) in
        nodes.iter().filter(|node| is_in_sync(node)).filter_map(|node| Some((&node.name, node.reason.as_ref()?)))
    {
        let _ = writeln!(err, "Doubtful: {}: {}.", visible(name), visible(doubt));
    }
    Output { out, err, exit }
}

fn remark(err: &mut String, Listed { name, state, since, reason, remedy, .. }: &Listed) -> std::fmt::Result {
    let what = if *state == State::Away { "Not connected" } else { "Not in sync" };
    write!(err, "{what}: {}", visible(name))?;
    if let Some(reason) = reason {
        write!(err, ": {}", visible(reason))?;
    }
    if let Some(since) = since {
        write!(err, " (since {} UTC)", utc(since))?;
    }
    writeln!(err, ".")?;
    remedy.iter().try_for_each(|remedy| writeln!(err, "    Remedy: {}.", visible(remedy)))
}

/// Whether nothing is to be said against the node.
pub(super) fn is_in_sync(node: &Listed) -> bool {
    node.state == State::InSync
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
