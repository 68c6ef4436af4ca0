//! A worker that is served: what it asks after hello.

use std::sync::Arc;

use super::Master;
use crate::{
    api::BetweenNodes,
    connection::{FileLimits, IncomingFiles, Proof, Reply},
    files::LONGEST_METADATA,
    limits::FILES,
    logging::{Scope, scope},
    questions::Later,
    registry::ConnectedWorker,
    session::Transfers,
    tasks::integrity::Applied,
    wire::{
        AgentGroupsOutcome, AgentInfo, Check, ErrorObject, Failure, Link, Payload, Redirected, Request, Routed,
        Succession,
    },
};

/// The longest archive with the manifest of a worker: never longer than what it holds, but for its name.
const ARCHIVE_LIMIT: u64 = LONGEST_METADATA as u64 + 1024;

/// The requests of one worker, in the order in which they come.
pub struct Served {
    master: Arc<Master>,
    /// The worker.
    pub worker: Arc<ConnectedWorker>,
    scope: Scope,
    transfers: Transfers,
    later: Later,
}

impl Served {
    /// Nothing has been asked yet.
    pub fn new(master: Arc<Master>, worker: Arc<ConnectedWorker>) -> Self {
        let (node, name) = (&master.node, &worker.hello.node);
        let limits = FileLimits { size: ARCHIVE_LIMIT, open: FILES };
        let files = IncomingFiles::new(node.home.cluster_dir(), format!("queue/cluster/{name}/"), limits);
        let (scope, later) = (scope(&format!("Worker {name}"), "Main"), Later::new(&node.requests));
        Self { master, worker, scope, transfers: Transfers::new(files), later }
    }

    /// The scope of what the log tells of it.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Answers a request; never waits.
    pub fn request(&mut self, reply: Reply, request: Request<'_>) {
        let integrity = &self.worker.integrity;
        match request {
            Request::Link(Link::CancelTask(Failure { task, error })) => {
                integrity.cancel(task, &error);
                reply.ok("Request received correctly");
            }
            Request::Transfer(transfer) => {
                self.transfers.request(reply, transfer, integrity.expects_file().then_some(Proof::Checksum))
            }
            Request::Check(check) => self.check(reply, check),
            Request::AgentInfo(request) => self.agent_info(reply, request),
            Request::AgentGroupsOutcome(outcome) => self.agent_groups(reply, outcome),
            Request::Question(question) => self.master.questions.answer(question, reply, &self.later),
            Request::Redirected(Redirected::SendSync(payload)) => match Routed::read(payload) {
                Ok(request) => {
                    reply.ok("Added request to SendSync requests queue");
                    self.worker.send_sync.request(request);
                }
                Err(malformed) => reply.fail(malformed),
            },
            Request::Api(request) => {
                let services = &self.master.services;
                let (api, waiting, other) = (&services.api, &services.waiting, &*self.worker.hello.node);
                let requests = BetweenNodes { node: &self.master.node, other, api, waiting };
                requests.answer(reply, request, |id| self.transfers.take_string(id));
            }
            Request::Succession(request) => self.succession(reply, request),
            // An agreement or a proof that comes too late is one of these.
            Request::Link(Link::Hello(_) | Link::Native(_) | Link::Echo | Link::EchoClient | Link::EchoMaster)
            | Request::Redirected(
                Redirected::SendAsync(_) | Redirected::SendSyncResult(_) | Redirected::SendSyncFailed(_),
            )
            | Request::Sync(_)
            | Request::AgentInfoOutcome(_)
            | Request::AgentGroups(_)
            | Request::Own(_)
            | Request::Order(_)
            | Request::Delivery(_) => reply.unknown(),
        }
    }

    fn check(&mut self, reply: Reply, request: Check<'_>) {
        let (integrity, features) = (&self.worker.integrity, self.worker.features());
        let kind = features.checksum();
        match request {
            Check::IntegrityPermission => reply.ok(granted_text(integrity.permission(kind))),
            Check::IntegrityDigest(question) => reply.result(integrity.digest(question, features)),
            Check::IntegrityCheck(buckets) => {
                // What belongs to an earlier check and was never named is not wanted any more.
                self.transfers.files.clear();
                reply.result(integrity.start(features, buckets));
            }
            Check::IntegrityCheckEnd(ended) => {
                if !integrity.knows(ended.task) {
                    return reply.refuse(&ErrorObject::cluster(3027, ended.task));
                }
                let path = String::from_utf8_lossy(ended.path).into_owned();
                let Some(file) = self.transfers.files.take(ended.path) else {
                    return reply.refuse(&ErrorObject::cluster(3027, format!("no such file: {path}")));
                };
                reply.ok("File correctly received");
                integrity.arrived(ended.task, path, file);
            }
            Check::IntegrityCheckFailed(Failure { task, error }) => {
                self.transfers.files.clear();
                integrity.failed(task, &error);
                reply.ok("Error received");
            }
            Check::IntegrityApplied(report) => match Applied::parse(report) {
                Ok(applied) => {
                    reply.ok("Thanks");
                    integrity.applied(applied);
                }
                Err(malformed) => reply.fail(malformed),
            },
        }
    }

    fn succession(&self, reply: Reply, request: Succession<'_>) {
        let (master, worker) = (self.master.clone(), self.worker.clone());
        match request {
            Succession::Prepare => self.later.answer(reply, move || master.prepare(&worker)),
            Succession::HandOver(claim) => {
                let claim = claim.to_vec();
                self.later.answer(reply, move || master.hand_over(&worker, &claim));
            }
            Succession::PrivateFiles(digest) => {
                let digest = digest.to_vec();
                self.later.answer(reply, move || master.private_files(&worker, &digest));
            }
            Succession::Ids(_) => reply.unknown(),
        }
    }

    fn agent_info(&mut self, reply: Reply, request: AgentInfo<'_>) {
        match request {
            AgentInfo::AgentInfoPermission => reply.ok(granted_text(self.worker.agent_info.permission())),
            AgentInfo::AgentInfo(id) => match self.worker.agent_info.store(id, self.transfers.strings.take(id)) {
                // The id of the string is that of the task too.
                Ok(()) => reply.ok(id),
                Err(reason) => reply.fail(reason),
            },
        }
    }

    fn agent_groups(&self, reply: Reply, outcome: AgentGroupsOutcome<'_>) {
        let (whole, report, failed) = match outcome {
            AgentGroupsOutcome::AgentGroupsEnd(report) => (false, report, false),
            AgentGroupsOutcome::AgentGroupsFailed(reason) => (false, reason, true),
            AgentGroupsOutcome::AgentGroupsWholeEnd(report) => (true, report, false),
            AgentGroupsOutcome::AgentGroupsWholeFailed(reason) => (true, reason, true),
            AgentGroupsOutcome::AgentGroupsWanted => {
                return match self.worker.agent_groups.send_whole() {
                    Ok(text) => reply.ok(text),
                    Err(error) => reply.fail(error),
                };
            }
        };
        reply.ok("Thanks");
        self.worker.agent_groups.outcome(whole, report, failed);
    }
}

/// How a permission is answered.
fn granted_text(granted: bool) -> &'static str {
    if granted { "True" } else { "False" }
}
