//! The worker's half: says that it lives, and notices when the master does not.

use crossbeam_channel::select;

use crate::{
    connection::Connection,
    logging::{error, info, scope},
    metrics::Task,
    node::Node,
    wire::Command,
};

const PAYLOAD: &str = "keepalive";

/// Runs until the connection closes, which it does itself when the master no longer answers.
pub fn run(node: &Node, master: &Connection) {
    let scope = scope(&format!("Worker {}", node.cluster.node_name), "Keep Alive");
    let limit = node.settings.worker.max_failed_keepalive_attempts;
    let mut failed = 0;
    loop {
        select! {
            recv(master.closed()) -> _ => return,
            recv(node.clock.after(node.settings.worker.keep_alive)) -> _ => (),
        }
        let begun = node.clock.now();
        match master.request(Command::EchoClient, PAYLOAD) {
            Ok(answer) => {
                failed = 0;
                node.metrics.done(Task::KeepAlive, node.clock.now() - begun);
                let answer = String::from_utf8_lossy(&answer).into_owned();
                info!(scope, "Successful response from master: {answer}");
            }
            Err(_) if master.is_closed() => return,
            Err(error) => {
                failed += 1;
                node.metrics.failed(Task::KeepAlive);
                error!(scope, "Error sending keep alive: {error} ({failed} of {limit})");
                if failed >= limit {
                    return master.close("the master does not answer keep-alives");
                }
            }
        }
    }
}
