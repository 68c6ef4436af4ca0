//! Thread `failover-files`: a candidate that is a worker takes the private files of the master (`spec/failover.md` 8.6).

use std::{io, time::Duration};

use log::Level;

use super::log_scope;
use crate::{
    connection::{Connection, RequestError},
    files::Private,
    logging::{Repeats, info, log},
    system::disk::Disk,
    wire::Command,
    worker::Worker,
};

/// From one question to the next.
const PERIOD: Duration = Duration::from_secs(30);

/// The same while there is no connection.
const SOON: Duration = Duration::from_secs(1);

/// Why the private files of the master are not here.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("the master did not answer: {0}")]
    Unanswered(#[from] RequestError),
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// Runs until this node stops. `list` is `failover.files`.
pub fn run(worker: &Worker, list: &[String]) {
    let (node, told) = (&worker.node, Repeats::default());
    let (mut pause, mut paths) = (SOON, list.to_vec());
    while node.shutdown.sleep(&node.clock, pause) {
        let Some(master) = worker.master() else {
            pause = SOON;
            continue;
        };
        pause = PERIOD;
        match take(worker, &master, list, &mut paths) {
            Ok(()) => told.clear(),
            Err(why) => {
                let text = format!("Private files (failover.files) of the master are not here: {why}");
                log!(log_scope(), told.level(Level::Warn, &text, node.clock.now()), "{text}.");
            }
        }
    }
}

/// `paths` are those that the master had last: what it has removed stays here, and is no difference.
fn take(worker: &Worker, master: &Connection, list: &[String], paths: &mut Vec<String>) -> Result<(), NotTaken> {
    let home = worker.node.home.path();
    let digest = Private::collect(home, paths)?.digest();
    let answer = master.request(Command::PrivateFiles, digest)?;
    if answer != b"same" {
        let private = Private::parse(&answer, list)?;
        let replaced = private.apply(home, &Disk::new())?;
        *paths = private.paths();
        if !replaced.is_empty() {
            info!(log_scope(), "Private files of the master have been taken: {}.", replaced.join(", "));
        }
    }
    Ok(())
}
