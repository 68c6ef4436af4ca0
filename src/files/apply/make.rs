//! Making a content from the file that it is to replace ([`crate::files::delta`]).

use std::{
    fs::File,
    io::ErrorKind,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::Arc,
};

use nix::fcntl::OFlag;

use super::{plan::Write, stage::Fault};
use crate::{
    files::{
        checksum::ContentSum,
        delta::{Step, Steps},
        outline::{Course, Outliner, Outlines},
        path,
    },
    system::disk::Disk,
};

/// Bytes of the base that are read at a time.
const PIECE: usize = 128 * 1024;

/// A content that is being made.
pub(super) struct Making<'a> {
    steps: Steps,
    base: Base,
    staged: Staged<'a>,
}

/// Where it is written.
struct Staged<'a> {
    disk: &'a Disk,
    file: &'a File,
    outliner: Outliner,
}

/// What it is made from.
struct Base {
    file: File,
    piece: Box<[u8]>,
}

impl<'a> Making<'a> {
    /// Of the file of this directory that the `write` is to replace, into another one. None if there is no such file. A link
    /// is none: it is what will be replaced, and not the file that it leads to.
    pub(super) fn begin(
        (disk, directory, file): (&'a Disk, &OwnedFd, &'a File),
        write: &Write,
        outlines: &Outlines,
    ) -> Option<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let base = File::from(disk.look(directory, path::split(&write.path).1, flags).ok()?);
        if !base.metadata().is_ok_and(|about| about.is_file()) {
            return None;
        }
        let base = Base { file: base, piece: vec![0; PIECE].into() };
        // It begins as the file that is there.
        let outliner = Outliner::new(outlines.last(&write.path));
        Some(Self { steps: Steps::new(write.size), base, staged: Staged { disk, file, outliner } })
    }

    /// Takes the next piece of the delta.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let Self { steps, base, staged } = self;
        steps.take(piece, |step| match step {
            Step::Insert(bytes) => staged.put(bytes),
            Step::Copy { from, length } => base.copy(from, length, staged),
        })
    }

    /// At the end of the delta, if the content has this sum.
    pub(super) fn finish(self, sum: &ContentSum) -> Option<Arc<Course>> {
        self.steps.finish().ok()?;
        let course = self.staged.outliner.finish();
        (course.outline().sum == *sum).then(|| Arc::new(course))
    }
}

impl Staged<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.outliner.update(bytes);
        self.disk.write(self.file, bytes).map_err(Fault::Disk)
    }
}

impl Base {
    fn copy(&mut self, mut from: u64, mut length: u64, to: &mut Staged<'_>) -> Result<(), Fault> {
        while length > 0 {
            let most = usize::try_from(length).unwrap_or(PIECE).min(PIECE);
            let count = match self.file.read_at(&mut self.piece[..most], from) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // It is shorter than it is to be, or cannot be read; the whole content needs none of it.
                Ok(0) | Err(_) => return Err(Fault::OtherBase),
                Ok(count) => count,
            };
            to.put(&self.piece[..count])?;
            (from, length) = (from.saturating_add(count as u64), length - count as u64);
        }
        Ok(())
    }
}
