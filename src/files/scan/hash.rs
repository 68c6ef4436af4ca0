//! Reading files for their checksums, on two threads when there are many.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::{FileStat, Mode, SFlag, fstat},
};

use super::problems::{LONGEST_FILE, TOO_LARGE};
use crate::{
    files::{
        checksum::{ContentHasher, ContentSum},
        outline::{self, Course, Outliner, Outlines},
    },
    system::stamp::{Moment, Seen, Stamp, step},
};

/// Bytes read at a time.
const CHUNK: usize = 128 * 1024;
/// From this many files on a second thread is worth its start.
const MANY: usize = 64;

/// What reading one file gave.
pub(super) struct Hashed {
    pub(super) seen: Seen,
    pub(super) sum: ContentSum,
    pub(super) blake2b: Option<Arc<[u8; 64]>>,
    /// Of a large one that nobody changed meanwhile.
    pub(super) course: Option<Arc<Course>>,
}

/// `None`: it is no longer there, or no longer a file.
pub(super) type Outcome = io::Result<Option<Hashed>>;

/// A file to be read: its path below the home, and what was kept when it was read before.
pub(super) type Job<'a> = (&'a str, Option<&'a Seen>);

/// Hashes files below `home`, large ones from where they differ from their outlines on. The results are in the order of the
/// jobs.
pub(super) fn hash_all(home: &Path, jobs: &[Job<'_>], outlines: &Outlines, want_blake2b: bool) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; CHUNK];
        let mut done: Vec<(usize, Outcome)> = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { return done };
            done.push((at, hash(home, *job, outlines, want_blake2b, &mut buffer)));
        }
    };
    let mut done = thread::scope(|scope| {
        let second = (jobs.len() > MANY)
            .then(|| thread::Builder::new().name("scan-hash".to_owned()).spawn_scoped(scope, work).ok())
            .flatten();
        let mut done = work();
        match second.map(thread::ScopedJoinHandle::join) {
            Some(Ok(others)) => done.extend(others),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {}
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Opens a file of the manifest for reading. `Ok(None)`: it is gone, or no regular file any more.
///
/// `path` is an entry's, relative to `home`. Never waits, as a plain open does at a pipe that took the file's name.
///
/// # Errors
/// When the file is there and cannot be opened.
pub fn open_file(home: &Path, path: &str) -> io::Result<Option<File>> {
    Ok(open_regular(&home.join(path))?.map(|(file, _)| file))
}

fn open_regular(path: &Path) -> io::Result<Option<(File, FileStat)>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // ENXIO: a socket took its name.
        Err(Errno::ENOENT | Errno::ENXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&fd)?;
    let regular = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    Ok(regular.then(|| (File::from(fd), stat)))
}

fn hash(home: &Path, (path, before): Job<'_>, outlines: &Outlines, want_blake2b: bool, buffer: &mut [u8]) -> Outcome {
    // Its own instant: reading those before it may have taken long.
    let now = Moment::now();
    step();
    let Some((mut file, stat)) = open_regular(&home.join(path))? else { return Ok(None) };
    let seen = Seen::new(Stamp::of_stat(&stat), now, before);
    if let Some(course) = outlines.take_written(path, seen.stamp()) {
        let (sum, blake2b) = (course.outline().sum, want_blake2b.then(|| Arc::new(course.outline().blake2b)));
        return Ok(Some(Hashed { seen, sum, blake2b, course: Some(course) }));
    }
    step();
    let mut hasher = Hasher::new(seen.stamp(), || outlines.last(path));
    let mut length = 0i64;
    loop {
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        step();
        length = length.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        if length > LONGEST_FILE {
            return Err(io::Error::other(TOO_LARGE));
        }
    }
    // A file that is being written has a checksum of no moment: it is read again next time.
    let still = Stamp::of_stat(&fstat(&file)?) == *seen.stamp() && seen.stamp().size() == length;
    step();
    let (sum, blake2b, course) = hasher.finish();
    Ok(Some(Hashed {
        seen: if still { seen } else { seen.torn() },
        sum,
        blake2b: want_blake2b.then(|| Arc::new(blake2b)),
        course: course.filter(|_| still),
    }))
}

/// What a file is read for.
enum Hasher {
    Sum(ContentHasher),
    Outline(Outliner),
}

impl Hasher {
    /// For what has this stamp; `before` gives what is known of the version before.
    fn new(stamp: &Stamp, before: impl FnOnce() -> Option<Arc<Course>>) -> Self {
        let is_large = u64::try_from(stamp.size()).is_ok_and(|size| (outline::LEAST..=outline::MOST).contains(&size));
        if is_large { Self::Outline(Outliner::new(before())) } else { Self::Sum(ContentHasher::default()) }
    }

    fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Sum(hasher) => hasher.update(piece),
            Self::Outline(outliner) => outliner.update(piece),
        }
    }

    fn finish(self) -> (ContentSum, [u8; 64], Option<Arc<Course>>) {
        match self {
            Self::Sum(hasher) => {
                let (sum, blake2b) = hasher.finish();
                (sum, blake2b, None)
            }
            Self::Outline(outliner) => {
                let course = outliner.finish();
                (course.outline().sum, course.outline().blake2b, Some(Arc::new(course)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn many_files_keep_their_order_and_failures_stay_single() {
        let home = tempfile::tempdir().unwrap();
        let mut names: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
        for name in &names {
            fs::write(home.path().join(name), name).unwrap();
        }
        names[7] = "gone".to_owned();
        fs::create_dir(home.path().join("directory")).unwrap();
        names[8] = "directory".to_owned();
        std::os::unix::fs::symlink("/proc/self/mem", home.path().join("broken")).unwrap();
        names[9] = "broken".to_owned();
        nix::unistd::mkfifo(&home.path().join("pipe"), Mode::S_IRWXU).unwrap();
        names[10] = "pipe".to_owned();
        let jobs: Vec<Job<'_>> = names.iter().map(|name| (name.as_str(), None)).collect();
        let outcomes = hash_all(home.path(), &jobs, &Outlines::new(1), true);
        assert_eq!(outcomes.len(), 200);
        for (at, outcome) in outcomes.iter().enumerate() {
            match (at, outcome) {
                (7 | 8 | 10, Ok(None)) => {}
                (9, Err(error)) => assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32)),
                (_, Ok(Some(hashed))) => {
                    assert_eq!(hashed.sum, crate::files::checksum::sum_of(names[at].as_bytes()));
                    assert_eq!(
                        &hashed.blake2b.as_ref().unwrap()[..],
                        blake2b_simd::blake2b(names[at].as_bytes()).as_bytes()
                    );
                }
                _ => panic!("{at}"),
            }
        }
    }
}
