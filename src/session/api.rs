//! Requests of the API between nodes, which master and worker handle alike (`spec/protocol.md` 14.1).

use std::sync::Arc;

use crate::{
    api::Asker,
    connection::Connection,
    limits::Holding,
    node::Node,
    redirection::{self, Kind},
    wire::{Class, Command, ErrorObject, Routed},
};

/// `dapi`: the node at the other end wants a request executed.
pub fn request(node: &Arc<Node>, connection: &Connection, counter: u32, payload: &[u8]) {
    match Routed::parse(payload) {
        Ok(Routed { name, content }) => {
            connection.answer(counter, Command::Ok, "Added request to API requests queue");
            let asker = Asker::Node { connection: connection.clone(), name: name.to_owned() };
            node.api.execute(node, asker, content);
        }
        Err(malformed) => connection.refuse(counter, &ErrorObject::unexpected(malformed.to_string())),
    }
}

/// `dapi_res`: it has executed one of ours; `answer` is none if its string never came.
pub fn result(node: &Arc<Node>, connection: &Connection, counter: u32, name: &str, answer: Option<Holding>) {
    let waits = redirection::api_answered(node, connection, name, answer);
    acknowledge(connection, counter, waits, "Response forwarded to worker");
}

/// `dapi_err`: it has refused one of ours.
pub fn failed(node: &Arc<Node>, connection: &Connection, counter: u32, failure: Routed<'_>) {
    let waits = redirection::failed(node, connection, failure, Kind::is_api);
    acknowledge(connection, counter, waits, "DAPI error forwarded to worker");
}

fn acknowledge(connection: &Connection, counter: u32, waits: bool, text: &str) {
    if waits {
        connection.answer(counter, Command::Ok, text);
    } else {
        connection.refuse(counter, &ErrorObject::new(Class::Cluster, 3032));
    }
}
