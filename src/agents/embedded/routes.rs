//! The routes of the HTTP socket (`spec/agentdb.md` 9).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{Database, answer::Failure, groups, info::LONGEST_OBJECT, rows};
use crate::{logging::warn, sockets::json::Json, system::json::push_text};

/// The largest groups and operating systems that the summary of all agents names.
const LARGEST: usize = 5;

/// Bytes of the longest list of agents in a request: half a million of them.
const LONGEST_LIST: usize = 4 * 1024 * 1024;

/// Status and body of the answer to a request. The path has no question mark behind it and is decoded.
pub fn route(database: &Database, method: &str, path: &str, body: &str) -> (u16, String) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let answer = match (method, &parts[..]) {
        ("GET", ["v1", "agents", "ids"]) => ids(database),
        ("GET", ["v1", "agents", "ids", "groups"]) => groups_of_all(database),
        ("GET", ["v1", "agents", "ids", "groups", name]) => ids_of_group(database, name),
        ("GET", ["v1", "agents", "sync"]) => pending(database),
        ("GET", ["v1", "agents", id, "groups"]) => groups_of(database, id),
        ("POST", ["v1", "agents", "sync"]) => database.store_info(body).map(|_| String::new()),
        ("POST", ["v1", "agents", "summary"]) => summary(database, body),
        ("POST", ["v1", "agents", "restartinfo"]) => restart_info(database, body),
        _ => return (404, String::new()),
    };
    match answer {
        Ok(body) => (200, body),
        Err(failure) => {
            warn!("[Cluster] [Agent database]", "{method} {path} failed: {failure}");
            (500, String::new())
        }
    }
}

fn pending(database: &Database) -> Result<String, Failure> {
    // Whoever asks here has no way to ask for the rest at once, and gets it the next time.
    database.take_info(LONGEST_OBJECT).map(|taken| taken.info)
}

fn numbers(database: &Database, sql: &str, value: &[&dyn rusqlite::ToSql]) -> Result<String, Failure> {
    let mut statement = database.connection.prepare_cached(sql)?;
    let (mut rows, mut out) = (statement.query(value)?, "[".to_owned());
    while let Some(row) = rows.next()? {
        let comma = if out.len() > 1 { "," } else { "" };
        // Writing to memory cannot fail.
        let _ = write!(out, "{comma}{}", row.get::<_, i64>(0)?);
    }
    out.push(']');
    Ok(out)
}

fn ids(database: &Database) -> Result<String, Failure> {
    numbers(database, "SELECT id FROM agent WHERE id > 0 ORDER BY id", &[])
}

fn ids_of_group(database: &Database, name: &str) -> Result<String, Failure> {
    let sql = "SELECT id_agent FROM belongs JOIN `group` ON `group`.id = id_group WHERE name = ?1 ORDER BY id_agent";
    numbers(database, sql, &[&name])
}

fn groups_of(database: &Database, id: &str) -> Result<String, Failure> {
    let id = id.parse().map_err(|_| Failure::Text(format!("'{id:.32}' is no number of an agent")))?;
    let names = groups::names_of(database, id)?;
    Ok(list(names.iter().map(String::as_str)))
}

fn groups_of_all(database: &Database) -> Result<String, Failure> {
    let mut statement = database.connection.prepare_cached(
        "SELECT id_agent, name FROM belongs JOIN `group` ON `group`.id = id_group ORDER BY id_agent, priority",
    )?;
    let (mut rows, mut of_agents) = (statement.query([])?, BTreeMap::<String, Vec<String>>::new());
    while let Some(row) = rows.next()? {
        of_agents.entry(row.get::<_, i64>(0)?.to_string()).or_default().push(row.get(1)?);
    }
    if of_agents.is_empty() {
        return Ok("{}".to_owned());
    }
    let members = of_agents.iter().map(|(id, names)| (id.as_str(), list(names.iter().map(String::as_str))));
    Ok(format!("{{\"data\":{}}}", object(members)))
}

fn summary(database: &Database, body: &str) -> Result<String, Failure> {
    let wanted = if body.is_empty() { None } else { Some(integers(short(body)?)) };
    let counted = |sql| count(database, sql, wanted.as_ref());
    let lists = [
        ("agents_by_status", counted("SELECT id, connection_status FROM agent WHERE id > 0")?, usize::MAX),
        (
            "agents_by_groups",
            counted("SELECT id_agent, name FROM belongs JOIN `group` ON `group`.id = id_group WHERE id_agent > 0")?,
            LARGEST,
        ),
        ("agents_by_os", counted("SELECT id, os_platform FROM agent WHERE id > 0 AND os_platform <> ''")?, LARGEST),
    ];
    let members = lists.into_iter().filter(|(_, counts, _)| !counts.is_empty()).map(|(name, counts, most)| {
        let mut counts: Vec<(String, i64)> = counts.into_iter().collect();
        if wanted.is_none() && counts.len() > most {
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            counts.truncate(most);
            counts.sort();
        }
        (name, object(counts.iter().map(|(name, count)| (name.as_str(), count.to_string()))))
    });
    Ok(object(members))
}

/// How often each name comes in rows of an agent and a name, of these agents or of all.
fn count(database: &Database, sql: &str, wanted: Option<&BTreeSet<i64>>) -> Result<BTreeMap<String, i64>, Failure> {
    let mut counts = BTreeMap::<String, i64>::new();
    let mut statement = database.connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if wanted.is_none_or(|wanted| wanted.contains(&id)) {
            *counts.entry(row.get(1)?).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

fn restart_info(database: &Database, body: &str) -> Result<String, Failure> {
    let (mut ids, mut negate) = (BTreeSet::new(), false);
    if !body.trim().is_empty() {
        let request = Json::parse(short(body)?).ok_or_else(|| Failure::Json(body.to_owned()))?;
        ids = request.get("ids").and_then(Json::array).unwrap_or_default().iter().filter_map(Json::number).collect();
        negate = request.get("negate").and_then(Json::flag).unwrap_or_default();
    }
    let sql = "SELECT id, coalesce(version, '') AS version FROM agent WHERE connection_status = 'active' ORDER BY id";
    let mut statement = database.connection.prepare_cached(sql)?;
    let (mut rows, mut items) = (statement.query([])?, String::new());
    while let Some(row) = rows.next()? {
        if ids.is_empty() || ids.contains(&row.get(0)?) != negate {
            if !items.is_empty() {
                items.push(',');
            }
            rows::push_row(&mut items, row)?;
        }
    }
    Ok(format!("{{\"items\":[{items}]}}"))
}

/// A list of agents; one that is too long would take many times its memory.
fn short(body: &str) -> Result<&str, Failure> {
    let wrong = || Failure::Text(format!("a list of agents has {} bytes; {LONGEST_LIST} are the most", body.len()));
    if body.len() > LONGEST_LIST { Err(wrong()) } else { Ok(body) }
}

/// All whole numbers of a text.
fn integers(text: &str) -> BTreeSet<i64> {
    text.split(|letter: char| !letter.is_ascii_digit() && letter != '-').filter_map(|part| part.parse().ok()).collect()
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut out = "[".to_owned();
    for text in texts {
        if out.len() > 1 {
            out.push(',');
        }
        push_text(&mut out, text);
    }
    out.push(']');
    out
}

/// An object of members whose values are JSON.
fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut out = "{".to_owned();
    for (name, value) in members {
        if out.len() > 1 {
            out.push(',');
        }
        push_text(&mut out, name);
        out.push(':');
        out.push_str(&value);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::NodeType, system::clock::Clock};

    #[test]
    fn routes_answer_as_those_of_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(&folder.path().join("global.db"), NodeType::Master, Clock::real()).unwrap();
        let get = |database: &Database, path: &str| route(database, "GET", path, "");
        assert_eq!(get(&database, "/v1/agents/ids"), (200, "[]".to_owned()));
        assert_eq!(get(&database, "/v1/agents/ids/groups"), (200, "{}".to_owned()));
        for request in [
            "insert-agent-group default",
            "insert-agent-group web",
            r#"insert-agent {"id":1,"name":"a","date_add":1}"#,
            r#"insert-agent {"id":10,"name":"b","date_add":1}"#,
            r#"insert-agent {"id":2,"name":"c","date_add":1}"#,
            r#"set-agent-groups {"mode":"append","data":[{"id":1,"groups":["default","web"]},{"id":10,"groups":["web"]}]}"#,
            r#"update-agent-data {"id":1,"connection_status":"active","group_config_status":"synced","os_platform":"ubuntu","version":"Wazuh v4.14.7"}"#,
        ] {
            assert_eq!(
                database.answer(&format!("global {request}")),
                super::super::Answer::Ok(String::new()),
                "{request}"
            );
        }
        for (path, body) in [
            ("/v1/agents/ids", "[1,2,10]"),
            ("/v1/agents/001/groups", r#"["default","web"]"#),
            ("/v1/agents/7/groups", "[]"),
            ("/v1/agents/ids/groups/web", "[1,10]"),
            ("/v1/agents/ids/groups", r#"{"data":{"1":["default","web"],"10":["web"]}}"#),
        ] {
            assert_eq!(get(&database, path), (200, body.to_owned()), "{path}");
        }
        for (path, body, answer) in [
            (
                "summary",
                "",
                r#"{"agents_by_status":{"active":1,"never_connected":2},"agents_by_groups":{"default":1,"web":2},"agents_by_os":{"ubuntu":1}}"#,
            ),
            ("summary", "[2, 10]", r#"{"agents_by_status":{"never_connected":2},"agents_by_groups":{"web":1}}"#),
            ("summary", "[]", "{}"),
            ("restartinfo", "", r#"{"items":[{"id":0,"version":""},{"id":1,"version":"Wazuh v4.14.7"}]}"#),
            ("restartinfo", r#"{"ids":[0],"negate":true}"#, r#"{"items":[{"id":1,"version":"Wazuh v4.14.7"}]}"#),
            ("restartinfo", r#"{"ids":[2],"negate":false}"#, r#"{"items":[]}"#),
        ] {
            assert_eq!(
                route(&database, "POST", &format!("/v1/agents/{path}"), body),
                (200, answer.to_owned()),
                "{path} {body}"
            );
        }
        assert_eq!(get(&database, "/v1/agents/x/groups").0, 500);
        assert_eq!(get(&database, "/v1/nothing").0, 404);
        assert_eq!(route(&database, "POST", "/v1/agents/sync", "{").0, 500);
        assert_eq!(route(&database, "POST", "/v1/agents/sync", r#"{"syncreq_keepalive":[{"id":2},{"id":99}]}"#).0, 200);
        assert_eq!(get(&database, "/v1/agents/sync"), (200, "{}".to_owned()));
    }
}
