//! One comparison at a time: each costs every node a walk over its ruleset, and any worker may ask for it.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::system::{clock::Clock, shutdown::Shutdown};

/// Whose turn it is: a channel with room for one.
pub struct Turn(Sender<()>, Receiver<()>);

/// The turn; dropping it gives it to the next.
pub struct Taken<'a>(&'a Turn);

impl Default for Turn {
    fn default() -> Self {
        let (take, give) = bounded(1);
        Self(take, give)
    }
}

impl Turn {
    /// Waits for it; none if it does not come within `limit`, or the node stops.
    pub fn take(&self, clock: &Clock, shutdown: &Shutdown, limit: Duration) -> Option<Taken<'_>> {
        select! {
            send(self.0, ()) -> sent => sent.ok().map(|()| Taken(self)),
            recv(clock.after(limit)) -> _ => None,
            recv(shutdown.channel()) -> _ => None,
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let _ = self.0.1.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::shutdown;

    #[test]
    fn the_second_waits_for_the_first() {
        let (turn, clock, (trigger, token)) = (Turn::default(), Clock::real(), shutdown::channel());
        let (soon, late) = (Duration::from_millis(1), Duration::from_secs(600));
        let first = turn.take(&clock, &token, late).unwrap();
        assert!(turn.take(&clock, &token, soon).is_none());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| turn.take(&clock, &token, late).is_some());
            drop(first);
            assert!(second.join().unwrap());
        });
        let _third = turn.take(&clock, &token, late).unwrap();
        drop(trigger);
        assert!(turn.take(&clock, &token, late).is_none(), "the node stops");
    }
}
