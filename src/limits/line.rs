//! A fair queue for work that is done for peers: a few at a time do it, and who came first is next.
//!
//! Nobody works while it waits for its peer: it steps aside, and keeps its number. So a peer that takes its time holds up
//! nobody, and of several that keep up, the one that came first is done first. Short jobs go before long ones.

use std::{collections::BTreeMap, sync::Arc};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use crate::system::shutdown::Never;

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// It takes little time.
    Short,
    /// It takes more.
    Long,
}

/// Those who work, and those who wait for that. Cheap to clone.
#[derive(Clone)]
pub struct Line(Arc<Inner>);

struct Inner {
    /// How many work at a time.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    working: usize,
    /// Each with a channel for the one call.
    waiting: BTreeMap<(Job, u64), Sender<()>>,
}

/// A place in the line, for one job. Whoever has it works, unless it has stepped aside.
pub struct Place {
    line: Line,
    job: Job,
    number: u64,
    /// Ends when there is nobody any more for whom the job is.
    gone: Receiver<Never>,
    works: bool,
}

impl Line {
    /// `most` work at a time.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, state: Mutex::default() }))
    }

    /// Waits until this job is next; none if whom it is for has `gone` meanwhile.
    pub fn wait(&self, job: Job, gone: &Receiver<Never>) -> Option<Place> {
        let mut state = self.0.state.lock();
        let number = state.next;
        state.next += 1;
        drop(state);
        let mut place = Place { line: self.clone(), job, number, gone: gone.clone(), works: false };
        place.step_in();
        place.works.then_some(place)
    }

    /// How many wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.0.state.lock().waiting.len()
    }
}

impl Place {
    /// Waits for somebody else, by `wait`, while others work. None if there is nobody any more for whom the job is.
    pub fn aside<T>(&mut self, wait: impl FnOnce() -> T) -> Option<T> {
        self.step_out();
        let done = wait();
        self.step_in();
        self.works.then_some(done)
    }

    /// With whom it is for gone, it comes back without being called: there is nothing to be done any more.
    fn step_in(&mut self) {
        let (call, called) = bounded(1);
        let (inner, key) = (&*self.line.0, (self.job, self.number));
        let mut state = inner.state.lock();
        state.waiting.insert(key, call);
        state.call(inner);
        drop(state);
        select! {
            recv(called) -> _ => {}
            recv(self.gone) -> _ => {
                if inner.state.lock().waiting.remove(&key).is_some() {
                    return;
                }
                // It was called at the same moment.
            }
        }
        self.works = true;
    }

    fn step_out(&mut self) {
        if std::mem::take(&mut self.works) {
            let inner = &*self.line.0;
            let mut state = inner.state.lock();
            state.working -= 1;
            state.call(inner);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.step_out();
    }
}

impl State {
    /// Calls those who are next, as long as somebody else may work.
    fn call(&mut self, inner: &Inner) {
        while self.working < inner.most {
            let Some((_, call)) = self.waiting.pop_first() else { return };
            self.working += 1;
            // Whoever waits takes it, or has seen that it was called.
            let _ = call.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;
    use crate::system::shutdown::{self, Shutdown, Trigger};

    struct Case {
        line: Line,
        order: Arc<Mutex<Vec<&'static str>>>,
        peer: Shutdown,
        _there: Trigger,
    }

    impl Case {
        fn new(most: usize) -> Self {
            let (_there, peer) = shutdown::channel();
            Self { line: Line::new(most), order: Arc::default(), peer, _there }
        }

        fn wait(&self, job: Job) -> Place {
            self.line.wait(job, self.peer.channel()).unwrap()
        }

        /// Somebody who waits for this work by now, and tells when it is done.
        fn somebody(&self, name: &'static str, job: Job) -> thread::JoinHandle<()> {
            let (line, order, gone) = (self.line.clone(), self.order.clone(), self.peer.channel().clone());
            let before = self.line.waiting();
            let somebody = thread::spawn(move || {
                let place = line.wait(job, &gone).unwrap();
                order.lock().push(name);
                drop(place);
            });
            while self.line.waiting() == before {
                thread::yield_now();
            }
            somebody
        }

        fn is_free(&self) -> bool {
            let state = self.line.0.state.lock();
            (state.working, state.waiting.len()) == (0, 0)
        }
    }

    #[test]
    fn who_came_first_is_next_and_short_jobs_before_long() {
        let case = Case::new(1);
        let working = case.wait(Job::Long);
        let all = [("a", Job::Long), ("b", Job::Long), ("c", Job::Short), ("d", Job::Long), ("e", Job::Short)];
        let all = all.map(|(name, job)| case.somebody(name, job));
        assert!(case.order.lock().is_empty());
        drop(working);
        all.into_iter().for_each(|somebody| somebody.join().unwrap());
        assert_eq!(*case.order.lock(), ["c", "e", "a", "b", "d"]);
        assert!(case.is_free());
    }

    #[test]
    fn who_waits_for_a_peer_lets_others_work_and_keeps_its_number() {
        let case = Case::new(1);
        let mut first = case.wait(Job::Long);
        let later = first.aside(|| {
            let second = case.wait(Job::Long);
            let third = case.somebody("third", Job::Long);
            let line = case.line.clone();
            let leaving = thread::spawn(move || {
                while line.waiting() < 2 {
                    thread::yield_now();
                }
                drop(second);
            });
            [third, leaving]
        });
        let later = later.unwrap();
        assert!(case.order.lock().is_empty(), "the first waited no longer than the second worked");
        drop(first);
        later.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*case.order.lock(), ["third"]);
        assert!(case.is_free());
    }

    #[test]
    fn nobody_waits_for_a_peer_that_has_gone() {
        let case = Case::new(1);
        let (there, peer) = shutdown::channel();
        let working = case.wait(Job::Long);
        let line = case.line.clone();
        let waiting = thread::spawn(move || line.wait(Job::Short, peer.channel()).is_none());
        while case.line.waiting() == 0 {
            thread::yield_now();
        }
        drop(there);
        assert!(waiting.join().unwrap());
        drop(working);

        let (there, peer) = shutdown::channel();
        let mut place = case.line.wait(Job::Long, peer.channel()).unwrap();
        let mut other = None;
        let done = place.aside(|| {
            drop(there);
            other = Some(case.wait(Job::Short));
        });
        assert!(done.is_none() && !place.works);
        drop(place);
        drop(other);
        assert!(case.is_free());
    }

    #[test]
    fn no_more_than_so_many_work_whatever_they_do() {
        let case = Case::new(2);
        let working = AtomicUsize::new(0);
        let work = || {
            assert!(working.fetch_add(1, Ordering::SeqCst) < 2);
            thread::yield_now();
            working.fetch_sub(1, Ordering::SeqCst);
        };
        thread::scope(|scope| {
            for number in 0..12 {
                let (case, work) = (&case, &work);
                scope.spawn(move || {
                    for turn in 0..200 {
                        let job = if (number + turn) % 3 == 0 { Job::Short } else { Job::Long };
                        let mut place = case.wait(job);
                        work();
                        place.aside(thread::yield_now).unwrap();
                        work();
                    }
                });
            }
        });
        assert!(case.is_free());
    }
}
