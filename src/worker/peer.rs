//! The worker's end of the connection: what the master asks of it.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::{Worker, parcels::Parcels};
use crate::{
    connection::{Connection, FileLimits, Handler, IncomingFiles},
    drift::Outline,
    limits::FILES,
    logging::{Scope, debug, error, scope},
    redirection::{self, Kind},
    session::{self, Later, Transfers, keys::NodeKeys, native::Features, unknown_command},
    tasks::{
        agent_groups_send::worker as agent_groups,
        agent_info::worker as agent_info,
        integrity::worker::{self as integrity, Busy},
    },
    wire::{Command, ErrorObject, Message, NO_TASK, Request},
};

/// Handles the requests of the master.
pub struct Peer {
    worker: Arc<Worker>,
    scope: Scope,
    transfers: Transfers,
    parcels: Parcels,
    inboxes: Inboxes,
    told: Sender<String>,
    permitted: Features,
    /// What the master asks and what takes long.
    long: Later,
}

/// The session's ends of the lines to the rooms.
pub struct Inboxes {
    /// Of the integrity thread.
    pub integrity: integrity::Inbox,
    /// Of the agent info thread.
    pub agent_info: agent_info::Inbox,
    /// Of the agent groups thread.
    pub agent_groups: agent_groups::Inbox,
}

impl Peer {
    /// The end of a new connection. `told` gets the reason of its end.
    pub fn new(worker: &Arc<Worker>, inboxes: Inboxes, told: Sender<String>) -> Self {
        let node = &worker.node;
        let name = &node.cluster.node_name;
        let limits = FileLimits { size: node.settings.communication.max_zip_size, open: FILES };
        let files = IncomingFiles::new(node.home.cluster_dir(), format!("queue/cluster/{name}/"), limits);
        let scope = scope(&format!("Worker {name}"), "Main");
        let (transfers, parcels) = (Transfers::new(files), Parcels::new(node));
        let permitted = Features::permitted(&node.settings.link);
        Self { worker: worker.clone(), scope, transfers, parcels, inboxes, told, permitted, long: Later::default() }
    }
}

impl Handler for Peer {
    fn request(&mut self, connection: &Connection, message: Message) {
        let Message { counter, command, body, .. } = message;
        debug!(self.scope, "Command received: 'b'{command}''");
        let request = match Request::parse(command, &body) {
            Ok(request) => request,
            Err(malformed) => {
                return connection.refuse(counter, &ErrorObject::unexpected(malformed.to_string()));
            }
        };
        if self.parcels.request(connection, counter, &request, &self.scope) {
            return;
        }
        if self.transfers.request(connection, counter, &request, self.inboxes.integrity.expects_file()) {
            return;
        }
        match request {
            Request::Echo => {
                drop(request);
                connection.answer(counter, Command::Ok, body);
            }
            Request::EchoMaster => {
                drop(request);
                connection.answer(counter, Command::OkClient, body);
            }
            Request::IntegrityInSync => {
                connection.answer(counter, Command::Ok, "Thanks");
                self.told_integrity(|inbox| inbox.in_sync());
            }
            Request::IntegritySync => {
                // What belongs to an earlier synchronisation and was never named is not wanted any more.
                self.transfers.files.clear();
                match self.inboxes.integrity.sync_begins() {
                    Ok(task) => connection.answer(counter, Command::Ok, task),
                    Err(busy) => connection.refuse(counter, &ErrorObject::unexpected(busy.to_string())),
                }
            }
            Request::IntegritySyncEnd(ended) => {
                let known =
                    self.inboxes.integrity.knows(ended.task).then(|| self.transfers.files.take(ended.path)).flatten();
                let Some(file) = known else {
                    let what = format!("{} {}", ended.task, String::from_utf8_lossy(ended.path));
                    return connection.refuse(counter, &ErrorObject::cluster(3027, what));
                };
                connection.answer(counter, Command::Ok, "File correctly received");
                self.told_integrity(|inbox| inbox.archive(file));
            }
            Request::IntegritySyncFailed { task, error } => {
                self.transfers.files.clear();
                connection.answer(counter, Command::Ok, "Error received");
                if self.inboxes.integrity.knows(task) {
                    self.told_integrity(|inbox| inbox.sync_failed(error));
                } else if task == NO_TASK {
                    self.told_integrity(|inbox| inbox.check_failed(error));
                } else {
                    error!(self.scope, "The master could not synchronise: '{error}'");
                }
            }
            Request::AgentInfoEnd(report) => {
                connection.answer(counter, Command::Ok, "Thanks");
                self.inboxes.agent_info.outcome(report, false);
            }
            Request::AgentInfoFailed(reason) => {
                connection.answer(counter, Command::Ok, "Thanks");
                self.inboxes.agent_info.outcome(reason, true);
            }
            Request::AgentGroups { id, whole } => {
                match self.inboxes.agent_groups.message(id, self.transfers.strings.take(id), whole) {
                    // The id of the string is that of the task too.
                    Ok(()) => connection.answer(counter, Command::Ok, id),
                    Err(busy) => connection.refuse(counter, &ErrorObject::unexpected(busy.to_string())),
                }
            }
            Request::NodeKeys if self.permitted.keys => {
                let (node, link) = (self.worker.node.clone(), connection.clone());
                let own = move || Ok(NodeKeys::own(&node, Some(&link)).to_json());
                self.long.answer(&self.worker.node.requests, connection, counter, own);
            }
            Request::IntegrityChanged => {
                connection.answer(counter, Command::Ok, "Thanks");
                self.inboxes.integrity.changed();
            }
            Request::Outline(nonce) if self.permitted.outline => {
                let (worker, nonce) = (self.worker.clone(), nonce.to_vec());
                let work = move || Outline::answer(&worker.node, &nonce, worker.files.reload.last());
                self.long.answer(&self.worker.node.requests, connection, counter, work);
            }
            Request::SendSyncResult(result) => {
                connection.answer(counter, Command::Ok, "Response forwarded to worker");
                let answer = self.transfers.take_string(result.content);
                redirection::answered(&self.worker.node, connection, result.name, answer);
            }
            Request::SendSyncFailed(failure) => {
                connection.answer(counter, Command::Ok, "SendSync error forwarded to worker");
                redirection::failed(&self.worker.node, connection, failure, Kind::is_send);
            }
            Request::Api(payload) => session::api::request(&self.worker.node, connection, counter, payload),
            Request::ApiResult(result) => {
                let answer = self.transfers.take_string(result.content);
                session::api::result(&self.worker.node, connection, counter, result.name, answer);
            }
            Request::ApiFailed(failure) => session::api::failed(&self.worker.node, connection, counter, failure),
            Request::CancelTask { task, error } => {
                // What a worker sends is a manifest: it is gone before anybody can cancel it.
                error!(self.scope, "The master cancelled the task {task}: '{error}'");
                connection.answer(counter, Command::Ok, "Request received correctly");
            }
            _ => unknown_command(connection, counter, command),
        }
    }

    fn closed(&mut self, reason: &str) {
        // The connector may have given up before.
        let _ = self.told.try_send(reason.to_owned());
    }
}

impl Peer {
    fn told_integrity(&mut self, tell: impl FnOnce(&mut integrity::Inbox) -> Result<(), Busy>) {
        if let Err(busy) = tell(&mut self.inboxes.integrity) {
            error!(self.scope, "A message of the master is lost: {busy}");
        }
    }
}
