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
mod parent;
mod stop;
mod watched;

use std::{
    io::Read,
    iter, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, never};
use parking_lot::{Condvar, Mutex};

use super::refusal::Refusal;
use crate::{
    connection::Connection,
    framework::Framework,
    limits,
    logging::{Scope, debug, error, scope, warn},
    node::Node,
    system::thread::guard,
    wire::ErrorObject,
};
use child::{Child, Said};
use parent::{Files, Parent};
use stop::Stop;
use watched::Watched;

/// What the child may take longer than whoever asked is told, so that the framework's own word comes first.
const GRACE: Duration = Duration::from_secs(5);

/// The first and the longest pause after the framework could not be used.
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// How often a thread that waits for the parent looks whether it has to.
const LOOK: Duration = Duration::from_millis(100);

/// The processes of one node.
pub(super) struct Pool {
    state: Mutex<State>,
    /// The parent has been started, or not.
    decided: Condvar,
    scope: Scope,
}

struct State {
    parent: Current,
    /// Children of the current parent without a request; the last was used last.
    idle: Vec<Child>,
    /// Requests that are being executed.
    busy: usize,
    /// When the last one ended.
    used: Option<Instant>,
}

/// The parent that forks for new requests.
enum Current {
    None,
    Starting,
    Runs(Arc<Parent>),
    Failed { reason: String, files: Files, pause: Duration, again: Instant },
}

impl Pool {
    pub(super) fn new() -> Self {
        let state = State { parent: Current::None, idle: Vec::new(), busy: 0, used: None };
        Self { state: Mutex::new(state), decided: Condvar::new(), scope: scope("Cluster", "D API") }
    }

    /// Executes `request` for whoever is at the other end of `asker`, who gets the answer by `answered`: its length, and
    /// where it comes from. `waits`: there is no limit but that the asker stays.
    ///
    /// # Errors
    /// What whoever asked is told.
    pub(super) fn execute(
        &self,
        node: &Node,
        asker: &Connection,
        (request, waits): (&[u8], bool),
        answered: impl FnOnce(usize, &mut dyn Read),
    ) -> Result<(), Refusal> {
        self.state.lock().busy += 1;
        let outcome = guard(|| {
            let limit = node.settings.communication.timeout_dapi_request;
            let late = (!waits).then(|| node.clock.now() + limit + GRACE);
            let stop = Stop { node, asker: Some(asker), late, patience: None };
            self.child(node, &stop).and_then(|child| self.ask(child, request, &stop, answered))
        });
        let mut state = self.state.lock();
        state.busy -= 1;
        state.used = Some(node.clock.now());
        drop(state);
        outcome.unwrap_or_else(|panic| Err(ErrorObject::unexpected(panic).into()))
    }

    fn ask(
        &self,
        mut child: Child,
        request: &[u8],
        stop: &Stop<'_>,
        answered: impl FnOnce(usize, &mut dyn Read),
    ) -> Result<(), Refusal> {
        let ended = |child: &Child| stop.error().unwrap_or_else(|| child.ended()).into();
        match child.ask(request, stop, &self.scope) {
            Ok(Said::Refused(text)) => {
                self.give_back(child);
                Err(Refusal::Words(text))
            }
            Ok(Said::Result(length)) => {
                let mut answer = Watched::new(child.line(), stop).take(length as u64);
                answered(length, &mut answer);
                match answer.limit() {
                    0 => self.give_back(child),
                    _ if stop.error().is_some() || child.has_ended() => return Err(ended(&child)),
                    // Whoever asked did not take it all; the rest is of no use.
                    _ => {}
                }
                Ok(())
            }
            Err(_) => Err(ended(&child)),
        }
    }

    /// A child without a request: the one that was used last, or a new one.
    fn child(&self, node: &Node, stop: &Stop<'_>) -> Result<Child, Refusal> {
        let mut why = String::new();
        // A parent that cannot fork any more has done nothing for this request yet, so another may.
        for _ in 0..2 {
            let parent = self.parent(node, stop)?;
            let idle =
                iter::from_fn(|| self.state.lock().idle.pop()).find(|child| child.is_of(&parent) && child.waits());
            match idle.map_or_else(|| Parent::fork(&parent, stop, &self.scope), Ok) {
                Ok(child) => return Ok(child),
                Err(reason) => why = reason,
            }
            if let Some(error) = stop.error() {
                return Err(error.into());
            }
            warn!(self.scope, "The executor of the API is started anew: {why}.");
            self.give_up(&parent);
        }
        Err(ErrorObject::unexpected(why).into())
    }

    fn give_back(&self, child: Child) {
        let mut state = self.state.lock();
        let kept = match &state.parent {
            Current::Runs(parent) if child.is_of(parent) && !child.is_last() => {
                state.idle.push(child);
                None
            }
            _ => Some(child),
        };
        drop(state);
        // It ends where nobody waits for the lock.
        drop(kept);
    }

    /// The parent that has read the files as they are now; starts it if there is none.
    fn parent(&self, node: &Node, stop: &Stop<'_>) -> Result<Arc<Parent>, Refusal> {
        let framework = Framework::find(node.home.path()).map_err(no_framework)?;
        let files = Files::of(&node.home, &framework);
        let mut state = self.state.lock();
        let pause = loop {
            match &state.parent {
                Current::Runs(parent) if *parent.files() == files && parent.lives() => return Ok(parent.clone()),
                Current::Failed { reason, files: then, again, .. } if *then == files && node.clock.now() < *again => {
                    return Err(unusable(reason).into());
                }
                Current::Starting => {
                    self.decided.wait_for(&mut state, LOOK);
                    if let Some(error) = stop.error() {
                        return Err(error.into());
                    }
                }
                Current::Failed { pause, files: then, .. } if *then == files => break (*pause * 2).min(PAUSE.1),
                Current::None | Current::Runs(_) | Current::Failed { .. } => break PAUSE.0,
            }
        };
        let old = (mem::replace(&mut state.parent, Current::Starting), mem::take(&mut state.idle));
        drop(state);
        drop(old);
        let started = guard(|| Parent::start(node, &framework, files.clone(), &self.scope)).and_then(|started| started);
        let outcome = started.as_ref().map(Arc::clone).map_err(|reason| unusable(reason).into());
        let mut state = self.state.lock();
        state.used = Some(node.clock.now());
        state.parent = match started {
            Ok(parent) => Current::Runs(parent),
            Err(reason) => {
                error!(
                    self.scope,
                    "Requests of the API cannot be executed: the Python framework in {}/framework cannot be used: {reason}. \
                     They are refused; the next attempt is made after {} s, or when it changes.",
                    node.home,
                    pause.as_secs()
                );
                Current::Failed { reason, files, pause, again: node.clock.now() + pause }
            }
        };
        drop(state);
        self.decided.notify_all();
        outcome
    }

    /// The parent is not used for new requests any more.
    fn give_up(&self, parent: &Arc<Parent>) {
        let mut state = self.state.lock();
        let old = match &state.parent {
            Current::Runs(current) if Arc::ptr_eq(current, parent) => {
                Some((mem::replace(&mut state.parent, Current::None), mem::take(&mut state.idle)))
            }
            _ => None,
        };
        drop(state);
        drop(old);
    }

    /// Has the next request start a new parent.
    pub(super) fn renew(&self) {
        let parent = match &self.state.lock().parent {
            Current::Runs(parent) => parent.clone(),
            _ => return,
        };
        self.give_up(&parent);
    }

    /// Becomes ready when [`Pool::rest`] is to be called.
    pub(super) fn rested(&self, node: &Node) -> Receiver<Instant> {
        match self.state.lock().parent {
            Current::Runs(_) => node.clock.after(limits::API_IDLE),
            _ => never(),
        }
    }

    /// Ends all processes if there was no request for a while.
    pub(super) fn rest(&self, node: &Node) {
        let state = self.state.lock();
        let since = |used: Instant| node.clock.now().saturating_duration_since(used);
        let Current::Runs(parent) = &state.parent else { return };
        if state.busy > 0 || state.used.is_some_and(|used| since(used) < limits::API_IDLE) {
            return;
        }
        let parent = parent.clone();
        drop(state);
        debug!(self.scope, "The executor of the API ends: there was no request for {} s.", limits::API_IDLE.as_secs());
        self.give_up(&parent);
    }
}

/// There is none that could be used.
pub(super) fn no_framework(reason: String) -> Refusal {
    ErrorObject::unexpected(format!("this node cannot execute requests of the API: {reason}"))
        .with_remedy(
            "install the Wazuh manager on it, or name an executor in etc/cluster.json, distributed_api.executor",
        )
        .into()
}

fn unusable(reason: &str) -> ErrorObject {
    ErrorObject::unexpected(format!("the Python framework of this node cannot be used: {reason}"))
        .with_remedy("see logs/cluster.log of the node")
}
