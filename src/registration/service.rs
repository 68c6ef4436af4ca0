//! The registrar of a node, from its configuration to its threads.

use std::{io, sync::Arc};

use crossbeam_channel::Receiver;

use super::{Registrar, authd::Authd, embedded::Embedded, embedded::Work, registrar, server};
use crate::{
    agents::{Covered, Store},
    config::{Auth, Config, Home, NodeType},
    election::Candidate,
    files::Outlines,
    logging::scope,
    sockets::Listener,
    system::{clock::Clock, disk::Disk, shutdown::Shutdown, thread},
};

/// The registrar of a node whose threads do not run yet.
pub struct Service {
    /// For everybody who asks it.
    pub registrar: Registrar,
    /// What this daemon does itself; none if the stock enrolment daemon does it.
    embedded: Option<Parts>,
}

struct Parts {
    home: Home,
    auth: Auth,
    clock: Clock,
    order: Shutdown,
    /// No id up to this one is given.
    floor: u32,
    /// Records what is registered, on a master that was elected.
    candidate: Option<Arc<Candidate>>,
    /// On a master.
    thread: Option<(Receiver<Work>, Store)>,
    listener: Option<Listener>,
}

impl Service {
    /// What the configuration wants. `store` is the agent database for the registrar alone; `order` ends every wait. No id up
    /// to `floor` is given to an agent.
    pub fn new(config: &Config, store: Store, clock: &Clock, order: &Shutdown, floor: u32) -> Self {
        let Config { home, cluster, auth, settings, .. } = config;
        if settings.registration.is_external(home, "wazuh-authd") {
            return Self { registrar: Registrar::new(Authd::new(home, order)), embedded: None };
        }
        let (auth, order) = (auth.clone(), order.clone());
        let (registrar, thread) = match cluster.node_type {
            NodeType::Master => {
                let (embedded, work) = Embedded::master(auth.clone(), order.clone());
                (Registrar::new(embedded), Some((work, store)))
            }
            NodeType::Worker => (Registrar::new(Embedded::worker(auth.clone(), order.clone())), None),
        };
        let (clock, candidate) = (clock.clone(), None);
        let parts = Parts { home: home.clone(), auth, clock, order, floor, candidate, thread, listener: None };
        Self { registrar, embedded: Some(parts) }
    }

    /// The same where nothing is answered that this candidate has not recorded.
    pub fn recorded_by(mut self, candidate: Option<&Arc<Candidate>>) -> Self {
        if let Some(parts) = &mut self.embedded {
            parts.candidate = candidate.cloned();
        }
        self
    }

    /// Binds the socket of the stock daemon, if this daemon serves it.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn bind(&mut self) -> Result<(), String> {
        let Some(parts) = &mut self.embedded else { return Ok(()) };
        let listener =
            Listener::bind("auth", scope("Cluster", "Registration"), parts.home.registration_socket(), 0o770);
        let listener = listener.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    " If that one is to register agents, write \"registration\": \"authd\" into etc/cluster.json"
                }
                _ => "",
            };
            format!("the registrar cannot be served: {error}.{remedy}")
        })?;
        parts.listener = Some(listener);
        Ok(())
    }

    /// Makes the blocked accept return; to be called after the order to stop.
    ///
    /// # Errors
    /// When the socket cannot be cloned.
    pub fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        let listener = self.embedded.as_ref().and_then(|parts| parts.listener.as_ref());
        let stopper = listener.map(Listener::stopper).transpose()?;
        Ok(move || {
            if let Some(stop) = stopper {
                stop();
            }
        })
    }

    /// Starts the threads `registrar` and `auth-listen`. `covered` is told when the rows for a change of client.keys are
    /// made, `outlines` what is written, `changed` is called with the largest id that was given, at the beginning and after
    /// each change.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        self,
        covered: Covered,
        outlines: Option<Arc<Outlines>>,
        changed: impl Fn(u32) + Send + 'static,
        threads: &thread::Group,
    ) -> io::Result<()> {
        let Self { registrar, embedded } = self;
        let Some(Parts { home, auth, clock, order, floor, candidate, thread, listener }) = embedded else {
            return Ok(());
        };
        if let Some((work, store)) = thread {
            let (clock, order, disk) = (clock.clone(), order.clone(), Disk::new());
            let setup = registrar::Setup { home, auth, store, clock, disk, order, floor, candidate };
            let hearers = registrar::Hearers { covered, outlines, changed: Box::new(changed) };
            threads.spawn("registrar", move || registrar::Registrar::new(setup, work, hearers).run())?;
        }
        let Some(listener) = listener else { return Ok(()) };
        threads.spawn("auth-listen", move || {
            listener.run(server::LIMITS, &clock, &order, move |stream| server::talk(stream, &registrar));
        })
    }
}
