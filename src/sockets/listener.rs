//! One bound socket and the programs that are connected to it.

use std::{
    io,
    net::Shutdown,
    path::PathBuf,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    Accept, Limits, Stream,
    client::Client,
    door::{House, accept},
};
use crate::{
    limits::Guest,
    logging::{Scope, debug, info},
    system::{clock::Clock, directory, listening::stopper, shutdown, thread::Group, unix_socket::Bound},
};

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
        let mut clients = Clients::new(self.name, limits.clients, scope.clone(), talk);
        let failure = format!("A program cannot be served at {place}");
        accept(&self.socket, &mut clients, (&scope, &failure), clock, order);
        drop(self);
        clients.end();
    }
}

struct Clients<S, T> {
    name: &'static str,
    limit: usize,
    scope: Scope,
    talk: T,
    threads: Group,
    /// Each is owned by its thread and closed when that ends.
    streams: Vec<Weak<Client<S>>>,
}

impl<S: Stream, T: Fn(&Client<S>) -> io::Result<()> + Clone + Send + 'static> House<S> for Clients<S, T> {
    type Program = Arc<Client<S>>;

    fn limit(&self) -> usize {
        self.limit
    }

    fn limit_is(&self) -> &'static str {
        ", which is the most"
    }

    fn programs(&mut self) -> Vec<(Self::Program, Guest<()>)> {
        self.streams.retain(|stream| stream.strong_count() > 0);
        let streams = self.streams.iter().filter_map(Weak::upgrade);
        streams.map(|stream| (stream.clone(), stream.guest())).collect()
    }

    fn turn_out(&mut self, program: &Self::Program) {
        debug!(self.scope, "An idle program was disconnected, because another waited.");
        // It fails only if the program has gone already.
        let _ = program.end(Shutdown::Both);
        let leaves = Arc::downgrade(program);
        self.streams.retain(|stream| !stream.ptr_eq(&leaves));
    }

    fn admit(&mut self, stream: S) -> io::Result<()> {
        let (stream, scope, talk) = (Arc::new(Client::new(stream)), self.scope.clone(), self.talk.clone());
        self.streams.push(Arc::downgrade(&stream));
        self.threads.spawn(self.name, move || {
            if let Err(error) = talk(&stream) {
                debug!(scope, "A program was disconnected: {error}");
            }
        })
    }
}

impl<S: Stream, T> Clients<S, T> {
    fn new(name: &'static str, limit: usize, scope: Scope, talk: T) -> Self {
        // A thread that has closed its stream takes a moment to end.
        Self { name, limit, scope, talk, threads: Group::new(2 * limit), streams: Vec::new() }
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
