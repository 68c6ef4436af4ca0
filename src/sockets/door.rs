//! The accept loop of every socket of this machine: one place for each program, and one that is idle goes for one that waits.

use std::{
    io,
    time::{Duration, Instant},
};

use log::Level;

use super::Accept;
use crate::{
    limits::{Guest, IDLE, PLACE_PATIENCE, who_leaves},
    logging::{Repeats, Scope, log},
    system::{clock::Clock, shutdown::Shutdown},
};

/// How long the thread rests when the system has no room for another connection.
const REST: Duration = Duration::from_millis(500);

/// How often it is looked whether there is a place for one that waits.
const LOOK: Duration = Duration::from_millis(20);

/// The programs at a socket.
pub trait House<S> {
    /// One of them.
    type Program;

    /// How many may be there.
    fn limit(&self) -> usize;

    /// Where the limit comes from, as it stands behind "are connected" in the log.
    fn limit_is(&self) -> &'static str;

    /// Those that are there, and how each counts; all are one party.
    fn programs(&mut self) -> Vec<(Self::Program, Guest<()>)>;

    /// Disconnects one.
    fn turn_out(&mut self, program: &Self::Program);

    /// Begins to serve one more.
    ///
    /// # Errors
    /// When it cannot be served.
    fn admit(&mut self, stream: S) -> io::Result<()>;
}

/// Accepts at `socket` until the order to stop. What goes wrong is logged under `scope`, with `failure` before the reason.
pub fn accept<B: Accept>(
    socket: &B,
    house: &mut impl House<B::Stream>,
    (scope, failure): (&Scope, &str),
    clock: &Clock,
    order: &Shutdown,
) {
    let told = Repeats::default();
    loop {
        let accepted = socket.accept();
        if order.ordered() {
            return;
        }
        let is_full = accepted.is_err();
        let served = accepted.and_then(|stream| make_room(house, order).and_then(|()| house.admit(stream)));
        if let Err(error) = served {
            let text = format!("{failure}: {error}");
            log!(scope, told.level(Level::Warn, &text, clock.now()), "{text}");
            if is_full {
                order.sleep(clock, REST);
            }
        }
    }
}

/// Disconnects an idle program for one that waits, if there is no place. While there is none, and nobody is idle, it waits
/// a little.
fn make_room<S>(house: &mut impl House<S>, order: &Shutdown) -> io::Result<()> {
    let (end, limit) = (Instant::now() + PLACE_PATIENCE, house.limit());
    loop {
        let programs = house.programs();
        if programs.len() < limit {
            return Ok(());
        }
        if let Some(at) = who_leaves(programs.iter().map(|(_, guest)| *guest), Instant::now(), IDLE) {
            house.turn_out(&programs[at].0);
        } else if Instant::now() >= end || !order.sleep(&Clock::real(), LOOK) {
            return Err(io::Error::other(format!("{limit} are connected{}", house.limit_is())));
        }
    }
}
