//! What a candidate has while it is the master.

use super::Change;
use crate::arbiter::{Deadline, Failure, InSync, Key, Tenure, Write, Written};

/// By how many ids the mark at the arbiter is ahead, where registrations are not recorded.
const AHEAD: u32 = 100;

/// What earlier masters have left.
pub struct Inherited {
    /// Changes of client.keys that this node may not have.
    pub changes: Vec<Change>,
    /// No id above this one was given.
    pub highest: u32,
    /// The number of the next record.
    pub next: u64,
}

/// The office of the master.
pub struct Office {
    tenure: Tenure,
    sync: InSync,
    inherited: Vec<Change>,
    /// What the arbiter has as the highest id.
    ids: u32,
    /// The number of the next record.
    next: u64,
}

impl Office {
    /// After a claim that was won; the arbiter is told by [`Office::begin`].
    pub fn new(tenure: Tenure, sync: InSync, Inherited { changes, highest, next }: Inherited) -> Self {
        Self { tenure, sync, inherited: changes, ids: highest, next }
    }

    /// Tells the arbiter the term, and who may follow.
    ///
    /// # Errors
    /// The arbiter; it may be tried again.
    pub fn begin(&mut self) -> Result<Written, Failure> {
        let writes = [Write::sync(&self.sync), Write::ids(self.ids.into()), Write::Delete(Key::Switch)];
        self.tenure.write(&writes)
    }

    /// Until when this node acts as the master.
    pub fn deadline(&self) -> &Deadline {
        &self.tenure.deadline
    }

    /// No id above this one was given.
    pub fn highest(&self) -> u32 {
        self.ids
    }

    /// The number of the last record.
    pub fn last_record(&self) -> u64 {
        self.next - 1
    }

    /// Who may follow, as the arbiter knows it.
    pub fn in_sync(&self) -> &[String] {
        &self.sync.candidates
    }

    /// Takes what is to be done first.
    pub fn inherit(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.inherited)
    }

    /// Writes a record, and that ids up to `highest` are given; gives its number, or nothing if this node is not the master.
    ///
    /// # Errors
    /// The arbiter; it may be tried again.
    pub fn record(&mut self, token: &[u8], highest: u32) -> Result<Option<u64>, Failure> {
        let (number, ids) = (self.next, self.ids.max(highest));
        let mut writes = vec![Write::Put(Key::Registration(number), token.to_vec())];
        if ids > self.ids {
            writes.push(Write::ids(ids.into()));
        }
        Ok(match self.tenure.write(&writes)? {
            Written::Done => {
                (self.next, self.ids) = (number + 1, ids);
                Some(number)
            }
            Written::Superseded => None,
        })
    }

    /// Lets ids up to `highest` be given; nothing comes back if this node is not the master.
    ///
    /// # Errors
    /// The arbiter; it may be tried again.
    pub fn reserve(&mut self, highest: u32) -> Result<Option<()>, Failure> {
        if highest <= self.ids {
            return Ok(Some(()));
        }
        let ids = highest.saturating_add(AHEAD);
        Ok(match self.tenure.write(&[Write::ids(ids.into())])? {
            Written::Done => {
                self.ids = ids;
                Some(())
            }
            Written::Superseded => None,
        })
    }

    /// These candidates may follow, behind this node.
    ///
    /// # Errors
    /// The arbiter; it may be tried again.
    pub fn set_in_sync(&mut self, candidates: &[String]) -> Result<(), Failure> {
        if self.sync.candidates == candidates {
            return Ok(());
        }
        let sync = InSync { candidates: candidates.to_vec(), ..self.sync.clone() };
        if self.tenure.write(&[Write::sync(&sync)])? == Written::Done {
            self.sync = sync;
        }
        Ok(())
    }

    /// Writes something else.
    ///
    /// # Errors
    /// The arbiter; it may be tried again.
    pub fn write(&mut self, writes: &[Write]) -> Result<Written, Failure> {
        self.tenure.write(writes)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// The arbiter; the key of the master vanishes after the TTL only.
    pub fn release(self) -> Result<(), Failure> {
        self.tenure.release()
    }
}
