//! The group of an agent that connects to a worker for the first time: what a worker asks its master's `wazuh-remoted`,
//! where that is not installed (`spec/registration.md` 10.1).

use serde_json::{Value, json};

use crate::{
    agents::{Before, Error, Store, first_groups},
    config::{Home, guesses_groups},
    files::Manifest,
    sockets::json::Json,
    system::hex::hex,
};

const INVALID_JSON: (u8, &str) = (2, "Invalid JSON input");
const EMPTY_COMMAND: (u8, &str) = (3, "Empty command");
const UNKNOWN_COMMAND: (u8, &str) = (4, "Unrecognized command");
const EMPTY_PARAMETERS: (u8, &str) = (5, "Empty parameters");
const INVALID_PARAMETER: (u8, &str) = (12, "Invalid agent or md5 parameter");

/// Assigns groups on a master.
pub struct Assigner {
    store: Store,
    /// Whether the files that an agent has tell its group.
    guesses: bool,
}

impl Assigner {
    /// One that keeps the agents of this database.
    pub fn new(home: &Home, store: Store) -> Self {
        Self { store, guesses: guesses_groups(home) }
    }

    /// Gives the answer to `{"command":"assigngroup",…}`; `files` are those of this node. It asks the agent database:
    /// callers hold no lock and are never the reader of a connection.
    pub fn ask(&self, request: &[u8], files: Option<&Manifest>) -> Vec<u8> {
        let answer = match self.assign(&String::from_utf8_lossy(request), files) {
            Ok(group) => json(0, "ok", json!({ "group": group })),
            Err(Failed::Refused((code, message))) => json(code, message, json!({})),
            Err(Failed::Database(error)) => json(1, &error.to_string(), json!({})),
        };
        answer.into_bytes()
    }

    fn assign(&self, request: &str, files: Option<&Manifest>) -> Result<String, Failed> {
        let request = Json::parse_first(request).ok_or(INVALID_JSON)?;
        match request.text_of("command").ok_or(EMPTY_COMMAND)? {
            "assigngroup" => {}
            _ => return Err(UNKNOWN_COMMAND.into()),
        }
        let parameters = request.get("parameters").ok_or(EMPTY_PARAMETERS)?;
        let text = |name| parameters.text_of(name).ok_or(INVALID_PARAMETER);
        let (agent, md5) = (text("agent")?, text("md5")?);
        let agent: u32 = agent.parse().ok().filter(|agent| *agent > 0).ok_or(INVALID_PARAMETER)?;
        let registered = self.store.groups_of(agent)?.ok_or(INVALID_PARAMETER)?;
        let guess = match files.filter(|_| self.guesses && registered.is_empty()) {
            Some(files) => self.guess(md5, files)?,
            None => None,
        };
        let groups = first_groups(&registered, guess.as_deref(), |name| self.store.has_group(name))?.join(",");
        self.store.assign(agent, &groups, Before::Keep)?;
        Ok(groups)
    }

    /// The group, or the groups, whose merged configuration has this MD5.
    fn guess(&self, md5: &str, files: &Manifest) -> Result<Option<String>, Error> {
        let mut multigroup = None;
        for entry in files.entries().iter().filter(|entry| hex(entry.md5()).eq_ignore_ascii_case(md5)) {
            match entry.path.split('/').collect::<Vec<_>>()[..] {
                ["etc", "shared", group, "merged.mg"] => return Ok(Some(group.to_owned())),
                ["var", "multigroups", hash, "merged.mg"] => multigroup = multigroup.or(Some(hash)),
                _ => {}
            }
        }
        multigroup.map_or(Ok(None), |hash| self.store.groups_of_hash(hash))
    }
}

fn json(error: u8, message: &str, data: Value) -> String {
    format!(r#"{{"error":{error},"message":{},"data":{data}}}"#, json!(message))
}

enum Failed {
    Refused((u8, &'static str)),
    Database(Error),
}

impl From<(u8, &'static str)> for Failed {
    fn from(refusal: (u8, &'static str)) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc, time::Instant};

    use super::*;
    use crate::{
        agents::{Backend, Reply, embedded::Embedded},
        config::NodeType,
        files::{Items, Scanner, md5_of},
        system::{clock::Clock, shutdown, thread::Group},
    };

    #[test]
    fn a_new_agent_goes_where_its_registration_or_its_files_say_or_to_default() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let home = Home::new(folder.path());
        fs::create_dir_all(folder.path().join("queue/db")).unwrap();
        let (trigger, order) = shutdown::channel();
        let threads = Group::new(2);
        let (database, owner) = Embedded::new(home.agent_database(), NodeType::Master, Clock::real(), order);
        owner.start(&threads).unwrap();
        let store = Store::new(database.clone());
        let tell = |request: &str| drop(database.query(&format!("global {request}")).unwrap());
        for group in ["default", "web", "db"] {
            tell(&format!("insert-agent-group {group}"));
            write(&format!("etc/shared/{group}/merged.mg"), group);
        }
        for (id, group) in [(1, ""), (2, r#","group":"db,web""#), (3, ""), (4, ""), (5, "")] {
            tell(&format!(r#"insert-agent {{"id":{id},"name":"agent{id}","date_add":1{group}}}"#));
        }
        // What an agent in both groups has.
        tell(r#"set-agent-groups {"mode":"override","data":[{"id":5,"groups":["default","web"]}]}"#);
        let Ok(Reply::Ok(rows)) = database.query("global get-agent-info 5") else { panic!("no row") };
        let rows: Value = serde_json::from_str(&rows).unwrap();
        write(&format!("var/multigroups/{}/merged.mg", rows[0]["group_hash"].as_str().unwrap()), "both");
        let groups_of = |id| store.groups_of(id).unwrap().unwrap();

        let manifest = Scanner::new(folder.path(), Arc::new(Items::standard())).scan(false).manifest;
        let ask = |assigner: &Assigner, agent: &str, file: &str| {
            let md5 = hex(&md5_of(file.as_bytes()));
            let parameters = format!(r#"{{"agent":"{agent}","md5":"{md5}"}}"#);
            let request = format!(r#"{{"command":"assigngroup","parameters":{parameters}}}"#);
            String::from_utf8(assigner.ask(request.as_bytes(), Some(&manifest))).unwrap()
        };
        let told = |group: &str| format!(r#"{{"error":0,"message":"ok","data":{{"group":"{group}"}}}}"#);
        let plain = Assigner::new(&home, store.clone());
        assert_eq!(ask(&plain, "001", "web"), told("default"), "nobody has asked for guesses");
        assert_eq!(groups_of(1), "default");
        write("etc/local_internal_options.conf", "remoted.guess_agent_group=1\n");
        let guessing = Assigner::new(&home, store.clone());
        assert_eq!(ask(&guessing, "001", "web"), told("default"), "it stays where it is");
        assert_eq!(ask(&guessing, "002", "default"), told("db,web"), "as registered");
        assert_eq!(ask(&guessing, "3", "web"), told("web"));
        assert_eq!(ask(&guessing, "004", "both"), told("default,web"));
        assert_eq!(["db,web", "web", "default,web"], [2, 3, 4].map(groups_of)[..]);
        let changes = database.query(r#"global sync-agent-groups-get {"condition":"sync_status"}"#).unwrap();
        assert!(format!("{changes:?}").contains(r#"\"groups\":[\"db\",\"web\"]"#), "{changes:?}");

        let refused = |request: &str, code: u8, message: &str| {
            let answer = String::from_utf8(guessing.ask(request.as_bytes(), None)).unwrap();
            assert_eq!(answer, format!(r#"{{"error":{code},"message":"{message}","data":{{}}}}"#));
        };
        refused("{", 2, "Invalid JSON input");
        refused("{}", 3, "Empty command");
        refused(r#"{"command":"other"}"#, 4, "Unrecognized command");
        refused(r#"{"command":"assigngroup"}"#, 5, "Empty parameters");
        for parameters in [r#"{}"#, r#"{"agent":"001"}"#, r#"{"agent":"x","md5":""}"#, r#"{"agent":"099","md5":""}"#] {
            let request = format!(r#"{{"command":"assigngroup","parameters":{parameters}}}"#);
            refused(&request, 12, "Invalid agent or md5 parameter");
        }
        drop(trigger);
        assert_eq!(threads.join(Instant::now() + std::time::Duration::from_secs(60)), 0);
        let away = guessing.ask(br#"{"command":"assigngroup","parameters":{"agent":"001","md5":""}}"#, None);
        assert!(away.starts_with(br#"{"error":1,"message":"the agent database is not available: "#));
    }
}
