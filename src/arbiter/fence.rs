//! The fence: a thread that does nothing but wait for the deadline, so that nothing which hangs can delay it.

use std::{io, thread::JoinHandle, time::Duration};

use crossbeam_channel::select;

use super::{Deadline, Ended};
use crate::system::{clock::Clock, shutdown::Shutdown, thread};

/// The longest wait. Its timers stand still while the machine is suspended; the deadline does not.
const LONGEST: Duration = Duration::from_secs(1);

/// Starts it. When the deadline has passed it calls `fenced`, once, and ends; it ends without when this node stops.
///
/// # Errors
/// When the kernel refuses another thread.
pub(super) fn start(
    deadline: &Deadline,
    clock: &Clock,
    shutdown: &Shutdown,
    fenced: impl FnOnce(Ended) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (deadline, clock, shutdown) = (deadline.clone(), clock.clone(), shutdown.clone());
    thread::spawn("fence", move || {
        loop {
            if let Some(why) = deadline.ended() {
                return fenced(why);
            }
            select! {
                recv(shutdown.channel()) -> _ => return,
                recv(deadline.passed().channel()) -> _ => {}
                recv(clock.after(deadline.left().min(LONGEST))) -> _ => {}
            }
        }
    })
}
