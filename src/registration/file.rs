//! client.keys on the disk, which others may change too.
//!
//! The file is the truth: what is known of it is read again when the file is not the one that was read or written last,
//! and forgotten when a change could not be written. Only the largest id that was given is remembered apart from it, in
//! memory and, as soon as it stands in the file no more, on the disk ([`Highest`]).

use std::{io, path::PathBuf, sync::Arc};

use nix::errno::Errno;

use super::{highest::Highest, outlined::Outlined, table::Table};
use crate::{
    files::Outlines,
    logging::info,
    system::{disk::Disk, known, replacement::Replacement, stamp::Stamp},
};

/// client.keys.
pub(super) struct KeysFile {
    path: PathBuf,
    /// Whether it is to forget agents that are removed.
    purge: bool,
    disk: Disk,
    known: Option<Known>,
    highest: Highest,
    outlined: Outlined,
    /// The largest id that was given.
    counter: u32,
    /// How many agents it had last.
    count: usize,
}

struct Known {
    table: Table,
    /// None if there is no file.
    file: Option<known::Known>,
}

/// A change that is in the file.
pub(super) struct Written {
    /// What the file was before; none if others may have understood it otherwise, or if it was not there.
    pub(super) from: Option<known::Known>,
    pub(super) to: known::Known,
}

/// Why a change is not in the file.
#[derive(Debug)]
pub(super) enum NotWritten {
    /// Somebody else has changed it at the same time: what was to be changed is not up to date.
    Changed,
    /// The disk failed.
    Disk(io::Error),
}

impl KeysFile {
    /// That at `path`, with what is known of ids at `highest`; nothing is opened yet. No id up to `floor` is given.
    pub(super) fn new(path: PathBuf, highest: PathBuf, floor: u32, purge: bool, disk: Disk) -> Self {
        let highest = Highest::new(highest, disk.clone());
        Self { path, purge, disk, known: None, highest, outlined: Outlined::default(), counter: floor, count: 0 }
    }

    /// Lets it tell those who have these outlines what it writes.
    pub(super) fn with_outlines(mut self, outlines: Option<Arc<Outlines>>) -> Self {
        self.outlined = Outlined::new(outlines);
        self
    }

    /// The largest id that was given, as far as it is known.
    pub(super) fn counter(&self) -> u32 {
        self.counter
    }

    /// The same with what is in the table and was not written yet.
    pub(super) fn next_counter(&self) -> u32 {
        self.known.as_ref().map_or(self.counter, |known| known.table.counter())
    }

    /// Its content now, for changes that [`KeysFile::write`] makes those of the file.
    ///
    /// # Errors
    /// When it cannot be read, or is too long.
    pub(super) fn table(&mut self) -> io::Result<&mut Table> {
        let stamp = match Stamp::of(&self.path) {
            Ok(stamp) => Some(stamp),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.count == 0 => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.gone()),
            Err(error) => return Err(error),
        };
        let mut before = self.known.take();
        let is_new = before.is_some();
        let is_known = match (before.as_mut().and_then(|known| known.file.as_mut()), stamp) {
            // Before it is overwritten it is looked at again.
            (Some(file), Some(stamp)) => file.is_fresh(&stamp) || file.is_at(&self.path)?,
            (file, stamp) => file.is_none() && stamp.is_none(),
        };
        let known = match before.filter(|_| is_known) {
            Some(known) => known,
            None => {
                let mut known = self.read()?;
                known.table.raise_to(self.counter.max(self.highest.read()?));
                self.highest.keep_for(&known.table)?;
                self.counter = known.table.counter();
                self.count = known.table.count();
                if is_new {
                    let (path, count) = (self.path.display(), known.table.count());
                    info!(
                        "[Cluster] [Registration]",
                        "{path} was changed by another program; it has {count} agents now."
                    );
                }
                known
            }
        };
        Ok(&mut self.known.insert(known).table)
    }

    /// One agent more must not be the end of all others.
    fn gone(&self) -> io::Error {
        let text = format!(
            "it is gone, and had {} agents. Put it back, or an empty file in its place if they are not to be",
            self.count
        );
        io::Error::new(io::ErrorKind::NotFound, text)
    }

    fn read(&self) -> io::Result<Known> {
        let file = match self.disk.file(&self.path) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Ok(Known { table: Table::default(), file: None }),
            Err(error) => return Err(error.into()),
        };
        let (file, mut table) = known::Known::read(&file, |file| Table::read(file, self.purge))?;
        if self.outlined.is_last(&file) {
            table.settle();
        }
        Ok(Known { table, file: Some(file) })
    }

    /// Writes what was changed in the table. After any error the changes are forgotten.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub(super) fn write(&mut self) -> Result<Written, NotWritten> {
        let Some(Known { mut table, file }) = self.known.take() else { return Err(NotWritten::Changed) };
        let Self { disk, path, highest, outlined, .. } = &mut *self;
        let course = outlined.of(&table, file.as_ref());
        let replacement = Replacement::new(disk, path, true, table.text()).map_err(NotWritten::Disk)?;
        if Stamp::of(path).ok().as_ref() != file.as_ref().map(known::Known::stamp) {
            return Err(NotWritten::Changed);
        }
        highest.keep_for(&table).map_err(NotWritten::Disk)?;
        // Whoever watches the file sees it before this process goes on.
        outlined.announce(course.as_ref(), replacement.stamp().map_err(NotWritten::Disk)?);
        let written = match &file {
            Some(before) => replacement.commit_over(before),
            None => replacement.commit().map(Some),
        };
        let to = written.map_err(NotWritten::Disk)?.ok_or(NotWritten::Changed)?;
        let to = known::Known::written(to, table.text());
        outlined.written(course, to);
        table.settle();
        (self.counter, self.count) = (table.counter(), table.count());
        let from = file.filter(|_| !std::mem::take(&mut table.had_half_a_line));
        self.known = (!table.is_sparse()).then_some(Known { table, file: Some(to) });
        Ok(Written { from, to })
    }

    /// Forgets all but the largest id: the memory is wanted back, or the table has changes that are not to be.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Whether there is something to forget.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, rc::Rc};

    use nix::errno::Errno;

    use super::*;
    use crate::system::{disk::faults::Fault, stamp::fake};

    fn with_purge(folder: &Path, purge: bool) -> KeysFile {
        KeysFile::new(folder.join("client.keys"), folder.join("highest-id"), 0, purge, Disk::new())
    }

    fn file(folder: &Path) -> KeysFile {
        with_purge(folder, false)
    }

    fn add(file: &mut KeysFile, name: &str) -> Result<String, NotWritten> {
        let table = file.table().unwrap();
        let at = table.add(None, name, "any", "k").unwrap();
        let id = table.agent(at).id().to_owned();
        file.write().map(|_| id)
    }

    #[test]
    fn what_others_write_is_seen_and_never_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.keys");
        let mut file = file(folder.path());
        assert_eq!(add(&mut file, "a").unwrap(), "001");
        // An editor that renames, one that writes in place, and one that appends.
        fs::write(folder.path().join("new"), "001 a any k\n007 b any k\n").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(add(&mut file, "c").unwrap(), "008");
        fs::write(&path, "020 d any k\n").unwrap();
        assert_eq!(add(&mut file, "e").unwrap(), "021");
        fs::write(&path, [&fs::read(&path).unwrap()[..], b"030 f any k"].concat()).unwrap();
        assert_eq!(add(&mut file, "g").unwrap(), "031");
        assert_eq!(fs::read_to_string(&path).unwrap(), "020 d any k\n021 e any k\n030 f any k\n031 g any k\n");
        // That it is gone is no order, and ids are not given again.
        fs::remove_file(&path).unwrap();
        let gone = file.table().err().unwrap().to_string();
        assert!(gone.contains("had 4 agents. Put it back"), "{gone}");
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        assert_eq!(add(&mut file, "h").unwrap(), "032");

        // Somebody writes between reading and writing.
        file.table().unwrap().add(None, "i", "any", "k").unwrap();
        fs::write(&path, "040 j any k\n").unwrap();
        assert!(matches!(file.write(), Err(NotWritten::Changed)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "040 j any k\n");
        assert_eq!(add(&mut file, "i").unwrap(), "041");
        // The same, and it was not there before.
        let highest = folder.path().join("other-highest-id");
        let mut other = KeysFile::new(folder.path().join("other"), highest, 0, false, Disk::new());
        other.table().unwrap().add(None, "a", "any", "k").unwrap();
        fs::write(folder.path().join("other"), "001 b any k\n").unwrap();
        assert!(matches!(other.write(), Err(NotWritten::Changed)));
        assert_eq!(add(&mut other, "a").unwrap(), "002");
    }

    /// Case 6.6: the time stamps count whole seconds, and the edit is of the same length and in place.
    #[test]
    fn an_edit_that_leaves_no_trace_in_the_stamp_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.keys");
        let mut file = file(folder.path());
        let edit = |text: &str| {
            let before = Stamp::of(&path).unwrap();
            fs::write(&path, text).unwrap();
            assert_eq!(Stamp::of(&path).unwrap(), before, "nothing shows it");
        };
        let coarse = Rc::new(fake::Coarse::new(60));
        fake::on(coarse.clone(), || {
            assert_eq!(add(&mut file, "a").unwrap(), "001");
            // After the registrar's write, and while it makes the next one.
            edit("001 b any k\n");
            assert!(matches!(add(&mut file, "c"), Err(NotWritten::Changed)), "it is refused");
            assert_eq!(add(&mut file, "c").unwrap(), "002");
            file.table().unwrap().add(None, "d", "any", "k").unwrap();
            edit("001 b any k\n002 e any k\n");
            assert!(matches!(file.write(), Err(NotWritten::Changed)));
            assert_eq!(fs::read_to_string(&path).unwrap(), "001 b any k\n002 e any k\n");
            assert_eq!(add(&mut file, "d").unwrap(), "003");
            edit("001 b any k\n002 e any k\n003 f any k\n");
        });
        // Nobody registers anything for a while.
        let name = |at: &mut KeysFile| {
            let table = at.table().unwrap();
            table.by_id("003").map(|at| table.agent(at).name().to_owned())
        };
        assert_eq!(fake::on(Rc::new(fake::Later(9)), || name(&mut file)).as_deref(), Some("f"));
    }

    /// Of case 6.9: the last of the steps that may fail makes the directory durable.
    #[test]
    fn a_change_that_cannot_be_written_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = file(folder.path());
        add(&mut file, "a").unwrap();
        let before = file.disk.faults.done();
        add(&mut file, "b").unwrap();
        let steps = file.disk.faults.done() - before;
        // The last step removes the old content.
        for at in 0..steps - 1 {
            let error = if at == 0 { Errno::EMFILE } else { Errno::ENOSPC };
            file.disk = Disk::failing(at, Fault::Once(error));
            assert!(matches!(add(&mut file, "x"), Err(NotWritten::Disk(_))), "{at}");
            let written = fs::read_to_string(folder.path().join("client.keys")).unwrap();
            assert_eq!(written, "001 a any k\n002 b any k\n", "{at}");
        }
        assert_eq!(add(&mut file, "c").unwrap(), "003", "an id that nobody has got is given");
    }

    /// Whoever removes the line with the largest id: another process than this one gives the next.
    #[test]
    fn an_id_is_never_given_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let next = || add(&mut with_purge(folder.path(), true), "next").unwrap();
        assert_eq!((next(), next()), ("001".into(), "002".into()));
        let mut file = with_purge(folder.path(), true);
        assert_eq!(file.highest.on_disk(), None, "it stands in client.keys");
        let table = file.table().unwrap();
        table.remove(table.by_id("002").unwrap(), true).unwrap();
        file.write().unwrap();
        assert_eq!(file.highest.on_disk().as_deref(), Some("2\n"));
        assert_eq!(next(), "003");
        // A person takes the line out while this process has the file in mind.
        file.table().unwrap();
        fs::write(folder.path().join("client.keys"), "001 next any k\n").unwrap();
        file.table().unwrap();
        assert_eq!(next(), "004");
        // One that came and went in one batch.
        let mut file = with_purge(folder.path(), true);
        let table = file.table().unwrap();
        let at = table.add(None, "short", "any", "k").unwrap();
        table.remove(at, true).unwrap();
        file.write().unwrap();
        assert_eq!(next(), "006");
    }

    #[test]
    fn nobody_is_removed_when_the_largest_id_cannot_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = with_purge(folder.path(), true);
        add(&mut file, "a").unwrap();
        fs::create_dir(folder.path().join("highest-id")).unwrap();
        let mut file = with_purge(folder.path(), true);
        let error = file.table().err().unwrap().to_string();
        assert!(error.contains("highest-id"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("client.keys")).unwrap(), "001 a any k\n");
    }

    #[test]
    fn those_who_are_gone_take_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = with_purge(folder.path(), true);
        for number in 0..3_000 {
            let table = file.table().unwrap();
            let at = table.add(None, &format!("name{number}"), "any", "k").unwrap();
            if number > 0 {
                table.remove(at, true).unwrap();
            }
        }
        file.write().unwrap();
        assert!(!file.is_known(), "it is read anew");
        assert_eq!(file.table().unwrap().count(), 1);
        assert_eq!(add(&mut file, "next").unwrap(), "3001");
        assert!(file.is_known());
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("client.keys")).unwrap();
        assert!(file(folder.path()).table().is_err());
    }
}
