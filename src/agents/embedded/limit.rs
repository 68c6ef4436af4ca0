//! The time that a statement of another program may take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{after, select};
use parking_lot::Mutex;

use crate::system::shutdown::Shutdown;

/// When the statement that runs is to be interrupted, if ever. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct TimeLimit(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    deadline: Option<Instant>,
    order: Option<Shutdown>,
}

impl TimeLimit {
    /// The order to stop interrupts a statement that has a limit.
    pub(super) fn ends_with(&self, order: Shutdown) {
        self.0.lock().order = Some(order);
    }

    /// From now on.
    pub(super) fn set(&self, limit: Duration) {
        self.0.lock().deadline = Some(Instant::now() + limit);
    }

    /// None any more.
    pub(super) fn clear(&self) {
        self.0.lock().deadline = None;
    }

    /// Whether it is over.
    pub(super) fn passed(&self) -> bool {
        let State { deadline, order } = &*self.0.lock();
        deadline.is_some_and(|deadline| Instant::now() >= deadline || order.as_ref().is_some_and(Shutdown::ordered))
    }

    /// Does nothing for this long, or until the order to stop.
    pub(super) fn rest(&self, time: Duration) {
        let order = self.0.lock().order.clone();
        match order {
            None => std::thread::sleep(time),
            Some(order) => select! {
                recv(order.channel()) -> _ => (),
                recv(after(time)) -> _ => (),
            },
        }
    }
}
