//! The worker's end of the connection: what the master asks of it.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::{Worker, greeting::needs_session, parcels::Parcels};
use crate::{
    api::BetweenNodes,
    connection::{FileLimits, Handler, IncomingFiles, Proof, Reply},
    drift::Outline,
    limits::FILES,
    logging::{Scope, debug, error, scope},
    questions::{Later, node_keys::NodeKeys},
    redirection::{self, RequestKind},
    services::Services,
    session::{Transfers, native::Features},
    tasks::{
        agent_groups_send::worker as agent_groups,
        agent_info::worker as agent_info,
        integrity::worker::{self as integrity, Busy},
    },
    wire::{
        AgentGroups, AgentInfoOutcome, Asker, Command, ErrorObject, Failure, Link, Message, NO_TASK, Own, Redirected,
        Request, Succession, Sync, Transfer,
    },
};

/// Handles the requests of the master.
pub struct MasterSession {
    worker: Arc<Worker>,
    scope: Scope,
    transfers: Transfers,
    parcels: Parcels,
    inboxes: Inboxes,
    told: Sender<String>,
    permitted: Features,
    needs_session: bool,
    later: Later,
}

/// The session's ends of the lines to the tasks.
pub struct Inboxes {
    /// Of the integrity thread.
    pub integrity: integrity::Inbox,
    /// Of the agent info thread.
    pub agent_info: agent_info::Inbox,
    /// Of the agent groups thread.
    pub agent_groups: agent_groups::Inbox,
}

impl MasterSession {
    /// The end of a new connection. `told` gets the reason of its end.
    pub fn new(worker: &Arc<Worker>, inboxes: Inboxes, told: Sender<String>) -> Self {
        let node = &worker.node;
        let name = &node.cluster.node_name;
        let limits = FileLimits { size: node.settings.communication.max_zip_size, open: FILES };
        let files = IncomingFiles::new(node.home.cluster_dir(), format!("queue/cluster/{name}/"), limits);
        let scope = scope(&format!("Worker {name}"), "Main");
        let (transfers, parcels) = (Transfers::new(files), Parcels::new(node));
        let (permitted, later) = (Features::permitted(&node.settings.link), Later::new(&node.requests));
        let needs_session = needs_session(worker);
        Self { worker: worker.clone(), scope, transfers, parcels, inboxes, told, permitted, needs_session, later }
    }
}

impl Handler for MasterSession {
    fn request(&mut self, reply: Reply, message: Message) {
        let Message { command, body, .. } = message;
        debug!(self.scope, "Command received: 'b'{command}''");
        if self.needs_session && !reply.connection().in_session() {
            // It may be an old message of the master, which somebody plays back.
            reply.connection().close(&format!("the master sent '{command}' outside of a session"));
            return reply.leave();
        }
        let request = match Request::parse(Asker::Master, command, &body) {
            Ok(request) => request,
            Err(why) => return reply.not_taken(why),
        };
        match request {
            Request::Link(Link::Echo) => reply.ok(body),
            Request::Link(Link::EchoMaster) => reply.answer(Command::OkClient, body),
            Request::Link(Link::CancelTask(Failure { task, error })) => {
                // What a worker sends is a manifest: it is gone before anybody can cancel it.
                error!(self.scope, "The master cancelled the task {task}: '{error}'");
                reply.ok("Request received correctly");
            }
            Request::Transfer(transfer) if Parcels::is_for(&transfer) => {
                self.parcels.request(reply, transfer, &self.scope);
            }
            Request::Transfer(transfer) => self.transfer(reply, transfer),
            Request::Sync(request) => self.sync(reply, request),
            Request::AgentInfoOutcome(outcome) => {
                let (payload, failed) = match outcome {
                    AgentInfoOutcome::AgentInfoEnd(report) => (report, false),
                    AgentInfoOutcome::AgentInfoFailed(reason) => (reason, true),
                };
                reply.ok("Thanks");
                self.inboxes.agent_info.outcome(payload, failed);
            }
            Request::AgentGroups(request) => {
                let (id, whole) = match request {
                    AgentGroups::AgentGroups(id) => (id, false),
                    AgentGroups::AgentGroupsWhole(id) => (id, true),
                };
                match self.inboxes.agent_groups.message(id, self.transfers.strings.take(id), whole) {
                    // The id of the string is that of the task too.
                    Ok(()) => reply.ok(id),
                    Err(busy) => reply.fail(busy),
                }
            }
            Request::Own(request) => self.own(reply, request),
            Request::Succession(Succession::Ids(mark)) if self.permitted.term && reply.connection().in_session() => {
                reply.ok("Thanks");
                self.worker.node.term.mark(mark);
            }
            Request::Redirected(request) => self.redirected(reply, request),
            Request::Api(request) => {
                let Services { api, waiting, .. } = &*self.worker.services;
                let requests = BetweenNodes { node: &self.worker.node, other: "master", api, waiting };
                requests.answer(reply, request, |id| self.transfers.take_string(id));
            }
            Request::Link(Link::Hello(_) | Link::Native(_) | Link::EchoClient)
            | Request::Check(_)
            | Request::AgentInfo(_)
            | Request::AgentGroupsOutcome(_)
            | Request::Question(_)
            | Request::Succession(_)
            | Request::Order(_)
            | Request::Delivery(_) => reply.unknown(),
        }
    }

    fn closed(&mut self, reason: &str) {
        // The connector may have given up before.
        let _ = self.told.try_send(reason.to_owned());
    }
}

impl MasterSession {
    fn transfer(&mut self, reply: Reply, transfer: Transfer<'_>) {
        let expected = self.inboxes.integrity.expects_file();
        let begins = if let Transfer::NewFile(path) = transfer { Some(path) } else { None };
        // In a session nothing can be altered on the way, and each file of the archive is verified.
        let proof = if reply.connection().in_session() { Proof::Frames } else { Proof::Checksum };
        self.transfers.request(reply, transfer, expected.then_some(proof));
        if let Some(arriving) = begins.filter(|_| expected).and_then(|path| self.transfers.files.follow(path)) {
            self.inboxes.integrity.arrives(arriving);
        }
    }

    fn sync(&mut self, reply: Reply, request: Sync<'_>) {
        match request {
            Sync::IntegrityChanged => {
                reply.ok("Thanks");
                self.inboxes.integrity.changed();
            }
            Sync::IntegrityInSync => {
                reply.ok("Thanks");
                self.tell_integrity(|inbox| inbox.in_sync());
            }
            Sync::IntegritySync => {
                // What belongs to an earlier synchronisation and was never named is not wanted any more.
                self.transfers.files.clear();
                match self.inboxes.integrity.sync_begins() {
                    Ok(task) => reply.ok(task),
                    Err(busy) => reply.fail(busy),
                }
            }
            Sync::IntegritySyncEnd(ended) => {
                let known =
                    self.inboxes.integrity.knows(ended.task).then(|| self.transfers.files.take(ended.path)).flatten();
                let Some(file) = known else {
                    let what = format!("{} {}", ended.task, String::from_utf8_lossy(ended.path));
                    return reply.refuse(&ErrorObject::cluster(3027, what));
                };
                reply.ok("File correctly received");
                self.tell_integrity(|inbox| inbox.archive(file));
            }
            Sync::IntegritySyncFailed(Failure { task, error }) => {
                self.transfers.files.clear();
                reply.ok("Error received");
                if self.inboxes.integrity.knows(task) {
                    self.tell_integrity(|inbox| inbox.sync_failed(error));
                } else if task == NO_TASK {
                    self.tell_integrity(|inbox| inbox.check_failed(error));
                } else {
                    error!(self.scope, "The master could not synchronise: '{error}'");
                }
            }
        }
    }

    /// What only a node of ours asks, and only if this one may tell it.
    fn own(&self, reply: Reply, request: Own<'_>) {
        let worker = self.worker.clone();
        match request {
            Own::NodeKeys if self.permitted.keys => {
                let link = reply.connection().clone();
                self.later.answer(reply, move || Ok(NodeKeys::own(&worker.node, Some(&link)).to_json()));
            }
            Own::Outline(nonce) if self.permitted.outline => {
                let nonce = nonce.to_vec();
                self.later.answer(reply, move || Outline::answer(&worker.node, &nonce, worker.files.reload.last()));
            }
            Own::Config | Own::Hash | Own::Term | Own::NodeKeys | Own::Outline(_) => reply.unknown(),
        }
    }

    fn redirected(&mut self, reply: Reply, request: Redirected<'_>) {
        let (waiting, master) = (&self.worker.services.waiting, reply.connection().clone());
        match request {
            Redirected::SendSyncResult(result) => {
                reply.ok("Response forwarded to worker");
                let answer = self.transfers.take_string(result.content);
                redirection::answered(waiting, &master, result.name, answer);
            }
            Redirected::SendSyncFailed(failure) => {
                reply.ok("SendSync error forwarded to worker");
                redirection::failed(waiting, &master, failure, RequestKind::is_send);
            }
            Redirected::SendSync(_) | Redirected::SendAsync(_) => reply.unknown(),
        }
    }

    fn tell_integrity(&mut self, tell: impl FnOnce(&mut integrity::Inbox) -> Result<(), Busy>) {
        if let Err(busy) = tell(&mut self.inboxes.integrity) {
            error!(self.scope, "A message of the master is lost: {busy}");
        }
    }
}
