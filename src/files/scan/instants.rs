//! A test that changes files at every instant of a scan, on file systems with coarse time stamps and another clock: what a
//! scan without a change meanwhile says is what is there, byte by byte, and what did not change is not read.

use std::{
    cell::RefCell, collections::HashMap, fs, io::Write, os::unix::fs::MetadataExt, path::PathBuf, rc::Rc, sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    files::{
        checksum::sum_of,
        items::Items,
        watch::{Watch, Which},
    },
    system::{
        clock::FakeClock,
        stamp::{
            Moment, Stamp,
            fake::{self, Machine},
        },
    },
};

const SECOND: i64 = 1_000_000_000;

/// The last one is read in two pieces.
const FILES: [(&str, usize); 3] = [("a", 8), ("b", 8), ("c", 140_000)];

/// What somebody does to a file, always without changing its size.
#[derive(Clone, Copy, Debug)]
enum Change {
    Write,
    /// And gives it the modification time that it had.
    WriteUnnoticed,
    /// And gives it one that is far in the future.
    WriteAhead,
    /// Half of it, and the other half at the next step.
    WriteSlowly,
    Rename,
    /// A new file under its name; the file system may give it the same inode.
    Recreate,
    /// No change of a file: the clock is set.
    SetClock(i64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::Write),
        1 => Just(Change::WriteUnnoticed),
        1 => Just(Change::WriteAhead),
        1 => Just(Change::WriteSlowly),
        1 => Just(Change::Rename),
        1 => Just(Change::Recreate),
        1 => (-20i64..20).prop_map(|seconds| Change::SetClock(seconds * SECOND / 2)),
    ]
}

/// The machine that the scanner meets.
struct Disk {
    home: PathBuf,
    tick: i64,
    /// How far its clock is ahead of ours.
    skew: i64,
    /// What passes from one step to the next.
    pace: i64,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    wall: i64,
    up: i64,
    /// Of each inode.
    times: HashMap<u64, [i64; 2]>,
    /// Steps until each change, and the number of the file.
    plan: Vec<(u32, Change, usize)>,
    /// A file, and the content whose other half is to be written.
    half: Option<(usize, Vec<u8>)>,
    /// Changes so far.
    count: u64,
}

impl Disk {
    fn path(&self, file: usize) -> PathBuf {
        self.home.join("etc/rules").join(FILES[file].0)
    }

    fn pass(&self, time: i64) {
        let mut state = self.state.borrow_mut();
        (state.wall, state.up) = (state.wall + time, state.up + time);
    }

    fn count(&self) -> u64 {
        self.state.borrow().count
    }

    /// Carries out what is due.
    fn change(&self, state: &mut State) {
        if let Some((file, content)) = state.half.take() {
            self.write(state, file, &content, content.len() / 2, None);
        }
        let Some((left, change, file)) = state.plan.last_mut() else { return };
        if *left > 0 {
            *left -= 1;
            return;
        }
        let (change, file) = (*change, *file);
        state.plan.pop();
        state.count += 1;
        let content = vec![state.count as u8; FILES[file].1];
        let path = self.path(file);
        let inode = || fs::metadata(&path).unwrap().ino();
        match change {
            Change::Write => self.write(state, file, &content, 0, None),
            Change::WriteUnnoticed => {
                let before = state.times[&inode()][0];
                self.write(state, file, &content, 0, Some(before));
            }
            Change::WriteAhead => {
                let ahead = state.wall + 40 * SECOND;
                self.write(state, file, &content, 0, Some(ahead - ahead.rem_euclid(self.tick)));
            }
            Change::WriteSlowly => {
                let before = fs::read(&path).unwrap();
                let first = [&content[..content.len() / 2], &before[content.len() / 2..]].concat();
                self.write(state, file, &first, 0, None);
                state.half = Some((file, content));
            }
            Change::Rename => {
                let new = self.home.join("new");
                fs::write(&new, content).unwrap();
                fs::rename(new, &path).unwrap();
                self.note(state, inode(), None);
            }
            Change::Recreate => {
                fs::remove_file(&path).unwrap();
                fs::write(&path, content).unwrap();
                self.note(state, inode(), None);
            }
            Change::SetClock(by) => state.wall += by,
        }
    }

    fn write(&self, state: &mut State, file: usize, content: &[u8], from: usize, modified: Option<i64>) {
        let mut open = fs::OpenOptions::new().write(true).open(self.path(file)).unwrap();
        std::io::Seek::seek(&mut open, std::io::SeekFrom::Start(from as u64)).unwrap();
        open.write_all(&content[from..]).unwrap();
        self.note(state, open.metadata().unwrap().ino(), modified);
    }

    fn note(&self, state: &mut State, inode: u64, modified: Option<i64>) {
        let now = state.wall + self.skew;
        let now = now - now.rem_euclid(self.tick);
        state.times.insert(inode, [modified.unwrap_or(now), now]);
    }
}

impl Machine for Disk {
    fn now(&self) -> Option<Moment> {
        let state = self.state.borrow();
        Some(Moment::of(state.wall, state.up))
    }

    fn stamp(&self, real: Stamp) -> Stamp {
        let times = self.state.borrow().times.get(&real.inode()).copied();
        real.with_times(times.unwrap_or([0, 0]))
    }

    fn step(&self) {
        self.pass(self.pace);
        self.change(&mut self.state.borrow_mut());
    }
}

thread_local! {
    /// One for all homes of a test, because the kernel takes its time to end one.
    static WATCH: Arc<Watch> = Arc::new(Watch::new(Arc::new(Items::standard())).unwrap());
}

/// By looks at all files, and by looks at those that may have changed.
fn run(machine: [i64; 3], pauses: &[i64], plan: Vec<(u32, Change, usize)>) {
    run_by(|scanner| scanner.scan(false), machine, pauses, plan.clone());
    run_by(|scanner| scanner.look(Which::Every, false), machine, pauses, plan);
}

/// Scans after each of the pauses, and until nothing happens any more; `plan` is carried out from its end on.
fn run_by(
    look: fn(&mut Scanner) -> Scan,
    [tick, skew, pace]: [i64; 3],
    pauses: &[i64],
    plan: Vec<(u32, Change, usize)>,
) {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("etc/rules")).unwrap();
    let state = State { wall: 1_000_000 * SECOND, plan, ..State::default() };
    let disk = Rc::new(Disk { home: home.path().to_owned(), tick, skew, pace, state: RefCell::new(state) });
    for (file, (_, size)) in FILES.iter().enumerate() {
        fs::write(disk.path(file), vec![0; *size]).unwrap();
        let inode = fs::metadata(disk.path(file)).unwrap().ino();
        disk.note(&mut disk.state.borrow_mut(), inode, None);
    }
    let items = Arc::new(Items::standard());
    let mut scanner = Scanner::new(home.path(), items).with_watch(WATCH.with(Arc::clone), FakeClock::new().0);
    let mut scan = || {
        let before = disk.count();
        let quiet = disk.state.borrow().half.is_none();
        let scan = fake::on(disk.clone(), || look(&mut scanner));
        let quiet = quiet && disk.count() == before && disk.state.borrow().half.is_none();
        for (file, (name, _)) in FILES.iter().enumerate().filter(|_| quiet) {
            let entry = scan.manifest.find(&format!("etc/rules/{name}")).expect("it is there");
            assert_eq!(entry.sum, sum_of(&fs::read(disk.path(file)).unwrap()), "{name}");
        }
        scan.hashed
    };
    for pause in pauses.iter().copied() {
        disk.pass(pause);
        scan();
    }
    // Nobody changes anything any more. A time that is ahead is read again once, when the clock has come to it.
    while !disk.state.borrow().plan.is_empty() || disk.state.borrow().half.is_some() {
        // A look that finds nothing to look at takes no step.
        disk.step();
        scan();
    }
    let mut read = 0;
    for _ in 0..12 {
        disk.pass(8 * SECOND);
        read += scan();
    }
    assert!(read <= 4 * FILES.len(), "{read}");
    disk.pass(8 * SECOND);
    assert_eq!(scan(), 0, "what did not change is not read");
}

/// Case 6.1: a file is written and read long after the scan has begun, and written again in the same tick; then, where the
/// clock of the file system is ahead, while the next scan reads it, which began a tick after the first and has to read less.
#[test]
fn a_stamp_is_judged_by_when_its_file_was_read() {
    for at in 7..14 {
        for then in 0..13 {
            let plan = vec![(then, Change::Write, 2), (at, Change::Write, 2)];
            run([2 * SECOND, 0, SECOND / 4], &[0, SECOND, 8 * SECOND], plan.clone());
            run([2 * SECOND, 6 * SECOND, SECOND * 29 / 200], &[SECOND * 41 / 2, 0, 0, 8 * SECOND], plan);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Case 6.1, and all its kind.
    #[test]
    fn what_a_scan_says_is_what_is_there(
        tick in prop::sample::select(vec![1, 4_000_000, SECOND, 2 * SECOND]),
        skew in prop_oneof![Just(0), -8 * SECOND..8 * SECOND],
        pace in prop_oneof![Just(0), 0..SECOND],
        pauses in prop::collection::vec(0..9 * SECOND, 1..6),
        mut plan in prop::collection::vec((0u32..14, change(), 0..FILES.len()), 0..8),
    ) {
        // A clock that is set often, or that of a server that follows ours, deceives everybody.
        let mut sets = 0;
        plan.retain(|(_, change, _)| {
            sets += u32::from(matches!(change, Change::SetClock(_)));
            !matches!(change, Change::SetClock(_)) || (sets == 1 && skew == 0)
        });
        run([tick, skew, pace], &pauses, plan);
    }
}
