//! Whether this node, a candidate, is the master: what outlives its runs as master and as worker (`spec/failover.md` 8).
//!
//! ```text
//!             ┌── the key of the master is gone, this node may follow ──► claim ──► office: term, records ─► runs anew
//!  worker ────┤                                                             │ lost, or not fit: given back
//!             └──────────────────────────────────────────────────────◄──────┘
//!  master ────── the deadline has passed: it runs anew as a worker ─► worker
//! ```
//! The *office* is what a candidate has while it is the master: the tenure at the arbiter, the term as nodes count them, and
//! what earlier masters have registered. Nothing here acts for the master; whoever does asks [`Candidate::acts`].

mod chance;
mod office;
mod record;
mod standing;
mod status;

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

pub use chance::{Chance, Hindrance};
use crossbeam_channel::Receiver;
use office::Office;
use parking_lot::{Mutex, RwLock};
pub use record::Change;
pub use standing::{Elected, NotElected};
pub use status::{Known, Place, Seen, Status};

use crate::{
    arbiter::{Arbiter, Deadline, Ended, Failure, Key, Node, Presence, Watch, Watched, Write},
    config::settings::{Failover, Registrations},
    crypto::Fernet,
    system::{
        clock::Clock,
        shutdown::{self, Shutdown, Trigger},
        wakeup::Wakeup,
    },
    term::Term,
};

/// The pause before a call of the arbiter that has failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// How long a node that has given the role back lets others take it.
const SIT_OUT: Duration = Duration::from_secs(10);

/// A node that may be the master. Its threads, `arbiter-watch` and `presence`, run as long as it does.
pub struct Candidate {
    own: Own,
    settings: Failover,
    arbiter: Arc<dyn Arbiter>,
    clock: Clock,
    /// Orders all calls of the arbiter to end.
    order: Shutdown,
    trigger: Mutex<Option<Trigger>>,
    /// What records are sealed with, the first of them, and opened.
    ciphers: RwLock<Vec<Fernet>>,
    threads: OnceLock<Threads>,
    /// Held for one write at the arbiter at a time; its holder waits for that.
    office: Mutex<Option<Office>>,
    /// That of the office; whoever asks does not wait for a write.
    deadline: RwLock<Option<Deadline>>,
    /// Why it is not the master, for people.
    hindrance: RwLock<Option<Hindrance>>,
    /// Why it was the master no more, the last time.
    fenced: Arc<RwLock<Option<Ended>>>,
    changed: Wakeup,
    /// As [`Candidate::last_made`].
    made: AtomicU64,
    /// When it gave the role back because another one is to have it.
    gave_back: RwLock<Option<Instant>>,
    /// How often it was elected.
    elections: AtomicU64,
    /// How many candidates may follow it, while it is the master.
    followers: AtomicUsize,
    /// How many persons make it the master at the moment.
    by_hand: AtomicUsize,
}

/// A person makes this node the master, until it is dropped.
pub struct ByHand<'a>(&'a Candidate);

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        self.0.by_hand.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who a candidate is.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its name.
    pub name: String,
    /// Where workers reach it.
    pub address: String,
    /// The port there.
    pub port: u16,
    /// The fingerprint of the key of its cluster.
    pub cluster: String,
    /// Whether its `<node_type>` is master: it is the first one.
    pub is_first: bool,
}

struct Threads {
    watch: Watch,
    presence: Presence,
}

/// Why a change of client.keys is not recorded, so that it may not be answered.
#[derive(Debug, thiserror::Error)]
pub enum NotRecorded {
    /// This node is not the master.
    #[error("this node is not the master any more")]
    NoOffice,
    /// The arbiter.
    #[error("{0}")]
    Failure(#[from] Failure),
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(#[from] io::Error),
}

impl Candidate {
    /// A candidate that asks `arbiter`; nothing is asked before [`Candidate::start`]. `order` and its trigger end the calls
    /// of the arbiter.
    pub fn new(
        own: Own,
        settings: Failover,
        arbiter: Arc<dyn Arbiter>,
        clock: &Clock,
        (trigger, order): (Trigger, Shutdown),
    ) -> Arc<Self> {
        Arc::new(Self {
            own,
            settings,
            arbiter,
            clock: clock.clone(),
            order,
            trigger: Mutex::new(Some(trigger)),
            ciphers: RwLock::default(),
            threads: OnceLock::new(),
            office: Mutex::default(),
            deadline: RwLock::default(),
            hindrance: RwLock::default(),
            fenced: Arc::default(),
            changed: Wakeup::default(),
            made: AtomicU64::new(0),
            gave_back: RwLock::default(),
            elections: AtomicU64::new(0),
            followers: AtomicUsize::new(0),
            by_hand: AtomicUsize::new(0),
        })
    }

    /// Starts its threads, once.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn start(&self) -> io::Result<()> {
        if self.threads.get().is_some() {
            return Ok(());
        }
        let (arbiter, ttl) = (&self.arbiter, self.settings.ttl);
        let node = self.presented(None);
        let watch = Watch::start(arbiter, ttl, &self.clock, &self.order)?;
        let presence = Presence::start(arbiter, &self.own.name, &node, ttl, &self.clock, &self.order)?;
        // Nobody else starts them.
        let _ = self.threads.set(Threads { watch, presence });
        Ok(())
    }

    /// Ends it: the role is given back, so that another one follows at once, and the threads end.
    pub fn end(&self) {
        self.resign();
        drop(self.trigger.lock().take());
    }

    /// The seconds of silence after which another node is the master.
    pub fn ttl(&self) -> Duration {
        self.settings.ttl
    }

    /// The names of all candidates.
    pub fn names(&self) -> &[String] {
        &self.settings.candidates
    }

    /// Whether it becomes the master by itself.
    pub fn is_automatic(&self) -> bool {
        self.settings.auto
    }

    /// A person makes it the master: until what comes back is dropped it does not become that by itself.
    pub fn by_hand(&self) -> ByHand<'_> {
        self.by_hand.fetch_add(1, Ordering::AcqRel);
        ByHand(self)
    }

    /// Whether a person makes it the master at the moment.
    pub fn is_by_hand(&self) -> bool {
        self.by_hand.load(Ordering::Acquire) > 0
    }

    /// Told when this node is to run anew in another role.
    pub fn changed(&self) -> &Wakeup {
        &self.changed
    }

    /// What the arbiter says of the master, as far as it is known.
    pub fn watched(&self) -> Watched {
        self.threads.get().map(|threads| threads.watch.watched()).unwrap_or_default()
    }

    /// For `select!`: becomes ready when [`Candidate::watched`] has changed.
    pub fn news(&self) -> Receiver<()> {
        self.threads.get().map_or_else(crossbeam_channel::never, |threads| threads.watch.changed().clone())
    }

    /// Whether this node acts as the master now.
    pub fn acts(&self) -> bool {
        self.deadline.read().as_ref().is_some_and(Deadline::holds)
    }

    /// Until when it acts as that, while it is the master.
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline.read().clone()
    }

    /// Why it was the master no more, if nobody has been told yet.
    pub fn fenced(&self) -> Option<Ended> {
        self.fenced.write().take()
    }

    /// Whether it has given the role back a moment ago, so that others can take it.
    pub fn gave_back(&self) -> bool {
        let is_recent = |when: Instant| self.clock.now().saturating_duration_since(when) < SIT_OUT;
        self.gave_back.read().is_some_and(is_recent)
    }

    /// Why it could not be the master now, as it was seen last; none if it could, or is.
    pub fn hindrance(&self) -> Option<Hindrance> {
        self.hindrance.read().clone()
    }

    /// Puts the keys of the cluster in force: records are sealed with the first, and opened with any.
    pub fn use_ciphers(&self, ciphers: Vec<Fernet>) {
        *self.ciphers.write() = ciphers;
    }

    /// Asks the arbiter whether this node could be the master now; `agents` is whether it has any keys of agents. What is
    /// found is told to the others.
    ///
    /// # Errors
    /// [`Hindrance`].
    pub fn chance(&self, term: &Term, agents: bool) -> Result<Chance, Hindrance> {
        let asked = self.ask(term, agents, None).map_err(|(why, _)| why);
        if asked.as_ref().err() != Some(&Hindrance::GaveBack) {
            self.tell(asked.as_ref().err());
        }
        asked
    }

    /// Lets people and the other candidates know why it could not be the master; none if it could.
    pub fn tell(&self, hindrance: Option<&Hindrance>) {
        let before = std::mem::replace(&mut *self.hindrance.write(), hindrance.cloned());
        if before.as_ref() != hindrance
            && let Some(threads) = self.threads.get()
        {
            threads.presence.set(&self.presented(hindrance));
        }
    }

    fn presented(&self, hindrance: Option<&Hindrance>) -> Node {
        Node {
            address: format!("{}:{}", self.own.address, self.own.port),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            obstacle: hindrance.map(ToString::to_string),
        }
    }

    /// The changes of client.keys that are to be made before this node acts as the master, once.
    pub fn inherit(&self) -> Vec<Change> {
        self.office.lock().as_mut().map(Office::inherit).unwrap_or_default()
    }

    /// Records changes of client.keys before they are answered, and that ids up to `highest` are given. Gives the numbers of
    /// the records.
    ///
    /// # Errors
    /// [`NotRecorded`]: they must not be answered. Whether they are recorded is not known.
    pub fn record(&self, changes: &[Change], highest: u32) -> Result<Vec<u64>, NotRecorded> {
        let cipher = self.ciphers.read().first().cloned().ok_or(NotRecorded::NoOffice)?;
        let mut slot = self.office.lock();
        let office = slot.as_mut().filter(|office| office.deadline().holds()).ok_or(NotRecorded::NoOffice)?;
        match self.settings.registrations {
            Registrations::Sync => {
                let now = self.seconds();
                let mut numbers = Vec::new();
                for part in record::parts(changes) {
                    let token = record::seal(part, &cipher, now)?;
                    let number = self.patiently(office, |office| office.record(&token, highest));
                    numbers.push(number.inspect_err(|_| unrecord(office, &numbers))?);
                }
                Ok(numbers)
            }
            Registrations::Off => self.patiently(office, |office| office.reserve(highest)).map(|()| Vec::new()),
        }
    }

    /// Changes that were recorded have not been made.
    pub fn unrecord(&self, numbers: &[u64]) {
        if let Some(office) = self.office.lock().as_mut() {
            unrecord(office, numbers);
        }
    }

    /// Changes that were recorded up to this number stand in client.keys.
    pub fn made(&self, last: u64) {
        self.made.fetch_max(last, Ordering::AcqRel);
    }

    /// The number of the last record whose changes stand there.
    pub fn last_made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    /// Does it again while it fails and the deadline holds.
    fn patiently<T>(
        &self,
        office: &mut Office,
        work: impl Fn(&mut Office) -> Result<Option<T>, Failure>,
    ) -> Result<T, NotRecorded> {
        loop {
            match work(office) {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => return Err(NotRecorded::NoOffice),
                Err(failure) if !office.deadline().holds() || self.order.ordered() => return Err(failure.into()),
                Err(_) => {
                    self.order.sleep(&self.clock, AGAIN);
                }
            }
        }
    }

    /// All candidates in sync have what was recorded up to this number.
    ///
    /// # Errors
    /// The arbiter; it may be tried again.
    pub fn forget_records(&self, last: u64) -> Result<(), Failure> {
        match self.office.lock().as_mut() {
            Some(office) => office.write(&[Write::DeleteRegistrations(last)]).map(drop),
            None => Ok(()),
        }
    }

    /// These candidates may follow, best first, behind this one.
    ///
    /// # Errors
    /// The arbiter; it may be tried again.
    pub fn set_in_sync(&self, candidates: &[String]) -> Result<(), Failure> {
        let set = self.office.lock().as_mut().map_or(Ok(()), |office| office.set_in_sync(candidates));
        if set.is_ok() {
            self.followers.store(candidates.len().saturating_sub(1), Ordering::Relaxed);
        }
        set
    }

    /// How many candidates may follow it; none if it is not the master. Never waits.
    pub fn followers(&self) -> Option<usize> {
        self.acts().then(|| self.followers.load(Ordering::Relaxed))
    }

    /// How often it has become the master since the process began.
    pub fn elections(&self) -> u64 {
        self.elections.load(Ordering::Relaxed)
    }

    /// Who may follow, best first, as this master has told last; the first is itself.
    pub fn in_sync(&self) -> Vec<String> {
        self.office.lock().as_ref().map(|office| office.in_sync().to_vec()).unwrap_or_default()
    }

    /// Gives the role back, if this node has it: it does not act as the master any more, and the key at the arbiter vanishes.
    pub fn resign(&self) {
        let office = self.office.lock().take();
        if let Some(office) = office {
            // If this fails, the lease ends by itself.
            let _ = office.release();
        }
        *self.deadline.write() = None;
    }

    /// [`Candidate::resign`], because another one is to be the master, or this node cannot act as that: for a while it lets
    /// the others take the role.
    pub fn give_back(&self) {
        *self.gave_back.write() = Some(self.clock.now());
        self.resign();
    }

    fn seconds(&self) -> u64 {
        self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

fn unrecord(office: &mut Office, numbers: &[u64]) {
    let writes: Vec<_> = numbers.iter().map(|number| Write::Delete(Key::Registration(*number))).collect();
    if !writes.is_empty() {
        // If that fails they are made by the next master, and nobody was answered.
        let _ = office.write(&writes);
    }
}

/// What ends the calls of an arbiter, for [`Candidate::new`].
pub fn order() -> (Trigger, Shutdown) {
    shutdown::channel()
}
