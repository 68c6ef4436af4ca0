//! One bound socket and the programs that are connected to it.

use std::{
    fs::{Permissions, remove_file, set_permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use log::{Level, debug, info, log};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, Shutdown as Ways, SockFlag, SockType, UnixAddr, connect, shutdown as shut, socket},
};

use super::Limits;
use crate::{
    logging::{Repeats, Scope, scope},
    system::{clock::Clock, directory, shutdown::Shutdown, thread::Group},
};

/// How long the thread rests when the system has no room for another connection.
const REST: Duration = Duration::from_millis(500);

/// Longer than any request of a program: whoever joins the listening thread decides how long to wait.
const END: Duration = Duration::from_secs(60);

pub(super) struct Listener {
    name: &'static str,
    socket: UnixListener,
    file: SocketFile,
}

/// Removes the file of the socket when nobody serves it any more, or never did: programs are to see that at once.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The next start replaces what is left.
        let _ = remove_file(&self.0);
    }
}

impl Listener {
    /// Binds `path`; its directory is created with `mode`.
    pub(super) fn bind(name: &'static str, path: PathBuf, mode: u32) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        prepare(&path, mode).map_err(named)?;
        let socket = UnixListener::bind(&path).map_err(named)?;
        let file = SocketFile(path.clone());
        set_permissions(&path, Permissions::from_mode(0o660)).map_err(named)?;
        Ok(Self { name, socket, file })
    }

    /// Makes a blocked accept return.
    pub(super) fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        let socket = self.socket.try_clone()?;
        Ok(move || {
            // A listening socket that is shut down wakes its accept; there is nothing to do if it fails.
            let _ = shut(socket.as_raw_fd(), Ways::Both);
        })
    }

    /// Accepts programs until the order to stop and lets each `talk` on a thread of its own.
    pub(super) fn run(
        self,
        limits: Limits,
        clock: &Clock,
        shutdown: &Shutdown,
        talk: impl Fn(&UnixStream) -> io::Result<()> + Clone + Send + 'static,
    ) {
        let (scope, path) = (scope("Agent Database", self.name), self.file.0.display());
        info!(target: &*scope, "Serving on {path}");
        let (mut clients, told) = (Clients::new(self.name, limits.clients, scope.clone()), Repeats::default());
        loop {
            let accepted = self.socket.accept();
            if shutdown.ordered() {
                break;
            }
            let failed = accepted.is_err();
            if let Err(error) = accepted.and_then(|(stream, _)| clients.admit(stream, talk.clone())) {
                let text = format!("A program cannot be served at {path}: {error}");
                log!(target: &*scope, told.level(Level::Warn, &text, clock.now()), "{text}");
                if failed {
                    shutdown.sleep(clock, REST);
                }
            }
        }
        drop(self);
        clients.end();
    }
}

struct Clients {
    name: &'static str,
    limit: usize,
    scope: Scope,
    threads: Group,
    /// Each is owned by its thread and closed when that ends.
    streams: Vec<Weak<UnixStream>>,
}

impl Clients {
    fn new(name: &'static str, limit: usize, scope: Scope) -> Self {
        // A thread that has closed its stream takes a moment to end.
        Self { name, limit, scope, threads: Group::new(2 * limit), streams: Vec::new() }
    }

    fn admit(
        &mut self,
        stream: UnixStream,
        talk: impl FnOnce(&UnixStream) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.streams.retain(|stream| stream.strong_count() > 0);
        if self.streams.len() >= self.limit {
            return Err(io::Error::other(format!("{} are connected, which is the most", self.limit)));
        }
        let (stream, scope) = (Arc::new(stream), self.scope.clone());
        self.streams.push(Arc::downgrade(&stream));
        self.threads.spawn(self.name, move || {
            if let Err(error) = talk(&stream) {
                debug!(target: &*scope, "A program was disconnected: {error}");
            }
        })
    }

    fn end(self) {
        for stream in self.streams.iter().filter_map(Weak::upgrade) {
            // It fails only if the program has gone already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        self.threads.join(Instant::now() + END);
    }
}

/// Creates the directories of the socket and removes what nobody serves any more.
fn prepare(path: &Path, mode: u32) -> io::Result<()> {
    let parent = path.parent().unwrap_or(path);
    directory::create(parent.parent().unwrap_or(parent), 0o750)?;
    directory::create(parent, mode)?;
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && is_served(path)? {
        let text = "another program, such as wazuh-db, serves it; stop that one first";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    if is_socket { remove_file(path) } else { Ok(()) }
}

/// Whether somebody accepts at `path`, or at least has not closed it: one that hangs with a full queue is alive.
fn is_served(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let outcome = connect(socket.as_raw_fd(), &UnixAddr::new(path)?);
    Ok(matches!(outcome, Ok(()) | Err(Errno::EAGAIN)))
}
