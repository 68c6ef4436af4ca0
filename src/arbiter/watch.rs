//! What is known of the master: kept up to date by a stream of changes, and by reading it anew, since streams die silently.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::{Arbiter, Changes, Entry, Failure, Key, Revision};
use crate::system::{clock::Clock, shutdown::Shutdown, thread, wakeup::Wakeup};

/// Reads within the time of a lease.
const READS: u32 = 3;

/// The pause after a failure.
const AGAIN: Duration = Duration::from_millis(250);

/// What stood at the arbiter at one point in its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The key of the master, if there is one.
    pub master: Option<Entry>,
    /// That it is to hand over.
    pub switch: Option<Entry>,
}

/// What a watch knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// What was read last; none before the first time. It is out of date while there is a failure.
    pub view: Option<View>,
    /// Why nothing can be read now; none if it can.
    pub failure: Option<Failure>,
}

/// Watches [`Key::Master`] and [`Key::Switch`] in a thread of its own, until this node stops.
pub struct Watch {
    shared: Arc<Shared>,
    /// Ends with the order to stop; whoever wants to can join it.
    pub thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    watched: Mutex<Watched>,
    changed: Wakeup,
}

impl Watch {
    /// Begins; `ttl` is that of the leases.
    ///
    /// # Errors
    /// When the kernel refuses another thread.
    pub fn start(arbiter: &Arc<dyn Arbiter>, ttl: Duration, clock: &Clock, shutdown: &Shutdown) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut watcher = Watcher {
            arbiter: arbiter.clone(),
            shared: shared.clone(),
            turn: ttl / READS,
            clock: clock.clone(),
            shutdown: shutdown.clone(),
            stream: None,
        };
        let thread = thread::spawn("arbiter-watch", move || watcher.run())?;
        Ok(Self { shared, thread })
    }

    /// What is known now.
    pub fn watched(&self) -> Watched {
        self.shared.watched.lock().clone()
    }

    /// For `select!`: becomes ready when something else is known than before. Changes that follow each other quickly may be
    /// one; the last of them is never lost.
    pub fn changed(&self) -> &Receiver<()> {
        self.shared.changed.channel()
    }
}

struct Watcher {
    arbiter: Arc<dyn Arbiter>,
    shared: Arc<Shared>,
    turn: Duration,
    clock: Clock,
    shutdown: Shutdown,
    /// With the point in the history behind which it began.
    stream: Option<(Box<dyn Changes>, Revision)>,
}

impl Watcher {
    fn run(&mut self) {
        let mut told = true;
        while !self.shutdown.ordered() {
            match self.arbiter.read(&[Key::Master, Key::Switch]) {
                Ok(reading) => {
                    let revision = reading.revision;
                    let mut entries = reading.entries.into_iter();
                    let view = View { master: entries.next().flatten(), switch: entries.next().flatten() };
                    let changed = self.know(Watched { view: Some(view), failure: None });
                    self.keep_stream(revision, changed && !told);
                    told = self.wait();
                }
                Err(failure) => {
                    let view = self.shared.watched.lock().view.clone();
                    self.know(Watched { view, failure: Some(failure) });
                    self.stream = None;
                    self.shutdown.sleep(&self.clock, AGAIN.min(self.turn));
                    told = true;
                }
            }
        }
    }

    /// Whether that is something else.
    fn know(&self, watched: Watched) -> bool {
        let mut known = self.shared.watched.lock();
        let changed = *known != watched;
        if changed {
            *known = watched;
            self.shared.changed.wake();
        }
        changed
    }

    /// Opens a stream if there is none that works. One that was silent about a change is dead; one that began at a later
    /// point than the arbiter is at waits for a future that another past will have: a backup was restored.
    fn keep_stream(&mut self, revision: Revision, was_silent: bool) {
        let works = self.stream.as_ref().is_some_and(|(_, began)| *began <= revision) && !was_silent;
        if !works {
            self.stream = None;
            // Without one, what is read each turn has to do.
            self.stream = self.arbiter.changes(revision).ok().map(|stream| (stream, revision));
        }
    }

    /// Waits for the next turn, or for a change; false if the turn has come without a change.
    fn wait(&mut self) -> bool {
        match &mut self.stream {
            Some((stream, _)) => stream.wait(self.turn).unwrap_or_else(|_| {
                // It has ended: the history that it would have told was compacted, or its member has gone.
                self.stream = None;
                true
            }),
            None => {
                self.shutdown.sleep(&self.clock, self.turn);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arbiter::{Claim, Master, memory::Memory},
        system::{clock::FakeClock, shutdown},
    };

    const TTL: Duration = Duration::from_secs(9);

    /// Waits until the view is as `is` wants it.
    fn view(watch: &Watch, is: impl Fn(&Watched) -> bool) {
        while !is(&watch.watched()) {
            watch.changed().recv_timeout(Duration::from_secs(60)).expect("a change");
        }
    }

    #[test]
    fn a_change_is_seen_by_the_stream_and_a_silent_stream_is_replaced() {
        let ((clock, hand), (trigger, order)) = (FakeClock::new(), shutdown::channel());
        let memory = Memory::new(&clock, &order);
        let (seat, other) = (memory.seat(), memory.seat());
        let watch = Watch::start(&(Arc::new(seat.clone()) as Arc<dyn Arbiter>), TTL, &clock, &order).unwrap();
        let is_there = |watched: &Watched| watched.view.as_ref().is_some_and(|view| view.master.is_some());
        let is_gone = |watched: &Watched| watched.view.as_ref().is_some_and(|view| view.master.is_none());
        view(&watch, is_gone);

        let master = Master { node: "b".into(), address: "b".into(), port: 1516, since: 0, cluster: "k".into() };
        let lease = other.grant(2 * TTL).unwrap();
        assert!(matches!(other.claim(lease, &master).unwrap(), Claim::Won(_)));
        view(&watch, is_there);

        // The lease ends, and nobody does anything that would wake the stream: the next turn sees it.
        let mut passed = 0;
        while !is_gone(&watch.watched()) {
            hand.advance(Duration::from_millis(100));
            std::thread::sleep(Duration::from_millis(1));
            passed += 1;
            assert!(passed < 60_000);
        }
        seat.cut(true);
        while watch.watched().failure.is_none() {
            hand.advance(Duration::from_millis(100));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(is_gone(&watch.watched()), "what was known last stays");
        seat.cut(false);
        while watch.watched().failure.is_some() {
            hand.advance(Duration::from_millis(100));
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(trigger);
        watch.thread.join().unwrap();
    }
}
