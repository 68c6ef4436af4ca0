//! Work that one thread hands to another, which owns what the work is about, and waits for.
//!
//! ```text
//!  handover ─► Waiting ── hand_in ─► the owner's queue ─► Ticket::take ─► the work ─► Ticket::answer
//!                 └────────────────────── wait ◄──────────────────────────────────────────┘
//! ```
//! Either the owner takes the work up, or whoever waits gives it up before that: what is done has somebody who hears of it,
//! and what is given up is not done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, after, bounded, select, select_biased};

use super::shutdown::Shutdown;

/// The owner's end: it goes with the work. Dropped without an answer, it ends the wait.
pub struct Ticket<A> {
    /// Whoever sets it first decides whether the work is done.
    decided: Arc<AtomicBool>,
    answer: Sender<A>,
}

/// The end of whoever waits.
pub struct Waiting<A> {
    decided: Arc<AtomicBool>,
    answered: Receiver<A>,
    deadline: Receiver<Instant>,
    order: Shutdown,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The order to stop came first, or the owner has ended; nothing was done.
    Stopped,
    /// The work was not taken up in time; nothing was done.
    Late,
    /// It was taken up and takes too long; it may still be done.
    Slow,
    /// It was taken up, and the owner failed in the middle of it.
    Failed,
}

/// The two ends of a piece of work that is to be taken up within `patience`; the order to stop ends the wait until then.
pub fn handover<A>(patience: Duration, order: &Shutdown) -> (Ticket<A>, Waiting<A>) {
    let (decided, (answer, answered)) = (Arc::new(AtomicBool::new(false)), bounded(1));
    let ticket = Ticket { decided: decided.clone(), answer };
    (ticket, Waiting { decided, answered, deadline: after(patience), order: order.clone() })
}

impl<A> Ticket<A> {
    /// Takes the work up; false if nobody waits for it any more.
    pub fn take(&self) -> bool {
        !self.decided.swap(true, Ordering::AcqRel)
    }

    /// Gives the answer to the work that was taken up.
    pub fn answer(&self, answer: A) {
        // Whoever has given up needs none.
        let _ = self.answer.send(answer);
    }
}

impl<A> Waiting<A> {
    /// Puts `work`, with the ticket in it, into the owner's queue; waits for room.
    ///
    /// # Errors
    /// [`NoAnswer::Stopped`] or [`NoAnswer::Late`].
    pub fn hand_in<W>(&self, queue: &Sender<W>, work: W) -> Result<(), NoAnswer> {
        select! {
            send(queue, work) -> sent => sent.map_err(|_| NoAnswer::Stopped),
            recv(self.order.channel()) -> _ => Err(NoAnswer::Stopped),
            recv(self.deadline) -> _ => Err(NoAnswer::Late),
        }
    }

    /// Waits for the answer; once the work is taken up, for as long as `longest` or, without it, as it takes.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn wait(self, longest: Option<Duration>) -> Result<A, NoAnswer> {
        let Self { decided, answered, deadline, order } = self;
        let dropped = || if decided.load(Ordering::Acquire) { NoAnswer::Failed } else { NoAnswer::Stopped };
        // An owner that has ended drops nothing of what is still in its queue, so the order to stop counts here, too.
        let given_up = select! {
            recv(answered) -> answer => return answer.map_err(|_| dropped()),
            recv(order.channel()) -> _ => NoAnswer::Stopped,
            recv(deadline) -> _ => NoAnswer::Late,
        };
        if !decided.swap(true, Ordering::AcqRel) {
            return Err(given_up);
        }
        match longest {
            None => answered.recv().map_err(|_| NoAnswer::Failed),
            Some(longest) => answered.recv_timeout(longest).map_err(|error| match error {
                RecvTimeoutError::Timeout => NoAnswer::Slow,
                RecvTimeoutError::Disconnected => NoAnswer::Failed,
            }),
        }
    }
}

/// The owner's part, until the order to stop or until nobody can hand in anything to one of the two: does what is in `first`, and what
/// is in `second` while there is nothing in that; then all that is still in both, so that who waits already gets a result.
/// `work` is told whether it is of the `second`.
pub fn serve<W>(order: &Shutdown, first: &Receiver<W>, second: &Receiver<W>, mut work: impl FnMut(W, bool)) {
    loop {
        let (taken, is_second) = select_biased! {
            recv(order.channel()) -> _ => break,
            recv(first) -> taken => (taken, false),
            recv(second) -> taken => (taken, true),
        };
        match taken {
            Ok(taken) => work(taken, is_second),
            Err(_) => break,
        }
    }
    while let Ok(left) = first.try_recv() {
        work(left, false);
    }
    while let Ok(left) = second.try_recv() {
        work(left, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::shutdown;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn work_is_done_by_its_owner_or_given_up_and_never_both() {
        let (trigger, order) = shutdown::channel();
        let (ticket, waiting) = handover(LONG, &order);
        assert!(ticket.take() && !ticket.take());
        ticket.answer(7);
        assert_eq!(waiting.wait(None), Ok(7));

        let (ticket, waiting) = handover::<u8>(Duration::ZERO, &order);
        assert_eq!(waiting.wait(None), Err(NoAnswer::Late));
        assert!(!ticket.take(), "it was given up");

        let (ticket, waiting) = handover::<u8>(Duration::ZERO, &order);
        assert!(ticket.take());
        assert_eq!(waiting.wait(Some(Duration::ZERO)), Err(NoAnswer::Slow));

        let (ticket, waiting) = handover::<u8>(LONG, &order);
        drop(trigger);
        assert_eq!(waiting.wait(None), Err(NoAnswer::Stopped));
        assert!(!ticket.take());
    }

    #[test]
    fn an_owner_that_fails_has_begun_and_one_that_ends_has_not() {
        let (_trigger, order) = shutdown::channel();
        for (takes, expected) in [(true, NoAnswer::Failed), (false, NoAnswer::Stopped)] {
            let (ticket, waiting) = handover::<u8>(LONG, &order);
            assert!(!takes || ticket.take());
            drop(ticket);
            assert_eq!(waiting.wait(None), Err(expected));
        }
    }

    #[test]
    fn a_full_queue_and_a_closed_one_end_the_wait_for_room() {
        let (trigger, order) = shutdown::channel();
        let (queue, owner) = bounded(1);
        let hand_in = |patience| {
            let (ticket, waiting) = handover::<u8>(patience, &order);
            waiting.hand_in(&queue, ticket)
        };
        assert_eq!(hand_in(LONG), Ok(()));
        assert_eq!(hand_in(Duration::ZERO), Err(NoAnswer::Late));
        drop(trigger);
        assert_eq!(hand_in(LONG), Err(NoAnswer::Stopped));
        drop(owner);
        assert_eq!(hand_in(LONG), Err(NoAnswer::Stopped));
    }
}
