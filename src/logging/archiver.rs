//! The thread that archives closed log files, so that nobody who writes a line waits for it, and that tells what was left
//! out of the log.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crossbeam_channel::select;
use log::Level;

use super::{MAIN, Repeats, archive::Closed, flood::QUIET};
use crate::{
    logging::{debug, log},
    system::{
        disk::Disk,
        shutdown::{self, Shutdown, Trigger},
        thread::Group,
        user::Owner,
        wakeup::Wakeup,
    },
};

/// How often what could not be archived is tried again.
const AGAIN: Duration = Duration::from_secs(3600);

/// How long a stop waits for the thread; what it does not finish is archived by the next start.
const STOP: Duration = Duration::from_secs(1);

/// The running thread. Dropping this ends it, between two pieces of a file if need be.
pub struct Archiver {
    trigger: Option<Trigger>,
    thread: Group,
}

impl Archiver {
    /// Archives what waits in `logs`, now and at each `wakeup`. `tell` is called then, too, and
    /// every [`QUIET`] as long as it gives true.
    pub(super) fn start(
        logs: PathBuf,
        owner: Option<Owner>,
        wakeup: Wakeup,
        tell: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (trigger, stop) = shutdown::channel();
        let thread = Group::new(1);
        thread.spawn("log", move || {
            let told = Repeats::default();
            let mut again = Instant::now();
            loop {
                if again <= Instant::now() {
                    archive_all(&logs, owner, &told, &stop);
                    again = Instant::now() + AGAIN;
                }
                let pause = if tell() { QUIET } else { again.saturating_duration_since(Instant::now()) };
                select! {
                    recv(wakeup.channel()) -> _ => again = Instant::now(),
                    recv(stop.channel()) -> _ => return,
                    default(pause) => (),
                }
            }
        })?;
        Ok(Self { trigger: Some(trigger), thread })
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        drop(self.trigger.take());
        self.thread.join(Instant::now() + STOP);
    }
}

fn archive_all(logs: &Path, owner: Option<Owner>, told: &Repeats, stop: &Shutdown) {
    let tell = |text: String| log!(MAIN, told.level(Level::Error, &text, Instant::now()), "{text}");
    let all = match Closed::all(logs) {
        Ok(all) => all,
        Err(error) => return tell(format!("{} cannot be read: {error}. No log is archived.", logs.display())),
    };
    for closed in all {
        let path = logs.join(closed.archive());
        match closed.finish(&Disk::new(), logs, owner, || stop.ordered()) {
            Ok(()) => debug!(MAIN, "The log was archived in {}.", path.display()),
            Err(error) if error.kind() == ErrorKind::Interrupted && stop.ordered() => return,
            Err(error) => tell(format!(
                "{} cannot be written: {error}. {} stays until it can; see whether {} may be written and has room.",
                path.display(),
                closed.name(),
                logs.display()
            )),
        }
    }
}
