//! One local program: its requests.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{Role, forward, requests};
use crate::{
    connection::{Connection, Handler},
    logging::{Scope, debug, scope, warn},
    session::{self, Later, unknown_command},
    wire::{Command, ErrorObject, Message, Request},
};

/// The longest name that a program may give itself, in bytes.
const LONGEST_NAME: usize = 255;

/// Handles the requests of one local program.
pub struct Peer {
    role: Role,
    scope: Scope,
    last: Arc<Mutex<Instant>>,
    long: Later,
}

impl Peer {
    /// The end of a connection that was just accepted; `last` is when it last said that it lives.
    pub fn new(role: Role, id: &str, last: Arc<Mutex<Instant>>) -> Self {
        Self { role, scope: scope(&format!("Local {id}"), "Main"), last, long: Later::default() }
    }

    /// What this node is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Asks on a thread of its own, and answers.
    fn later(
        &self,
        connection: &Connection,
        counter: u32,
        work: impl FnOnce() -> Result<String, ErrorObject> + Send + 'static,
    ) {
        self.long.answer(&self.role.node().local_requests, connection, counter, work);
    }

    /// A worker hands `get_nodes` and its like to its master: the program is told at once that this was done, and the
    /// answer follows as a request of ours (`spec/protocol.md` 13.2).
    fn forward(&self, connection: &Connection, counter: u32, command: Command, payload: Vec<u8>) {
        let Role::Worker(worker) = &self.role else { return };
        let Some(master) = worker.master() else {
            return connection.refuse(counter, &forward::not_connected(worker));
        };
        connection.answer(counter, Command::Ok, "Sent request to master node");
        let (client, scope, work) = (connection.clone(), self.scope.clone(), connection.work());
        let run = move || {
            let _work = work;
            let answer = match master.request(command, payload) {
                Ok(answer) => answer,
                Err(error) => error.to_object().to_json().into_bytes(),
            };
            if let Err(error) = client.request(Command::ControlResult, answer) {
                debug!(scope, "The answer was not acknowledged: {error}");
            }
        };
        if let Err(error) = self.role.node().local_requests.spawn("request", run) {
            warn!(self.scope, "A request cannot be forwarded to the master: {error}");
            connection.close("its request cannot be forwarded");
        }
    }
}

impl Handler for Peer {
    fn request(&mut self, connection: &Connection, message: Message) {
        let Message { counter, command, body, .. } = message;
        debug!(self.scope, "Command received: {command}");
        // Here it is of no use, and one word or any other will do.
        if command.name() == b"hello" && body.len() <= LONGEST_NAME {
            return connection.answer(counter, Command::Ok, [b"Client ", &body[..], b" added"].concat());
        }
        let request = match Request::parse(command, &body) {
            Ok(request) => request,
            Err(malformed) => {
                return connection.refuse(counter, &ErrorObject::unexpected(malformed.to_string()));
            }
        };
        let node = self.role.node();
        match (request, &self.role) {
            (Request::Echo, _) => connection.answer(counter, Command::Ok, body.clone()),
            (Request::EchoClient, _) => {
                *self.last.lock() = node.clock.now();
                connection.answer(counter, Command::OkMaster, body.clone());
            }
            (Request::Config, _) => connection.answer(counter, Command::Ok, requests::config(node).into_bytes()),
            (Request::Hash, role) => {
                let role = role.clone();
                self.later(connection, counter, move || Ok(requests::hash(&role)));
            }
            (Request::Nodes(arguments), Role::Master(master)) => {
                connection.answer_with(counter, master.nodes(arguments))
            }
            (Request::Health(filter), Role::Master(master)) => {
                let (master, filter) = (master.clone(), filter.to_vec());
                self.later(connection, counter, move || master.health(&filter));
            }
            (Request::Agents(question), Role::Master(_)) => {
                let (store, question) = (node.agents.clone(), question.to_vec());
                self.later(connection, counter, move || session::agents::page(&store, &question));
            }
            (Request::NodeKeys, role) => {
                let role = role.clone();
                self.later(connection, counter, move || Ok(requests::keys(&role)));
            }
            (Request::Keys, Role::Master(master)) => {
                let master = master.clone();
                self.later(connection, counter, move || Ok(master.keys()));
            }
            (Request::Keys, Role::Worker(_)) => self.forward(connection, counter, Command::Keys, Vec::new()),
            (Request::Drift(question), Role::Master(master)) => {
                let (master, question) = (master.clone(), question.to_vec());
                self.later(connection, counter, move || master.drift(&question));
            }
            (Request::ConfirmDeletions(filter), Role::Master(master)) => {
                connection.answer_with(counter, master.confirm_deletions(filter));
            }
            (Request::ForgetNode(name), Role::Master(master)) => {
                connection.answer_with(counter, master.forget(name));
            }
            (Request::ForgetNode(_), Role::Worker(_)) => {
                connection
                    .refuse(counter, &ErrorObject::cluster(3000, "run it on the master: only that knows all nodes"));
            }
            // A worker whose files are to be deleted, and whoever has taken it over, is not to decide that.
            (Request::ConfirmDeletions(_), Role::Worker(_)) => {
                connection.refuse(
                    counter,
                    &ErrorObject::cluster(3000, "run it on the master: a worker confirms no deletions"),
                );
            }
            (Request::Drift(payload), Role::Worker(_)) => {
                self.forward(connection, counter, Command::Drift, payload.to_vec());
            }
            (Request::Nodes(payload), Role::Worker(_)) => {
                self.forward(connection, counter, Command::Nodes, payload.to_vec());
            }
            (Request::Health(payload), Role::Worker(_)) => {
                self.forward(connection, counter, Command::Health, payload.to_vec());
            }
            (Request::Agents(payload), Role::Worker(_)) => {
                self.forward(connection, counter, Command::Agents, payload.to_vec());
            }
            (request, _) => {
                if !forward::take(self, connection, counter, &request) {
                    unknown_command(connection, counter, command);
                }
            }
        }
    }

    fn closed(&mut self, reason: &str) {
        debug!(self.scope, "Disconnected: {reason}.");
    }
}
