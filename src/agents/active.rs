//! How many agents are active on each node, without waiting for a slow database.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use super::Store;
use crate::system::{clock::Clock, thread::Group};

/// How old the numbers may be for who watches all the time. Counting costs the database a walk over all agents.
const FRESH: Duration = Duration::from_secs(10);

/// How long new ones are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// By the name of the node.
pub type Numbers = Arc<HashMap<String, u64>>;

/// The last numbers. The database is asked by one thread at a time, however many want to know.
#[derive(Clone, Default)]
pub struct Active(Arc<Mutex<CountState>>);

#[derive(Default)]
struct CountState {
    numbers: Option<Numbers>,
    /// When they were asked for last.
    asked: Option<Instant>,
    /// While the database thinks: since when, real time, and what ends with that.
    asking: Option<(Instant, Receiver<()>)>,
}

impl Active {
    /// The present numbers; none if the database does not tell them within a second.
    pub fn now(&self, store: &Store, threads: &Group, clock: &Clock) -> Option<Numbers> {
        if self.ask(store, threads, clock, Duration::ZERO) { self.0.lock().numbers.clone() } else { None }
    }

    /// Those of the last ten seconds or, while the database takes its time, the last ones.
    pub fn lately(&self, store: &Store, threads: &Group, clock: &Clock) -> Option<Numbers> {
        self.ask(store, threads, clock, FRESH);
        self.0.lock().numbers.clone()
    }

    /// Asks, unless the numbers are younger than `age`, and waits for the answer; whether it has come.
    fn ask(&self, store: &Store, threads: &Group, clock: &Clock, age: Duration) -> bool {
        let now = clock.now();
        let mut state = self.0.lock();
        if let Some((since, told)) = state.asking.clone() {
            drop(state);
            return self.wait(since, &told);
        }
        if state.asked.is_some_and(|asked| now.saturating_duration_since(asked) < age) {
            return true;
        }
        let (done, told) = bounded::<()>(0);
        let since = Instant::now();
        (state.asking, state.asked) = (Some((since, told.clone())), Some(now));
        drop(state);
        let (this, store) = (self.clone(), store.clone());
        let ask = move || {
            let numbers = store.active_agents().ok().map(Arc::new);
            let mut state = this.0.lock();
            (state.asking, state.numbers) = (None, numbers);
            drop(done);
        };
        if threads.spawn("agents", ask).is_err() {
            self.0.lock().asking = None;
            return false;
        }
        self.wait(since, &told)
    }

    /// Waits for the answer to the question that was asked then, for a second from then on; whether it has come.
    fn wait(&self, since: Instant, told: &Receiver<()>) -> bool {
        // It ends when the thread has.
        let _ = told.recv_timeout(PATIENCE.saturating_sub(since.elapsed()));
        self.0.lock().asking.as_ref().is_none_or(|asking| asking.0 != since)
    }
}
