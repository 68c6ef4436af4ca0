//! This process: what it shows of itself and leaves behind, and going to the background.
#![allow(unsafe_code)]

use std::io;

use nix::{
    sys::prctl::set_dumpable,
    sys::resource::{Resource, getrlimit, setrlimit},
    sys::stat::{Mode, umask},
    unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe, read, setsid, write},
};

/// Keeps what this process has in memory, the key, to itself: it leaves no core dump, only root can look into it, and
/// files that it makes are nothing for others. To be called again after a change of the user, which undoes the second.
///
/// # Errors
/// When the kernel refuses.
pub fn protect() -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o027));
    // A kernel that pipes dumps to a program does not look at the limit, so this only adds to the next. A service manager
    // that forbids to change limits sets it itself.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    Ok(set_dumpable(false)?)
}

/// Lets this process open as many files as it may: three for each connection.
pub fn raise_file_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With the lower limit it serves fewer connections, and says so when they do not fit.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// The daemon's end of the line to the process that started it.
pub struct Starter(std::os::fd::OwnedFd);

impl Starter {
    /// Tells the starting process that the daemon serves; it then ends with status 0.
    pub fn ready(self) {
        // The starter may have been killed; the daemon does not depend on it.
        let _ = write(&self.0, b"+");
    }
}

/// Leaves the terminal by forking twice. The starting process waits until [`Starter::ready`] is called and ends with
/// status 0, or with status 1 if the daemon ends before; so whoever starts the daemon learns whether it runs.
///
/// # Errors
/// When the kernel refuses a process or a pipe.
pub fn detach() -> io::Result<Starter> {
    let (told, tell) = pipe()?;
    // SAFETY: called before any thread was started, so the child is a full copy with no lock held by another thread.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        drop(tell);
        let ready = matches!(read(&told, &mut [0u8; 1]), Ok(1));
        if !ready {
            eprintln!("wazuh-clusterd: the daemon could not start; logs/cluster.log has the reason");
        }
        std::process::exit(i32::from(!ready));
    }
    drop(told);
    setsid()?;
    // SAFETY: as above. The second fork makes sure that the daemon can never get a controlling terminal again.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // Without destructors: the daemon goes on with the same open files.
        // SAFETY: _exit has no precondition.
        unsafe { nix::libc::_exit(0) };
    }
    chdir("/")?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(Starter(tell))
}
