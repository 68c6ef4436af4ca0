//! A person makes a candidate the master: the present one hands over or, if there is none, nobody is asked.

use std::{sync::Arc, time::Duration};

use super::{follower::has_agents, log_scope};
use crate::{
    election::{Candidate, Elected, Hindrance, NotElected},
    logging::warn,
    term::Promoted,
    wire::ErrorObject,
    worker::Worker,
};

/// How long the master may take to go when it has handed over, beyond the time after which its lease ends by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// From one look to the next meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes this node the master from its next run on.
///
/// # Errors
/// Why not, and what to do.
pub fn promote(worker: &Arc<Worker>, candidate: &Candidate, force: bool) -> Result<Promoted, ErrorObject> {
    let _by_hand = candidate.by_hand();
    let node = &worker.node;
    let there_is = |candidate: &Candidate| candidate.watched().view.and_then(|view| view.master);
    if let Some(entry) = there_is(candidate) {
        if force {
            let name = entry.master().map_or_else(|why| why.to_string(), |master| master.node);
            return Err(refused(format!(
                "{name} is the master, and hands over if it is asked without --force; if it hangs, stop it: {} s later there is no \
                 master any more",
                candidate.ttl().as_secs()
            )));
        }
        worker.be_handed_over()?;
        worker.leave_master("it has handed over");
    }
    let until = node.clock.now() + candidate.ttl() + PATIENCE;
    loop {
        let stood = match there_is(candidate) {
            None => candidate.stand(&node.term, has_agents(worker), force),
            Some(_) => Err(Hindrance::Taken("the master that has handed over".to_owned()).into()),
        };
        match stood {
            Ok(Elected { term, former, .. }) => {
                let lost = force.then(|| {
                    let text = "what the last master has changed and this node has not is lost, until that comes back and sets it \
                                aside";
                    warn!(log_scope(), "By force, this node is the master of term {term}: {text}.");
                    text.to_owned()
                });
                return Ok(Promoted { master: node.cluster.node_name.clone(), term, former, lost });
            }
            Err(NotElected::Hindered(Hindrance::Taken(_)))
                if node.clock.now() < until && node.shutdown.sleep(&node.clock, PAUSE) => {}
            Err(why) => return Err(refused(why.to_string())),
        }
    }
}

fn refused(text: impl Into<String>) -> ErrorObject {
    ErrorObject::cluster(3000, text.into())
}
