//! The worker's half: sends keep-alives, and notices when the master does not answer them.

use std::time::Duration;

use crossbeam_channel::select;

use crate::{
    connection::{Answer, Connection},
    logging::{info, scope},
    metrics::Task,
    node::Node,
    wire::Command,
};

const PAYLOAD: &str = "keepalive";

/// The part of the time after which a silent master has another one in its place: from one keep-alive to the next. What is
/// left is for the answer, and one without an answer is enough.
const PART: u32 = 3;

/// Runs until the connection closes, which it does itself when the master no longer answers. `ttl` is the silence after which
/// another node may be the master, if one becomes that by itself.
pub fn run(node: &Node, master: &Connection, ttl: Option<Duration>) {
    let scope = scope(&format!("Worker {}", node.cluster.node_name), "Keep Alive");
    let turns = node.turns(Task::KeepAlive, scope);
    let period = node.settings.worker.keep_alive;
    let (period, limit) = match ttl {
        Some(ttl) => (period.min(ttl / PART), 1),
        None => (period, node.settings.worker.max_failed_keepalive_attempts),
    };
    let mut failed = 0;
    loop {
        select! {
            recv(master.closed()) -> _ => return,
            recv(node.clock.after(period)) -> _ => (),
        }
        let answered = turns.run(|| {
            let begun = node.clock.now();
            match ask(master, ttl) {
                Ok(answer) => {
                    turns.done(begun);
                    let answer = String::from_utf8_lossy(&answer).into_owned();
                    info!(turns.scope(), "Successful response from master: {answer}");
                }
                Err(_) if master.is_closed() => (),
                Err(error) => {
                    return Err(format!("Error sending keep alive: {error} ({} of {limit})", failed + 1));
                }
            }
            Ok(())
        });
        failed = if answered.is_ok() { 0 } else { failed + 1 };
        if failed >= limit {
            return master.close("the master does not answer keep-alives");
        }
    }
}

fn ask(master: &Connection, ttl: Option<Duration>) -> Answer {
    match ttl {
        Some(ttl) => master.request_within(ttl - ttl / PART, Command::EchoClient, PAYLOAD),
        None => master.request(Command::EchoClient, PAYLOAD),
    }
}
