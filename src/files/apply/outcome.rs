//! What an update did, and what it could not do.

/// What was to be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The worker lacked it.
    Create,
    /// Its content differed.
    Update,
    /// The master does not have it.
    Delete,
    /// The change of a directory could not be made durable.
    Sync,
}

/// One file that stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the master named it: may be anything. A directory, with a slash at its end, for [`What::Sync`].
    pub path: String,
    /// What was to be done.
    pub what: What,
    /// Why it was not, as a sentence without its end.
    pub reason: String,
}

/// What an update did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Files that were not there before.
    pub created: usize,
    /// Files that have another content now.
    pub updated: usize,
    /// Files that are gone.
    pub deleted: usize,
    /// Files that could not be dealt with. They did not hinder the others.
    pub failures: Vec<Failure>,
    /// Files that the master was changing when it sent them ([`Contents::OrNewer`](super::Contents::OrNewer)); the next check brings them.
    pub unsettled: Vec<String>,
    /// Files that came as the difference from others than those that are there; the next check brings them as a whole.
    pub other_base: Vec<String>,
    /// Bytes of content written.
    pub bytes: u64,
}

impl Outcome {
    pub(super) fn fail<'p>(&mut self, what: impl Iterator<Item = (&'p str, What)>, reason: &str) {
        self.failures.extend(what.map(|(path, what)| Failure {
            path: path.to_owned(),
            what,
            reason: reason.to_owned(),
        }));
    }
}
