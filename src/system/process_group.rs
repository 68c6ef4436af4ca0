//! A program that this process starts: a process group of its own, which is ended as a whole.

use std::{
    ffi::OsStr,
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

/// The processes of a program. They end when this is dropped.
pub struct ProcessGroup {
    first: Child,
    /// Its number may be that of another process by now.
    ended: bool,
}

impl ProcessGroup {
    /// Starts `command`, which has these variables as its whole environment.
    ///
    /// # Errors
    /// When there can be no such process.
    pub fn start(command: &mut Command, environment: &[(&str, &OsStr)]) -> io::Result<Self> {
        let first = command.env_clear().envs(environment.iter().copied()).process_group(0).spawn()?;
        Ok(Self { first, ended: false })
    }

    /// The number of the first process, and of the group.
    pub fn pid(&self) -> u32 {
        self.first.id()
    }

    /// Whether the first process runs.
    pub fn runs(&self) -> bool {
        // Looked at, but not waited for: its number stays taken until the group is ended.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !self.ended && waitid(Id::Pid(self.group()), flags) == Ok(WaitStatus::StillAlive)
    }

    /// Waits on another thread until the first process has ended, which must have returned before [`ProcessGroup::end`] is
    /// called.
    pub fn waits(&self) -> impl FnOnce() + Send + use<> {
        let group = self.group();
        move || {
            // It fails only if there is no such process.
            let _ = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        }
    }

    /// Ends all processes, without waiting for that.
    pub fn kill(&self) {
        if !self.ended {
            // It fails only if nobody of the group is left.
            let _ = killpg(self.group(), Signal::SIGKILL);
        }
    }

    /// [`ProcessGroup::kill`], and waits for it; gives how the first process ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.ended = true;
        self.first.wait()
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.first.id().cast_signed())
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.end();
    }
}
