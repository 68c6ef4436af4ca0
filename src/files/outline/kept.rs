//! The outlines of the last versions of the large files of this node.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::{Course, Outline};
use crate::{files::checksum::ContentSum, system::stamp::Stamp};

/// Versions of a file that a master keeps: while agents register, each worker may have another one.
pub const VERSIONS: usize = 16;

/// The bytes of outlines that are kept: those of some 80 versions of the keys of 100 000 agents.
const MOST_BYTES: usize = 1 << 20;

/// The outlines that are kept. Those that were kept first give way first: their files are read and sent as others.
pub struct Outlines {
    versions: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The newest last.
    kept: VecDeque<Kept>,
}

impl Inner {
    fn cost(&self) -> usize {
        self.kept.iter().map(Kept::cost).sum()
    }

    fn make_room(&mut self) {
        let mut cost = self.cost();
        while cost > MOST_BYTES
            && let Some(oldest) = self.kept.pop_front()
        {
            cost -= oldest.cost();
        }
    }
}

struct Kept {
    path: Arc<str>,
    /// Of the file when it was read or written.
    stamp: Option<Stamp>,
    /// Whether it was written, and nobody has been told yet.
    is_written: bool,
    course: Arc<Course>,
}

impl Kept {
    fn cost(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.course.cost()
    }
}

impl Outlines {
    /// None yet; so many versions of a file are kept.
    pub fn new(versions: usize) -> Self {
        Self { versions, inner: Mutex::default() }
    }

    /// The last version of this file.
    pub fn last(&self, path: &str) -> Option<Arc<Course>> {
        let inner = self.inner.lock();
        let mut kept = inner.kept.iter().rev();
        kept.find(|kept| *kept.path == *path).map(|kept| kept.course.clone())
    }

    /// The last version of this file, if it had this stamp when it was read.
    pub fn at(&self, path: &str, stamp: &Stamp) -> Option<Arc<Outline>> {
        let inner = self.inner.lock();
        let last = inner.kept.iter().rev().find(|kept| *kept.path == *path)?;
        (last.stamp.as_ref() == Some(stamp)).then(|| last.course.outline.clone())
    }

    /// The version of this file that has this sum.
    pub fn find(&self, path: &str, sum: &ContentSum) -> Option<Arc<Outline>> {
        let inner = self.inner.lock();
        let mut kept = inner.kept.iter().rev();
        let found = kept.find(|kept| *kept.path == *path && kept.course.outline.sum == *sum);
        found.map(|kept| kept.course.outline.clone())
    }

    /// The version of the file that this process has written, if nobody has written to that since: it may have got its name
    /// after its stamp was taken. It is told once: whoever looks again reads.
    pub fn take_written(&self, path: &str, stamp: &Stamp) -> Option<Arc<Course>> {
        let mut inner = self.inner.lock();
        let last = inner.kept.iter_mut().rev().find(|kept| *kept.path == *path)?;
        let is_it = last.is_written && last.stamp.is_some_and(|written| stamp.is_renamed(&written));
        last.is_written &= !is_it;
        is_it.then(|| last.course.clone())
    }

    /// Keeps the version that the file was found to have when it had this stamp.
    pub fn keep(&self, path: &Arc<str>, course: Arc<Course>, stamp: Stamp) {
        self.put(Kept { path: path.clone(), stamp: Some(stamp), is_written: false, course });
    }

    /// Keeps the version that this process has given to the file, or is about to. None for a stamp that may be of another
    /// content.
    pub fn written(&self, path: &str, course: Arc<Course>, stamp: Option<Stamp>) {
        self.put(Kept { path: path.into(), is_written: stamp.is_some(), stamp, course });
    }

    fn put(&self, new: Kept) {
        let (path, sum) = (new.path.clone(), new.course.outline.sum);
        let mut inner = self.inner.lock();
        // The file may have become again what it was.
        inner.kept.retain(|kept| kept.path != path || kept.course.outline.sum != sum);
        let mut earlier: usize = 0;
        for kept in inner.kept.iter_mut().filter(|kept| kept.path == path) {
            // A checksum goes on from the last version only.
            if !kept.course.milestones.is_empty() {
                let outline = kept.course.outline.clone();
                kept.course = Arc::new(Course { outline, milestones: Box::default() });
            }
            earlier += 1;
        }
        let mut surplus = (earlier + 1).saturating_sub(self.versions);
        inner.kept.retain(|kept| {
            let goes = surplus > 0 && kept.path == path;
            surplus -= usize::from(goes);
            !goes
        });
        inner.kept.push_back(new);
        inner.make_room();
    }

    /// The file has no outline any more.
    pub fn forget(&self, path: &str) {
        self.inner.lock().kept.retain(|kept| *kept.path != *path);
    }

    /// The memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.inner.lock().cost()
    }
}
