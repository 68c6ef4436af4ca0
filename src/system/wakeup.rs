//! A wake-up for a thread that waits. However often it is given before it is taken, it is one.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{clock::Clock, shutdown::Shutdown};

/// Both ends of a wake-up; cheap to clone.
#[derive(Clone)]
pub struct Wakeup(Sender<()>, Receiver<()>);

impl Default for Wakeup {
    fn default() -> Self {
        let (give, take) = bounded(1);
        Self(give, take)
    }
}

impl Wakeup {
    /// Gives it; never waits.
    pub fn wake(&self) {
        // One that was given already, and not taken yet, is as good.
        let _ = self.0.try_send(());
    }

    /// For `select!`: becomes ready when it was given. Receiving takes it.
    pub fn channel(&self) -> &Receiver<()> {
        &self.1
    }

    /// Waits until it is given, at the longest until `due`; false if the order to stop came first. What was given before and
    /// nobody has taken is taken.
    pub fn wait(&self, order: &Shutdown, clock: &Clock, due: Instant) -> bool {
        select! {
            recv(order.channel()) -> _ => false,
            recv(self.1) -> _ => true,
            recv(clock.after(due.saturating_duration_since(clock.now()))) -> _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_them_is_one() {
        let wakeup = Wakeup::default();
        (0..3).for_each(|_| wakeup.clone().wake());
        assert!(wakeup.channel().try_recv().is_ok());
        assert!(wakeup.channel().try_recv().is_err());
        wakeup.wake();
        assert!(wakeup.channel().try_recv().is_ok(), "one that was taken can be given again");
    }
}
