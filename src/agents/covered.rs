//! Which client.keys the agent database has all rows of.
//!
//! Housekeeping makes the rows those of the file whenever that is another. The registrar makes the row before anybody else
//! can and knows that the rest of the file is as before: then nobody needs to read it again.

use std::{io, path::Path, sync::Arc};

use parking_lot::Mutex;

use crate::system::known::Known;

/// The file whose agents all have their rows; none if that is not known of any. Cheap to clone.
#[derive(Clone, Default)]
pub struct Covered(Arc<Mutex<Option<Known>>>);

impl Covered {
    /// Which file it is.
    pub fn get(&self) -> Option<Known> {
        *self.0.lock()
    }

    /// Whether it is what stands at `path`.
    ///
    /// # Errors
    /// Those of the file.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let Some(before) = self.get() else { return Ok(false) };
        let mut known = before;
        let is_same = known.is_at(path)?;
        if is_same {
            self.follow(before, known);
        }
        Ok(is_same)
    }

    /// It is this one.
    pub fn set(&self, file: Option<Known>) {
        *self.0.lock() = file;
    }

    /// The file `from` has become the file `to`, and the rows are those of `to` as far as they were those of `from`.
    pub fn follow(&self, from: Known, to: Known) {
        let mut file = self.0.lock();
        if file.is_some_and(|file| file.is(&from)) {
            *file = Some(to);
        }
    }
}
