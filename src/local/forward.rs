//! Requests of local programs that another node answers, or a program of this node.

use super::Role;
use crate::{
    api::Asker,
    connection::{Connection, Reply},
    logging::{Scope, debug, warn},
    node::Node,
    redirection::{self, Program, RequestKind},
    services::Services,
    wire::{Api, Class, Command, ErrorObject, Redirected, Routed},
    worker::Worker,
};

/// A worker passes a question to its master: the program is told at once that this was done, and the answer follows as a
/// request of this daemon (`spec/protocol.md` 13.2).
pub fn to_master(worker: &Worker, reply: Reply, command: Command, payload: &[u8], scope: &Scope) {
    let Some(master) = worker.master() else { return reply.refuse(&not_connected(worker)) };
    let (program, payload, log) = (reply.connection().clone(), payload.to_vec(), scope.clone());
    reply.ok("Sent request to master node");
    let busy = program.work();
    let run = move |program: Connection| {
        let answer = match master.request(command, payload) {
            Ok(answer) => answer,
            Err(error) => error.to_object().to_json().into_bytes(),
        };
        if let Err(error) = program.request(Command::ControlResult, answer) {
            debug!(log, "The answer was not acknowledged: {error}");
        }
        drop(busy);
    };
    if let Err((error, program)) = worker.node.local_requests.spawn_with("request", program, run) {
        warn!(scope, "A request cannot be forwarded to the master: {error}");
        program.close("its request cannot be forwarded");
    }
}

/// `sendsync` and `sendasync`, which a worker passes to the programs of its master's manager.
pub fn redirected(role: &Role, reply: Reply, request: Redirected<'_>) {
    let Role::Worker(worker) = role else { return reply.unknown() };
    match request {
        Redirected::SendSync(content) => send(worker, reply, RequestKind::Sync, content),
        Redirected::SendAsync(content) => send(worker, reply, RequestKind::Async, content),
        Redirected::SendSyncResult(_) | Redirected::SendSyncFailed(_) => reply.unknown(),
    }
}

/// `dapi` and `dapi_fwd`.
pub fn api(role: &Role, reply: Reply, request: Api<'_>) {
    match (request, role) {
        (Api::Api(content), Role::Worker(worker)) if worker.node.settings.distributed_api.enabled => {
            send(worker, reply, RequestKind::Api, content);
        }
        (Api::Api(content), role) => {
            let program = Program { connection: reply.connection().clone(), kind: RequestKind::Api };
            reply.ok("Added request to API requests queue");
            role.services().api.execute(role.node(), Asker::Program(program), content);
        }
        (Api::ApiForward(Routed { name, content }), Role::Master(master)) => match master.registry.find(name) {
            Some(worker) => {
                let program = Program { connection: reply.connection().clone(), kind: RequestKind::Api };
                reply.ok("Request forwarded to worker node");
                pass(role.node(), role.services(), program, (&worker.connection, Command::Api), content);
            }
            None => reply.refuse(&ErrorObject::new(Class::Cluster, 3022)),
        },
        (Api::ApiForward(_), Role::Worker(_)) | (Api::ApiResult(_) | Api::ApiFailed(_), _) => reply.unknown(),
    }
}

/// On a worker without its master.
pub fn not_connected(worker: &Worker) -> ErrorObject {
    ErrorObject { extra: worker.failure(), ..ErrorObject::new(Class::Cluster, 3023) }
}

/// Where a file is to go: from a worker to its master, whatever node is named.
pub fn receiver(role: &Role, node: &str) -> Result<Connection, ErrorObject> {
    match role {
        Role::Worker(worker) => worker.master().ok_or_else(|| not_connected(worker)),
        Role::Master(master) => master
            .registry
            .find(node)
            .map(|worker| worker.connection.clone())
            .ok_or_else(|| ErrorObject::new(Class::Cluster, 3022)),
    }
}

/// Passes a request to the master.
fn send(worker: &Worker, reply: Reply, kind: RequestKind, content: &[u8]) {
    let Some(master) = worker.master() else { return reply.refuse(&not_connected(worker)) };
    let program = Program { connection: reply.connection().clone(), kind };
    let command = match kind {
        // A program in C takes the first frame for the answer, so nothing is said before that.
        RequestKind::Sync => {
            reply.leave();
            Command::SendSync
        }
        RequestKind::Async => {
            reply.ok("Added request to sendsync requests queue");
            Command::SendSync
        }
        RequestKind::Api => {
            reply.ok("Added request to API requests queue");
            Command::Api
        }
    };
    pass(&worker.node, &worker.services, program, (&master, command), content);
}

fn pass(node: &Node, services: &Services, program: Program, (to, command): (&Connection, Command), content: &[u8]) {
    if let Err(error) = redirection::send(node, &services.waiting, program.clone(), to, command, content) {
        program.failed(&error);
    }
}
