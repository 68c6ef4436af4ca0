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
        for entry in files.entries().iter().filter(|entry| hex(&entry.md5).eq_ignore_ascii_case(md5)) {
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
