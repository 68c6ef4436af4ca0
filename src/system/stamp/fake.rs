//! A clock and a file system of a test's own, for what its thread does.

use std::{cell::RefCell, rc::Rc};

use super::{Moment, Stamp};

/// What a test puts in the place of the machine. The files are real ones.
pub(crate) trait Machine {
    /// The present instant; none for the real one.
    fn now(&self) -> Option<Moment> {
        None
    }

    /// What the file system says of a file about which the real one says this.
    fn stamp(&self, real: Stamp) -> Stamp {
        real
    }

    /// Something is about to happen.
    fn step(&self) {}
}

impl Moment {
    /// Nanoseconds of both clocks.
    pub(crate) fn of(wall: i64, up: i64) -> Self {
        Self { wall, up: u32::try_from(up / super::SECOND).unwrap() }
    }
}

impl Stamp {
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// The same with other times, in nanoseconds since 1970.
    pub(crate) fn with_times(self, [modified, changed]: [i64; 2]) -> Self {
        Self { modified, changed, ..self }
    }
}

thread_local! {
    static MACHINE: RefCell<Option<Rc<dyn Machine>>> = const { RefCell::new(None) };
}

/// Lets `work` meet this machine.
pub(crate) fn on<T>(machine: Rc<dyn Machine>, work: impl FnOnce() -> T) -> T {
    let before = MACHINE.replace(Some(machine));
    let done = work();
    MACHINE.set(before);
    done
}

/// So many seconds later, by both clocks, than now.
pub(crate) struct Later(pub(crate) u32);

impl Machine for Later {
    fn now(&self) -> Option<Moment> {
        let Moment { wall, up } = real();
        Some(Moment { wall: wall + i64::from(self.0) * super::SECOND, up: up + self.0 })
    }
}

/// Its file system counts time in whole ticks of so many seconds, of which one has begun with the test.
pub(crate) struct Coarse {
    tick: i64,
    begin: i64,
    sizes: bool,
}

impl Coarse {
    pub(crate) fn new(seconds: i64) -> Self {
        Self { tick: seconds * super::SECOND, begin: real().wall - super::SECOND, sizes: true }
    }

    /// The sizes of its folders do not change with what is in them.
    pub(crate) fn of_folders(seconds: i64) -> Self {
        Self { sizes: false, ..Self::new(seconds) }
    }
}

impl Machine for Coarse {
    fn stamp(&self, real: Stamp) -> Stamp {
        let floor = |time: i64| time - (time - self.begin).rem_euclid(self.tick);
        let size = if self.sizes { real.size } else { 0 };
        Stamp { size, modified: floor(real.modified), changed: floor(real.changed), ..real }
    }
}

fn real() -> Moment {
    let before = MACHINE.take();
    let now = Moment::now();
    MACHINE.set(before);
    now
}

/// The machine, out of its place: it may ask for the time itself.
fn ask<T>(question: impl FnOnce(&dyn Machine) -> Option<T>) -> Option<T> {
    let machine = MACHINE.with_borrow(Option::clone)?;
    question(&*machine)
}

pub(super) fn now() -> Option<Moment> {
    ask(|machine| machine.now())
}

pub(super) fn stamp(real: Stamp) -> Stamp {
    ask(|machine| Some(machine.stamp(real))).unwrap_or(real)
}

pub(crate) fn step() {
    ask(|machine| {
        machine.step();
        Some(())
    });
}
