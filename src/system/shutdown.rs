//! The order to stop: one dropped sender wakes every wait.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::clock::Clock;

/// Nothing is ever sent on these channels; their end is the message.
pub enum Never {}

/// Gives the order; dropping it gives it too.
pub struct Trigger(#[expect(dead_code, reason = "held only to be dropped")] Sender<Never>);

/// Receives the order; cheap to clone.
#[derive(Clone)]
pub struct Shutdown(Receiver<Never>);

/// A trigger and the token that it ends.
pub fn channel() -> (Trigger, Shutdown) {
    let (trigger, token) = bounded(0);
    (Trigger(trigger), Shutdown(token))
}

impl Shutdown {
    /// For `select!`: becomes ready, with an error, when the order was given.
    pub fn channel(&self) -> &Receiver<Never> {
        &self.0
    }

    /// Whether the order was given.
    pub fn ordered(&self) -> bool {
        matches!(self.0.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    /// Waits for `delay`; false if the order to stop came first.
    pub fn sleep(&self, clock: &Clock, delay: Duration) -> bool {
        select! {
            recv(self.0) -> _ => false,
            recv(clock.after(delay)) -> _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_trigger_ends_every_wait() {
        let (trigger, token) = channel();
        assert!(!token.ordered());
        let waits: Vec<_> = (0..4)
            .map(|_| {
                let token = token.clone();
                std::thread::spawn(move || token.sleep(&Clock::real(), Duration::from_secs(600)))
            })
            .collect();
        drop(trigger);
        assert!(waits.into_iter().all(|wait| !wait.join().unwrap_or(true)));
        assert!(token.ordered());
    }
}
