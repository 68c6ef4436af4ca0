//! Registration: which agents there are, with which ids and keys (`spec/registration.md`).
//!
//! ```text
//!  redirected requests ──────────┐                ┌─► embedded: the thread registrar, which owns etc/client.keys and
//!  queue/sockets/auth ─► server ─┴─► Registrar ───┤             tells the agent database
//!                                                 └─► authd: client of the original's enrolment daemon
//! ```
//! Only a master registers. The embedded registrar is a queue to one thread; all that waits in it is written to the
//! disk at once, and each request is answered when its change is durable. Programs find it at the socket of the stock
//! daemon; a slow one keeps nobody waiting, for each has a thread of its own until its request is complete.

mod add;
mod address;
mod answer;
mod assign;
mod authd;
mod command;
mod embedded;
mod file;
mod highest;
mod inherit;
mod journal;
mod key;
mod leftovers;
mod lines;
mod outcome;
mod outlined;
mod registrar;
mod replace;
mod request;
mod rows;
mod server;
mod service;
mod table;
#[cfg(test)]
mod tests;
mod timestamps;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

pub use crate::sockets::Unanswered as Unavailable;
pub use assign::Assigner;
pub use inherit::inherit;
pub use service::Service;

/// The registrar of this node. Cheap to clone.
#[derive(Clone)]
pub struct Registrar(Arc<dyn Backend>);

impl Registrar {
    fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    /// Gives the answer to one request, JSON or text, as at `queue/sockets/auth`. It waits for the disk, the agent database
    /// or the stock daemon, for a minute at the longest: callers hold no lock and are never the reader of a
    /// connection.
    ///
    /// # Errors
    /// When there is no answer; [`Unavailable::sent`] tells whether what was asked for may have been done.
    pub fn ask(&self, request: &[u8]) -> Result<Vec<u8>, Unavailable> {
        self.begin(request)()
    }

    /// Hands in one request; what comes back waits for its answer. Requests that are handed in before the first is waited
    /// for keep their order, and the disk is written once for all of them.
    pub fn begin(&self, request: &[u8]) -> Begun<'_> {
        self.0.begin(request)
    }
}

impl Registrar {
    /// Has it do nothing more until what comes back is dropped; requests wait meanwhile. None if it is none of this daemon.
    pub fn rest(&self) -> Option<Resting> {
        self.0.rest()
    }
}

/// What has been given when the registrar rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The largest id.
    pub highest: u32,
    /// Whether the agent database knows all that was registered.
    pub is_told: bool,
}

/// The rest of the registrar, until it is dropped.
pub struct Resting {
    /// Tells when it has begun; nothing if the node stops.
    pub given: Receiver<Given>,
    _until: Sender<()>,
}

/// Waits for the answer to a request.
pub type Begun<'a> = Box<dyn FnOnce() -> Result<Vec<u8>, Unavailable> + 'a>;

/// Who registers.
trait Backend: Send + Sync + 'static {
    /// As [`Registrar::begin`].
    fn begin(&self, request: &[u8]) -> Begun<'_>;

    /// As [`Registrar::rest`].
    fn rest(&self) -> Option<Resting> {
        None
    }
}
