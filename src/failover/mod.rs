//! Thread `failover` of a candidate: as a worker it becomes the master when that fails, as the master it sees to it that
//! another one can follow (`spec/failover.md` 8).
//!
//! | file | what it does |
//! |---|---|
//! | [`follower`] | a worker: waits until the key of the master is gone, and claims it in its turn |
//! | [`leader`] | the master: tells who may follow, and forgets records that all of those have |
//! | [`by_hand`] | a person makes a worker the master |
//! | [`files`] | a worker: takes the private files of the master |
//! | [`hooks`] | programs that are run when this node has become the master, or is it no more |

pub mod by_hand;
pub mod files;
pub mod follower;
pub mod hooks;
pub mod leader;

use crate::logging::{Scope, scope};

fn log_scope() -> Scope {
    scope("Cluster", "Failover")
}
