//! The worker's end of the connection: what the master asks of it.

use std::sync::Arc;

use crossbeam_channel::Sender;
use log::{debug, error};

use crate::{
    connection::{Connection, FileLimits, Handler, IncomingFiles},
    logging::{Scope, scope},
    node::Node,
    session::{Transfers, unknown_command},
    tasks::integrity::worker::{Busy, Inbox},
    wire::{Command, ErrorObject, Message, Request},
};

/// Handles the requests of the master.
pub struct Peer {
    scope: Scope,
    transfers: Transfers,
    integrity: Inbox,
    told: Sender<String>,
}

impl Peer {
    /// The end of a new connection. `told` gets the reason of its end.
    pub fn new(node: &Arc<Node>, integrity: Inbox, told: Sender<String>) -> Self {
        let name = &node.cluster.node_name;
        let limits = FileLimits { size: node.settings.communication.max_zip_size, open: 2 };
        let files = IncomingFiles::new(node.home.cluster_dir(), format!("queue/cluster/{name}/"), limits);
        Self { scope: scope(&format!("Worker {name}"), "Main"), transfers: Transfers::new(files), integrity, told }
    }
}

impl Handler for Peer {
    fn request(&mut self, connection: &Connection, message: Message) {
        let Message { counter, command, body } = message;
        debug!(target: &*self.scope, "Command received: 'b'{command}''");
        let request = match Request::parse(command, &body) {
            Ok(request) => request,
            Err(malformed) => {
                return connection.refuse(counter, &ErrorObject::unexpected(malformed.to_string()));
            }
        };
        if self.transfers.request(connection, counter, &request, self.integrity.expects_file()) {
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
                match self.integrity.sync_begins() {
                    Ok(task) => connection.answer(counter, Command::Ok, task),
                    Err(busy) => connection.refuse(counter, &ErrorObject::unexpected(busy.to_string())),
                }
            }
            Request::IntegritySyncEnd(ended) => {
                let known = self.integrity.knows(ended.task).then(|| self.transfers.files.take(ended.path)).flatten();
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
                if self.integrity.knows(task) {
                    self.told_integrity(|inbox| inbox.sync_failed(error));
                } else {
                    error!(target: &*self.scope, "The master could not synchronise: '{error}'");
                }
            }
            Request::CancelTask { task, error } => {
                // What a worker sends is a manifest: it is gone before anybody can cancel it.
                error!(target: &*self.scope, "The master cancelled the task {task}: '{error}'");
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
    fn told_integrity(&mut self, tell: impl FnOnce(&mut Inbox) -> Result<(), Busy>) {
        if let Err(busy) = tell(&mut self.integrity) {
            error!(target: &*self.scope, "A message of the master is lost: {busy}");
        }
    }
}
