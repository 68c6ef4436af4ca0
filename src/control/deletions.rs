//! `--confirm-deletions`: lets go what the master holds back from its workers.

use std::{collections::BTreeMap, fmt::Write};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Exit, Output, failure::Failure, report};
use crate::system::visible::visible;
use crate::{local::client::LocalClient, tasks::integrity::Held, wire::Command};

/// The answer to `confirm_del`.
#[derive(Deserialize)]
struct Confirmed {
    confirmed: BTreeMap<String, Held>,
}

/// Confirms them for the named workers, or for all.
pub(super) fn confirm(client: &LocalClient, nodes: &[String], json: bool) -> Result<Output, Failure> {
    let filter = if nodes.is_empty() { Value::Null } else { json!(nodes) };
    let answer = client.ask(Command::ConfirmDeletions, filter.to_string().as_bytes())?;
    let Confirmed { confirmed } =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "confirm_del", source })?;
    let unknown: Vec<&String> = nodes.iter().filter(|name| !confirmed.contains_key(*name)).collect();
    let (mut out, mut err) = (String::new(), String::new());
    for (name, held) in &confirmed {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}: {}.", visible(name), held.consequence());
    }
    for name in &unknown {
        let _ = writeln!(err, "Nothing is held back from {}.", visible(name));
    }
    if confirmed.is_empty() && unknown.is_empty() {
        out.push_str("No deletions are held back.\n");
    }
    if json {
        out = report::document(&json!({"confirmed": confirmed}));
    }
    Ok(Output { out, err, exit: if unknown.is_empty() { Exit::InSync } else { Exit::NotInSync } })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::{
        control::run,
        local::client::fake::{FakeDaemon, Reply},
    };

    fn confirmed(answer: Value, line: &str) -> Output {
        let daemon = FakeDaemon::start(move |_| vec![Reply::Answer(Command::Ok, answer.to_string().into_bytes())]);
        let line = format!("--home {} --confirm-deletions {line}", daemon.home().display());
        run(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn each_worker_is_told_with_what_happens_to_it() {
        let held = json!({
            "w1": {"deletions": 37, "of": 40, "keys": false},
            "w2": {"deletions": 37, "of": 40, "keys": true},
            "w3": {"deletions": 0, "of": 3, "keys": true},
        });
        let answer = json!({"confirmed": held});
        let shown = confirmed(answer.clone(), "");
        let text = "w1: 37 of its 40 files are deleted now.\n\
                    w2: 37 of its 40 files are deleted now, and it takes the agent keys of the master.\n\
                    w3: it takes the agent keys of the master now.\n";
        assert_eq!(shown, Output { out: text.to_owned(), err: String::new(), exit: Exit::InSync });
        let named = confirmed(answer.clone(), "-fn w1 w2 w3 w4 --json");
        assert_eq!(serde_json::from_str::<Value>(&named.out).unwrap(), answer);
        assert_eq!((&*named.err, named.exit), ("Nothing is held back from w4.\n", Exit::NotInSync));
        assert_eq!(confirmed(json!({"confirmed": {}}), "").out, "No deletions are held back.\n");
    }
}
