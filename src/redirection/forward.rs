//! Passes requests of local programs to another node, and its answers back to the very program.

use std::sync::Arc;

use crossbeam_channel::bounded;

use super::{Program, RequestKind, Waiting};
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
    node: &Node,
    waiting: &Arc<Waiting>,
    program: Program,
    to: &Connection,
    command: Command,
    content: &[u8],
) -> Result<(), ErrorObject> {
    let full = || ErrorObject::unexpected("too many requests wait for other nodes already");
    let name = waiting.add(program, to).ok_or_else(full)?;
    let payload = Routed::payload(&name, content);
    let (waiting_there, asked, waits) = (waiting.clone(), to.clone(), name.clone());
    let (hand, begun) = bounded::<Result<Begun, RequestError>>(1);
    let run = move || {
        let Ok(begun) = begun.recv() else { return };
        let Err(error) = begun.and_then(Begun::wait) else { return };
        // If the answer was faster, or the program was told already that the node is lost, nothing is left to say.
        let Some(program) = waiting_there.take(&waits, &asked, |_| true) else { return };
        match error {
            RequestError::Refused(error) | RequestError::NoRoom(error) => program.failed(&error),
            RequestError::Timeout { .. } | RequestError::Closed { .. } | RequestError::Unexpected(_) => {
                program.unknown(&error.to_string());
            }
        }
    };
    node.local_requests.spawn("request", run).map_err(|error| {
        waiting.take(&name, to, |_| true);
        ErrorObject::unexpected(error.to_string())
    })?;
    // The thread that waits is there, so whatever comes of it is heard.
    let _ = hand.send(to.begin(command, payload));
    Ok(())
}

/// `sendsyn_res`: gives `answer`, which came from the other end of `from`, to the program whose request has this name.
pub fn answered(waiting: &Waiting, from: &Connection, name: &str, answer: Option<Holding>) {
    match (waiting.take(name, from, RequestKind::is_send), answer) {
        (Some(program), Some(answer)) => program.answered(answer.bytes),
        (Some(program), None) => program.unknown("the other node did not send the text of its answer"),
        (None, _) => debug!("[Cluster] [Main]", "No program waits for the answer to {name} any more."),
    }
}

/// `dapi_res`: the same for the API. False if no program waits for it.
pub fn api_answered(node: &Node, waiting: &Waiting, from: &Connection, name: &str, answer: Option<Holding>) -> bool {
    let Some(program) = waiting.take(name, from, RequestKind::is_api) else { return false };
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
pub fn failed(waiting: &Waiting, from: &Connection, request: Routed<'_>, kind: fn(RequestKind) -> bool) -> bool {
    let program = waiting.take(request.name, from, kind);
    program.inspect(|program| program.refused(&String::from_utf8_lossy(request.content))).is_some()
}
