//! Passes requests of local programs to another node, and its answers back to the very program.

use std::sync::Arc;

use crossbeam_channel::bounded;

use super::{Kind, Program};
use crate::{
    connection::{Begun, Connection, RequestError},
    limits::Holding,
    logging::{debug, warn},
    node::Node,
    wire::{Command, ErrorObject, Routed},
};

/// Passes a request of `program` to the node at the other end of `to`, as `command`, and sees to it that the program gets
/// an answer unless it goes. Requests of one program arrive in their order.
///
/// # Errors
/// When it cannot even be tried; the caller tells the program.
pub fn send(
    node: &Arc<Node>,
    program: Program,
    to: &Connection,
    command: Command,
    content: &[u8],
) -> Result<(), ErrorObject> {
    let full = || ErrorObject::unexpected("too many requests wait for other nodes already");
    let name = node.waiting.add(program, to).ok_or_else(full)?;
    let payload = Routed::payload(&name, content);
    let (this, asked, waits) = (node.clone(), to.clone(), name.clone());
    let (hand, begun) = bounded::<Result<Begun, RequestError>>(1);
    let run = move || {
        let Ok(begun) = begun.recv() else { return };
        let Err(error) = begun.and_then(Begun::wait) else { return };
        // If the answer was faster, or the program was told already that the node is lost, nothing is left to say.
        let Some(program) = this.waiting.take(&waits, &asked, |_| true) else { return };
        match error {
            RequestError::Refused(error) | RequestError::NoRoom(error) => program.failed(&error),
            RequestError::Timeout { .. } | RequestError::Closed { .. } | RequestError::Unexpected(_) => {
                program.unknown(&error.to_string());
            }
        }
    };
    node.local_requests.spawn("request", run).map_err(|error| {
        node.waiting.take(&name, to, |_| true);
        ErrorObject::unexpected(error.to_string())
    })?;
    // The thread that waits is there, so whatever comes of it is heard.
    let _ = hand.send(to.begin(command, payload));
    Ok(())
}

/// `sendsyn_res`: gives `answer`, which came from the other end of `from`, to the program whose request has this name.
pub fn answered(node: &Node, from: &Connection, name: &str, answer: Option<Holding>) {
    match (node.waiting.take(name, from, Kind::is_send), answer) {
        (Some(program), Some(answer)) => program.answered(answer.bytes),
        (Some(program), None) => program.unknown("the other node did not send the text of its answer"),
        (None, _) => debug!("[Cluster] [Main]", "No program waits for the answer to {name} any more."),
    }
}

/// `dapi_res`: the same for the API. False if no program waits for it.
pub fn api_answered(node: &Node, from: &Connection, name: &str, answer: Option<Holding>) -> bool {
    let Some(program) = node.waiting.take(name, from, Kind::is_api) else { return false };
    let Some(answer) = answer else {
        program.unknown("the other node did not send the text of its answer");
        return true;
    };
    let deliver = move || program.api_answered(answer.bytes.len(), &answer.bytes[..]);
    if let Err(error) = node.local_requests.spawn("request", deliver) {
        warn!("[Cluster] [Main]", "An answer of the API cannot be delivered: {error}");
    }
    true
}

/// `sendsyn_err` and `dapi_err`: the node at the other end of `from` has not done a request of this kind. False if no
/// program waits for it.
pub fn failed(node: &Node, from: &Connection, request: Routed<'_>, kind: fn(Kind) -> bool) -> bool {
    let program = node.waiting.take(request.name, from, kind);
    program.inspect(|program| program.refused(&String::from_utf8_lossy(request.content))).is_some()
}
