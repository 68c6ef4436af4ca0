//! The server's half: closes peers that have been silent for too long.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use crossbeam_channel::select;

use crate::{
    connection::Connection,
    logging::{debug, error, scope},
    node::Node,
    turn::Turns,
};

/// A peer under supervision.
pub struct Supervised {
    /// Its connection.
    pub connection: Connection,
    /// When its last keep-alive came or, before the first, when it connected.
    pub last: Instant,
}

/// Runs until the node stops. `peers` gives those that are connected at the time of a run; `tag` is whose they are in
/// the log.
pub fn run(node: &Node, tag: &str, peers: impl Fn() -> Vec<Supervised>) {
    let turns = Turns::uncounted(scope(tag, "Keep alive"), &node.clock);
    let scope = turns.scope();
    let (period, limit) =
        (node.settings.master.check_worker_lastkeepalive, node.settings.master.max_allowed_time_without_keepalive);
    loop {
        // A peer that is still silent is closed at the next turn.
        let _ = turns.run(|| {
            debug!(scope, "Calculating.");
            close_silent(node.clock.now(), limit, peers(), |peer, silent| {
                error!(
                    scope,
                    "No keep alives have been received from {} in the last {} seconds. Disconnecting",
                    peer.peer(),
                    silent.as_secs()
                );
            });
            debug!(scope, "Calculated.");
            Ok::<_, Infallible>(())
        });
        select! {
            recv(node.shutdown.channel()) -> _ => return,
            recv(node.clock.after(period)) -> _ => (),
        }
    }
}

fn close_silent(now: Instant, limit: Duration, peers: Vec<Supervised>, tell: impl Fn(&Connection, Duration)) {
    for Supervised { connection, last } in peers {
        let silent = now.saturating_duration_since(last);
        // A closed connection is expected to be silent; its owner may take it off the list later.
        if silent > limit && !connection.is_closed() {
            tell(&connection, silent);
            connection.close("no keep-alive came in time");
        }
    }
}
