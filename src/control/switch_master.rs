//! `--switch-master`: another candidate is the master from now on.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Output, failure::Failure, report};
use crate::{
    election::Known,
    local::{Ordered, Wish, client::LocalClient},
    system::visible::visible,
    wire::Command,
};

/// How long the candidate may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Orders the master to hand over to `to`, and waits until that is the master.
pub(super) fn switch(client: &LocalClient, to: &str, json: bool) -> Result<Output, Failure> {
    let begun = Instant::now();
    let wish = Wish { force: false, to: Some(to.to_owned()) };
    let answer = client.ask(Command::Promote, json!(wish).to_string().as_bytes())?;
    let Ordered { ordered } =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "promote", source })?;
    while begun.elapsed() < PATIENCE {
        sleep(PAUSE);
        // A node that changes its role answers nobody for a moment.
        let Ok(answer) = client.ask(Command::Term, b"") else { continue };
        let Ok(Known { term, .. }) = serde_json::from_slice::<Known>(&answer) else { continue };
        if term.claim.master == ordered {
            let took = begun.elapsed().as_secs_f64();
            let document = json!({"promoted": {"master": ordered, "term": term.claim.term}});
            let text = format!("{} is the master of term {}, after {took:.1} s.\n", visible(&ordered), term.claim.term);
            return Ok(Output::text(if json { report::document(&document) } else { text }));
        }
    }
    Err(Failure::NotSwitched { to: ordered, seconds: PATIENCE.as_secs() })
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

    fn switched(answer: Result<Value, ErrorObject>, line: &str) -> Output {
        let daemon = FakeDaemon::start(move |message| {
            let known = json!({"name": "a", "role": "worker", "term": 3, "master": "b", "ids": 7, "former": null, "diverged": []});
            vec![match &answer {
                Ok(answer) if message.command.name() == b"promote" => {
                    Reply::Answer(Command::Ok, answer.to_string().into_bytes())
                }
                Ok(_) => Reply::Answer(Command::Ok, known.to_string().into_bytes()),
                Err(error) => Reply::Answer(Command::Err, error.to_json().into_bytes()),
            }]
        });
        let line = format!("--home {} --switch-master b {line}", daemon.home().display());
        run(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn it_is_told_when_the_other_one_is_the_master_or_why_not() {
        let told = switched(Ok(json!({"ordered": "b"})), "");
        assert!(told.exit == Exit::InSync && told.out.starts_with("b is the master of term 3, after "), "{}", told.out);
        let document: Value = serde_json::from_str(&switched(Ok(json!({"ordered": "b"})), "--json").out).unwrap();
        assert_eq!(document, json!({"promoted": {"master": "b", "term": 3}}));
        let refused = switched(Err(ErrorObject::cluster(3000, "b is not in sync")), "");
        assert!(refused.exit == Exit::CannotAsk && refused.err.contains("b is not in sync"), "{}", refused.err);
    }
}
