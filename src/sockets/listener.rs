//! One bound socket and the programs that are connected to it.

use std::{
    io,
    net::Shutdown,
    path::PathBuf,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use log::Level;

use super::{Accept, Limits, Stream, client::Client};
use crate::{
    limits::{IDLE, PLACE_PATIENCE, who_leaves},
    logging::{Repeats, Scope, debug, info, log},
    system::{clock::Clock, directory, listening::stopper, shutdown, thread::Group, unix_socket::Bound},
};

/// How long the thread rests when the system has no room for another connection.
const REST: Duration = Duration::from_millis(500);

/// How often it is looked whether there is a place for one that waits.
const LOOK: Duration = Duration::from_millis(20);

/// How long programs may take to receive the answers that are due when the order to stop comes.
const LAST_ANSWERS: Duration = Duration::from_secs(4);

/// Longer than any request of a program: whoever joins the listening thread decides how long to wait.
const END: Duration = Duration::from_secs(60);

/// A socket of ours, bound.
pub struct Listener<B = Bound> {
    name: &'static str,
    scope: Scope,
    socket: B,
}

impl Listener {
    /// Binds `path`, mode 0660; its directory is created with `mode`. `name` is that of the threads of its programs, and
    /// `scope` that of its lines in the log. What an earlier daemon left is replaced; what a living one serves is not.
    ///
    /// # Errors
    /// When another program serves it, or a directory may not be written. The text names the socket.
    pub fn bind(name: &'static str, scope: Scope, path: PathBuf, mode: u32) -> io::Result<Self> {
        let parent = path.parent().unwrap_or(&path);
        let made =
            directory::create(parent.parent().unwrap_or(parent), 0o750).and_then(|()| directory::create(parent, mode));
        let socket = made.and_then(|()| Bound::new(path.clone()));
        let socket = socket.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Self::new(name, scope, socket))
    }
}

impl<B: Accept> Listener<B> {
    /// A listener on a bound socket; the names are as for [`Listener::bind`].
    pub fn new(name: &'static str, scope: Scope, socket: B) -> Self {
        Self { name, scope, socket }
    }

    /// Makes a blocked accept return; to be called after the order to stop.
    ///
    /// # Errors
    /// When the socket cannot be cloned.
    pub fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<B>> {
        stopper(&self.socket)
    }

    /// Accepts programs until the order to stop and lets each `talk` on a thread of its own; an idle one goes when there are
    /// too many. Then reads no more from them,
    /// lets them have the answers that are due, and joins their threads.
    pub fn run(
        self,
        limits: Limits,
        clock: &Clock,
        order: &shutdown::Shutdown,
        talk: impl Fn(&Client<B::Stream>) -> io::Result<()> + Clone + Send + 'static,
    ) {
        let (scope, place) = (self.scope.clone(), self.socket.place());
        info!(scope, "Serving on {place}");
        let (mut clients, told) = (Clients::new(self.name, limits.clients, scope.clone()), Repeats::default());
        loop {
            let accepted = self.socket.accept();
            if order.ordered() {
                break;
            }
            let failed = accepted.is_err();
            if accepted.is_ok() {
                clients.make_room(order);
            }
            if let Err(error) = accepted.and_then(|stream| clients.admit(stream, talk.clone())) {
                let text = format!("A program cannot be served at {place}: {error}");
                log!(scope, told.level(Level::Warn, &text, clock.now()), "{text}");
                if failed {
                    order.sleep(clock, REST);
                }
            }
        }
        drop(self);
        clients.end();
    }
}

struct Clients<S> {
    name: &'static str,
    limit: usize,
    scope: Scope,
    threads: Group,
    /// Each is owned by its thread and closed when that ends.
    streams: Vec<Weak<Client<S>>>,
}

impl<S: Stream> Clients<S> {
    fn new(name: &'static str, limit: usize, scope: Scope) -> Self {
        // A thread that has closed its stream takes a moment to end.
        Self { name, limit, scope, threads: Group::new(2 * limit), streams: Vec::new() }
    }

    /// Disconnects an idle program for one that waits, if there is no place. While there is none, and nobody is idle, it
    /// waits a little.
    fn make_room(&mut self, order: &shutdown::Shutdown) {
        let end = Instant::now() + PLACE_PATIENCE;
        loop {
            self.streams.retain(|stream| stream.strong_count() > 0);
            if self.streams.len() < self.limit {
                return;
            }
            let streams: Vec<_> = self.streams.iter().filter_map(Weak::upgrade).collect();
            if let Some(at) = who_leaves(streams.iter().map(|stream| stream.guest()), Instant::now(), IDLE) {
                debug!(self.scope, "An idle program was disconnected, because another waited.");
                // It fails only if the program has gone already.
                let _ = streams[at].end(Shutdown::Both);
                let leaves = Arc::downgrade(&streams[at]);
                self.streams.retain(|stream| !stream.ptr_eq(&leaves));
            } else if Instant::now() >= end || !order.sleep(&Clock::real(), LOOK) {
                return;
            }
        }
    }

    fn admit(&mut self, stream: S, talk: impl FnOnce(&Client<S>) -> io::Result<()> + Send + 'static) -> io::Result<()> {
        if self.streams.len() >= self.limit {
            return Err(io::Error::other(format!("{} are connected, which is the most", self.limit)));
        }
        let (stream, scope) = (Arc::new(Client::new(stream)), self.scope.clone());
        self.streams.push(Arc::downgrade(&stream));
        self.threads.spawn(self.name, move || {
            if let Err(error) = talk(&stream) {
                debug!(scope, "A program was disconnected: {error}");
            }
        })
    }

    fn end(self) {
        for (how, limit) in [(Shutdown::Read, LAST_ANSWERS), (Shutdown::Both, END)] {
            for stream in self.streams.iter().filter_map(Weak::upgrade) {
                // It fails only if the program has gone already.
                let _ = stream.end(how);
            }
            if self.threads.join(Instant::now() + limit) == 0 {
                return;
            }
        }
    }
}
