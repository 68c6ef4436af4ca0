//! The worker's half: sends keep-alives, and notices when the master does not answer them.

use crossbeam_channel::select;

use crate::{
    connection::Connection,
    logging::{info, scope},
    metrics::Task,
    node::Node,
    wire::Command,
};

const PAYLOAD: &str = "keepalive";

/// Runs until the connection closes, which it does itself when the master no longer answers.
pub fn run(node: &Node, master: &Connection) {
    let scope = scope(&format!("Worker {}", node.cluster.node_name), "Keep Alive");
    let turns = node.turns(Task::KeepAlive, scope);
    let limit = node.settings.worker.max_failed_keepalive_attempts;
    let mut failed = 0;
    loop {
        select! {
            recv(master.closed()) -> _ => return,
            recv(node.clock.after(node.settings.worker.keep_alive)) -> _ => (),
        }
        let answered = turns.run(|| {
            let begun = node.clock.now();
            match master.request(Command::EchoClient, PAYLOAD) {
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
