//! The programs of the master's manager that workers may ask, and how they are asked.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    agents::{Error, Reply, Store},
    files::ChecksumKind,
    logging::Repeats,
    node::Node,
    registration::{Assigner, Registrar},
    sockets::{Endpoint, Unanswered, frame},
    tasks::local_integrity::LocalIntegrity,
};

/// How long a program may take to answer. One that hangs holds up the requests of its lane for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of programs.
pub const DAEMONS: usize = 4;

/// One of them, by its name in a request (`spec/protocol.md` 13.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// `authd`: registration.
    Registrar,
    /// `remoted`: the group of a new agent.
    Remoted,
    /// `task-manager`: upgrades of agents.
    TaskManager,
    /// `wazuh-db`: the agent database.
    Database,
}

/// A request for one of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Who is asked.
    pub daemon: Daemon,
    /// What it is sent.
    pub content: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// The program's own answer.
    Answer(Vec<u8>),
    /// It did not get the request; the text says why.
    Nothing(String),
    /// It got the request and gave no answer; the text says why.
    Unknown(String),
}

impl Message {
    /// Reads `{"daemon_name": …, "message": object or text}`; an object is passed on as it stands.
    ///
    /// # Errors
    /// The text that the stock daemon gives.
    pub fn parse(request: &[u8]) -> Result<Self, String> {
        let Envelope { daemon_name, message } = serde_json::from_slice(request)
            .map_err(|error| format!("Error 3036 - JSON couldn't be loaded: {error}"))?;
        let daemon = match &*daemon_name {
            "authd" => Daemon::Registrar,
            "remoted" => Daemon::Remoted,
            "task-manager" => Daemon::TaskManager,
            "wazuh-db" => Daemon::Database,
            other => return Err(format!("Error 1014 - Error communicating with socket: '{other}'")),
        };
        let content = match serde_json::from_str::<Cow<'_, str>>(message.get()) {
            Ok(text) => text.into_owned(),
            Err(_) => message.get().to_owned(),
        };
        if content.is_empty() || content.len() > frame::LONGEST {
            let most = frame::LONGEST;
            return Err(format!("Error 1014 - the message has {} bytes; 1 to {most} can be sent", content.len()));
        }
        Ok(Self { daemon, content: content.into_bytes() })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    daemon_name: Cow<'a, str>,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// The programs of this node.
pub struct Daemons {
    agents: Store,
    registrar: Registrar,
    local_integrity: Arc<LocalIntegrity>,
    remoted: Remoted,
    task_manager: Endpoint,
    /// Why requests failed: all workers ask again and again, and of a program that is away it is said once.
    pub(super) told: Repeats,
}

/// Who assigns groups to agents that are new.
enum Remoted {
    Installed(Endpoint),
    Embedded(Assigner),
}

impl Daemons {
    /// Those of the master `node`; nothing is opened before the first request.
    pub fn new(node: &Node, agents: Store, registrar: Registrar, local_integrity: &Arc<LocalIntegrity>) -> Self {
        let endpoint = |program, path| Endpoint::new(program, path, node.shutdown.clone());
        let remoted = if node.home.has_program("wazuh-remoted") {
            Remoted::Installed(endpoint("wazuh-remoted", node.home.remoted_socket()))
        } else {
            Remoted::Embedded(Assigner::new(&node.home, agents.clone()))
        };
        Self {
            agents,
            registrar,
            local_integrity: local_integrity.clone(),
            remoted,
            task_manager: endpoint("wazuh-modulesd", node.home.task_manager_socket()),
            told: Repeats::default(),
        }
    }

    /// Hands a request in; what comes back waits for the answer. Only the registrar begins before that: it does many at
    /// once.
    pub fn begin(&self, daemon: Daemon, content: Vec<u8>) -> Box<dyn FnOnce() -> Answered + '_> {
        match daemon {
            Daemon::Registrar => {
                let wait = self.registrar.begin(&content);
                Box::new(|| answered(wait()))
            }
            Daemon::Remoted => Box::new(move || self.ask_remoted(&content)),
            Daemon::TaskManager => Box::new(move || answered(self.task_manager.ask(&content, PATIENCE))),
            Daemon::Database => Box::new(move || self.ask_database(&content)),
        }
    }

    fn ask_remoted(&self, content: &[u8]) -> Answered {
        match &self.remoted {
            Remoted::Installed(endpoint) => answered(endpoint.ask(content, PATIENCE)),
            Remoted::Embedded(assigner) => {
                let files = self.local_integrity.manifest(ChecksumKind::Md5Blake2b);
                Answered::Answer(assigner.ask(content, files.as_deref()))
            }
        }
    }

    fn ask_database(&self, content: &[u8]) -> Answered {
        let Ok(request) = std::str::from_utf8(content) else {
            return Answered::Nothing("the agent database takes text in UTF-8".into());
        };
        if changes_by_sql(request) {
            return Answered::Answer(b"err Other nodes may only read with sql".to_vec());
        }
        let text = match self.agents.command(request) {
            Ok(Reply::Ok(payload)) => format!("ok {payload}"),
            Ok(Reply::Due(payload)) => format!("due {payload}"),
            Err(Error::Refused(text)) => format!("err {text}"),
            Err(Error::Unavailable(reason)) => return Answered::Unknown(reason),
        };
        Answered::Answer(text.into_bytes())
    }
}

/// Whether this is a statement of SQL that is not one that reads. Nobody sends one from another node, and who has the key of
/// the cluster is not to be master of the database.
fn changes_by_sql(request: &str) -> bool {
    let mut words = request.split_ascii_whitespace();
    let (_, command, first) = (words.next(), words.next(), words.next().unwrap_or_default());
    command == Some("sql") && !first.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"))
}

fn answered(answer: Result<Vec<u8>, Unanswered>) -> Answered {
    match answer {
        Ok(answer) => Answered::Answer(answer),
        Err(Unanswered { reason, sent: false }) => {
            Answered::Nothing(format!("Error 1013 - Unable to connect to socket: {reason}"))
        }
        Err(Unanswered { reason, sent: true }) => Answered::Unknown(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(request: &str) -> Result<(Daemon, String), String> {
        Message::parse(request.as_bytes())
            .map(|message| (message.daemon, String::from_utf8(message.content).expect("text")))
    }

    #[test]
    fn a_request_names_its_program_and_objects_are_passed_on_as_they_stand() {
        let add = r#"{"function":"add",  "arguments":{"name":"é"}}"#;
        assert_eq!(
            parse(&format!(r#"{{"daemon_name": "authd", "message": {add}}}"#)),
            Ok((Daemon::Registrar, add.to_owned()))
        );
        let sql = r#"{"message": "global sql SELECT \"a\"", "daemon_name": "wazuh-db"}"#;
        assert_eq!(parse(sql), Ok((Daemon::Database, "global sql SELECT \"a\"".to_owned())));
    }

    #[test]
    fn other_nodes_may_only_read_with_sql() {
        for reads in ["global sql SELECT 1", "global  sql select count(*) FROM agent", "global get-agent-info 1"] {
            assert!(!changes_by_sql(reads), "{reads}");
        }
        for changes in
            ["global sql DELETE FROM agent", "global sql", "global sql  WITH x AS (SELECT 1) DELETE FROM agent"]
        {
            assert!(changes_by_sql(changes), "{changes}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told_in_the_words_of_the_original() {
        let fault = |request: &str| parse(request).unwrap_err();
        assert_eq!(
            fault(r#"{"daemon_name": "nope", "message": {}}"#),
            "Error 1014 - Error communicating with socket: 'nope'"
        );
        for bad in ["", "[]", "not json", r#"{"daemon_name": "authd"}"#, r#"{"daemon_name": 1, "message": {}}"#] {
            assert!(fault(bad).starts_with("Error 3036 - JSON couldn't be loaded"), "{bad}");
        }
        assert!(fault(r#"{"daemon_name": "authd", "message": {}, "more": 1}"#).contains("more"));
        assert!(fault(r#"{"daemon_name": "authd", "message": ""}"#).contains("0 bytes"));
    }
}
