//! Requests of local programs that another node is to answer, or that go to a program of this node.

use std::sync::Arc;

use super::{Role, peer::Peer, send_file};
use crate::{
    api::Asker,
    connection::Connection,
    node::Node,
    redirection::{self, Kind, Program},
    wire::{Class, Command, ErrorObject, Request, Routed},
    worker::Worker,
};

/// Takes a request that is not answered here at once; false if it is none of those that this node knows.
pub fn take(peer: &Peer, connection: &Connection, counter: u32, request: &Request<'_>) -> bool {
    match (request, peer.role()) {
        (Request::SendSync(content), Role::Worker(worker)) => {
            send(worker, connection, counter, (Kind::Sync, None), content)
        }
        (Request::SendAsync(content), Role::Worker(worker)) => {
            send(worker, connection, counter, (Kind::Async, Some("Added request to sendsync requests queue")), content);
        }
        (Request::Api(content), Role::Worker(worker)) if worker.node.settings.distributed_api.enabled => {
            send(worker, connection, counter, (Kind::Api, Some("Added request to API requests queue")), content);
        }
        (Request::Api(content), role) => {
            connection.answer(counter, Command::Ok, "Added request to API requests queue");
            let program = Program { connection: connection.clone(), kind: Kind::Api };
            role.node().api.execute(role.node(), Asker::Program(program), content);
        }
        (Request::ApiForward(Routed { name, content }), Role::Master(master)) => match master.registry.find(name) {
            Some(worker) => {
                connection.answer(counter, Command::Ok, "Request forwarded to worker node");
                pass(&master.node, connection, (Kind::Api, Command::Api), &worker.connection, content);
            }
            None => connection.refuse(counter, &ErrorObject::new(Class::Cluster, 3022)),
        },
        (Request::ReloadRuleset, Role::Worker(worker)) => match worker.master() {
            Some(_) => {
                worker.files.reload.want();
                connection.answer(counter, Command::Ok, r#"{"success": true}"#);
            }
            None => connection.refuse(counter, &not_connected(worker)),
        },
        (Request::SendFile { path, node }, role) => match receiver(role, node) {
            Ok(receiver) => send_file::begin(role.node(), connection, counter, path, receiver),
            Err(error) => connection.refuse(counter, &error),
        },
        _ => return false,
    }
    true
}

/// On a worker without its master.
pub fn not_connected(worker: &Worker) -> ErrorObject {
    ErrorObject { extra: worker.failure(), ..ErrorObject::new(Class::Cluster, 3023) }
}

/// Passes a request to the master; `told` is what the program is told at once. A program in C takes the first frame for
/// the answer, so it is told nothing.
fn send(worker: &Worker, connection: &Connection, counter: u32, (kind, told): (Kind, Option<&str>), content: &[u8]) {
    let Some(master) = worker.master() else { return connection.refuse(counter, &not_connected(worker)) };
    if let Some(told) = told {
        connection.answer(counter, Command::Ok, told);
    }
    let command = if kind.is_api() { Command::Api } else { Command::SendSync };
    pass(&worker.node, connection, (kind, command), &master, content);
}

fn pass(node: &Arc<Node>, connection: &Connection, (kind, command): (Kind, Command), to: &Connection, content: &[u8]) {
    let program = Program { connection: connection.clone(), kind };
    if let Err(error) = redirection::send(node, program.clone(), to, command, content) {
        program.failed(&error);
    }
}

/// Where a file is to go: from a worker to its master, whatever node is named.
fn receiver(role: &Role, node: &str) -> Result<Connection, ErrorObject> {
    match role {
        Role::Worker(worker) => worker.master().ok_or_else(|| not_connected(worker)),
        Role::Master(master) => master
            .registry
            .find(node)
            .map(|worker| worker.connection.clone())
            .ok_or_else(|| ErrorObject::new(Class::Cluster, 3022)),
    }
}
