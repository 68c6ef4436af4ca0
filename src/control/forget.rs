//! `--forget`: a node that is gone for good is not missed any more.

use serde::Deserialize;
use serde_json::json;

use super::{Output, failure::Failure, report};
use crate::system::visible::visible;
use crate::{local::client::LocalClient, verdict::Listed, wire::Command};

/// The answer to `forget_node`.
#[derive(Deserialize)]
struct Forgotten {
    forgotten: Listed,
}

/// Has the master forget the node `name`.
pub(super) fn forget(client: &LocalClient, name: &str, json: bool) -> Result<Output, Failure> {
    let answer = client.ask(Command::ForgetNode, json!(name).to_string().as_bytes())?;
    let Forgotten { forgotten } =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "forget_node", source })?;
    let text = format!("{} is forgotten. If it connects again, it is known again.\n", visible(&forgotten.name));
    Ok(Output::text(if json { report::document(&json!({"forgotten": forgotten})) } else { text }))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::Value;

    use super::*;
    use crate::{
        control::{Exit, run},
        local::client::fake::{FakeDaemon, Reply},
        wire::{Class, ErrorObject},
    };

    fn forget(answer: Result<Value, ErrorObject>, line: &str) -> Output {
        let daemon = FakeDaemon::start(move |_| {
            vec![match &answer {
                Ok(answer) => Reply::Answer(Command::Ok, answer.to_string().into_bytes()),
                Err(error) => Reply::Answer(Command::Err, error.to_json().into_bytes()),
            }]
        });
        let line = format!("--home {} --forget w3 {line}", daemon.home().display());
        run(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn it_is_told_what_became_of_it() {
        let node = json!({"name": "w3", "type": "worker", "version": "4.14.7", "ip": "::1", "state": "away",
            "since": null, "reason": "why", "remedy": null});
        let answer = json!({"forgotten": node});
        let done = forget(Ok(answer.clone()), "");
        assert_eq!(
            (&*done.out, done.exit),
            ("w3 is forgotten. If it connects again, it is known again.\n", Exit::InSync)
        );
        assert_eq!(serde_json::from_str::<Value>(&forget(Ok(answer.clone()), "--json").out).unwrap(), answer);
        let connected = forget(Err(ErrorObject::cluster(3000, "w3 is connected: stop it there first")), "");
        assert!(connected.err.contains("w3 is connected: stop it there first"), "{}", connected.err);
        assert_eq!(connected.exit, Exit::CannotAsk);
        let unknown = forget(Err(ErrorObject::new(Class::NotFound, 1730)), "");
        assert!(
            unknown.err.contains("1730") && unknown.err.contains("Remedy: 'cluster_control -l' lists"),
            "{}",
            unknown.err
        );
        assert_eq!(unknown.exit, Exit::NotInSync);
    }
}
