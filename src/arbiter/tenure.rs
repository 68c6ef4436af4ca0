//! The time in which this node is master: from the claim to the deadline that passes.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::select;

use super::{Arbiter, Claim, Deadline, Ended, Entry, Failure, Guard, Lease, Master, Term, Write, Written, fence};
use crate::system::{clock::Clock, shutdown::Shutdown, thread};

/// Renewals within the time of a lease.
const RENEWALS: u32 = 5;

/// The part of it in which this node acts without a renewal: what is left covers different speeds of the two clocks, the
/// time for what is under way, and that of the fence.
const SAFE: f64 = 0.8;

/// The longest pause before a renewal that has failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// This node is master until [`Tenure::deadline`] has passed.
///
/// One thread renews the lease each TTL/5, and looks whether the key of the master is still that of the term; another one,
/// the fence, waits for the deadline: 0.8 TTL after the last renewal that succeeded was *sent*. Both end with the deadline.
pub struct Tenure {
    /// Until when this node may act as master.
    pub deadline: Deadline,
    arbiter: Arc<dyn Arbiter>,
    guard: Guard,
    threads: Vec<JoinHandle<()>>,
}

/// What became of a claim.
pub enum Claimed {
    /// This node is master.
    Won(Tenure),
    /// Another one is, and its key was this.
    Lost(Entry),
}

/// Why there was no claim. Nothing of it remains at the arbiter for longer than the TTL.
#[derive(Debug, thiserror::Error)]
pub enum NotClaimed {
    /// The arbiter.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The kernel refuses a thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] io::Error),
    /// The arbiter took too long.
    #[error("the claim took longer than 0.8 of failover.ttl")]
    Late,
}

impl Tenure {
    /// Claims to be the master. `fenced` is called by the fence, once, when the deadline has passed for whatever reason; it
    /// closes what acts for the master, and waits for nothing.
    ///
    /// # Errors
    /// [`NotClaimed`]: this node is not master.
    pub fn claim(
        arbiter: &Arc<dyn Arbiter>,
        master: &Master,
        ttl: Duration,
        clock: &Clock,
        shutdown: &Shutdown,
        fenced: impl FnOnce(Ended) + Send + 'static,
    ) -> Result<Claimed, NotClaimed> {
        let sent = clock.awake_or_suspended();
        let lease = arbiter.grant(ttl)?;
        let given_up = |why: NotClaimed| {
            // If this fails, too, the lease ends by itself.
            let _ = arbiter.revoke(lease);
            why
        };
        let guard = match arbiter.claim(lease, master).map_err(|failure| given_up(failure.into()))? {
            Claim::Won(guard) => guard,
            Claim::Lost(other) => {
                let _ = arbiter.revoke(lease);
                return Ok(Claimed::Lost(other));
            }
        };
        let deadline = Deadline::new(clock, sent + ttl.mul_f64(SAFE));
        if !deadline.holds() {
            return Err(given_up(NotClaimed::Late));
        }
        let fence = fence::start(&deadline, clock, shutdown, fenced).map_err(|error| given_up(error.into()))?;
        let keeper = Keeper { arbiter: arbiter.clone(), deadline: deadline.clone(), ttl, term: guard.term, lease };
        let (clock, order) = (clock.clone(), shutdown.clone());
        let keeper = thread::spawn("lease", move || keeper.run(&clock, &order)).map_err(|error| {
            deadline.end(Ended::Released);
            given_up(error.into())
        })?;
        Ok(Claimed::Won(Self { deadline, arbiter: arbiter.clone(), guard, threads: vec![fence, keeper] }))
    }

    /// The term. Whoever keeps terms compares it with the highest that was seen: after an etcd was restored from a backup it
    /// may be lower, and then this node must not act.
    pub fn term(&self) -> Term {
        self.guard.term
    }

    /// Does these writes if this node still is the master. If they are superseded, the deadline passes.
    ///
    /// # Errors
    /// [`Failure`], as for [`Arbiter::write`].
    pub fn write(&mut self, writes: &[Write]) -> Result<Written, Failure> {
        let written = self.arbiter.write(&mut self.guard, writes)?;
        if written == Written::Superseded {
            self.deadline.end(Ended::Superseded);
        }
        Ok(written)
    }

    /// Gives the role back: the deadline passes, and the key of the master vanishes, so that another one can claim it at
    /// once. Waits for the threads of this tenure, and so for a renewal that is under way.
    ///
    /// # Errors
    /// [`Failure`]: the key vanishes after the TTL only.
    pub fn release(mut self) -> Result<(), Failure> {
        self.deadline.end(Ended::Released);
        let outcome = self.arbiter.revoke(self.guard.lease);
        for thread in self.threads.drain(..) {
            // A thread of this kind that panics ends the process.
            let _ = thread.join();
        }
        outcome
    }
}

/// Without [`Tenure::release`] the key of the master lasts until its lease ends.
impl Drop for Tenure {
    fn drop(&mut self) {
        self.deadline.end(Ended::Released);
    }
}

/// Renews the lease.
struct Keeper {
    arbiter: Arc<dyn Arbiter>,
    deadline: Deadline,
    ttl: Duration,
    term: Term,
    lease: Lease,
}

impl Keeper {
    fn run(&self, clock: &Clock, shutdown: &Shutdown) {
        let turn = self.ttl / RENEWALS;
        let mut pause = turn;
        while self.wait(clock, shutdown, pause) {
            let sent = clock.awake_or_suspended();
            pause = match self.arbiter.hold(self.lease, self.term) {
                Ok(None) => {
                    self.deadline.extend(sent + self.ttl.mul_f64(SAFE));
                    turn.saturating_sub(clock.awake_or_suspended().saturating_sub(sent))
                }
                Ok(Some(why)) => return self.deadline.end(why),
                // The deadline tells when that has lasted for too long.
                Err(_) => turn.min(AGAIN),
            };
        }
    }

    /// Waits; false if there is nothing to renew any more.
    fn wait(&self, clock: &Clock, shutdown: &Shutdown, pause: Duration) -> bool {
        select! {
            recv(shutdown.channel()) -> _ => false,
            recv(self.deadline.passed().channel()) -> _ => false,
            recv(clock.after(pause)) -> _ => self.deadline.holds(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{
        arbiter::{
            Key,
            memory::{Memory, Seat},
        },
        system::{
            clock::FakeClock,
            shutdown::{self, Trigger},
        },
    };

    const SECOND: Duration = Duration::from_secs(1);
    const TTL: Duration = Duration::from_secs(10);

    struct Bench {
        clock: Clock,
        hand: FakeClock,
        memory: Memory,
        seat: Seat,
        shutdown: Shutdown,
        trigger: Option<Trigger>,
    }

    fn bench() -> Bench {
        let ((clock, hand), (trigger, shutdown)) = (FakeClock::new(), shutdown::channel());
        let memory = Memory::new(&clock, &shutdown);
        Bench { seat: memory.seat(), clock, hand, memory, shutdown, trigger: Some(trigger) }
    }

    impl Bench {
        fn claim(&self, seat: &Seat) -> Option<(Tenure, mpsc::Receiver<Ended>)> {
            let arbiter: Arc<dyn Arbiter> = Arc::new(seat.clone());
            let master = Master { node: "a".into(), address: "a".into(), port: 1516, since: 0, cluster: "k".into() };
            let (tell, told) = mpsc::channel();
            let fenced = move |why| tell.send(why).unwrap_or_default();
            match Tenure::claim(&arbiter, &master, TTL, &self.clock, &self.shutdown, fenced).unwrap() {
                Claimed::Won(tenure) => Some((tenure, told)),
                Claimed::Lost(_) => None,
            }
        }

        /// Lets the next renewal fall due as soon as its thread waits for it, and waits for what comes of it.
        fn renewal(&self, what: &str, look: impl Fn() -> bool) {
            let turn = TTL / RENEWALS;
            // The fence waits for a second at the longest.
            assert!(turn > SECOND);
            self.until("the wait for a renewal", || self.hand.longest_wait() >= turn);
            self.hand.advance(turn);
            self.until(what, look);
        }

        fn until(&self, what: &str, look: impl Fn() -> bool) {
            let end = std::time::Instant::now() + 120 * SECOND;
            while !look() {
                assert!(std::time::Instant::now() < end, "{what}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn a_master_stays_while_it_is_renewed_and_the_next_one_comes_after_it() {
        let bench = bench();
        let (tenure, told) = bench.claim(&bench.seat).unwrap();
        let other = bench.memory.seat();
        for _ in 0..5 {
            bench.renewal("a later deadline", || tenure.deadline.left() > 7 * SECOND);
            assert!(bench.claim(&other).is_none());
        }
        bench.seat.cut(true);
        bench.hand.advance(8 * SECOND);
        assert_eq!(told.recv().unwrap(), Ended::Late);
        assert!(bench.claim(&other).is_none(), "the deadline passes before the lease ends");
        bench.hand.advance(TTL);
        let (next, _told) = bench.claim(&other).unwrap();
        assert!(next.term() > tenure.term());
        bench.seat.cut(false);
        let mut old = tenure;
        assert_eq!(old.write(&[Write::ids(1)]), Ok(Written::Superseded));
    }

    #[test]
    fn a_machine_that_was_suspended_is_no_master_any_more() {
        let bench = bench();
        let (tenure, told) = bench.claim(&bench.seat).unwrap();
        bench.hand.suspend(60 * SECOND);
        assert!(!tenure.deadline.holds());
        bench.hand.advance(SECOND);
        assert_eq!(told.recv().unwrap(), Ended::Late);
        assert!(bench.claim(&bench.memory.seat()).is_some());
    }

    #[test]
    fn a_wall_clock_that_jumps_changes_nothing() {
        let bench = bench();
        let (tenure, told) = bench.claim(&bench.seat).unwrap();
        let (other, hour) = (bench.memory.seat(), 3600 * SECOND);
        for wall in [bench.clock.wall() + hour, bench.clock.wall() - hour] {
            bench.hand.set_wall(wall);
            bench.renewal("a later deadline", || tenure.deadline.left() > 7 * SECOND);
            assert!(told.try_recv().is_err() && bench.claim(&other).is_none());
        }
    }

    #[test]
    fn a_key_that_somebody_deletes_ends_the_tenure_at_the_next_renewal() {
        let bench = bench();
        let (tenure, told) = bench.claim(&bench.seat).unwrap();
        bench.memory.delete(&Key::Master);
        bench.renewal("the end", || !tenure.deadline.holds());
        assert_eq!(told.recv().unwrap(), Ended::Superseded);
    }

    #[test]
    fn the_order_to_stop_ends_the_threads_and_fences_nothing() {
        let mut bench = bench();
        let (mut tenure, told) = bench.claim(&bench.seat).unwrap();
        bench.trigger = None;
        tenure.threads.drain(..).for_each(|thread| thread.join().unwrap());
        assert!(told.recv().is_err());
        tenure.release().unwrap();
        assert!(bench.seat.read(&[Key::Master]).unwrap().entries[0].is_none());
    }
}
