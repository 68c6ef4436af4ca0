//! Who is master, decided outside of the nodes: an arbiter that outlives any of them (`spec/failover.md`).
//!
//! ```text
//!  candidate                                                   etcd, three members
//!    watch      ── stream of changes, and a read each TTL/3 ─────►  master, switch
//!    tenure     ── claim; renewal each TTL/5 ────────────────────►  master, under a lease
//!      fence      compares the clock with the deadline of the last renewal; asks nobody
//!      write    ── only while `master` is of this term ──────────►  sync, ids, reg/…
//!    presence   ── renewal each TTL/5 ───────────────────────────►  node/NAME, under a lease
//! ```
//!
//! A **lease** ends TTL seconds after it was renewed last, and what was written under it vanishes. The key `master` is under
//! the lease of the node that is master. Its **term** is the revision at which that key was created: it grows with every
//! change of master. Everything that a master writes is *guarded*: the arbiter compares the term in the same transaction.
//! What no transaction can guard – answers, files that are pushed – is guarded by the [`Deadline`], which passes before the
//! lease can end.
//!
//! The module decides nothing about roles. It neither logs nor counts: who uses it does.

mod deadline;
pub mod etcd;
mod failure;
mod fence;
mod guard;
mod keys;
pub mod memory;
mod presence;
mod shapes;
mod tenure;
mod watch;

use std::time::Duration;

pub use deadline::{Deadline, Ended};
pub use failure::{Failure, Fault, Why};
pub use guard::Guard;
pub use keys::{Folder, Key};
pub use presence::Presence;
pub use shapes::{InSync, MOST_CANDIDATES, Malformed, Master, Node, Switch};
pub use tenure::{Claimed, NotClaimed, Tenure};
pub use watch::{View, Watch, Watched};

/// A point in the history of the arbiter: each transaction that writes makes the next one. Never 0.
pub type Revision = u64;

/// The time of one master: the revision at which its key was created.
pub type Term = Revision;

/// The number of a lease.
pub type Lease = u64;

/// Writes of one transaction. etcd takes 128 operations; one more is the guard's.
pub const MOST_WRITES: usize = 100;

/// Entries of one page of [`Arbiter::list`].
pub const MOST_ENTRIES: usize = 100;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its value. The methods of this type read it.
    pub value: Vec<u8>,
    /// When the key was created; of [`Key::Master`] this is the term.
    pub created: Revision,
    /// When the value was written.
    pub changed: Revision,
    /// The lease with which it vanishes; 0 if it stays.
    pub lease: Lease,
}

/// What several keys hold at one point in the history, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// That point.
    pub revision: Revision,
    /// None for a key that does not exist.
    pub entries: Vec<Option<Entry>>,
}

/// A page of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<(Key, Entry)>,
    /// Whether there are further ones behind the last.
    pub more: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A key is to hold this value.
    Put(Key, Vec<u8>),
    /// A key is to vanish, if it is there.
    Delete(Key),
    /// The registrations up to this one are to vanish, this one included.
    DeleteRegistrations(u64),
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The node is master, in the term of this guard.
    Won(Guard),
    /// Another one is.
    Lost(Entry),
}

/// What became of a guarded write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it is written, once.
    Done,
    /// Nothing is: the term is over.
    Superseded,
}

/// Where the nodes agree on who is master. All calls end within a time that the arbiter was set up with.
///
/// A [`Failure`] means that nobody knows whether the call had an effect. All calls may be repeated: a repeated claim with
/// the same lease finds itself won, and a repeated write is done once.
pub trait Arbiter: Send + Sync + 'static {
    /// A new lease, which ends after `ttl` unless it is renewed. The arbiter may give it more time, never less.
    ///
    /// # Errors
    /// [`Failure`].
    fn grant(&self, ttl: Duration) -> Result<Lease, Failure>;

    /// Begins the time of the lease anew; false if it has ended.
    ///
    /// # Errors
    /// [`Failure`].
    fn renew(&self, lease: Lease) -> Result<bool, Failure>;

    /// Renews the lease of a master, and has it confirmed that the node is that: if not, why. What this confirms held at some
    /// instant after the call began.
    ///
    /// # Errors
    /// [`Failure`]: the lease may be renewed, and nothing is confirmed.
    fn hold(&self, lease: Lease, term: Term) -> Result<Option<Ended>, Failure>;

    /// Ends a lease and all that was written under it. One that has ended already is none to complain about.
    ///
    /// # Errors
    /// [`Failure`].
    fn revoke(&self, lease: Lease) -> Result<(), Failure>;

    /// Makes this node the master if there is none; the key is under `lease`.
    ///
    /// # Errors
    /// [`Failure`]. The claim may still be won later, as long as the lease lasts: whoever gives up revokes the lease.
    fn claim(&self, lease: Lease, master: &Master) -> Result<Claim, Failure>;

    /// What all these keys hold now: no answer is older than the call.
    ///
    /// # Errors
    /// [`Failure`].
    fn read(&self, keys: &[Key]) -> Result<Reading, Failure>;

    /// A page of a folder, at most [`MOST_ENTRIES`] long, of the keys behind `after`.
    ///
    /// # Errors
    /// [`Failure`]; also when a key there has no place in it.
    fn list(&self, folder: Folder, after: Option<&Key>) -> Result<Page, Failure>;

    /// Lets a key hold a value until the lease ends, whoever is master: [`Key::Node`], [`Key::Switch`].
    ///
    /// # Errors
    /// [`Failure`]; also when the lease has ended.
    fn announce(&self, key: &Key, value: &[u8], lease: Lease) -> Result<(), Failure>;

    /// Does all these writes, at most [`MOST_WRITES`], in one transaction, or none if the term is over.
    ///
    /// # Errors
    /// [`Failure`]. Unless the same writes are repeated, nobody learns whether they were done. They are not done any more
    /// after a later write of the same guard was.
    fn write(&self, guard: &mut Guard, writes: &[Write]) -> Result<Written, Failure>;

    /// Waits for changes of [`Key::Master`] and [`Key::Switch`] behind `revision`.
    ///
    /// # Errors
    /// [`Failure`].
    fn changes(&self, revision: Revision) -> Result<Box<dyn Changes>, Failure>;
}

/// A stream of changes. It may die without a word.
pub trait Changes: Send {
    /// Waits until something may have changed, at the longest for `limit`, on the clock of the machine; false if nothing has.
    ///
    /// # Errors
    /// [`Failure`] when the stream has ended: a new one is needed.
    fn wait(&mut self, limit: Duration) -> Result<bool, Failure>;
}
