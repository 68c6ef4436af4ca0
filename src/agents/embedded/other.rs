//! Requests that are not about agents (`spec/agentdb.md` 6, 8).

use std::{fmt::Write, time::Duration};

use rusqlite::OptionalExtension;
use serde_json::{Value, json};

use super::{Answer, Database, answer::Failure, arguments::integer, sql::PATIENCE};

/// A testing aid, which may hold the database as long as any statement.
pub(super) fn sleep(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let milliseconds = u64::try_from(integer(arguments)).unwrap_or_default();
    database.limit.rest(Duration::from_millis(milliseconds).min(PATIENCE));
    Ok(Answer::Raw("ok ".to_owned()))
}

pub(super) fn fragmentation(database: &Database, _: &str) -> Result<Answer, Failure> {
    let count = |pragma| database.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let free = count("freelist_count")? * 100 / count("page_count")?.max(1);
    Ok(Answer::Ok(format!(r#"{{"fragmentation":0,"free_pages_percentage":{free}}}"#)))
}

/// Backups are copies of the file; nothing here makes them yet.
pub(super) fn not_here(_: &Database, _: &str) -> Result<Answer, Failure> {
    let text = "the embedded database makes no backups and needs no vacuum; copy queue/db/global.db while nothing runs";
    Err(Failure::Text(text.to_owned()))
}

/// `wazuhdb remove <id>…`: there are no databases of single agents, so what is asked for is true.
pub(super) fn wazuhdb(rest: &str) -> Result<Answer, Failure> {
    let none = || Failure::Text("No agents id provided".to_owned());
    let ids = rest.strip_prefix("remove ").ok_or_else(none)?;
    let mut agents = String::new();
    for id in ids.split(' ').filter(|id| !id.is_empty()) {
        let (id, result) = match id.parse::<u32>() {
            Ok(id) => (format!("{id:03}"), "ok"),
            Err(_) => (id.to_owned(), "Invalid agent ID"),
        };
        // Writing to memory cannot fail.
        let _ = write!(agents, "{}{}:\"{result}\"", if agents.is_empty() { "" } else { "," }, json!(id));
    }
    if agents.is_empty() { Err(none()) } else { Ok(Answer::Ok(format!("{{\"agents\":{{{agents}}}}}"))) }
}

/// `agent <id> …`: databases of single agents belong to programs that this node does not have.
pub(super) fn agent(database: &Database, rest: &str) -> Result<Answer, Failure> {
    let id = rest.split(' ').next().unwrap_or_default();
    let Ok(number) = id.parse::<u32>() else { return Err(Failure::Text(format!("Invalid agent ID '{id:.32}'"))) };
    let mut known = database.connection.prepare_cached("SELECT 1 FROM agent WHERE id = ?1")?;
    let known: Option<i64> = known.query_row([number], |row| row.get(0)).optional()?;
    Err(Failure::Text(match known {
        None => "Agent not found".to_owned(),
        Some(_) => format!("Couldn't open DB for agent {number}"),
    }))
}

/// A control request, `{"command":"getstats"}`.
pub(super) fn control(request: &str) -> Answer {
    let told = |error: u8, message: &str, data: Value| {
        Answer::Raw(json!({"error": error, "message": message, "data": data}).to_string())
    };
    let Ok(request) = serde_json::from_str::<Value>(request) else {
        return told(1, "Invalid JSON input", json!({}));
    };
    match request["command"].as_str() {
        None => told(2, "Empty command", json!({})),
        Some("getstats") => told(0, "ok", json!({"name": "wazuh-clusterd", "embedded": true})),
        Some("getconfig") => match request.get("parameters") {
            None => told(4, "Empty parameters", json!({})),
            Some(parameters) => match parameters["section"].as_str() {
                None => told(5, "Empty section", json!({})),
                Some("wdb") => {
                    let backup = json!({"database": "global", "enabled": false});
                    told(0, "ok", json!({"wdb": {"backup": [backup]}}))
                }
                Some("internal") => {
                    let times = json!({"commit_time_min": 0, "commit_time_max": 0});
                    told(0, "ok", json!({"internal": {"wazuh_db": times}}))
                }
                Some(_) => told(6, "Unrecognized or not configured section", json!({})),
            },
        },
        Some(_) => told(3, "Unrecognized command", json!({})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_of_databases_that_are_not_there_succeeds() {
        let removed = |rest| wazuhdb(rest).map_err(|failure| failure.to_string());
        assert_eq!(removed("remove 1 x"), Ok(Answer::Ok(r#"{"agents":{"001":"ok","x":"Invalid agent ID"}}"#.into())));
        assert_eq!(removed("remove "), Err("No agents id provided".to_owned()));
        assert_eq!(removed("drop 1"), Err("No agents id provided".to_owned()));
    }

    #[test]
    fn control_requests_have_numbered_errors() {
        let cases = [
            ("{", 1),
            ("{}", 2),
            (r#"{"command":"x"}"#, 3),
            (r#"{"command":"getconfig"}"#, 4),
            (r#"{"command":"getconfig","parameters":{}}"#, 5),
            (r#"{"command":"getconfig","parameters":{"section":"x"}}"#, 6),
            (r#"{"command":"getconfig","parameters":{"section":"wdb"}}"#, 0),
        ];
        for (request, error) in cases {
            let Answer::Raw(text) = control(request) else { panic!("{request}") };
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["error"], error, "{request}");
        }
    }
}
