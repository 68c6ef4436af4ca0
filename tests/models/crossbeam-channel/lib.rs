//! What the models need of `crossbeam-channel`, between threads that shuttle schedules: bounded channels, `select!`, and
//! clocks that may be as slow or as fast as they like.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex},
};

/// A time that never comes.
pub const NEVER: Duration = Duration::from_secs(3600);

shuttle::lazy_static! {
    /// Counts what has happened to any channel; who waits for one waits for this.
    static ref EVENTS: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());
}

fn tell() {
    *EVENTS.0.lock().unwrap() += 1;
    EVENTS.1.notify_all();
}

/// Waits until one of the things that `poll` tries is ready; it is told whether it has to try them all.
pub fn until_ready(biased: bool, poll: &mut dyn FnMut(bool) -> bool) {
    loop {
        let before = *EVENTS.0.lock().unwrap();
        // Of several that are ready any may be taken.
        if (!biased && poll(false)) || poll(true) {
            return;
        }
        let mut now = EVENTS.0.lock().unwrap();
        while *now == before {
            now = EVENTS.1.wait(now).unwrap();
        }
    }
}

/// Whether this one of several is tried.
pub fn is_tried(all: bool) -> bool {
    all || thread_rng().gen_bool(0.5)
}

struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receivers: usize,
}

pub struct Sender<T>(Arc<Mutex<State<T>>>);
pub struct Receiver<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
pub struct SendError<T>(pub T);
#[derive(Debug, PartialEq)]
pub struct RecvError;
#[derive(Debug)]
pub enum TrySendError<T> {
    Full(T),
    Disconnected(T),
}
#[derive(Debug, PartialEq)]
pub enum TryRecvError {
    Empty,
    Disconnected,
}
#[derive(Debug, PartialEq)]
pub enum RecvTimeoutError {
    Timeout,
    Disconnected,
}

pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { queue: VecDeque::new(), capacity, senders: 1, receivers: 1 };
    let state = Arc::new(Mutex::new(state));
    (Sender(state.clone()), Receiver(state))
}

/// At any moment from now on; at none if it is as late as [`NEVER`].
pub fn after(delay: Duration) -> Receiver<Instant> {
    let (give, take) = bounded(1);
    if delay >= NEVER {
        // Nobody drops this end.
        std::mem::forget(give);
    } else {
        shuttle::thread::spawn(move || {
            let _ = give.send(Instant::now());
            std::mem::forget(give);
        });
    }
    take
}

pub fn never<T>() -> Receiver<T> {
    let (give, take) = bounded(1);
    std::mem::forget(give);
    take
}

impl<T> Sender<T> {
    /// None if there is no room.
    pub fn poll(&self, value: &mut Option<T>) -> Option<Result<(), SendError<T>>> {
        let mut state = self.0.lock().unwrap();
        if state.receivers == 0 {
            return Some(Err(SendError(value.take().unwrap())));
        }
        assert!(state.capacity > 0, "a channel without room is not modelled");
        if state.queue.len() == state.capacity {
            return None;
        }
        state.queue.push_back(value.take().unwrap());
        drop(state);
        tell();
        Some(Ok(()))
    }

    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut value = Some(value);
        match self.poll(&mut value) {
            Some(Ok(())) => Ok(()),
            Some(Err(SendError(value))) => Err(TrySendError::Disconnected(value)),
            None => Err(TrySendError::Full(value.unwrap())),
        }
    }

    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let (mut value, mut sent) = (Some(value), None);
        until_ready(true, &mut |_| {
            sent = self.poll(&mut value);
            sent.is_some()
        });
        sent.unwrap()
    }
}

impl<T> Receiver<T> {
    /// None if there is nothing yet.
    pub fn poll(&self) -> Option<Result<T, RecvError>> {
        let mut state = self.0.lock().unwrap();
        let taken = state.queue.pop_front();
        let ended = state.senders == 0;
        drop(state);
        match taken {
            Some(value) => {
                tell();
                Some(Ok(value))
            }
            None => ended.then_some(Err(RecvError)),
        }
    }

    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.poll() {
            Some(Ok(value)) => Ok(value),
            Some(Err(RecvError)) => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    pub fn recv(&self) -> Result<T, RecvError> {
        let mut received = None;
        until_ready(true, &mut |_| {
            received = self.poll();
            received.is_some()
        });
        received.unwrap()
    }

    pub fn recv_timeout(&self, longest: Duration) -> Result<T, RecvTimeoutError> {
        let over = after(longest);
        select! {
            recv(self) -> value => value.map_err(|_| RecvTimeoutError::Disconnected),
            recv(over) -> _ => Err(RecvTimeoutError::Timeout),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap().queue.is_empty()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().unwrap().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.lock().unwrap().receivers += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().unwrap().senders -= 1;
        tell();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap();
        state.receivers -= 1;
        // As there: what nobody can receive any more is dropped with the last receiver.
        let lost = if state.receivers == 0 { std::mem::take(&mut state.queue) } else { VecDeque::new() };
        drop(state);
        tell();
        drop(lost);
    }
}

/// Takes one of several that are ready, or the first that becomes so.
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => { $crate::arms!(false [] ((a sa) (b sb) (c sc) (d sd)) $($arms)*) };
}

/// The same; of several that are ready the first is taken.
#[macro_export]
macro_rules! select_biased {
    ($($arms:tt)*) => { $crate::arms!(true [] ((a sa) (b sb) (c sc) (d sd)) $($arms)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! arms {
    ($biased:tt [$($done:tt)*] (($id:ident $on:ident) $($ids:tt)*)
        $kind:ident($($of:tt)*) -> $into:pat => $body:block $(,)? $($rest:tt)*) => {
        $crate::arms!($biased [$($done)* ($id $on $kind ($($of)*) ($into) ($body))] ($($ids)*) $($rest)*)
    };
    ($biased:tt [$($done:tt)*] (($id:ident $on:ident) $($ids:tt)*)
        $kind:ident($($of:tt)*) -> $into:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::arms!($biased [$($done)* ($id $on $kind ($($of)*) ($into) ($body))] ($($ids)*) $($($rest)*)?)
    };
    ($biased:tt [$(($id:ident $on:ident $kind:ident $of:tt $into:tt $body:tt))*] $ids:tt) => {{
        $($crate::on!($on $kind $of);)*
        $(let mut $id = None;)*
        $crate::until_ready($biased, &mut |all| {
            $(if $crate::is_tried(all) {
                $id = $crate::poll!($on $kind);
                if $id.is_some() {
                    return true;
                }
            })*
            false
        });
        $crate::taken!($(($id $into $body))*)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! on {
    ($on:ident recv ($from:expr)) => {
        let $on = &$from;
    };
    ($on:ident send ($to:expr, $value:expr)) => {
        let mut $on = (&$to, Some($value));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! poll {
    ($on:ident recv) => {
        $on.poll()
    };
    ($on:ident send) => {
        $on.0.poll(&mut $on.1)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! taken {
    (($id:ident ($into:pat) ($body:expr)) $($rest:tt)*) => {
        match $id {
            Some(taken) => {
                let $into = taken;
                $body
            }
            None => $crate::taken!($($rest)*),
        }
    };
    () => { unreachable!("one of them is ready") };
}
