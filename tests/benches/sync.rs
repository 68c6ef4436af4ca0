//! `make bench`: 10 000 files of 1 KB, and 100 incompressible ones of 1 MiB, from an empty worker to in sync, with the
//! daemons as they are installed.
//!
//! Master and worker are two processes of this machine, each with a home of its own. The times of the phases are what
//! the nodes write to their logs; the whole is also measured from outside. In the same run, in turns with the
//! synchronisations, the machine does the bare work without a daemon: the figures of a shared machine mean something
//! only as a ratio to that.
//!
//! | variable | meaning |
//! |---|---|
//! | `BENCH_RUNS` | synchronisations of each kind; 5 |
//! | `BENCH_DIR` | where the homes are made; `target/tmp`. `/dev/shm` is measured besides, if there is room |
//! | `BENCH_CHANGES` | changes of a rule; 20 |
//! | `BENCH_CYCLES` | idle checks over which processor time and traffic are counted; 30 |
//!
//! What is named behind `--` is measured alone: `small`, `large`, `idle`, `change`, `memory` (as `small`, on `/dev/shm`).
//!
//! Nothing is deleted before the end, because ext4 creates files very slowly for half a minute after many were deleted.
//! For the same reason a second run should wait for a minute.

mod bare;
mod change;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod files;
mod idle;
mod limit;
mod machine;
mod node;
mod phases;
mod process;
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod program;
mod proxy;
mod rule;
mod table;
mod target;
mod timing;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use files::{Files, LARGE, SMALL};
use limit::Limits;
use node::Setup;
use phases::Phases;
use program::Failure;
use timing::setting;

/// How a link is called in the tables, and whether it is native.
const LINKS: [(&str, bool); 2] = [("native link (MD5+BLAKE2b)", true), ("classic link (BLAKE2b)", false)];
/// What all homes need: those of each run, the copies of the bare work, and the files of the file system itself.
const ROOM: u64 = 2 << 30;

fn main() -> ExitCode {
    program::main(run)
}

fn run() -> Result<(), Failure> {
    println!("{}", machine::facts());
    println!("All times are in seconds. Compare ratios: the limits were measured in this run, on the same files.");
    let main = program::place();
    if wanted("small") || wanted("idle") || wanted("change") {
        let place = Place::new(&main, SMALL)?;
        if wanted("small") {
            synchronise(&place)?;
        }
        // A change is measured on the worker that was idle.
        for (name, native) in LINKS.into_iter().filter(|_| wanted("idle") || wanted("change")) {
            idle::measure(&place, name, native)?;
        }
        for (name, native) in LINKS.into_iter().filter(|_| wanted("change")) {
            change::measure(&place, name, native)?;
        }
    }
    if wanted("large") {
        synchronise(&Place::new(&main, LARGE)?)?;
    }
    let memory = Path::new("/dev/shm");
    if wanted("memory")
        && machine::file_system(memory) == "tmpfs"
        && free_space(memory) > ROOM
        && !main.starts_with(memory)
    {
        synchronise(&Place::new(memory, SMALL)?)?;
    }
    Ok(())
}

/// Whether this part is to be measured.
fn wanted(part: &str) -> bool {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

/// A folder for homes on one file system, with a home for the master in which the files stand.
pub struct Place {
    /// File system and path, for people.
    pub name: String,
    /// Where homes are made. Removed, with all in it, at the end of the program.
    pub folder: tempfile::TempDir,
    /// The master's home.
    pub master: PathBuf,
    /// Which ones.
    files: Files,
}

impl Place {
    fn new(folder: &Path, files: Files) -> Result<Self, Failure> {
        fs::create_dir_all(folder)?;
        let name = format!("{} at {}", machine::file_system(folder), folder.display());
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(folder)?;
        let master = folder.path().join("master");
        files.create(&master)?;
        // A file that was changed within the last two seconds is read again by every scan.
        thread::sleep(Duration::from_millis(2500));
        Ok(Self { name, folder, master, files })
    }

    /// The home of a worker.
    pub fn worker(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("worker-{name}"))
    }

    /// Has everything on the disk, so that nobody pays for what was written before.
    ///
    /// # Errors
    /// When the system cannot write it.
    pub fn settle(&self) -> Result<(), Failure> {
        Ok(nix::unistd::syncfs(fs::File::open(self.folder.path())?)?)
    }
}

fn synchronise(place: &Place) -> Result<(), Failure> {
    let runs = setting("BENCH_RUNS", 5);
    let mut limits = Limits::new(place.files);
    let mut phases = LINKS.map(|_| Phases::new(place.files));
    for run in 0..runs {
        place.settle()?;
        limits.measure(&place.master, &place.folder.path().join(format!("bare-{run}")))?;
        for ((_, native), phases) in LINKS.into_iter().zip(&mut phases) {
            place.settle()?;
            let kind = if native { "native" } else { "classic" };
            // The master's own runs are far apart, so that none falls into the synchronisation by chance.
            let setup = Setup { native, check: 0.3, local: 3.0 };
            phases.measure(&place.master, &place.worker(&format!("{kind}-{run}")), setup)?;
        }
    }
    limits.print(&place.name);
    for ((link, _), phases) in LINKS.into_iter().zip(&phases) {
        let Files { count, size, .. } = place.files;
        phases.print(&format!("{}, {count} files of {size} bytes, {link}, {runs} runs", place.name), &limits);
    }
    Ok(())
}

/// Bytes that this user may still write to the file system of `path`.
fn free_space(path: &Path) -> u64 {
    nix::sys::statvfs::statvfs(path).map_or(0, |found| found.blocks_available() * found.fragment_size())
}
