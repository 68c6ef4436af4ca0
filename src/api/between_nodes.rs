//! Requests of the API between nodes, which master and worker handle alike (`spec/protocol.md` 14.1).

use std::sync::Arc;

use super::{Api, Asker};
use crate::{
    connection::Reply,
    limits::Holding,
    node::Node,
    redirection::{self, RequestKind, Waiting},
    wire::{self, Class, ErrorObject, Payload, Routed},
};

/// What a request of another node is about, and what it is answered from.
pub struct BetweenNodes<'a> {
    /// This node.
    pub node: &'a Arc<Node>,
    /// The name of the other one.
    pub other: &'a str,
    /// Executes what the other node wants.
    pub api: &'a Api,
    /// The programs here that wait for it.
    pub waiting: &'a Arc<Waiting>,
}

impl BetweenNodes<'_> {
    /// Answers a request; `take` gives the string with an id, if it has come.
    pub fn answer(&self, reply: Reply, request: wire::Api<'_>, take: impl FnOnce(&[u8]) -> Option<Holding>) {
        let from = reply.connection().clone();
        match request {
            wire::Api::Api(payload) => self.execute(reply, payload),
            wire::Api::ApiResult(result) => {
                let waits =
                    redirection::api_answered(self.node, self.waiting, &from, result.name, take(result.content));
                acknowledge(reply, waits, "Response forwarded to worker");
            }
            wire::Api::ApiFailed(failure) => {
                let waits = redirection::failed(self.waiting, &from, failure, RequestKind::is_api);
                acknowledge(reply, waits, "DAPI error forwarded to worker");
            }
            wire::Api::ApiForward(_) => reply.unknown(),
        }
    }

    fn execute(&self, reply: Reply, payload: &[u8]) {
        match Routed::read(payload) {
            Ok(Routed { name, content }) => {
                let (node, name) = (self.other.to_owned(), name.to_owned());
                let asker = Asker::Node { node, connection: reply.connection().clone(), name };
                reply.ok("Added request to API requests queue");
                self.api.execute(self.node, asker, content);
            }
            Err(malformed) => reply.fail(malformed),
        }
    }
}

fn acknowledge(reply: Reply, waits: bool, text: &str) {
    if waits {
        reply.ok(text);
    } else {
        reply.refuse(&ErrorObject::new(Class::Cluster, 3032));
    }
}
