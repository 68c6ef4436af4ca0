//! `set-agent-groups` (`spec/agentdb.md` 7.12). Each element is done whole, and one that fails does not stop the others.

use rusqlite::params;

use super::{
    hash, names,
    table::{belong, exists, id_of, id_or_new, leave_none_without, make},
};
use crate::{
    agents::embedded::{Answer, Database, answer::Failure, arguments::json, fault::message},
    config::NodeType,
    logging::{debug, warn},
    sockets::json::Json,
};

/// Groups that an agent may belong to.
pub(in crate::agents) const MOST: usize = 128;

/// Agents that the master calls otherwise than the rows of this node; more than ever are changed at a time.
const NAMED: usize = 10_000;

/// What becomes of the groups that an agent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agents) enum Mode {
    /// They go.
    Override,
    /// They stay, before the new ones.
    Append,
    /// An agent that has any is left alone.
    EmptyOnly,
    /// Those that are named go.
    Remove,
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "override" => Self::Override,
            "append" => Self::Append,
            "empty_only" => Self::EmptyOnly,
            "remove" => Self::Remove,
            _ => return None,
        })
    }
}

pub(in crate::agents::embedded) fn set(database: &Database, arguments: &str) -> Result<Answer, Failure> {
    let request = json(arguments)?;
    let (Some(data), Some(mode)) = (request.get("data").and_then(Json::array), request.text_of("mode")) else {
        return Err(Failure::Text("Invalid JSON data, missing required fields".to_owned()));
    };
    let Some(mode) = Mode::parse(mode) else {
        return Err(Failure::Text(format!("Invalid mode '{mode}' in set_agent_groups command")));
    };
    let status = request.text_of("sync_status").unwrap_or("synced");
    let mut failed = false;
    // Once a name was wrong, the stock daemon makes no agent's columns anew in this request.
    let mut valid = true;
    for element in data {
        let (Some(agent), Some(groups)) = (element.number_of("id"), element.get("groups").and_then(Json::array)) else {
            failed = true;
            continue;
        };
        let groups: Vec<&str> = groups.iter().filter_map(Json::text).collect();
        let assignment = Assignment { agent, name: element.text_of("name"), groups: &groups };
        failed |= !assignment.apply(database, mode, status, &mut valid)?;
    }
    if failed {
        return Err(Failure::Text("An error occurred during the set of the groups".to_owned()));
    }
    Ok(Answer::Ok(String::new()))
}

/// Groups of one agent.
pub(in crate::agents) struct Assignment<'a> {
    pub(in crate::agents) agent: i64,
    /// Makes the agent if it does not exist, in a new list of groups only.
    pub(in crate::agents) name: Option<&'a str>,
    pub(in crate::agents) groups: &'a [&'a str],
}

impl Assignment<'_> {
    /// Does it; whether all of it succeeded. A database that fails gives an error and leaves this agent as it was.
    pub(in crate::agents) fn apply(
        &self,
        database: &Database,
        mode: Mode,
        status: &str,
        valid: &mut bool,
    ) -> Result<bool, Failure> {
        let connection = &database.connection;
        connection.prepare_cached("SAVEPOINT assignment")?.raw_execute()?;
        let done = self.try_apply(database, mode, status, valid);
        if let Err(error) = &done {
            warn!(
                "[Cluster] [Agent database]",
                "The groups of agent {:03} are not set: {}",
                self.agent,
                message(error)
            );
            // Some failures have ended the whole transaction.
            if connection.is_autocommit() {
                return Err(Failure::Text("An error occurred during the set of the groups".to_owned()));
            }
            connection.prepare_cached("ROLLBACK TO assignment")?.raw_execute()?;
        }
        connection.prepare_cached("RELEASE assignment")?.raw_execute()?;
        Ok(done.unwrap_or(false))
    }

    fn try_apply(&self, database: &Database, mode: Mode, status: &str, valid: &mut bool) -> rusqlite::Result<bool> {
        if mode == Mode::Override && database.role == NodeType::Worker {
            self.note_another_name(database)?;
        }
        let has = hash::names_of(database, self.agent)?;
        let mut complete = true;
        match mode {
            Mode::EmptyOnly if !has.is_empty() => return Ok(true),
            // What is so already is not done again: the master sends its whole table now and then.
            Mode::Override if self.groups == has && !has.is_empty() => *valid = true,
            Mode::Remove => complete = self.remove(database)?,
            Mode::Override | Mode::Append | Mode::EmptyOnly => {
                let mut belong = has.len();
                if mode == Mode::Override {
                    let sql = "DELETE FROM belongs WHERE id_agent = ?1";
                    database.connection.prepare_cached(sql)?.execute([self.agent])?;
                    belong = 0;
                }
                *valid = self.names_are_valid(belong);
                if !*valid {
                    return Ok(false);
                }
                if mode == Mode::Override && database.role == NodeType::Worker && self.name.is_none() {
                    return Ok(false);
                }
                complete = self.assign(database, mode)?;
            }
        }
        if *valid {
            hash::recompute(database, self.agent, status)?;
            // That an agent has no groups is nobody's fault, and true of thousands at once.
            if self.groups.is_empty() && mode != Mode::Remove {
                debug!(
                    "[Cluster] [Agent database]",
                    "The groups were empty right after the set for agent '{:03}'", self.agent
                );
            }
        }
        Ok(complete)
    }

    /// Remembers that the master means another agent than the row: the number was given again, and its key comes later.
    fn note_another_name(&self, database: &Database) -> rusqlite::Result<()> {
        let Some(name) = self.name else { return Ok(()) };
        let sql = "SELECT 1 FROM agent WHERE id = ?1 AND name <> ?2";
        if database.connection.prepare_cached(sql)?.exists(params![self.agent, name])? {
            let mut named = database.named.borrow_mut();
            if named.len() >= NAMED {
                named.clear();
            }
            named.insert(self.agent, name.to_owned());
        }
        Ok(())
    }

    fn names_are_valid(&self, belong: usize) -> bool {
        if belong + self.groups.len() > MOST {
            warn!("[Cluster] [Agent database]", "Agent {:03} cannot belong to more than {MOST} groups.", self.agent);
            return false;
        }
        let wrong = self.groups.iter().find(|name| !names::is_valid(name));
        wrong.iter().for_each(|name| names::warn(name));
        wrong.is_none()
    }

    fn assign(&self, database: &Database, mode: Mode) -> rusqlite::Result<bool> {
        let mut priority: i64 = match mode {
            Mode::Append => database
                .connection
                .prepare_cached("SELECT coalesce(max(priority) + 1, 0) FROM belongs WHERE id_agent = ?1")?
                .query_row([self.agent], |row| row.get(0))?,
            _ => 0,
        };
        let mut complete = true;
        for name in self.groups {
            let group = match id_or_new(database, name)? {
                // The master has it: its folder may come later, or hold no file and never come.
                None if mode == Mode::Override && database.role == NodeType::Worker => Some(make(database, name)?),
                group => group,
            };
            let assigned = match group {
                Some(group) => self.exists_or_is_made(database, mode)? && self.belong(database, group, priority)?,
                None => false,
            };
            complete &= assigned;
            priority += i64::from(assigned);
        }
        Ok(complete)
    }

    fn exists_or_is_made(&self, database: &Database, mode: Mode) -> rusqlite::Result<bool> {
        if exists(database, self.agent)? {
            return Ok(true);
        }
        let Some(name) = self.name.filter(|_| mode == Mode::Override) else { return Ok(false) };
        database.group_hash.take();
        database.ahead.set(true);
        let sql = "INSERT INTO agent (id, name, ip, register_ip, date_add, `group`)
                   VALUES (?1, ?2, '0.0.0.0', '0.0.0.0', ?3, NULL)";
        database.connection.prepare_cached(sql)?.execute(params![self.agent, name, database.now()])?;
        Ok(true)
    }

    fn belong(&self, database: &Database, group: i64, priority: i64) -> rusqlite::Result<bool> {
        belong(database, self.agent, group, priority).map(|()| true)
    }

    fn remove(&self, database: &Database) -> rusqlite::Result<bool> {
        let mut complete = true;
        for name in self.groups {
            let Some(group) = id_of(database, name)? else {
                complete = false;
                continue;
            };
            let sql = "DELETE FROM belongs WHERE id_agent = ?1 AND id_group = ?2";
            database.connection.prepare_cached(sql)?.execute([self.agent, group])?;
            complete &= leave_none_without(database, self.agent)?;
        }
        Ok(complete)
    }
}
