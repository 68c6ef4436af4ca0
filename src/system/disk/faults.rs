//! A plan by which operations fail, and what is left of them when the power goes out.

use std::{path::Path, sync::Arc};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::fstat,
    unistd::{Whence, lseek},
};
use parking_lot::Mutex;

use super::{
    Disk, Space, What,
    model::{Luck, Model},
};

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// This one operation fails.
    Once(Errno),
    /// The disk is full: from this operation on nothing takes room any more.
    Full,
    /// If it writes, it writes only half of it.
    Short,
    /// The program is at fault.
    Panic,
    /// The process is killed, or the power goes out: this operation and all later ones are not done.
    Crash,
}

/// Every fault that an operation can meet and the program outlives.
pub(crate) const ERRORS: [Fault; 4] =
    [Fault::Once(Errno::ENOSPC), Fault::Once(Errno::EIO), Fault::Once(Errno::EMFILE), Fault::Full];

/// Those that nobody notices.
pub(crate) const HARMLESS: [Fault; 2] = [Fault::Once(Errno::EINTR), Fault::Short];

/// What a test has in mind for a disk, and what was done on it.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    plan: Option<(usize, Fault)>,
    space: Option<Space>,
    mounts: Vec<&'static str>,
    done: usize,
    model: Option<Model>,
}

impl Disk {
    /// One on which this happens at operation `at`, the first being 0.
    pub(crate) fn failing(at: usize, fault: Fault) -> Self {
        let disk = Self::new();
        disk.faults.plan(at, fault);
        disk
    }
}

impl Faults {
    /// Lets this happen at operation `at`, counted from the beginning.
    pub(crate) fn plan(&self, at: usize, fault: Fault) {
        self.0.lock().plan = Some((at, fault));
    }

    /// The space that there is said to be.
    pub(crate) fn set_space(&self, space: Space) {
        self.0.lock().space = Some(space);
    }

    /// Names that no file can take or leave, as if each were a mount.
    pub(crate) fn set_mounts(&self, names: &[&'static str]) {
        self.0.lock().mounts = names.to_vec();
    }

    /// How many operations there were.
    pub(crate) fn done(&self) -> usize {
        self.0.lock().done
    }

    /// Takes all that is below `root` for durable, and remembers from now on what is not. From now on, whatever is changed
    /// there is to be changed by this disk.
    pub(crate) fn watch(&self, root: &Path) {
        self.0.lock().model = Some(Model::of(root));
    }

    /// The power goes out: makes what is below the watched directory what a disk can show after that.
    pub(crate) fn cut_power(&self, luck: Luck) {
        let model = self.0.lock().model.take();
        model.expect("a directory that is watched").cut_power(luck);
    }

    pub(super) fn space(&self) -> Option<Space> {
        self.0.lock().space
    }

    pub(super) fn shortened<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let state = self.0.lock();
        let is_short = state.plan == Some((state.done, Fault::Short));
        if is_short { &bytes[..bytes.len().div_ceil(2)] } else { bytes }
    }

    /// Does an operation, if it is to be done, and remembers it.
    pub(super) fn once<T>(&self, what: What<'_>, operation: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.0.lock();
        let now = state.done;
        state.done += 1;
        match state.plan {
            Some((at, Fault::Once(error))) if at == now => return Err(error),
            Some((at, Fault::Full)) if at <= now && takes_room(what) => return Err(Errno::ENOSPC),
            Some((at, Fault::Panic)) if at == now => panic!("operation {at}"),
            Some((at, Fault::Crash)) if at <= now => return Err(Errno::EIO),
            _ => {}
        }
        if let What::Rename(_, _, name) | What::Remove(_, name) = what
            && state.mounts.contains(&name)
        {
            return Err(Errno::EBUSY);
        }
        let done = operation()?;
        if let Some(model) = &mut state.model {
            model.remember(what);
        }
        Ok(done)
    }
}

fn takes_room(what: What<'_>) -> bool {
    match what {
        What::Create(..) | What::MakeDirectory(..) | What::Lengthen(_) => true,
        What::Write(file) => {
            let at = lseek(file, 0, Whence::SeekCur).unwrap();
            let appends = OFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_APPEND);
            appends || at >= fstat(file).unwrap().st_size
        }
        _ => false,
    }
}

/// Does the same once for each operation that it takes, at which this happens. The last time nothing happens. Gives the
/// number of the operations.
pub(crate) fn at_each(fault: Fault, mut body: impl FnMut(&Disk, &str)) -> usize {
    for at in 0.. {
        let disk = Disk::failing(at, fault);
        body(&disk, &format!("{fault:?} at operation {at}"));
        if disk.faults.done() <= at {
            return at;
        }
    }
    unreachable!("it ends some time")
}

/// The same for a crash, with all kinds of [`Luck`].
pub(crate) fn crash_at_each(mut body: impl FnMut(&Disk, Luck, &str)) -> usize {
    let mut operations = 0;
    for luck in Luck::all() {
        operations = at_each(Fault::Crash, |disk, context| body(disk, luck, &format!("{context}, {luck:?}")));
    }
    operations
}
