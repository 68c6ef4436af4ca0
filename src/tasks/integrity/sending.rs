//! The archives of both directions, written while they are sent.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use log::Level;
use parking_lot::Mutex;

use super::differences::{Deltas, Plan};
use crate::{
    files::{
        AddError, Added, ArchiveWriter, ChecksumKind, ContentSum, Difference, Entry, KEYS, Manifest, MemberCache,
        archive::PART, delta::Made, open_file,
    },
    limits::Job,
    system::stamp::Stamp,
};

/// Writes the archive of a worker's check: these entries of its manifest, and nothing else.
///
/// # Errors
/// Those of `out`.
pub fn write_manifest(
    manifest: &Manifest,
    entries: &[&Entry],
    kind: ChecksumKind,
    level: u32,
    out: impl Write,
) -> io::Result<()> {
    let mut metadata = Vec::new();
    manifest.to_json(entries, kind, &mut metadata)?;
    ArchiveWriter::new(out, level, u64::MAX).finish(&metadata).map(drop)
}

/// What is in an archive.
#[derive(Debug, Default)]
pub struct Written {
    /// What is not.
    pub left_out: LeftOut,
    /// The paths that it has deltas of, and the sums of what these make them from.
    pub deltas: HashMap<String, ContentSum>,
}

/// Files that are not in an archive.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Those that come with a later one.
    pub later: HashSet<String>,
    /// Those that no archive of this worker can hold, each with the reason.
    pub too_large: Vec<(String, String)>,
}

impl LeftOut {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.later.is_empty() && self.too_large.is_empty()
    }

    fn has(&self, path: &str) -> bool {
        self.later.contains(path) || self.too_large.iter().any(|(large, _)| large == path)
    }
}

/// Writes the archives of a master's synchronisations.
pub struct UpdateWriter<'a> {
    /// What the paths are relative to.
    pub home: &'a Path,
    /// The zlib level.
    pub level: u32,
    /// The most bytes of members in one archive.
    pub limit: u64,
    /// The most bytes that the archive may hold after inflating.
    pub max_inflated: u64,
    /// Compressed files that several workers may need.
    pub members: &'a MemberCache,
    /// Long files that may be other ones, or unreadable.
    pub doubtful: &'a Doubtful,
    /// If the worker takes files as deltas.
    pub deltas: Option<Deltas<'a>>,
}

/// Long files that went out in vain: the next time they are read before they are sent.
#[derive(Default)]
pub struct Doubtful(Mutex<HashSet<Arc<str>>>);

impl Doubtful {
    fn has(&self, path: &str) -> bool {
        self.0.lock().contains(path)
    }

    /// This came of it.
    fn note(&self, path: &Arc<str>, added: &Result<Added, AddError>) {
        let mut doubtful = self.0.lock();
        match added {
            Ok(Added::Written { .. }) => {
                doubtful.remove(path);
            }
            // A peer that is lost says nothing of the file.
            Err(error) if error.spoils() => {}
            _ if doubtful.len() < MOST_DOUBTFUL => {
                doubtful.insert(path.clone());
            }
            _ => {}
        }
    }
}

/// The most of them that are remembered. More cost what is sent of them.
const MOST_DOUBTFUL: usize = 1000;

/// The most bytes of files that are read for a short archive.
const SHORT: u64 = 512 * 1024;

impl UpdateWriter<'_> {
    /// How much there is to do for this archive.
    pub fn job(&self, difference: &Difference<'_>) -> Job {
        let mut read = 0;
        let is_short = difference.create.iter().chain(&difference.update).all(|entry| {
            let made = self.deltas.as_ref().is_some_and(|deltas| deltas.may_make(entry, difference));
            if !made && !self.members.has(&entry.sum) {
                read += fs::metadata(self.home.join(&*entry.path)).map_or(0, |about| about.len());
            }
            read <= SHORT
        });
        if is_short { Job::Short } else { Job::Long }
    }

    /// Writes the archive for `difference` to `out`. A file that cannot be sent now is left out, of the metadata too, so
    /// that the worker keeps what it has; `report` gets the reasons, with how much they matter. `done` grows with every file
    /// that is in, or left out. The keys of the agents come first, so that they are in whatever else there is.
    ///
    /// # Errors
    /// When the archive is spoilt and the worker must not use it.
    pub fn write(
        &self,
        difference: &Difference<'_>,
        mut out: impl Write,
        done: &AtomicUsize,
        report: impl Fn(Level, &str),
    ) -> Result<Written, AddError> {
        let planned = self.deltas.as_ref().map_or_else(Plan::new, |deltas| deltas.plan(self.home, difference));
        let made: Made = planned.iter().map(|(path, planned)| (path.clone(), planned.size)).collect();
        // With every file that is left out the metadata only becomes shorter.
        let mut metadata = Vec::new();
        difference.write_json(|_| false, &made, &mut metadata).map_err(AddError::Archive)?;
        let contents = self.max_inflated.saturating_sub(metadata.len() as u64);
        let mut writer = ArchiveWriter::new(&mut out, self.level, self.limit).with_contents_limit(contents);
        let mut left_out = LeftOut::default();
        let mut full = 0_usize;
        let files = || difference.create.iter().chain(&difference.update);
        let (keys, others) =
            (files().filter(|entry| &*entry.path == KEYS), files().filter(|entry| &*entry.path != KEYS));
        for entry in keys.chain(others) {
            let added = if full > 0 { Ok(Added::Full) } else { self.add(&mut writer, entry, &planned) };
            done.fetch_add(1, Ordering::Relaxed);
            let path = &entry.path;
            match added {
                Ok(Added::Written { .. }) => continue,
                Ok(Added::Full) => full += 1,
                Ok(Added::TooLarge) => {
                    let reason =
                        format!("it is larger than {} bytes, the most that is sent to this worker", self.limit);
                    report(Level::Warn, &format!("'{path}' is left out: {reason} (cluster.json, max_zip_size)."));
                    left_out.too_large.push((path.to_string(), reason));
                    continue;
                }
                // While agents register, that is so with many archives, and the next check sees to it.
                Ok(Added::Changed) => {
                    report(Level::Debug, &format!("'{path}' comes with a later archive: it has just been changed."));
                }
                Err(error) if error.spoils() => return Err(error),
                Err(error) => {
                    report(Level::Warn, &format!("{error}. It is left out, and the worker keeps its own."));
                }
            }
            left_out.later.insert(path.to_string());
        }
        if full > 0 {
            let text = format!("{full} files come with a later archive: this one is full ({} bytes).", self.limit);
            report(Level::Warn, &text);
        }
        if !left_out.is_empty() {
            metadata.clear();
            let left_out = |entry: &Entry| left_out.has(&entry.path);
            difference.write_json(left_out, &made, &mut metadata).map_err(AddError::Archive)?;
        }
        writer.finish(&metadata).map_err(AddError::Archive)?;
        let deltas = planned.iter().filter(|(path, _)| !left_out.has(path));
        let deltas = deltas.map(|(path, planned)| (path.to_string(), planned.base)).collect();
        Ok(Written { left_out, deltas })
    }

    fn add<W: Write>(&self, writer: &mut ArchiveWriter<W>, entry: &Entry, planned: &Plan) -> Result<Added, AddError> {
        if let (Some(deltas), Some(planned)) = (&self.deltas, planned.get(&entry.path)) {
            return deltas.add(writer, entry, planned);
        }
        if let Some(added) = writer.add_cached(&entry.path, &entry.sum, self.members)? {
            return Ok(added);
        }
        let unreadable = |error| AddError::Source { name: entry.path.to_string(), error };
        let Some(mut file) = open_file(self.home, &entry.path).map_err(unreadable)? else { return Ok(Added::Changed) };
        // A long one would go out before it is known to be another.
        let stamp = Stamp::of_file(&file).map_err(unreadable)?;
        let doubtful = stamp.mod_time() != entry.mod_time || self.doubtful.has(&entry.path);
        let added = writer.add_file(&entry.path, &mut file, &entry.sum, doubtful, Some(self.members));
        if stamp.size() > PART as i64 {
            self.doubtful.note(&entry.path, &added);
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::files::{Buckets, Items, RemoteManifest, Scanner, compare, survey};

    /// What there is, and what it becomes between the scan and the archive; gives the archive, what is left out of it, and
    /// what is said of that.
    fn written(
        doubtful: &Doubtful,
        before: &[(&str, &[u8])],
        change: impl FnOnce(&Path),
    ) -> (Vec<u8>, LeftOut, Vec<(Level, String)>) {
        let home = tempfile::tempdir().unwrap();
        for (path, content) in before {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let manifest = Scanner::new(home.path(), Arc::new(Items::standard())).scan(false).manifest;
        let kind = ChecksumKind::Md5Blake2b;
        let nothing = RemoteManifest::parse(b"{}", kind).unwrap();
        let difference = compare(&manifest, &nothing, kind, Buckets::ALL).unwrap();
        change(home.path());
        let (members, done, reasons) = (MemberCache::new(1 << 20), AtomicUsize::new(0), Mutex::new(Vec::new()));
        let writer = UpdateWriter {
            home: home.path(),
            level: 1,
            limit: u64::MAX,
            max_inflated: 1 << 30,
            members: &members,
            doubtful,
            deltas: None,
        };
        let mut archive = Vec::new();
        let report = |level, text: &str| reasons.lock().push((level, text.to_owned()));
        let written = writer.write(&difference, &mut archive, &done, report).unwrap();
        (archive, written.left_out, reasons.into_inner())
    }

    /// Case 4.16: with registrations in bursts this is so all the time, and needs no action.
    #[test]
    fn a_file_that_has_just_been_changed_is_told_to_those_who_debug() {
        let before: [(&str, &[u8]); 2] = [(KEYS, b"old"), ("etc/rules/r.xml", b"old")];
        let (_, left_out, reasons) =
            written(&Doubtful::default(), &before, |home| fs::write(home.join(KEYS), "another length").unwrap());
        assert_eq!(left_out.later.into_iter().collect::<Vec<_>>(), [KEYS]);
        assert!(
            reasons.len() == 1 && reasons[0].0 == Level::Debug && reasons[0].1.contains("later archive"),
            "{reasons:?}"
        );
    }

    #[test]
    fn a_lost_peer_makes_no_file_doubtful() {
        let (doubtful, path) = (Doubtful::default(), Arc::<str>::from(LONG));
        let now = |added| {
            doubtful.note(&path, &added);
            doubtful.has(LONG)
        };
        let lost = || AddError::Archive(io::ErrorKind::BrokenPipe.into());
        let unreadable = AddError::Source { name: LONG.to_owned(), error: io::ErrorKind::Other.into() };
        assert!(!now(Err(lost())));
        assert!(now(Ok(Added::Changed)) && now(Err(lost())));
        assert!(!now(Ok(Added::Written { plain: 1, member: 1 })));
        assert!(now(Err(unreadable)));
    }

    const LONG: &str = "etc/lists/long";

    /// With another content, or the same, and another date, or the same; gives whether it is in the archive and whether it is
    /// named there.
    fn rewritten(doubtful: &Doubtful, new: u8, keeps_its_date: bool) -> [bool; 2] {
        let before: [(&str, &[u8]); 2] = [(LONG, &[b'a'; 2 * PART]), ("etc/rules/r.xml", b"rule")];
        let (archive, left_out, _) = written(doubtful, &before, |home| {
            let path = home.join(LONG);
            let date = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, vec![new; 2 * PART]).unwrap();
            let date = if keeps_its_date { date } else { date + std::time::Duration::from_secs(1) };
            fs::File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
        });
        let found = survey(&mut Cursor::new(archive), ChecksumKind::Md5Blake2b, 1 << 30).unwrap();
        let metadata = String::from_utf8(found.metadata).unwrap();
        assert!(metadata.contains("etc/rules/r.xml") && found.members.contains_key("etc/rules/r.xml"), "{metadata}");
        let is_named = metadata.contains(LONG);
        assert_eq!(left_out.later.contains(LONG), !is_named);
        [found.members.contains_key(LONG), is_named]
    }

    /// Where its date shows it, or it was so before, nothing goes out of a long file that has just been changed.
    #[test]
    fn a_long_file_that_has_just_been_changed_is_not_named() {
        let doubtful = Doubtful::default();
        assert_eq!(rewritten(&doubtful, b'a', false), [true, true], "it is the same");
        assert_eq!(rewritten(&doubtful, b'b', false), [false, false]);
        assert_eq!(rewritten(&doubtful, b'a', true), [true, true]);
        assert_eq!(rewritten(&doubtful, b'b', true), [true, false], "that is known at its end");
        assert_eq!(rewritten(&doubtful, b'b', true), [false, false], "it was so before");
        assert_eq!(rewritten(&doubtful, b'a', true), [true, true]);
        assert_eq!(rewritten(&doubtful, b'b', true), [true, false]);
    }
}
