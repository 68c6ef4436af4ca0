//! The parent that forks children for new requests, from its start to its end, and the children that wait.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    child::Child,
    parent::{Files, Parent},
    stop::Stop,
};
use crate::{
    api::refusal::{Refusal, no_framework},
    framework::Framework,
    logging::{Scope, error},
    node::Node,
    system::thread::guard,
    wire::ErrorObject,
};

/// The first and the longest pause after the framework could not be used.
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// How often a thread that waits for the parent looks whether it has to.
const LOOK: Duration = Duration::from_millis(100);

/// The parent of the moment.
pub(super) struct Current {
    state: Mutex<Held>,
    /// A parent has been started, or not.
    decided: Condvar,
    scope: Scope,
}

struct Held {
    parent: State,
    /// Its children without a request; the last was used last.
    idle: Vec<Child>,
}

enum State {
    None,
    Starting,
    Runs(Arc<Parent>),
    Failed { reason: String, files: Files, pause: Duration, again: Instant },
}

impl Current {
    /// None yet.
    pub(super) fn new(scope: Scope) -> Self {
        let state = Mutex::new(Held { parent: State::None, idle: Vec::new() });
        Self { state, decided: Condvar::new(), scope }
    }

    /// The parent that has read the files as they are now; starts it if there is none.
    ///
    /// # Errors
    /// What whoever asked is told.
    pub(super) fn parent(&self, node: &Node, stop: &Stop<'_>) -> Result<Arc<Parent>, Refusal> {
        let framework = Framework::find(node.home.path()).map_err(no_framework)?;
        let files = Files::of(&node.home, &framework);
        let mut state = self.state.lock();
        let pause = loop {
            match &state.parent {
                State::Runs(parent) if *parent.files() == files && parent.lives() => return Ok(parent.clone()),
                State::Failed { reason, files: then, again, .. } if *then == files && node.clock.now() < *again => {
                    return Err(unusable(reason).into());
                }
                State::Starting => {
                    self.decided.wait_for(&mut state, LOOK);
                    if let Some(error) = stop.error() {
                        return Err(error.into());
                    }
                }
                State::Failed { pause, files: then, .. } if *then == files => break (*pause * 2).min(PAUSE.1),
                State::None | State::Runs(_) | State::Failed { .. } => break PAUSE.0,
            }
        };
        let old = mem::replace(&mut *state, Held { parent: State::Starting, idle: Vec::new() });
        drop(state);
        drop(old);
        self.start(node, &framework, files, pause)
    }

    /// Starts one; the next attempt is made after `pause`.
    fn start(&self, node: &Node, framework: &Framework, files: Files, pause: Duration) -> Result<Arc<Parent>, Refusal> {
        let started = guard(|| Parent::start(node, framework, files.clone(), &self.scope)).and_then(|started| started);
        let outcome = started.as_ref().map(Arc::clone).map_err(|reason| unusable(reason).into());
        let state = started.map_or_else(
            |reason| {
                error!(
                    self.scope,
                    "Requests of the API cannot be executed: the Python framework in {}/framework cannot be used: {reason}. \
                     They are refused; the next attempt is made after {} s, or when it changes.",
                    node.home,
                    pause.as_secs()
                );
                State::Failed { reason, files, pause, again: node.clock.now() + pause }
            },
            State::Runs,
        );
        self.state.lock().parent = state;
        self.decided.notify_all();
        outcome
    }

    /// The one that runs, if one does.
    pub(super) fn running(&self) -> Option<Arc<Parent>> {
        match &self.state.lock().parent {
            State::Runs(parent) => Some(parent.clone()),
            _ => None,
        }
    }

    /// A child without a request, which may have ended.
    pub(super) fn idle(&self) -> Option<Child> {
        self.state.lock().idle.pop()
    }

    /// Takes a child that has executed its request.
    pub(super) fn give_back(&self, child: Child) {
        let mut state = self.state.lock();
        let too_old = match &state.parent {
            State::Runs(parent) if child.is_of(parent) && !child.is_last() => {
                state.idle.push(child);
                None
            }
            _ => Some(child),
        };
        drop(state);
        // It ends where nobody waits for the lock.
        drop(too_old);
    }

    /// The parent is not used for new requests any more.
    pub(super) fn give_up(&self, parent: &Arc<Parent>) {
        let mut state = self.state.lock();
        let old = match &state.parent {
            State::Runs(current) if Arc::ptr_eq(current, parent) => {
                Some(mem::replace(&mut *state, Held { parent: State::None, idle: Vec::new() }))
            }
            _ => None,
        };
        drop(state);
        drop(old);
    }
}

fn unusable(reason: &str) -> ErrorObject {
    ErrorObject::unexpected(format!("the Python framework of this node cannot be used: {reason}"))
        .with_remedy("see logs/cluster.log of the node")
}
