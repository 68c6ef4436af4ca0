//! What the process is told by signals, as values that the main thread waits for.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, after, bounded, never, select};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::{Handle, Signals},
};

use crate::system::thread::spawn;

/// Notes whether SIGHUP comes from now on, which would end the process otherwise: who has just started it may want it to
/// read something again.
///
/// # Errors
/// When the system refuses a handler.
pub fn note_hangup() -> io::Result<Arc<AtomicBool>> {
    let came = Arc::default();
    flag::register(SIGHUP, Arc::clone(&came)).map(|_| came)
}

/// Receives SIGTERM, SIGINT and SIGHUP from its making on; dropping it ends its thread.
pub struct Inbox {
    received: Receiver<i32>,
    /// Whether SIGHUP came before the making.
    hung_up: AtomicBool,
    /// Those that end the process, and whether they came. Signals are received by their number, so SIGHUP that comes all
    /// the time would keep them away for ever.
    ends: [(i32, Arc<AtomicBool>); 2],
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Inbox {
    /// Takes the signals away from their default actions. `hung_up` is that of [`note_hangup`].
    ///
    /// # Errors
    /// When the system refuses a handler or a thread.
    pub fn open(hung_up: &AtomicBool) -> io::Result<Self> {
        let ends = [SIGTERM, SIGINT].map(|signal| (signal, Arc::<AtomicBool>::default()));
        for (signal, came) in &ends {
            flag::register(*signal, came.clone())?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let hung_up = AtomicBool::new(hung_up.load(Ordering::Relaxed));
        let handle = signals.handle();
        let (send, received) = bounded(1);
        let forward = move || signals.forever().take_while(|signal| send.send(*signal).is_ok()).for_each(drop);
        Ok(Self { received, hung_up, ends, handle, thread: Some(spawn("signals", forward)?) })
    }

    /// The next signal or change of the node, or that nothing came within `patience`. When the daemon is ordered to end, that
    /// comes before all else; however many hang-ups have come, they are one.
    pub fn next(&self, patience: Option<Duration>, changed: &Receiver<()>) -> Next {
        if self.hung_up.swap(false, Ordering::Relaxed) {
            return Next::Signal(SIGHUP);
        }
        let late = patience.map_or_else(never, after);
        let came = select! {
            recv(self.received) -> signal => signal,
            recv(changed) -> _ => return Next::Changed,
            recv(late) -> _ => return Next::Nothing,
        };
        // Its thread never ends before this does.
        let signal = came.unwrap_or(SIGTERM);
        let end = self.ends.iter().find(|(_, came)| came.load(Ordering::Relaxed));
        Next::Signal(end.map_or(signal, |(end, _)| *end))
    }
}

/// What the main thread has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing has come.
    Nothing,
    /// This signal has come.
    Signal(i32),
    /// The node is to run anew.
    Changed,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.handle.close();
        // The thread may be waiting for a reader.
        self.received = never();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended the process.
            let _ = thread.join();
        }
    }
}
