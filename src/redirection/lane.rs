//! Work that is done in the order in which it came, on a thread that is there while there is any.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::system::thread::{Group, guard};

/// Pieces of work that may wait in one lane.
const LIMIT: usize = 256;

type Work = Box<dyn FnOnce() + Send>;

/// One lane; cheap to clone.
#[derive(Clone, Default)]
pub struct Lane(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    running: bool,
}

impl Lane {
    /// Adds `work` behind what is there.
    ///
    /// # Errors
    /// A text, when too much waits already or no thread can be started; nothing was done then.
    pub fn add(&self, threads: &Group, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let mut state = self.0.lock();
        if state.queue.len() >= LIMIT {
            return Err(format!("{LIMIT} requests of this node wait for the same program already"));
        }
        state.queue.push_back(Box::new(work));
        if state.running {
            return Ok(());
        }
        let this = self.clone();
        let started = threads.spawn("sendsync", move || this.run());
        state.running = started.is_ok();
        started.map_err(|error| {
            state.queue.pop_back();
            format!("no thread can be started: {error}")
        })
    }

    fn run(&self) {
        while let Some(work) = self.next() {
            if let Err(panic) = guard(work) {
                log::error!(target: "[Cluster] [Main]", "A redirected request failed: {panic}. Please report this.");
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.0.lock();
        let next = state.queue.pop_front();
        state.running = next.is_some();
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crossbeam_channel::{bounded, unbounded};

    use super::*;

    #[test]
    fn work_is_done_in_order_and_a_panic_takes_only_itself() {
        let (lane, threads, (done, results)) = (Lane::default(), Group::new(1), unbounded());
        let (open, gate) = bounded::<()>(0);
        lane.add(&threads, move || _ = gate.recv()).unwrap();
        for n in 0..LIMIT {
            let done = done.clone();
            let work = move || {
                assert!(n != 3, "the third fails");
                done.send(n).unwrap();
            };
            // The first piece may have been taken from the queue already, or not.
            if lane.add(&threads, work).is_err() {
                assert_eq!(n, LIMIT - 1);
            }
        }
        while lane.0.lock().queue.len() < LIMIT {
            let _ = lane.add(&threads, || ());
        }
        assert!(lane.add(&threads, || ()).is_err(), "the lane is full");
        drop((open, done));
        let results: Vec<usize> = results.iter().collect();
        let expected: Vec<usize> = (0..LIMIT).filter(|n| *n != 3).collect();
        assert_eq!(results[..], expected[..results.len()]);
        assert!(results.len() >= LIMIT - 2);
        assert_eq!(threads.join(Instant::now() + Duration::from_secs(60)), 0);
        lane.add(&threads, || ()).expect("the lane starts again");
        assert_eq!(threads.join(Instant::now() + Duration::from_secs(60)), 0);
    }
}
