//! The outline of client.keys, from who writes it.
//!
//! Who scans the files would have to read and digest all of it after each change. The registrar knows which bytes it has
//! written before, and goes on from there: with a hundred thousand agents, one more costs the digests of the last of them.

use std::sync::Arc;

use super::table::Table;
use crate::{
    files::{
        KEYS, Outlines,
        outline::{Course, LEAST, MOST, Outliner},
    },
    system::{known::Known, stamp::Stamp},
};

/// Bytes that are digested at a time.
const PIECE: usize = 128 * 1024;

/// What the registrar knows of outlines.
#[derive(Default)]
pub(super) struct Outlined {
    /// Those of this node; none if nobody scans its files.
    outlines: Option<Arc<Outlines>>,
    /// The file that was written last, with its outline.
    last: Option<(Known, Arc<Course>)>,
}

impl Outlined {
    /// For those who have these outlines.
    pub(super) fn new(outlines: Option<Arc<Outlines>>) -> Self {
        Self { outlines, last: None }
    }

    /// Whether this file, which was read, is the one that was written last.
    pub(super) fn is_last(&self, file: &Known) -> bool {
        self.last.as_ref().is_some_and(|(last, _)| last.is(file))
    }

    /// The outline of the table, which the file `before` has as far as it is settled. None if nobody wants it, or if the file
    /// is of no size for that.
    pub(super) fn of(&self, table: &Table, before: Option<&Known>) -> Option<Arc<Course>> {
        let outlines = self.outlines.as_ref()?;
        let size = table.text().map(|piece| piece.len() as u64).sum();
        if !(LEAST..=MOST).contains(&size) {
            return None;
        }
        let (mut outliner, mut known) = match &self.last {
            Some((last, course)) if before.is_some_and(|before| last.is(before)) => {
                Outliner::after(course.clone(), table.settled() as u64)
            }
            _ => (Outliner::new(Some(outlines.last(KEYS)?)), 0),
        };
        for piece in table.text().flat_map(|piece| piece.chunks(PIECE)) {
            let skipped = known.min(piece.len() as u64);
            known -= skipped;
            outliner.update(&piece[skipped as usize..]);
        }
        Some(Arc::new(outliner.finish()))
    }

    /// What has this stamp is about to become the file. Whoever sees it there at once need not read it.
    pub(super) fn announce(&self, course: Option<&Arc<Course>>, stamp: Stamp) {
        if let (Some(outlines), Some(course)) = (&self.outlines, course) {
            outlines.written(KEYS, course.clone(), Some(stamp));
        }
    }

    /// It has become this file.
    pub(super) fn written(&mut self, course: Option<Arc<Course>>, file: Known) {
        self.last = course.map(|course| (file, course));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        files::{Items, Scanner, sum_of},
        registration::file::KeysFile,
        system::disk::Disk,
    };

    const AGENTS: usize = 8_000;

    /// A master's files, and what its registrar knows of client.keys.
    struct Master {
        home: tempfile::TempDir,
        scanner: Scanner,
        file: KeysFile,
    }

    impl Master {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir(home.path().join("etc")).unwrap();
            let keys: String = (1..=AGENTS).map(|id| format!("{id:03} agent-{id} any {:064x}\n", id * 7919)).collect();
            fs::write(home.path().join(KEYS), keys).unwrap();
            let outlines = Arc::new(Outlines::new(4));
            let scanner = Scanner::new(home.path(), Arc::new(Items::standard())).with_outlines(outlines.clone());
            let (path, highest) = (home.path().join(KEYS), home.path().join("highest-id"));
            let file = KeysFile::new(path, highest, 0, false, Disk::new()).with_outlines(Some(outlines));
            Self { home, scanner, file }
        }

        fn write(&mut self, change: impl Fn(&mut Table)) {
            change(self.file.table().unwrap());
            self.file.write().unwrap();
        }

        /// Whether the scan finds what is there, and need not read it for that.
        fn is_told(&mut self) -> bool {
            let content = fs::read(self.home.path().join(KEYS)).unwrap();
            let stamp = Stamp::of(&self.home.path().join(KEYS)).unwrap();
            let outlines = self.scanner.outlines().clone();
            let told = outlines.take_written(KEYS, &stamp);
            if let Some(course) = &told {
                assert_eq!(course.outline().sum, sum_of(&content));
                outlines.written(KEYS, course.clone(), Some(stamp));
            }
            let manifest = self.scanner.scan(false).manifest;
            assert_eq!(manifest.find(KEYS).unwrap().sum, sum_of(&content));
            told.is_some()
        }
    }

    fn add(table: &mut Table, name: &str) {
        table.add(None, name, "any", &"k".repeat(64)).unwrap();
    }

    fn remove(table: &mut Table, id: usize, purge: bool) {
        let at = table.by_id(&id.to_string()).unwrap();
        table.remove(at, purge).unwrap();
    }

    #[test]
    fn what_the_registrar_writes_need_not_be_read() {
        let mut master = Master::new();
        assert!(!master.is_told(), "nothing was written");
        master.write(|table| add(table, "first"));
        assert!(master.is_told() && !master.is_told(), "it is told once");
        for turn in 0..4 {
            master.write(|table| add(table, &format!("next-{turn}")));
            assert!(master.is_told(), "{turn}");
        }
        master.write(|table| remove(table, AGENTS / 2, true));
        assert!(master.is_told());
        // What stays as a line with a mark is behind all others.
        master.write(|table| remove(table, AGENTS / 3, false));
        assert!(master.is_told());
        master.write(|table| {
            add(table, "one");
            remove(table, AGENTS, true);
            add(table, "two");
        });
        assert!(master.is_told());
    }

    #[test]
    fn what_was_forgotten_or_changed_by_others_is_right_all_the_same() {
        let mut master = Master::new();
        master.is_told();
        master.write(|table| add(table, "first"));
        let is_last = |master: &mut Master| {
            let before = master.file.table().unwrap().settled();
            before > 0
        };
        master.file.forget();
        assert!(is_last(&mut master), "the same file was read");
        master.write(|table| add(table, "second"));
        assert!(master.is_told());
        let path = master.home.path().join(KEYS);
        let text = fs::read_to_string(&path).unwrap().replacen("agent-9 ", "other-9 ", 1);
        fs::write(&path, text).unwrap();
        assert!(!is_last(&mut master), "another one was");
        master.write(|table| add(table, "third"));
        assert!(master.is_told());
        // It was not written after all.
        master.file.table().unwrap();
        add(master.file.table().unwrap(), "lost");
        let text = fs::read_to_string(&path).unwrap() + "90000 somebody any k\n";
        fs::write(&path, text).unwrap();
        assert!(master.file.write().is_err() && !master.is_told());
        master.write(|table| add(table, "fourth"));
        assert!(master.is_told());
    }

    #[test]
    fn a_small_file_has_no_outline() {
        let mut master = Master::new();
        fs::write(master.home.path().join(KEYS), "001 a any k\n").unwrap();
        master.is_told();
        master.write(|table| add(table, "first"));
        assert!(!master.is_told());
    }
}
