//! What is done in the order in which it came, by a thread that is there while there is anything to do.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Pieces that may wait in one lane: as many as local programs can be connected to a node at a time.
const LIMIT: usize = 128;

/// Pieces that are taken at a time.
const BATCH: usize = 64;

/// One lane.
pub struct Lane<T>(Mutex<LaneState<T>>);

struct LaneState<T> {
    queue: VecDeque<T>,
    /// Whether somebody empties it, or is about to.
    taken: bool,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self(Mutex::new(LaneState { queue: VecDeque::new(), taken: false }))
    }
}

impl<T> Lane<T> {
    /// Adds a piece behind those that are there. True if the caller is to see to it that [`Lane::empty`] runs, or else to
    /// [`Lane::give_up`].
    ///
    /// # Errors
    /// The piece, when too many wait already.
    pub fn add(&self, piece: T) -> Result<bool, T> {
        let mut state = self.0.lock();
        if state.queue.len() >= LIMIT {
            return Err(piece);
        }
        state.queue.push_back(piece);
        Ok(!std::mem::replace(&mut state.taken, true))
    }

    /// Lets `work` do what is there, some at a time, until nothing is.
    pub fn empty(&self, mut work: impl FnMut(Vec<T>)) {
        while let Some(some) = self.next() {
            work(some);
        }
    }

    /// Takes all that waits: there is nobody to do it.
    pub fn give_up(&self) -> Vec<T> {
        let mut state = self.0.lock();
        state.taken = false;
        state.queue.drain(..).collect()
    }

    fn next(&self) -> Option<Vec<T>> {
        let mut state = self.0.lock();
        let count = state.queue.len().min(BATCH);
        state.taken = count > 0;
        (count > 0).then(|| state.queue.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_in_order_and_the_lane_begins_again() {
        let lane = Lane::default();
        for turn in 0..2 {
            assert_eq!(lane.add(0), Ok(true));
            assert!((1..LIMIT).all(|n| lane.add(n) == Ok(false)));
            assert_eq!(lane.add(7), Err(7));
            let mut done = Vec::new();
            if turn == 0 {
                lane.empty(|some| done.extend(some));
            } else {
                done = lane.give_up();
            }
            assert_eq!(done, (0..LIMIT).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_comes_meanwhile_is_done_too() {
        let lane = Lane::default();
        assert_eq!(lane.add(3), Ok(true));
        let mut done = Vec::new();
        lane.empty(|some| {
            done.extend_from_slice(&some);
            if some[0] > 0 {
                assert_eq!(lane.add(some[0] - 1), Ok(false));
            }
        });
        assert_eq!(done, [3, 2, 1, 0]);
    }
}
