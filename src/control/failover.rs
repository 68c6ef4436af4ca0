//! `--failover-status`: who the master is, as this node knows it, and what this node has set aside.

use serde_json::json;

use super::{Exit, Output, failure::Failure, report, table};
use crate::{
    election::{Known, Status},
    local::client::LocalClient,
    system::{clock::utc, visible::visible},
    term,
    wire::Command,
};

/// Shows it. Something that was set aside is to be looked at, so then it does not end as if all were well.
pub(super) fn show(client: &LocalClient, json: bool) -> Result<Output, Failure> {
    let answer = client.ask(Command::Term, b"")?;
    let known: Known =
        serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "get_term", source })?;
    let out = if json { report::document(&json!(known)) } else { text(&known) };
    let Known { term, failover } = &known;
    let is_well = term.diverged.is_empty() && term.former.is_none() && failover.as_ref().is_none_or(may_be_followed);
    let exit = if is_well { Exit::InSync } else { Exit::NotInSync };
    Ok(Output { out, err: String::new(), exit })
}

/// Whether there is a master, and somebody who would follow it by itself.
fn may_be_followed(failover: &Status) -> bool {
    failover.error.is_none()
        && failover.master.is_some()
        && failover.candidates.iter().any(|seen| seen.is_there && seen.may_follow)
}

fn text(Known { term, failover }: &Known) -> String {
    let mut text = term_text(term);
    if let Some(failover) = failover {
        text.push_str(&failover_text(failover));
    }
    text
}

fn failover_text(failover: &Status) -> String {
    let Status { master, acts_for, ttl, candidates, hindrance, error } = failover;
    let key = match (master, error) {
        (_, Some(error)) => format!("etcd cannot be asked: {}", visible(error)),
        (None, None) => "nobody is the master".to_owned(),
        (Some(master), None) => {
            let since = utc(master.since());
            format!("{} at {}, since {since}", visible(&master.node), visible(&master.address))
        }
    };
    let mut text = format!("At etcd:    {key}\n");
    if let Some(left) = acts_for {
        text.push_str(&format!(
            "Renewal:    this node acts as the master for {left:.1} s more, and renews that each {} s\n",
            ttl / 5
        ));
    }
    if let Some(why) = hindrance {
        text.push_str(&format!("This node cannot be the master: {}\n", visible(why)));
    }
    let rows: Vec<_> = candidates
        .iter()
        .map(|seen| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let place = failover.place(seen).to_string();
            [seen.name.clone(), place, text(&seen.address), text(&seen.version), text(&seen.hindrance)]
        })
        .collect();
    if !rows.is_empty() {
        let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
        text.push('\n');
        text.push_str(&table::draw(["CANDIDATE", "STATE", "ADDRESS", "VERSION", "HINDRANCE"], &rows));
    }
    text
}

fn term_text(status: &term::Status) -> String {
    let term::Status { name, role, claim, ids, former, diverged } = status;
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
        answer["failover"] = Value::Null;
        assert_eq!(serde_json::from_str::<Value>(&status(answer.clone(), "--json").out).unwrap(), answer);
    }

    #[test]
    fn it_is_told_who_may_follow() {
        let seen = |name: &str, is_there: bool, may_follow: bool| json!({"name": name, "is_there": is_there, "may_follow": may_follow, "address": null, "version": null, "hindrance": null});
        let failover = |candidates: [Value; 2]| {
            json!({
                "master": {"node": "a", "address": "10.0.0.1:1516", "since": 1_700_000_000},
                "acts_for": 7.5, "ttl": 10, "candidates": candidates, "hindrance": null, "error": null,
            })
        };
        let answer = |failover: Value| json!({"name": "a", "role": "master", "term": 2, "master": "a", "ids": 7, "former": null, "diverged": [], "failover": failover});
        let well = failover([seen("a", true, false), seen("b", true, true)]);
        let shown = status(answer(well.clone()), "");
        assert!(shown.out.contains("At etcd:    a at 10.0.0.1:1516, since 2023-11-14"), "{}", shown.out);
        assert!(shown.out.contains("acts as the master for 7.5 s more"), "{}", shown.out);
        assert!(shown.out.contains("\nb          may follow"), "{}", shown.out);
        assert_eq!(shown.exit, Exit::InSync);
        let alone = failover([seen("a", true, false), seen("b", true, false)]);
        assert_eq!(status(answer(alone), "").exit, Exit::NotInSync);
        let mut gone = well;
        gone["error"] = "http://10.0.0.9:2379 refuses connections".into();
        let shown = status(answer(gone), "");
        assert!(shown.out.contains("At etcd:    etcd cannot be asked: http://10.0.0.9:2379"), "{}", shown.out);
        assert_eq!(shown.exit, Exit::NotInSync);
    }
}
