//! Which master this node follows, or is, and since how many changes of master (`spec/native.md` 5).
//!
//! The *term* is 0 in a cluster whose master was never changed, and one more with each change. A node keeps the highest
//! term that it has seen in `queue/cluster-state/term.json`, and follows no master of a lower one: a former master that
//! comes back, with what it knew then, changes nothing.
//!
//! ```text
//! <node_type> ──┐
//!               ├─► role ─► the node runs as master or worker ─► a promotion, or a newer master: it runs anew
//! term.json  ───┘
//! ```

mod diverged;
mod promoted;
mod state;
mod status;

use std::{io, time::Duration};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

pub use diverged::{Diverged, Kept, kept};
pub use promoted::Promoted;
pub use state::State;
pub use status::Status;

use crate::{
    config::{Home, NodeType},
    logging::{Scope, info, scope, warn},
    system::{json, state_file::StateFile, wakeup::Wakeup},
};

/// A longer file is none of this daemon's.
const LONGEST: u64 = 4096;

/// A higher term is nobody's: a peer that tells it would leave none for the next master.
const MOST: u64 = 1 << 40;

/// By how many ids the mark is ahead of those that were given, when it is told.
const AHEAD: u32 = 200;

/// The least by which it is ahead.
const LEAST_AHEAD: u32 = 100;

/// A term, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// How often the master has changed.
    pub term: u64,
    /// The name of that master; empty if none was seen.
    pub master: String,
}

/// What two nodes tell each other when they agree on a link (`spec/native.md` 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The highest term that the node knows; of a master, its own.
    #[serde(flatten)]
    pub claim: Claim,
    /// No id up to this one is given to an agent any more.
    pub ids: u32,
    /// Seconds of silence after which another node may be the master; none if masters are changed by people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

impl Told {
    /// What counts for a master that tells nothing.
    pub fn of_an_earlier_release(master: &str) -> Self {
        Self { claim: Claim { term: 0, master: master.to_owned() }, ids: 0, ttl: None }
    }
}

/// Why a master is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is a former master: its term is {}, and {} is the master of term {}", .offered.master, .offered.term, .known.master, .known.term)]
pub struct Former {
    offered: Claim,
    known: Claim,
}

impl Former {
    /// The name of the master that was followed last.
    pub fn known(&self) -> &str {
        &self.known.master
    }
}

/// What this node knows of the succession of masters.
pub struct Term {
    file: StateFile,
    name: String,
    state: RwLock<State>,
    /// Held by whoever changes the state, so that one change is written at a time.
    writing: Mutex<()>,
    /// The highest term that anybody has told of, proved or not.
    heard: RwLock<Claim>,
    /// Given when that is news.
    rumour: Wakeup,
    /// Given when the role of this node has changed, so that it has to run anew.
    changed: Wakeup,
    /// As in [`Told`], of a candidate.
    ttl: Option<u64>,
}

impl Term {
    /// What an earlier run of the node `name` has kept.
    ///
    /// # Errors
    /// When the file cannot be read: a node that guessed its role could be a second master. A sentence with the remedy.
    pub fn load(home: &Home, name: &str) -> Result<Self, String> {
        let file = StateFile::new(home.term(), LONGEST);
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(io::Error::from);
        let state = file.read().and_then(|bytes| bytes.map(parse).transpose()).map_err(|error| {
            format!(
                "{}, by which this node knows who the master is, cannot be read: {error}. Let the user of this daemon read it; if it \
                 is damaged, remove it, and the node begins with its <node_type>",
                file.path().display()
            )
        })?;
        Ok(Self {
            file,
            name: name.to_owned(),
            state: RwLock::new(state.unwrap_or_default()),
            writing: Mutex::default(),
            heard: RwLock::default(),
            rumour: Wakeup::default(),
            changed: Wakeup::default(),
            ttl: None,
        })
    }

    /// The same of a candidate ([`crate::election`]), which is told by `changed` when its role has changed. Its role is not
    /// settled by what was kept, but by whether it `acts` as the master.
    pub fn of_candidate(mut self, wished: NodeType, acts: bool, changed: Wakeup, ttl: Duration) -> Self {
        self.changed = changed;
        self.ttl = Some(ttl.as_secs());
        self.state.get_mut().settle_candidate(&self.name, wished, acts);
        self
    }

    /// What the node is, whose `<node_type>` is `wished`: that, unless the master has changed since it was written. A node
    /// that a person makes the master begins a new term, and a former master that a person makes a worker has to set aside
    /// what it has alone. To be followed by [`Term::save`].
    pub fn settle(&self, wished: NodeType) -> NodeType {
        self.state.write().settle(&self.name, wished)
    }

    /// Writes down what has been settled. A node that cannot goes on, and the log tells it.
    pub fn save(&self) {
        let text = json::text(&*self.state.read()).into_bytes();
        if text == json::text(&State::default()).as_bytes() {
            return;
        }
        let saved = match self.file.read() {
            Ok(before) if before.as_ref() == Some(&text) => Ok(()),
            _ => self.file.write(&text),
        };
        if let Err(error) = saved {
            self.tell(&error);
        }
    }

    fn tell(&self, error: &io::Error) {
        warn!(
            log_scope(),
            "{} cannot be written: {error}. After its next start this node may follow a former master. Let the user of this \
             daemon write to that directory, and let there be room.",
            self.file.path().display()
        );
    }

    /// The highest term that this node has followed or been the master of, and whose it is.
    pub fn claim(&self) -> Claim {
        self.state.read().claim.clone()
    }

    /// Whether this node is the master of the highest term that it knows.
    pub fn leads(&self) -> bool {
        self.state.read().claim.master == self.name
    }

    /// What this node tells another of the term.
    pub fn told(&self) -> Told {
        let state = self.state.read();
        Told { claim: state.claim.clone(), ids: state.ids, ttl: self.ttl }
    }

    /// No id up to this one is given by this master: others may have given it.
    pub fn floor(&self) -> u32 {
        self.state.read().floor
    }

    /// This master has given all ids up to `counter`. A new mark, which the workers are to be told, if the last comes near.
    pub fn reserve(&self, counter: u32) -> Option<u32> {
        if counter.saturating_add(LEAST_AHEAD) <= self.state.read().ids {
            return None;
        }
        let mark = counter.saturating_add(AHEAD);
        self.note(|state| state.ids = mark);
        Some(mark)
    }

    /// The term in which this node was the master, while what it has alone is not set aside yet.
    pub fn former(&self) -> Option<u64> {
        self.state.read().former
    }

    /// To be told when the role of this node has changed and all who are to know of it have been answered; the node then
    /// runs anew.
    pub fn changed(&self) -> &Wakeup {
        &self.changed
    }

    /// Whether a master with this claim is to be followed.
    ///
    /// # Errors
    /// When it is a former one, or a second one of its term.
    pub fn may_follow(&self, offered: &Claim) -> Result<(), Former> {
        let known = self.claim();
        let same = offered.term == known.term && (offered.term == 0 || offered.master == known.master);
        let later = offered.term > known.term && offered.term <= MOST;
        if later || same { Ok(()) } else { Err(Former { offered: offered.clone(), known }) }
    }

    /// Follows a master that has proved what it has told.
    pub fn follow(&self, told: &Told) {
        self.note(|state| {
            state.claim = told.claim.clone();
            state.ids = state.ids.max(told.ids);
            state.elected |= told.ttl.is_some();
        });
    }

    /// The master has told another mark of its ids.
    pub fn mark(&self, ids: u32) {
        self.note(|state| state.ids = state.ids.max(ids));
    }

    /// All that this node had alone as a former master is set aside.
    pub fn set_aside(&self) {
        self.note(|state| state.former = None);
    }

    /// Whether a claim is later than what this node knows, or that of another master in the same term.
    pub fn is_later(&self, claim: &Claim) -> bool {
        let known = &self.state.read().claim;
        let higher = claim.term > known.term && claim.term <= MOST;
        higher || (claim.term == known.term && claim.term > 0 && claim.master != known.master)
    }

    /// Somebody has told of a later master ([`Term::is_later`]), and has not proved it.
    pub fn hear(&self, claim: &Claim) {
        let mut heard = self.heard.write();
        if claim.term > heard.term {
            *heard = claim.clone();
        }
        drop(heard);
        self.rumour.wake();
    }

    /// Told when somebody has told of a later master.
    pub fn rumour(&self) -> &Wakeup {
        &self.rumour
    }

    /// The highest term that anybody has told of.
    pub fn heard(&self) -> Claim {
        let (heard, known) = (self.heard.read().clone(), self.claim());
        if heard.term > known.term { heard } else { known }
    }

    /// This node is the master from its next run on, in this term. With `ids` from the former master, those are the ids that were
    /// given; without, all up to the mark may have been.
    ///
    /// # Errors
    /// When it cannot be written down; all is as before.
    pub fn lead(&self, term: u64, ids: Option<u32>) -> io::Result<()> {
        self.change(|state| {
            state.claim = Claim { term, master: self.name.clone() };
            state.floor = ids.unwrap_or(state.ids);
            state.become_of(NodeType::Master);
        })
    }

    /// As [`Term::lead`], of a node that was elected. No id up to `floor` is given.
    ///
    /// # Errors
    /// When it cannot be written down; all is as before.
    pub fn lead_elected(&self, term: u64, floor: u32) -> io::Result<()> {
        self.change(|state| {
            state.claim = Claim { term, master: self.name.clone() };
            state.floor = floor;
            state.elected = true;
            state.become_of(NodeType::Master);
        })
    }

    /// Whether this node has been, or has followed, a master that was elected.
    pub fn knows_elections(&self) -> bool {
        self.state.read().elected
    }

    /// This node, the master so far, follows another one from its next run on.
    ///
    /// # Errors
    /// When it cannot be written down; all is as before.
    pub fn step_down(&self, claim: &Claim) -> io::Result<()> {
        self.change(|state| {
            state.former = Some(state.claim.term);
            state.claim = claim.clone();
            state.become_of(NodeType::Worker);
        })
    }

    /// Forgets all terms, with the master that a person has this worker forget.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn forget(&self) -> io::Result<()> {
        self.change(|state| state.claim = Claim::default())
    }

    /// [`Term::change`] that is in force even if it cannot be written.
    fn note(&self, change: impl Fn(&mut State)) {
        if let Err(error) = self.change(&change) {
            self.tell(&error);
            change(&mut self.state.write());
        }
    }

    /// Changes what is kept, on the disk first.
    fn change(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let _alone = self.writing.lock();
        let before = self.state.read().clone();
        let mut next = before.clone();
        change(&mut next);
        if next == before {
            return Ok(());
        }
        self.file.write(json::text(&next).as_bytes())?;
        if next.claim.term > before.claim.term {
            info!(log_scope(), "Term {}: the master is {}.", next.claim.term, next.claim.master);
        }
        *self.state.write() = next;
        Ok(())
    }
}

fn log_scope() -> Scope {
    scope("Cluster", "Term")
}

#[cfg(test)]
mod tests {
    use NodeType::{Master, Worker};

    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("queue/cluster-state")).unwrap();
            Self(folder)
        }

        /// The node of this name, as it starts.
        fn start(&self, name: &str, wished: NodeType) -> (Term, NodeType) {
            let term = Term::load(&Home::new(self.0.path()), name).unwrap();
            let role = term.settle(wished);
            term.save();
            (term, role)
        }
    }

    fn told(term: u64, master: &str, ids: u32) -> Told {
        Told { claim: Claim { term, master: master.to_owned() }, ids, ttl: None }
    }

    #[test]
    fn nothing_is_followed_but_the_highest_term_over_restarts_too() {
        let files = Files::new();
        let (worker, _) = files.start("c", Worker);
        assert!(!files.0.path().join("queue/cluster-state/term.json").exists(), "nothing is known yet");
        worker.follow(&told(2, "b", 231));
        let (worker, role) = files.start("c", Worker);
        assert_eq!((role, worker.told()), (Worker, told(2, "b", 231)));
        for (term, master, may) in [(1, "a", false), (2, "b", true), (2, "a", false), (3, "a", true)] {
            let claim = Claim { term, master: master.to_owned() };
            assert_eq!(worker.may_follow(&claim).is_ok(), may, "{claim:?}");
            assert_eq!(worker.is_later(&claim), (term, master) == (3, "a") || (term, master) == (2, "a"), "{claim:?}");
        }
        let last = Claim { term: u64::MAX, master: "x".to_owned() };
        assert!(worker.may_follow(&last).is_err() && !worker.is_later(&last), "no term would be left");
        let former = worker.may_follow(&told(1, "a", 0).claim).unwrap_err();
        assert_eq!(former.to_string(), "a is a former master: its term is 1, and b is the master of term 2");
        worker.forget().unwrap();
        assert!(worker.may_follow(&Claim { term: 0, master: "a".to_owned() }).is_ok());
    }

    /// Before any change a master may have another name, or another machine.
    #[test]
    fn in_the_first_term_every_master_is_followed() {
        let (worker, _) = Files::new().start("c", Worker);
        worker.follow(&told(0, "a", 0));
        assert!(worker.may_follow(&told(0, "b", 0).claim).is_ok());
    }

    #[test]
    fn who_is_promoted_gives_ids_that_nobody_has_and_knows_its_role_at_the_next_start() {
        let (by_force, handed_over) = (Files::new(), Files::new());
        for (files, ids, floor) in [(&by_force, None, 231), (&handed_over, Some(17), 17)] {
            let (worker, _) = files.start("b", Worker);
            worker.follow(&told(0, "a", 31));
            worker.mark(231);
            worker.lead(1, ids).unwrap();
            let (master, role) = files.start("b", Worker);
            assert_eq!((role, master.floor(), master.leads()), (Master, floor, true));
            // The workers are told a mark that is ahead of what is given, and seldom another.
            master.reserve(floor);
            let mark = master.told().ids;
            assert!(mark >= floor + LEAST_AHEAD);
            assert_eq!(master.reserve(mark - LEAST_AHEAD), None);
            assert_eq!(master.reserve(mark - LEAST_AHEAD + 1), Some(mark + LEAST_AHEAD + 1));
        }
    }

    #[test]
    fn a_master_that_has_stepped_down_is_a_worker_with_something_to_set_aside() {
        let files = Files::new();
        let (master, role) = files.start("a", Master);
        assert_eq!(role, Master);
        master.step_down(&told(1, "b", 0).claim).unwrap();
        let (worker, role) = files.start("a", Master);
        assert_eq!((role, worker.former()), (Worker, Some(0)));
        worker.set_aside();
        assert_eq!(files.start("a", Master).0.former(), None);
    }

    #[test]
    fn what_cannot_be_read_keeps_the_node_from_starting() {
        let files = Files::new();
        let path = files.0.path().join("queue/cluster-state/term.json");
        for text in ["", "{}", "[1]", &"x".repeat(5000)] {
            std::fs::write(&path, text).unwrap();
            let error = Term::load(&Home::new(files.0.path()), "a").err().unwrap();
            assert!(error.contains("term.json") && error.contains("if it is damaged, remove it"), "{error}");
        }
    }
}
