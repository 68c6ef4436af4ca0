//! Which command is which function (`spec/agentdb.md` 2, 6).

use std::time::Instant;

use log::Level;

use super::{
    Answer, Database, agents,
    answer::{Failure, near},
    fault::{blames_the_request, unusable},
    groups, info, labels, other, sql,
};
use crate::logging::log;

/// Does one command; the text is what follows its name and one blank.
pub(super) type Handler = fn(&Database, arguments: &str) -> Result<Answer, Failure>;

struct Command {
    name: &'static str,
    handler: Handler,
    effect: Effect,
    /// Whether it needs something behind its name.
    arguments: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It changes nothing.
    Reads,
    /// What it has changed stays, whatever it answers.
    Writes,
    /// It gives rows out and marks them: both or neither.
    Gives,
}

const fn read(name: &'static str, handler: Handler) -> Command {
    Command { name, handler, effect: Effect::Reads, arguments: true }
}

const fn write(name: &'static str, handler: Handler) -> Command {
    Command { name, handler, effect: Effect::Writes, arguments: true }
}

const fn give(name: &'static str, handler: Handler) -> Command {
    Command { name, handler, effect: Effect::Gives, arguments: true }
}

impl Command {
    const fn alone(mut self) -> Self {
        self.arguments = false;
        self
    }
}

const COMMANDS: [Command; 34] = [
    // It begins a transaction of its own if it has to.
    read("sql", sql::sql),
    write("insert-agent", agents::insert),
    write("update-agent-name", agents::update_name),
    write("update-agent-data", agents::update_data),
    read("get-labels", labels::get),
    write("update-keepalive", agents::update_keepalive),
    write("update-connection-status", agents::update_connection_status),
    write("update-status-code", agents::update_status_code),
    write("delete-agent", agents::delete),
    read("select-agent-name", agents::name),
    read("select-agent-group", agents::group),
    read("find-agent", agents::find),
    read("get-agent-info", agents::info),
    read("get-all-agents", agents::all),
    read("get-agents-by-connection-status", agents::by_connection_status),
    give("disconnect-agents", agents::disconnect),
    write("reset-agents-connection", agents::reset_connection),
    give("sync-agent-info-get", info::get).alone(),
    write("sync-agent-info-set", info::set),
    // One that was just made is written down.
    write("find-group", groups::find),
    write("insert-agent-group", groups::insert),
    read("select-groups", groups::all).alone(),
    read("select-group-belong", groups::of_agent),
    read("get-group-agents", groups::agents),
    write("delete-group", groups::delete),
    write("set-agent-groups", groups::set),
    give("sync-agent-groups-get", groups::sync),
    read("get-groups-integrity", groups::integrity),
    write("recalculate-agent-group-hashes", groups::recalculate).alone(),
    read("get-distinct-groups", groups::distinct).alone(),
    read("get_fragmentation", other::fragmentation).alone(),
    read("sleep", other::sleep),
    read("backup", other::not_here),
    read("vacuum", other::not_here).alone(),
];

/// How a request of another program is to be done.
pub(super) enum Pace<'a> {
    /// It takes no longer than the rows that it is about.
    Short,
    /// It holds the database for as long as it says.
    Rests,
    /// A statement of SQL, which may take any time.
    Sql(&'a str),
}

/// How to do a request.
pub(super) fn pace(request: &str) -> Pace<'_> {
    let words = text(request).strip_prefix("global ").map(split);
    match words {
        Some(("sql", Some(statement))) => Pace::Sql(statement),
        Some(("sleep", Some(_))) => Pace::Rests,
        _ => Pace::Short,
    }
}

/// What counts of a request: C programs send the byte that ends their text, too.
fn text(request: &str) -> &str {
    let request = request.split('\0').next().unwrap_or_default();
    request.strip_suffix('\n').unwrap_or(request).trim_start_matches([' ', '\n'])
}

impl Database {
    /// Does what a request of another program says.
    pub fn answer(&mut self, request: &str) -> Answer {
        self.try_answer(request).unwrap_or_else(|failure| Answer::Err(failure.to_string()))
    }

    pub(super) fn try_answer(&mut self, request: &str) -> Result<Answer, Failure> {
        run(self, request).inspect_err(|failure| self.complain(failure))
    }

    /// Tells the log what a person must see to: the program that asked can do nothing about a full disk.
    fn complain(&self, failure: &Failure) {
        if let Failure::Sql(error) = failure
            && !blames_the_request(error)
        {
            let text = unusable(self.path(), error);
            let level = self.complaints.level(Level::Error, &text, Instant::now());
            log!("[Cluster] [Agent database]", level, "{text}.");
        }
    }
}

/// Does what a request says.
pub(super) fn run(database: &Database, request: &str) -> Result<Answer, Failure> {
    let request = text(request);
    if request.starts_with('{') {
        return Ok(other::control(request));
    }
    let (actor, rest) = split(request);
    let Some(rest) = rest else { return Err(Failure::Syntax(request.to_owned())) };
    match actor {
        "global" => global(database, rest),
        "wazuhdb" => other::wazuhdb(rest),
        "agent" => other::agent(database, rest),
        "task" | "mitre" => Err(Failure::Text(format!("Couldn't open DB {actor}"))),
        _ => Err(Failure::Text(format!("Invalid DB query actor: '{}'", near(actor)))),
    }
}

fn global(database: &Database, rest: &str) -> Result<Answer, Failure> {
    let (name, arguments) = split(rest);
    let command = COMMANDS.iter().find(|command| command.name == name);
    let Some(command) = command.filter(|command| arguments.is_some() || !command.arguments) else {
        return Err(Failure::Syntax(name.to_owned()));
    };
    let arguments = arguments.unwrap_or_default();
    match command.effect {
        Effect::Reads => (command.handler)(database, arguments),
        Effect::Writes => database.transaction(|database| (command.handler)(database, arguments)),
        Effect::Gives => database.whole(|database| (command.handler)(database, arguments)),
    }
}

/// What stands before the first blank that no backslash precedes, and what stands behind it.
fn split(text: &str) -> (&str, Option<&str>) {
    let bytes = text.as_bytes();
    let blank = (0..bytes.len()).find(|&at| bytes[at] == b' ' && (at == 0 || bytes[at - 1] != b'\\'));
    blank.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_behind_a_backslash_does_not_end_a_word() {
        assert_eq!(split(r"a\ b c d"), (r"a\ b", Some("c d")));
        assert_eq!(split("a"), ("a", None));
        assert_eq!(split("a "), ("a", Some("")));
    }
}
