//! `--promote`: this node is the master from now on.

use std::time::Duration;

use serde_json::json;

use super::{Output, failure::Failure, report};
use crate::{
    local::{Wish, client::LocalClient},
    system::visible::visible,
    term::Promoted,
    wire::Command,
};

/// How long the present master may take to hand over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the node become the master; by `force`, the present one is not asked.
pub(super) fn promote(client: LocalClient, force: bool, json: bool) -> Result<Output, Failure> {
    let client = client.with_time_limit(PATIENCE);
    let answer = client.ask(Command::Promote, json!(Wish { force, to: None }).to_string().as_bytes())?;
    let promoted: Promoted =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "promote", source })?;
    Ok(Output::text(if json { report::document(&json!({"promoted": promoted})) } else { text(&promoted) }))
}

fn text(Promoted { master, term, former, lost }: &Promoted) -> String {
    let (master, former) = (visible(master), visible(former));
    let how = match lost {
        None => format!("{former} has handed over and follows it; nothing is lost."),
        Some(lost) => format!("{former} was not asked; {}.", visible(lost)),
    };
    format!(
        "{master} is the master of term {term}. {how}\nWhere the manager's own daemons run beside this one, they go by <node_type> \
         of ossec.conf:\nwrite it on both nodes, and restart the manager there.\n"
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::Value;

    use super::*;
    use crate::{
        control::{Exit, run},
        local::client::fake::{FakeDaemon, Reply},
        wire::ErrorObject,
    };

    fn promote(answer: Result<Value, ErrorObject>, line: &str) -> Output {
        let daemon = FakeDaemon::start(move |_| {
            vec![match &answer {
                Ok(answer) => Reply::Answer(Command::Ok, answer.to_string().into_bytes()),
                Err(error) => Reply::Answer(Command::Err, error.to_json().into_bytes()),
            }]
        });
        let line = format!("--home {} --promote {line}", daemon.home().display());
        run(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn it_is_told_who_is_the_master_and_what_may_be_lost() {
        let planned = json!({"master": "b", "term": 1, "former": "a", "lost": null});
        let told = promote(Ok(planned.clone()), "");
        assert_eq!(told.exit, Exit::InSync);
        assert!(
            told.out.starts_with("b is the master of term 1. a has handed over and follows it; nothing is lost.\n")
        );
        let document: Value = serde_json::from_str(&promote(Ok(planned.clone()), "--json").out).unwrap();
        assert_eq!(document, json!({ "promoted": planned }));
        let forced = json!({"master": "b", "term": 1, "former": "a", "lost": "what a has registered is not here"});
        let told = promote(Ok(forced), "--force");
        assert!(told.out.contains("a was not asked; what a has registered is not here.\n"), "{}", told.out);
        let refused = promote(Err(ErrorObject::cluster(3000, "this node is the master already")), "");
        assert!(refused.err.contains("this node is the master already"), "{}", refused.err);
        assert_eq!(refused.exit, Exit::CannotAsk);
    }
}
