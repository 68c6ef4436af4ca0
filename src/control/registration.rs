//! `--add-agent`, `--remove-agent` and `--agent-key`: the master's registrar, from any node.
//!
//! On the master it is asked at its own socket, on a worker through the daemon, which passes the request to the master
//! (`spec/registration.md` 2, 8).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Output,
    arguments::{Request, Wishes},
    failure::Failure,
    report, table,
};
use crate::{
    config::{Home, NodeType},
    local::client::LocalClient,
    sockets::Endpoint,
    system::shutdown,
    wire::Command,
};

/// How long the registrar may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Who registers, as this program reaches it.
pub(super) struct Registrar {
    client: LocalClient,
    home: Home,
}

/// An agent with its key.
#[derive(Deserialize)]
struct Agent {
    id: String,
    name: String,
    ip: String,
    key: String,
}

#[derive(Deserialize)]
struct Answer {
    error: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl Registrar {
    /// The registrar of the cluster of this installation.
    pub(super) fn new(client: LocalClient, home: Home) -> Self {
        Self { client: client.with_time_limit(PATIENCE), home }
    }

    /// Registers an agent; shows its id and its key.
    pub(super) fn add(&self, name: &str, request: &Request) -> Result<Output, Failure> {
        let Wishes { ip, groups } = &request.wishes;
        let mut arguments = Map::new();
        arguments.insert("name".into(), name.into());
        arguments.insert("ip".into(), ip.as_deref().unwrap_or("any").into());
        if let Some(groups) = groups {
            arguments.insert("groups".into(), groups.as_str().into());
        }
        if request.force {
            let always = json!({
                "enabled": true, "key_mismatch": false, "after_registration_time": 0,
                "disconnected_time": {"enabled": false, "value": 0},
            });
            arguments.insert("force".into(), always);
        }
        show(self.ask("add", arguments.into())?, request.json)
    }

    /// Shows the key of an agent.
    pub(super) fn key(&self, id: &str, json: bool) -> Result<Output, Failure> {
        show(self.ask("get", json!({ "id": id }))?, json)
    }

    /// Removes an agent; with `purge` nothing of it stays in client.keys.
    pub(super) fn remove(&self, id: &str, purge: bool, json: bool) -> Result<Output, Failure> {
        self.ask("remove", json!({"id": id, "purge": purge}))?;
        let out = if json {
            report::document(&json!({"id": id, "removed": true, "purged": purge}))
        } else {
            format!("The agent {id} was removed.\n")
        };
        Ok(Output::text(out))
    }

    fn ask(&self, function: &str, arguments: Value) -> Result<Value, Failure> {
        let request = json!({"function": function, "arguments": arguments});
        let answer = if self.is_master()? {
            // Nobody gives this program the order to stop.
            let (_never, shutdown) = shutdown::channel();
            let socket = self.home.registration_socket();
            Endpoint::new("the registrar", socket, shutdown)
                .ask(request.to_string().as_bytes(), PATIENCE)
                .map_err(|unanswered| Failure::Registrar(unanswered.reason))?
        } else {
            let request = json!({"daemon_name": "authd", "message": request}).to_string();
            self.client.ask(Command::SendAsync, request.as_bytes())?
        };
        let malformed = |source| Failure::Malformed { what: function_name(function), source };
        match serde_json::from_slice(&answer).map_err(malformed)? {
            Answer { error: 0, data, .. } => Ok(data),
            Answer { error, message, .. } => Err(Failure::NotRegistered { code: error, message }),
        }
    }

    /// Whether the daemon of this installation is the master.
    fn is_master(&self) -> Result<bool, Failure> {
        let what = "get_config";
        let config = self.client.ask(Command::Config, b"")?;
        let config: Value = serde_json::from_slice(&config).map_err(|source| Failure::Malformed { what, source })?;
        Ok(config["node_type"] == NodeType::Master.as_str())
    }
}

const fn function_name(function: &str) -> &'static str {
    match function.as_bytes() {
        b"add" => "--add-agent",
        b"get" => "--agent-key",
        _ => "--remove-agent",
    }
}

fn show(data: Value, json: bool) -> Result<Output, Failure> {
    let malformed = |source| Failure::Malformed { what: "a registration", source };
    let Agent { id, name, ip, key } = serde_json::from_value(data).map_err(malformed)?;
    // What an agent imports: the line of client.keys.
    let import = STANDARD.encode(format!("{id} {name} {ip} {key}"));
    let out = if json {
        report::document(&json!({"id": id, "name": name, "ip": ip, "key": key, "import": import}))
    } else {
        table::draw(["ID", "NAME", "IP", "KEY TO IMPORT"], &[[&id, &name, &ip, &import]])
    };
    Ok(Output::text(out))
}
