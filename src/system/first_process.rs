//! The first process of a container inherits the orphans of all others, and no signal ends it by a default action.
//!
//! The daemon is not that process. Where it would be, it has one child that goes on as the daemon, and does nothing but to
//! wait for whatever ends: so a reaper never takes the exit status of a program that the daemon itself waits for.
#![allow(unsafe_code)]

use std::io;

use nix::{
    errno::Errno,
    sys::{
        signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, getpid},
};

/// What is handed on to the daemon.
const HANDED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// What a shell adds to the number of the signal that ended a program.
const BY_SIGNAL: i32 = 128;

/// Returns in a process that is not the first one of a container. A first one stays behind: it hands signals on to a child
/// that returns from here, reaps every process that ends, and ends as that child did. Call it before the first thread
/// starts.
///
/// # Errors
/// When the kernel refuses a process.
pub fn leave() -> io::Result<()> {
    if getpid() != Pid::from_raw(1) {
        return Ok(());
    }
    let mut awaited: SigSet = HANDED_ON.into_iter().collect();
    awaited.add(Signal::SIGCHLD);
    // Blocked, each waits until it is asked for, and none is lost.
    let before = awaited.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: no handler is installed. Whoever started this may have the kernel reap children by itself.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    // SAFETY: called before any thread was started, so the child is a full copy with no lock held by another thread.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(before.thread_set_mask()?),
        ForkResult::Parent { child } => std::process::exit(stay(child, &awaited)),
    }
}

/// Until `daemon` ends; gives its exit code.
fn stay(daemon: Pid, awaited: &SigSet) -> i32 {
    loop {
        match awaited.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(daemon) {
                    return code;
                }
            }
            // One that has just ended is reaped next.
            Ok(signal) => _ = kill(daemon, signal),
            Err(_) => {}
        }
    }
}

/// Waits for all that have ended; one signal may stand for many. Gives the exit code of `daemon` if it is among them.
fn reap(daemon: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == daemon => return Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == daemon => return Some(BY_SIGNAL + signal as i32),
            Ok(WaitStatus::StillAlive) => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}
