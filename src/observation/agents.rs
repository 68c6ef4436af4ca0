//! How many agents are active on each node, without waiting for a slow database.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::bounded;
use parking_lot::Mutex;

use crate::node::Node;

/// How old the numbers may be. Counting costs the database a walk over all agents.
const FRESH: Duration = Duration::from_secs(10);

/// How long new ones are waited for; until they come, the old ones do.
const PATIENCE: Duration = Duration::from_secs(1);

/// By the name of the node.
pub(super) type Numbers = Arc<HashMap<String, u64>>;

/// The last numbers.
#[derive(Clone, Default)]
pub(super) struct Agents(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    numbers: Option<Numbers>,
    /// When they were asked for last.
    asked: Option<Instant>,
    /// Whether the database still thinks.
    asking: bool,
}

impl Agents {
    /// The numbers; none if the database has never told them, or did not at the last time.
    pub(super) fn numbers(&self, node: &Arc<Node>) -> Option<Numbers> {
        let now = node.clock.now();
        let mut state = self.0.lock();
        if state.asking || state.asked.is_some_and(|asked| now.saturating_duration_since(asked) < FRESH) {
            return state.numbers.clone();
        }
        (state.asking, state.asked) = (true, Some(now));
        drop(state);
        let (done, told) = bounded::<()>(0);
        let (this, asked) = (self.clone(), node.clone());
        let ask = move || {
            let numbers = asked.agents.active_agents().ok().map(Arc::new);
            let mut state = this.0.lock();
            (state.asking, state.numbers) = (false, numbers);
            drop(done);
        };
        if node.local_requests.spawn("agents", ask).is_err() {
            self.0.lock().asking = false;
        }
        // It ends when the thread has, or never began.
        let _ = told.recv_timeout(PATIENCE);
        self.0.lock().numbers.clone()
    }
}
