//! An archive that several workers are sent: it is made for the first one and is there once, as long as one is sending it.
//!
//! So it needs no bound but that of one archive: what is longer is made for each worker while it goes out.

use std::{
    io::{self, Write},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::{
    files::{Manifest, digest::Digest},
    tasks::integrity::sending::Written,
};

/// The longest archive that is kept, in bytes.
const LONGEST: usize = 1024 * 1024;

/// What an archive depends on: the files of the workers, those of the master, and whether files are sent as deltas.
#[derive(Clone)]
pub(super) struct Subject {
    since: Digest,
    master: Weak<Manifest>,
    deltas: bool,
}

/// An archive with all files that are different.
pub(super) struct Archive {
    pub(super) bytes: Vec<u8>,
    pub(super) written: Written,
}

/// Those that are being sent.
#[derive(Default)]
pub struct Archives(Mutex<Vec<(Subject, Weak<Archive>)>>);

impl Subject {
    pub(super) fn new(since: Digest, master: &Arc<Manifest>, deltas: bool) -> Self {
        Self { since, master: Arc::downgrade(master), deltas }
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        (self.since, self.deltas) == (other.since, other.deltas) && self.master.ptr_eq(&other.master)
    }
}

impl Archives {
    /// The archive of this subject, if somebody is sending it.
    pub(super) fn find(&self, subject: &Subject) -> Option<Arc<Archive>> {
        let found = self.0.lock().iter().find(|(of, _)| of == subject).map(|(_, archive)| archive.clone());
        found.and_then(|archive| archive.upgrade())
    }

    /// This one is being sent, as long as what is given back is held.
    pub(super) fn keep(&self, subject: Subject, archive: Archive) -> Arc<Archive> {
        let archive = Arc::new(archive);
        let mut archives = self.0.lock();
        archives.retain(|(_, archive)| archive.strong_count() > 0);
        archives.push((subject, Arc::downgrade(&archive)));
        archive
    }
}

/// Writes what is written to it to `out`, and keeps a copy unless that is too long.
pub(super) struct Copying<W> {
    out: W,
    copy: Option<Vec<u8>>,
}

impl<W: Write> Copying<W> {
    /// With a copy only if it is `wanted`.
    pub(super) fn new(out: W, wanted: bool) -> Self {
        Self { out, copy: wanted.then(Vec::new) }
    }

    pub(super) fn copy(self) -> Option<Vec<u8>> {
        self.copy
    }
}

impl<W: Write> Write for Copying<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.out.write(data)?;
        if let Some(copy) = self.copy.take_if(|copy| copy.len() + count > LONGEST) {
            drop(copy);
        }
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(&data[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Items, Scanner};

    #[test]
    fn an_archive_is_there_for_the_same_files_and_as_long_as_it_is_sent() {
        let home = tempfile::tempdir().unwrap();
        let scan = || Scanner::new(home.path(), Arc::new(Items::standard())).scan(false).manifest;
        let (one, other, archives) = (scan(), scan(), Archives::default());
        let of = |since: u8, master: &Arc<Manifest>, deltas| Subject::new([since; 16], master, deltas);
        let archive = |text: &str| Archive { bytes: text.into(), written: Written::default() };
        let sending = archives.keep(of(1, &one, true), archive("one"));
        let found = |subject| archives.find(&subject).map(|archive| archive.bytes.clone());
        assert_eq!(found(of(1, &one, true)), Some(b"one".to_vec()));
        for another in [of(2, &one, true), of(1, &other, true), of(1, &one, false)] {
            assert_eq!(found(another), None);
        }
        drop(sending);
        assert_eq!(found(of(1, &one, true)), None);
        let _sending = archives.keep(of(2, &one, true), archive("two"));
        assert_eq!(archives.0.lock().len(), 1);
    }

    #[test]
    fn a_copy_that_becomes_too_long_is_none() {
        let (mut out, mut all) = (Vec::new(), Copying::new(Vec::new(), true));
        all.write_all(&[1; LONGEST]).unwrap();
        let mut longer = Copying::new(&mut out, true);
        [LONGEST, 1, 1].iter().for_each(|length| longer.write_all(&vec![1; *length]).unwrap());
        assert_eq!((all.copy().map(|copy| copy.len()), longer.copy()), (Some(LONGEST), None));
        assert_eq!(out.len(), LONGEST + 2);
        assert_eq!(Copying::new(Vec::new(), false).copy(), None);
    }
}
