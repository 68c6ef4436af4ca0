//! How long to wait before the next attempt to connect.

use std::time::Duration;

use crate::system::random;

/// Doubles with each failure, up to a maximum. Each wait is a random part of it, so that the workers of a cluster whose
/// master comes back do not all come at once.
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// From `least`, growing to `most`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most: most.max(least), next: least }
    }

    /// The next wait: between three quarters of it and the whole.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        let random = f64::from(random::number()) / f64::from(u32::MAX);
        whole.mul_f64(0.75 + 0.25 * random)
    }

    /// A wait of `most` at the longest, after which the waits begin anew.
    pub fn short(&mut self, most: Duration) -> Duration {
        self.next = self.least.min(most);
        let wait = self.wait();
        self.reset();
        wait
    }

    /// After a connection that was accepted.
    pub fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_start_again() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 10 * second);
        for whole in [1, 2, 4, 8, 10, 10] {
            let wait = backoff.wait();
            assert!(wait <= whole * second && wait >= (whole * second).mul_f64(0.74), "{wait:?} of {whole}");
        }
        backoff.reset();
        assert!(backoff.wait() <= second);
        for _ in 0..3 {
            assert!(backoff.short(second / 4) <= second / 4);
        }
        assert!(backoff.short(2 * second) > second / 2);
    }
}
