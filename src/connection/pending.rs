//! The requests of this side that wait for their answers (`spec/protocol.md` 4.1).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::{system::random, wire::Message};

/// Counters of open requests, each with the thread that waits.
pub struct Pending {
    next: AtomicU32,
    open: Arc<Mutex<HashMap<u32, Sender<Message>>>>,
}

/// One open request. Dropping it forgets the counter, whatever the outcome was.
pub struct Waiting {
    /// The counter that the answer will carry.
    pub counter: u32,
    /// Delivers the answer.
    pub answer: Receiver<Message>,
    open: Arc<Mutex<HashMap<u32, Sender<Message>>>>,
}

impl Pending {
    /// None open; counters begin at a random number.
    pub fn new() -> Self {
        Self { next: AtomicU32::new(random::number()), open: Arc::default() }
    }

    /// A counter that is not in use, registered.
    pub fn open(&self) -> Waiting {
        let (deliver, answer) = bounded(1);
        let mut open = self.open.lock();
        let counter = loop {
            let counter = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if !open.contains_key(&counter) {
                break counter;
            }
        };
        open.insert(counter, deliver);
        Waiting { counter, answer, open: self.open.clone() }
    }

    /// Hands an answer to the thread that waits for it; false if none does.
    pub fn deliver(&self, answer: Message) -> bool {
        let waiting = self.open.lock().remove(&answer.counter);
        // The channel has room for the one answer; whoever has stopped waiting does not miss it.
        waiting.is_some_and(|deliver| deliver.try_send(answer).is_ok())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.open.lock().remove(&self.counter);
    }
}
