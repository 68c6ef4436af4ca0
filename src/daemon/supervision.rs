//! What the service manager sees of the node: that it lives, and one line of how it is.

use std::time::{Duration, Instant};

use crate::{local::Role, system::service_manager::ServiceManager};

/// How often the line is made anew.
const LOOK: Duration = Duration::from_secs(1);

/// Tells the service manager about the node, in turns of the main thread.
pub struct Supervision {
    manager: ServiceManager,
    /// The line that it knows.
    told: String,
    /// Whether the last reload has changed nothing because something is wrong: who orders one sees no more than this.
    failed: bool,
    /// When the next sign of life is due, if it wants any.
    sign: Option<Instant>,
}

impl Supervision {
    /// A node that has begun to serve is told as ready.
    pub fn begin(manager: ServiceManager, role: &Role) -> Self {
        let sign = manager.watchdog().map(|_| Instant::now());
        let mut this = Self { manager, told: String::new(), failed: false, sign };
        this.turn(role);
        this.manager.ready();
        this
    }

    /// Until the next [`Supervision::turn`]; `None` if nobody wants one.
    pub fn period(&self) -> Option<Duration> {
        let until_sign = self.sign.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
        self.manager.listens().then(|| until_sign.min(LOOK))
    }

    /// Tells what has changed, and gives a sign of life each time that half of the time for it has passed. It asks the
    /// node for its state before: a node whose state can never be had gives no more signs.
    pub fn turn(&mut self, role: &Role) {
        if !self.manager.listens() {
            return;
        }
        let mut state = state(role);
        if self.failed {
            state.push_str("; the last reload failed, see logs/cluster.log");
        }
        if let Some(doubt) = role.node().misplaced.get() {
            state.push_str(&format!("; {doubt}"));
        }
        if state != self.told {
            self.manager.status(&state);
            self.told = state;
        }
        let now = Instant::now();
        if let Some(limit) = self.manager.watchdog().filter(|_| self.sign.is_some_and(|due| due <= now)) {
            self.manager.alive();
            self.sign = Some(now + limit / 2);
        }
    }

    /// Tells that a reload runs, from before `reload`, which gives whether it was good, until after it.
    pub fn reload(&mut self, reload: impl FnOnce() -> bool) {
        self.manager.reloading();
        self.failed = !reload();
        self.manager.ready();
    }

    /// Tells that the node has begun to stop.
    pub fn end(&self) {
        self.manager.stopping();
    }
}

fn state(role: &Role) -> String {
    let cluster = &role.node().cluster;
    let who = format!("{} '{}'", cluster.node_type, cluster.node_name);
    match role {
        Role::Master(master) => {
            let (connected, away) = master.registry.counts();
            let is = |count| if count == 1 { "is" } else { "are" };
            let workers = if connected == 1 { "worker" } else { "workers" };
            let away = match away {
                0 => String::new(),
                away => format!(", {away} {} away: 'cluster_control -l' tells why", is(away)),
            };
            format!("{who}: {connected} {workers} {} connected{away}", is(connected))
        }
        Role::Worker(worker) => {
            let connected = if worker.master().is_some() { "connected" } else { "not connected" };
            let reason = worker.failure().map(|reason| format!("; {reason}")).unwrap_or_default();
            format!("{who}: {connected} to the master, {}:{}{reason}", cluster.master(), cluster.port)
        }
    }
}
