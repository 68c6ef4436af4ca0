//! `promote`: a person makes this node the master (`spec/native.md` 5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::{connection::Reply, failover::by_hand, system::json, wire::ErrorObject};

/// How long the program has to read its answer before the node runs anew.
const READING: Duration = Duration::from_secs(1);

/// What is wished.
#[derive(Serialize, Deserialize)]
pub struct Wish {
    /// Whether nobody is asked.
    pub force: bool,
    /// The candidate that is to be the master, which sees the order at the arbiter; this node if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// The answer when another node is to be the master.
#[derive(Serialize, Deserialize)]
pub struct Ordered {
    /// Its name.
    pub ordered: String,
}

/// Answers when it is done or refused; the node then runs anew in its new role.
pub fn begin(role: &Role, reply: Reply, wish: &[u8]) {
    let wish: Wish = match serde_json::from_slice(wish) {
        Ok(wish) => wish,
        Err(error) => return reply.fail(format!("the wish: {error}")),
    };
    if let Some(to) = wish.to {
        return order(role, reply, to);
    }
    let (node, role) = (role.node().clone(), role.clone());
    let threads = node.local_requests.clone();
    let run = move |reply: Reply| {
        let program = reply.connection().clone();
        let busy = program.work();
        let promoted = match (&role, &role.node().candidate) {
            (Role::Master(master), _) => master.promote(wish.force),
            (Role::Worker(worker), Some(candidate)) => by_hand::promote(worker, candidate, wish.force),
            (Role::Worker(worker), None) => worker.promote(wish.force),
        };
        let runs_anew = promoted.is_ok() && matches!(role, Role::Worker(_));
        reply.result(promoted.map(|promoted| json::text(&promoted)));
        drop(busy);
        if runs_anew {
            crossbeam_channel::select! {
                recv(program.closed()) -> _ => (),
                recv(crossbeam_channel::after(READING)) -> _ => (),
            }
            node.term.changed().wake();
        }
    };
    if let Err((error, reply)) = threads.spawn_with("promote", reply, run) {
        reply.refuse(&ErrorObject::unexpected(error.to_string()));
    }
}

/// Has the master hand over to another candidate; answers when that is ordered.
fn order(role: &Role, reply: Reply, to: String) {
    let node = role.node().clone();
    let threads = node.local_requests.clone();
    let run = move |reply: Reply| {
        let ordered = match &node.candidate {
            Some(candidate) => candidate.order(&to, &node.cluster.node_name),
            None => Err("this node is no candidate (cluster.json, failover); 'cluster_control --promote' on the node that is to \
                         be the master"
                .to_owned()),
        };
        let ordered = ordered.map(|()| json::text(&Ordered { ordered: to }));
        reply.result(ordered.map_err(|why| ErrorObject::cluster(3000, why)));
    };
    if let Err((error, reply)) = threads.spawn_with("promote", reply, run) {
        reply.refuse(&ErrorObject::unexpected(error.to_string()));
    }
}
