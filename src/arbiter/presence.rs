//! That this node is there, for the others: its key lasts as long as its lease.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::select;
use parking_lot::Mutex;

use super::{Arbiter, Failure, Key, Lease, Node, shapes::text};
use crate::system::{
    clock::Clock,
    shutdown::{self, Shutdown, Trigger},
    thread,
    wakeup::Wakeup,
};

/// Renewals within the time of a lease.
const RENEWALS: u32 = 5;

/// Announces this node while it lasts. When it is dropped, the key vanishes at once, or after the TTL if the arbiter cannot
/// be reached.
pub struct Presence {
    shared: Arc<Shared>,
    trigger: Option<Trigger>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    value: Mutex<Vec<u8>>,
    changed: Wakeup,
}

impl Presence {
    /// Announces the node `name`.
    ///
    /// # Errors
    /// When the kernel refuses another thread.
    pub fn start(
        arbiter: &Arc<dyn Arbiter>,
        name: &str,
        node: &Node,
        ttl: Duration,
        clock: &Clock,
        shutdown: &Shutdown,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { value: Mutex::new(text(node)), changed: Wakeup::default() });
        let (trigger, over) = shutdown::channel();
        let announcer = Announcer {
            arbiter: arbiter.clone(),
            key: Key::Node(name.to_owned()),
            shared: shared.clone(),
            ttl,
            over,
            shutdown: shutdown.clone(),
        };
        let clock = clock.clone();
        let thread = thread::spawn("presence", move || announcer.run(&clock))?;
        Ok(Self { shared, trigger: Some(trigger), thread: Some(thread) })
    }

    /// Lets the others know this of the node. Never waits.
    pub fn set(&self, node: &Node) {
        let value = text(node);
        let mut current = self.shared.value.lock();
        if *current != value {
            *current = value;
            self.shared.changed.wake();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.trigger = None;
        // It waits for one call of the arbiter at most. A thread of this kind that panics ends the process.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Announcer {
    arbiter: Arc<dyn Arbiter>,
    key: Key,
    shared: Arc<Shared>,
    ttl: Duration,
    over: Shutdown,
    shutdown: Shutdown,
}

impl Announcer {
    fn run(&self, clock: &Clock) {
        let mut lease = None;
        let mut is_new = true;
        loop {
            // A failure is the business of whoever watches the arbiter; here it is tried again.
            if is_new || lease.is_none() {
                is_new = self.announce(&mut lease).is_err();
            } else if let Some(held) = lease
                && matches!(self.arbiter.renew(held), Ok(false))
            {
                lease = None;
                continue;
            }
            select! {
                recv(self.over.channel()) -> _ => break,
                recv(self.shutdown.channel()) -> _ => break,
                recv(self.shared.changed.channel()) -> _ => is_new = true,
                recv(clock.after(self.ttl / RENEWALS)) -> _ => {}
            }
        }
        if let Some(lease) = lease {
            // If this fails, it ends by itself.
            let _ = self.arbiter.revoke(lease);
        }
    }

    fn announce(&self, lease: &mut Option<Lease>) -> Result<(), Failure> {
        let held = match *lease {
            Some(held) => held,
            None => *lease.insert(self.arbiter.grant(self.ttl)?),
        };
        let value = self.shared.value.lock().clone();
        self.arbiter.announce(&self.key, &value, held).inspect_err(|_| {
            // It may have ended meanwhile.
            *lease = None;
        })
    }
}
