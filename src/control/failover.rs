//! `--failover-status`: who the master is, as this node knows it, and what this node has set aside.

use serde_json::json;

use super::{Exit, Output, failure::Failure, report};
use crate::{local::client::LocalClient, system::visible::visible, term::Status, wire::Command};

/// Shows it. Something that was set aside is to be looked at, so then it does not end as if all were well.
pub(super) fn show(client: &LocalClient, json: bool) -> Result<Output, Failure> {
    let answer = client.ask(Command::Term, b"")?;
    let status: Status =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "get_term", source })?;
    let out = if json { report::document(&json!(status)) } else { text(&status) };
    let exit = if status.diverged.is_empty() && status.former.is_none() { Exit::InSync } else { Exit::NotInSync };
    Ok(Output { out, err: String::new(), exit })
}

fn text(status: &Status) -> String {
    let Status { name, role, claim, ids, former, diverged } = status;
    let master = match &*claim.master {
        "" => "none has told its term yet".to_owned(),
        master => format!("{}, in term {}", visible(master), claim.term),
    };
    let mut text = format!(
        "This node:  {}, a {}\nMaster:     {master}\nAgent ids:  another master would begin above {ids:03}, if it took over by force\n",
        visible(name),
        visible(role)
    );
    if let Some(term) = former {
        text.push_str(&format!(
            "Diverged:   what this node has alone as the master of term {term} is set aside with the next files\n"
        ));
    }
    for kept in diverged {
        text.push_str(&format!(
            "Diverged:   {} files of term {} in {}; its list names them. Copy what is wanted to the master, then remove it\n",
            kept.files,
            kept.term,
            visible(&kept.path)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::Value;

    use super::*;
    use crate::{
        control::run,
        local::client::fake::{FakeDaemon, Reply},
    };

    fn status(answer: Value, line: &str) -> Output {
        let daemon = FakeDaemon::start(move |_| vec![Reply::Answer(Command::Ok, answer.to_string().into_bytes())]);
        let line = format!("--home {} --failover-status {line}", daemon.home().display());
        run(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn it_is_told_who_the_master_is_and_what_waits_for_a_person() {
        let mut answer = json!({"name": "a", "role": "master", "term": 0, "master": "a", "ids": 231, "former": null, "diverged": []});
        let shown = status(answer.clone(), "");
        assert_eq!(
            shown.out,
            "This node:  a, a master\nMaster:     a, in term 0\nAgent ids:  another master would begin above 231, if it took over by force\n"
        );
        assert_eq!(shown.exit, Exit::InSync);
        answer["master"] = "".into();
        assert!(status(answer.clone(), "").out.contains("Master:     none has told its term yet\n"));
        answer["diverged"] = json!([{"term": 0, "files": 2, "path": "/opt/queue/diverged/0"}]);
        let shown = status(answer.clone(), "");
        assert!(shown.out.contains("Diverged:   2 files of term 0 in /opt/queue/diverged/0; "), "{}", shown.out);
        assert_eq!(shown.exit, Exit::NotInSync);
        assert_eq!(serde_json::from_str::<Value>(&status(answer.clone(), "--json").out).unwrap(), answer);
    }
}
