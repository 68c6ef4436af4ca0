//! Which client.keys the agent database has all rows of.
//!
//! Housekeeping makes the rows those of the file whenever that is another. The registrar makes the row before anybody else
//! can and knows that the rest of the file is as before: then nobody needs to read it again.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::system::stamp::Stamp;

/// The file whose agents all have their rows; none if that is not known of any. Cheap to clone.
#[derive(Clone, Default)]
pub struct Covered(Arc<Mutex<Option<Stamp>>>);

impl Covered {
    /// Which file it is.
    pub fn get(&self) -> Option<Stamp> {
        *self.0.lock()
    }

    /// It is this one.
    pub fn set(&self, file: Option<Stamp>) {
        *self.0.lock() = file;
    }

    /// The file `from` has become the file `to`, and the rows are those of `to` as far as they were those of `from`.
    pub fn follow(&self, from: Stamp, to: Stamp) {
        let mut file = self.0.lock();
        if *file == Some(from) {
            *file = Some(to);
        }
    }
}
