//! Which agents have changed since somebody looked last, so that looking again costs nothing for the others.
//!
//! SQLite calls a hook with the row of every change, whatever command made it, plain SQL too.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;

/// Rows of the table `agent` that have changed, for one who looks for something in them. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether anything is known: before the first look every row counts as changed.
    known: bool,
    rows: BTreeSet<i64>,
}

/// What to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// Every row.
    All,
    /// These, in order.
    Rows(Vec<i64>),
}

impl Changes {
    /// A row has changed.
    pub(super) fn note(&self, row: i64) {
        let mut state = self.0.lock();
        if state.known {
            state.rows.insert(row);
        }
    }

    /// Whether there is nothing to look at.
    pub(super) fn are_none(&self) -> bool {
        let state = self.0.lock();
        state.known && state.rows.is_empty()
    }

    /// What has changed since the last call.
    pub(super) fn take(&self) -> Changed {
        let mut state = self.0.lock();
        if std::mem::replace(&mut state.known, true) {
            Changed::Rows(std::mem::take(&mut state.rows).into_iter().collect())
        } else {
            Changed::All
        }
    }

    /// Makes `rows` the changed ones: what was done to the others since [`Changes::take`] is known.
    pub(super) fn replace(&self, rows: impl IntoIterator<Item = i64>) {
        let mut state = self.0.lock();
        if state.known {
            state.rows = rows.into_iter().collect();
        }
    }

    /// Makes these rows unchanged.
    pub(super) fn strike(&self, rows: &[i64]) {
        let mut state = self.0.lock();
        for row in rows {
            state.rows.remove(row);
        }
    }

    /// Forgets what is known: the next look is at every row. For a file that was opened anew, or a look that failed.
    pub(super) fn reset(&self) {
        *self.0.lock() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_is_at_every_row_and_later_ones_at_the_changed() {
        let changes = Changes::default();
        changes.note(3);
        assert_eq!(changes.take(), Changed::All);
        changes.note(3);
        changes.note(1);
        changes.note(3);
        assert_eq!(changes.take(), Changed::Rows(vec![1, 3]));
        assert_eq!(changes.take(), Changed::Rows(vec![]));
        [4, 5, 6].into_iter().for_each(|row| changes.note(row));
        changes.strike(&[4, 6, 8]);
        assert_eq!(changes.take(), Changed::Rows(vec![5]));
        changes.reset();
        assert_eq!(changes.take(), Changed::All);
    }
}
