//! Processes of this daemon that execute DAPI requests with the manager's framework.
//!
//! ```text
//!  dapi threads ── request ──► children ◄── fork ── parent: has the framework in memory
//!               ◄── result ───
//! ```
//! The parent is started at the first request and ended when there was none for a while, so that a node whose API nobody
//! distributes pays nothing. A child has one request at a time. When files change that the framework has read, a new parent
//! takes over, and the old one ends with its last child. Requests and results are in no file and in no line of the log.

mod child;
mod current;
mod parent;
mod stop;
mod watched;

use std::{
    io::Read,
    iter,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, never};
use parking_lot::Mutex;

use super::refusal::Refusal;
use crate::{
    connection::Connection,
    limits,
    logging::{Scope, debug, scope, warn},
    node::Node,
    system::thread::guard,
    wire::ErrorObject,
};
use child::{Child, Said};
use current::Current;
use parent::Parent;
use stop::Stop;
use watched::Watched;

/// What the child may take longer than whoever asked is told, so that the framework's own word comes first.
const GRACE: Duration = Duration::from_secs(5);

/// The processes of one node.
pub(super) struct Pool {
    current: Current,
    used: Mutex<Used>,
    scope: Scope,
}

/// How much they are used.
struct Used {
    /// Requests that are being executed or answered.
    now: usize,
    /// When the last one ended.
    last: Option<Instant>,
}

/// A result, for whoever asked for it.
pub(super) struct Answer<'a> {
    /// Its length in bytes.
    pub(super) length: usize,
    /// Where it comes from.
    pub(super) text: &'a mut dyn Read,
    /// It is in memory: the process that made it is free.
    pub(super) kept: bool,
}

impl Pool {
    pub(super) fn new() -> Self {
        let scope = scope("Cluster", "D API");
        Self { current: Current::new(scope.clone()), used: Mutex::new(Used { now: 0, last: None }), scope }
    }

    /// Executes `request` for whoever is at the other end of `asker`, who gets the answer by `answered`. `waits`: there is no
    /// limit but that the asker stays.
    ///
    /// # Errors
    /// What whoever asked is told.
    pub(super) fn execute(
        &self,
        node: &Node,
        asker: &Connection,
        (request, waits): (&[u8], bool),
        answered: impl FnOnce(Answer<'_>),
    ) -> Result<(), Refusal> {
        self.used.lock().now += 1;
        let outcome = guard(|| {
            let limit = node.settings.communication.timeout_dapi_request;
            let late = (!waits).then(|| node.clock.now() + limit + GRACE);
            let stop = Stop { node, asker: Some(asker), late, patience: None };
            self.child(node, &stop).and_then(|child| self.ask(child, request, &stop, answered))
        });
        let mut used = self.used.lock();
        used.now -= 1;
        used.last = Some(node.clock.now());
        drop(used);
        outcome.unwrap_or_else(|panic| Err(ErrorObject::unexpected(panic).into()))
    }

    fn ask(
        &self,
        mut child: Child,
        request: &[u8],
        stop: &Stop<'_>,
        answered: impl FnOnce(Answer<'_>),
    ) -> Result<(), Refusal> {
        match child.ask(request, stop, &self.scope) {
            Ok(Said::Refused(text)) => {
                self.current.give_back(child);
                Err(Refusal::Words(text))
            }
            Ok(Said::Result(length)) => {
                let asker = stop.asker.filter(|_| length <= limits::API_KEPT);
                match asker.and_then(|asker| asker.try_hold(length).ok()) {
                    Some(_share) => self.keep(child, length, stop, answered),
                    None => self.pass_on(child, length, stop, answered),
                }
            }
            Err(_) => Err(why_ended(&child, stop)),
        }
    }

    /// Takes a result out of the child, so that it can have the next request while this one is answered.
    fn keep(
        &self,
        child: Child,
        length: usize,
        stop: &Stop<'_>,
        answered: impl FnOnce(Answer<'_>),
    ) -> Result<(), Refusal> {
        let mut text = vec![0; length];
        Watched::new(child.line(), stop).read_exact(&mut text).map_err(|_| why_ended(&child, stop))?;
        self.current.give_back(child);
        answered(Answer { length, text: &mut &text[..], kept: true });
        Ok(())
    }

    /// Passes a result on while the child hands it over, so that it is not held here.
    fn pass_on(
        &self,
        child: Child,
        length: usize,
        stop: &Stop<'_>,
        answered: impl FnOnce(Answer<'_>),
    ) -> Result<(), Refusal> {
        let mut text = Watched::new(child.line(), stop).take(length as u64);
        answered(Answer { length, text: &mut text, kept: false });
        match text.limit() {
            0 => self.current.give_back(child),
            _ if stop.error().is_some() || child.has_ended() => return Err(why_ended(&child, stop)),
            // Whoever asked did not take it all; the rest is of no use.
            _ => {}
        }
        Ok(())
    }

    /// A child without a request: the one that was used last, or a new one.
    fn child(&self, node: &Node, stop: &Stop<'_>) -> Result<Child, Refusal> {
        let mut why = String::new();
        // A parent that cannot fork any more has done nothing for this request yet, so another may.
        for _ in 0..2 {
            let parent = self.current.parent(node, stop)?;
            let idle = iter::from_fn(|| self.current.idle()).find(|child| child.is_of(&parent) && child.waits());
            match idle.map_or_else(|| Parent::fork(&parent, stop, &self.scope), Ok) {
                Ok(child) => return Ok(child),
                Err(reason) => why = reason,
            }
            if let Some(error) = stop.error() {
                return Err(error.into());
            }
            warn!(self.scope, "The executor of the API is started anew: {why}.");
            self.current.give_up(&parent);
        }
        Err(ErrorObject::unexpected(why).into())
    }

    /// Has the next request start a new parent.
    pub(super) fn renew(&self) {
        if let Some(parent) = self.current.running() {
            self.current.give_up(&parent);
        }
    }

    /// Becomes ready when [`Pool::rest`] is to be called.
    pub(super) fn rested(&self, node: &Node) -> Receiver<Instant> {
        self.current.running().map_or_else(never, |_| node.clock.after(limits::API_IDLE))
    }

    /// Ends all processes if there was no request for a while.
    pub(super) fn rest(&self, node: &Node) {
        let Some(parent) = self.current.running() else { return };
        let used = self.used.lock();
        let since = |last: Instant| node.clock.now().saturating_duration_since(last);
        if used.now > 0 || used.last.is_some_and(|last| since(last) < limits::API_IDLE) {
            return;
        }
        drop(used);
        debug!(self.scope, "The executor of the API ends: there was no request for {} s.", limits::API_IDLE.as_secs());
        self.current.give_up(&parent);
    }
}

/// What whoever asked is told when a child gives no result.
fn why_ended(child: &Child, stop: &Stop<'_>) -> Refusal {
    stop.error().unwrap_or_else(|| child.ended()).into()
}
