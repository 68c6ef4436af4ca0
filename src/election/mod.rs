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
mod status;

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use chance::{Chance, Hindrance};
use crossbeam_channel::Receiver;
use office::Office;
use parking_lot::{Mutex, RwLock};
pub use record::Change;
pub use status::{Known, Status};

use crate::{
    arbiter::{
        Arbiter, Claimed, Deadline, Ended, Failure, Folder, InSync, Key, Master, Node, NotClaimed, Presence, Tenure,
        Watch, Watched, Write, Written,
    },
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
    /// Held while this node claims to be the master.
    claiming: Mutex<()>,
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

/// An election that was won.
#[derive(Debug, PartialEq, Eq)]
pub struct Elected {
    /// The term.
    pub term: u64,
    /// Who was the master before; empty if nobody was.
    pub former: String,
    /// Changes of client.keys that are to be made first.
    pub inherited: usize,
}

/// Why a candidate was not elected.
#[derive(Debug, thiserror::Error)]
pub enum NotElected {
    /// It may not be the master.
    #[error(transparent)]
    Hindered(#[from] Hindrance),
    /// The claim.
    #[error(transparent)]
    NotClaimed(#[from] NotClaimed),
    /// What was registered before cannot be had.
    #[error("what was registered last cannot be read: {0}")]
    Records(String),
    /// The term.
    #[error("{0}")]
    NotWritten(String),
    /// The arbiter did not take what a new master has to write.
    #[error("the claim was won, and lost again before this node could be the master")]
    TooLate,
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
            claiming: Mutex::default(),
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

    /// Why it was the master no more, the last time.
    pub fn fenced(&self) -> Option<Ended> {
        *self.fenced.read()
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

    /// As [`Candidate::chance`]; after a claim that was won in the `tenure`. With the hindrance comes the chance that it would
    /// have if a person overruled that.
    fn ask(&self, term: &Term, agents: bool, tenure: Option<&Tenure>) -> Result<Chance, (Hindrance, Chance)> {
        let unreachable = |why: Failure| (Hindrance::Unreachable(why.to_string()), Chance::default());
        let reading = self.arbiter.read(&[Key::Master, Key::Sync, Key::Ids]).map_err(unreachable)?;
        let mut entries = reading.entries.into_iter();
        let mut next = || entries.next().flatten();
        let (master, sync, ids) = (next(), next(), next());
        let master = master.filter(|entry| tenure.is_none_or(|tenure| entry.created != tenure.term()));
        let local = chance::Local {
            name: &self.own.name,
            cluster: &self.own.cluster,
            is_first: self.own.is_first,
            knows_elections: term.knows_elections(),
            term: term.claim().term,
            agents,
        };
        let judged = match self.gave_back() {
            true => Err(Hindrance::GaveBack),
            false => chance::of(&local, master.as_ref(), sync.as_ref(), ids.as_ref()),
        };
        judged.map_err(|why| (why, Chance::by_force(sync.as_ref(), ids.as_ref())))
    }

    /// Claims to be the master and, if that is won, prepares for it: the term is written down, and the next run of this node
    /// is that of the master. By `force`, whatever a person may overrule does not count.
    ///
    /// # Errors
    /// [`NotElected`]: all is as before, and the claim is given back.
    pub fn stand(&self, term: &Term, agents: bool, force: bool) -> Result<Elected, NotElected> {
        let _alone = self.claiming.lock();
        Self::may(self.ask(term, agents, None), force)?;
        let master = Master {
            node: self.own.name.clone(),
            address: self.own.address.clone(),
            port: self.own.port,
            since: self.seconds(),
            cluster: self.own.cluster.clone(),
        };
        let (fenced, changed, in_office) =
            (self.fenced.clone(), self.changed.clone(), Arc::new(AtomicBool::new(false)));
        let acted = in_office.clone();
        let when_fenced = move |why| {
            if acted.load(Ordering::Acquire) {
                *fenced.write() = Some(why);
                changed.wake();
            }
        };
        let ttl = self.settings.ttl;
        let tenure = match Tenure::claim(&self.arbiter, &master, ttl, &self.clock, &self.order, when_fenced)? {
            Claimed::Won(tenure) => tenure,
            Claimed::Lost(entry) => return Err(Hindrance::taken(&entry).into()),
        };
        let result = self.prepare(term, agents, force, &tenure);
        let (mut office, elected) = match result {
            Ok((sync, elected, records)) => (Office::new(tenure, sync, records), elected),
            Err(why) => {
                // If this fails, the lease ends by itself.
                let _ = tenure.release();
                return Err(why);
            }
        };
        // A master that the arbiter does not know as that of its term must not act.
        while office.deadline().holds() {
            match office.begin() {
                Ok(Written::Done) => {
                    if let Err(error) = term.lead_elected(elected.term, office.highest()) {
                        let _ = office.release();
                        return Err(NotElected::NotWritten(format!(
                            "queue/cluster-state/term.json cannot be written: {error}; let there be room, and let the user of \
                             this daemon write there"
                        )));
                    }
                    self.made.store(office.last_record(), Ordering::Release);
                    in_office.store(true, Ordering::Release);
                    self.elections.fetch_add(1, Ordering::Relaxed);
                    *self.deadline.write() = Some(office.deadline().clone());
                    *self.office.lock() = Some(office);
                    self.tell(None);
                    return Ok(elected);
                }
                Ok(Written::Superseded) => break,
                Err(_) => {
                    self.order.sleep(&self.clock, AGAIN);
                }
            }
        }
        let _ = office.release();
        Err(NotElected::TooLate)
    }

    /// What a person may overrule counts only if it is not overruled.
    fn may(asked: Result<Chance, (Hindrance, Chance)>, force: bool) -> Result<Chance, Hindrance> {
        match asked {
            Err((why, chance)) if force && why.may_be_overruled() => Ok(chance),
            other => other.map_err(|(why, _)| why),
        }
    }

    /// Reads what the next master has to know. The claim is won, so nobody else writes it any more.
    fn prepare(
        &self,
        term: &Term,
        agents: bool,
        force: bool,
        tenure: &Tenure,
    ) -> Result<(InSync, Elected, office::Inherited), NotElected> {
        let chance = Self::may(self.ask(term, agents, Some(tenure)), force)?;
        let (changes, next) = self.records(force)?;
        if chance.needs_all && !force && !are_all(&changes, chance.ids) {
            return Err(Hindrance::NoAgents(chance.ids).into());
        }
        let known = term.claim();
        let next_term = chance.term.max(known.term).max(term.heard().term) + 1;
        let mut candidates = vec![self.own.name.clone()];
        candidates.extend(chance.in_sync.into_iter().filter(|name| *name != self.own.name));
        let sync = InSync { term: next_term, cluster: self.own.cluster.clone(), candidates };
        let given = changes.iter().filter_map(Change::id).max().unwrap_or(0);
        // By force, ids that nobody has told of may have been given.
        let known_ids = if chance.forced { term.told().ids } else { 0 };
        let highest = chance.ids.max(given).max(term.floor()).max(known_ids);
        let former = if known.master == self.own.name { String::new() } else { known.master };
        let elected = Elected { term: next_term, former, inherited: changes.len() };
        Ok((sync, elected, office::Inherited { changes, highest, next }))
    }

    /// What earlier masters have registered and not all candidates in sync have, and the number of the next record.
    fn records(&self, force: bool) -> Result<(Vec<Change>, u64), NotElected> {
        let mut changes = Vec::new();
        let mut next = 1;
        let mut last: Option<Key> = None;
        loop {
            let page = self
                .arbiter
                .list(Folder::Registrations, last.as_ref())
                .map_err(|failure| NotElected::Records(failure.to_string()))?;
            for (key, entry) in page.entries {
                match record::open(entry.value, &self.ciphers.read()) {
                    Ok(more) => changes.extend(more),
                    Err(_) if force => {}
                    Err(why) => return Err(NotElected::Records(why.to_string())),
                }
                if let Key::Registration(number) = key {
                    next = number + 1;
                }
                last = Some(key);
            }
            if !page.more {
                return Ok((changes, next));
            }
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
        let mut slot = self.office.lock();
        let office = slot.as_mut().filter(|office| office.deadline().holds()).ok_or(NotRecorded::NoOffice)?;
        match self.settings.registrations {
            Registrations::Sync => {
                let now = self.seconds();
                let cipher = self.ciphers.read().first().cloned().ok_or(NotRecorded::NoOffice)?;
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

/// Whether each id up to `highest` was given by one of these changes.
fn are_all(changes: &[Change], highest: u32) -> bool {
    let given: BTreeSet<u32> = changes.iter().filter_map(Change::id).collect();
    (1..=highest).all(|id| given.contains(&id))
}

fn unrecord(office: &mut Office, numbers: &[u64]) {
    let writes: Vec<_> = numbers.iter().map(|number| Write::Delete(Key::Registration(*number))).collect();
    if !writes.is_empty() {
        // If that fails they are made by the next master, and nobody was answered.
        let _ = office.write(&writes);
    }
}

/// When a master is one since, of the seconds that the arbiter has.
pub fn since(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

/// What ends the calls of an arbiter, for [`Candidate::new`].
pub fn order() -> (Trigger, Shutdown) {
    shutdown::channel()
}
