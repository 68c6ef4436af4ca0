//! What lets a write be done in its term only, and in its turn.

use super::{Lease, Revision, Term};

/// The right to write in a term, and where its writes stand. A term has one, and so its writes have an order.
///
/// Every write also writes [`Key::Turn`](super::Key::Turn), and compares the revision at which that was written last. So a
/// write that was under way for long – in a member that had stopped, on a connection where nobody waits any more – is done
/// in its turn or never. One that is sent again since its answer was lost finds its own number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The term.
    pub term: Term,
    /// The lease that the key of the master is under.
    pub lease: Lease,
    /// When the last write was done, or the claim, as far as is known.
    pub(super) last: Revision,
    /// The number of the write that is under way, or was the last.
    pub(super) number: u64,
}

impl Guard {
    /// Of a claim that was won; `last` is when it was.
    pub(super) fn new(term: Term, lease: Lease, last: Revision) -> Self {
        Self { term, lease, last, number: 0 }
    }
}
