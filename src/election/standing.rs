//! How a candidate becomes the master: it claims the key and, when that is won, prepares for it. Nothing has changed before all
//! of that is done.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    AGAIN, Candidate, Change, Hindrance,
    chance::{self, Chance},
    office::{Inherited, Office},
    record,
};
use crate::{
    arbiter::{Claimed, Failure, Folder, InSync, Key, Master, NotClaimed, Tenure, Written},
    term::Term,
};

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

impl Candidate {
    /// As [`Candidate::chance`]; after a claim that was won in the `tenure`. With the hindrance comes the chance that it would
    /// have if a person overruled that.
    pub(super) fn ask(
        &self,
        term: &Term,
        agents: bool,
        tenure: Option<&Tenure>,
    ) -> Result<Chance, (Hindrance, Chance)> {
        let unreachable = |why: Failure| (Hindrance::Unreachable(why.to_string()), Chance::default());
        let reading = self.arbiter.read(&[Key::Master, Key::Sync, Key::Ids]).map_err(unreachable)?;
        let mut entries = reading.entries.into_iter();
        let mut next = || entries.next().flatten();
        let (master, sync, ids) = (next(), next(), next());
        let master = master.filter(|entry| tenure.is_none_or(|tenure| entry.created != tenure.term()));
        let claim = term.claim();
        let local = chance::Local {
            name: &self.own.name,
            cluster: &self.own.cluster,
            is_first: self.own.is_first,
            knows_elections: term.knows_elections(),
            term: claim.term,
            former: &claim.master,
            agents,
        };
        let judged = match self.gave_back() {
            true => Err(Hindrance::GaveBack),
            false => chance::of(&local, master.as_ref(), sync.as_ref(), ids.as_ref()),
        };
        judged.map_err(|why| (why, Chance::by_force(sync.as_ref(), ids.as_ref())))
    }

    /// Claims to be the master and, if that is won, prepares for it: the term is written down, and the next run of this node
    /// is that of the master. By `force`, whatever a person may overrule does not count. Of several calls at once one wins,
    /// as of several candidates.
    ///
    /// # Errors
    /// [`NotElected`]: all is as before, and the claim is given back.
    pub fn stand(&self, term: &Term, agents: bool, force: bool) -> Result<Elected, NotElected> {
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
    ) -> Result<(InSync, Elected, Inherited), NotElected> {
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
        Ok((sync, elected, Inherited { changes, highest, next }))
    }

    /// What earlier masters have registered and not all candidates in sync have, and the number of the next record.
    fn records(&self, force: bool) -> Result<(Vec<Change>, u64), NotElected> {
        let mut changes = Vec::new();
        let mut next = 1;
        let mut last: Option<Key> = None;
        let ciphers = self.ciphers.read().clone();
        loop {
            let page = self
                .arbiter
                .list(Folder::Registrations, last.as_ref())
                .map_err(|failure| NotElected::Records(failure.to_string()))?;
            for (key, entry) in page.entries {
                match record::open(entry.value, &ciphers) {
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
}

/// Whether each id up to `highest` was given by one of these changes.
fn are_all(changes: &[Change], highest: u32) -> bool {
    let given: BTreeSet<u32> = changes.iter().filter_map(Change::id).collect();
    (1..=highest).all(|id| given.contains(&id))
}
