//! The time that a statement of another program may take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{after, select};
use parking_lot::Mutex;

use crate::system::shutdown::Shutdown;

/// How long a statement of another program may go on while work of the cluster waits for it.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// From one look at who waits to the next, for one who rests.
const LOOK: Duration = Duration::from_millis(50);

/// Whether somebody waits.
type Waits = Arc<dyn Fn() -> bool + Send + Sync>;

/// When the statement that runs is to be interrupted, if ever. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct TimeLimit(Arc<Mutex<LimitState>>);

#[derive(Default)]
struct LimitState {
    deadline: Option<Instant>,
    /// For a statement that gives way: the earliest moment to do so.
    gives_way: Option<Instant>,
    waits: Option<Waits>,
    order: Option<Shutdown>,
}

impl TimeLimit {
    /// The order to stop interrupts a statement that has a limit.
    pub(super) fn ends_with(&self, order: Shutdown) {
        self.0.lock().order = Some(order);
    }

    /// Statements of other programs give way when this is so.
    pub(super) fn gives_way_if(&self, waits: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.lock().waits = Some(Arc::new(waits));
    }

    /// What follows is another program's, until [`TimeLimit::end_others`].
    pub(super) fn begin_others(&self) {
        self.0.lock().gives_way = Some(Instant::now() + SLICE);
    }

    /// What follows is the cluster's own.
    pub(super) fn end_others(&self) {
        self.0.lock().gives_way = None;
    }

    /// Interrupts what follows when this time is over.
    pub(super) fn set(&self, limit: Duration) {
        self.0.lock().deadline = Some(Instant::now() + limit);
    }

    /// Lets what follows take any time.
    pub(super) fn clear(&self) {
        self.0.lock().deadline = None;
    }

    /// Whether it is over.
    pub(super) fn passed(&self) -> bool {
        let LimitState { deadline, gives_way, waits, order } = &*self.0.lock();
        deadline.is_some_and(|deadline| {
            let now = Instant::now();
            now >= deadline
                || order.as_ref().is_some_and(Shutdown::ordered)
                || gives_way.is_some_and(|moment| now >= moment) && waits.as_ref().is_some_and(|waits| waits())
        })
    }

    /// Does nothing for this long, or until a statement would be interrupted.
    pub(super) fn rest(&self, time: Duration) {
        self.set(time);
        let order = self.0.lock().order.clone();
        while !self.passed() {
            match &order {
                None => std::thread::sleep(LOOK.min(time)),
                Some(order) => select! {
                    recv(order.channel()) -> _ => (),
                    recv(after(LOOK.min(time))) -> _ => (),
                },
            }
        }
        self.clear();
    }
}
