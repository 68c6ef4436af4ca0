//! The line between the session, which hears the master, and the integrity thread, which acts.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{connection::ReceivedFile, system::random, wire::ErrorObject};

/// What the master says, in the order in which it says it.
pub(super) enum Event {
    /// The master's files have changed.
    Changed,
    InSync,
    SyncBegins(String),
    Archive(ReceivedFile),
    SyncFailed(ErrorObject),
}

/// The session's end: takes what the master says of integrity.
pub struct Inbox {
    events: Sender<Event>,
    task: Option<String>,
}

/// The thread's end.
pub struct Events(pub(super) Receiver<Event>);

/// A line between the session and the thread. It holds more than a master can have to say at a time.
pub fn channel() -> (Inbox, Events) {
    let (events, inbox) = bounded(16);
    (Inbox { events, task: None }, Events(inbox))
}

/// More was said than the thread has taken; the master is at fault.
#[derive(Debug, thiserror::Error)]
#[error("the integrity thread is busy with what came before")]
pub struct Busy;

impl Inbox {
    /// `int_changed`. A thread that is so busy that its line is full compares itself soon anyway.
    pub fn changed(&self) {
        let _ = self.send(Event::Changed);
    }

    /// `syn_m_c_ok`.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn in_sync(&mut self) -> Result<(), Busy> {
        self.send(Event::InSync)
    }

    /// `syn_m_c`: a synchronisation begins; gives its task id.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn sync_begins(&mut self) -> Result<String, Busy> {
        let task = random::uuid();
        self.send(Event::SyncBegins(task.clone()))?;
        self.task = Some(task.clone());
        Ok(task)
    }

    /// Whether the archive of a synchronisation is on its way.
    pub fn expects_file(&self) -> bool {
        self.task.is_some()
    }

    /// Whether this is the task of the synchronisation that is on its way.
    pub fn knows(&self, task: &str) -> bool {
        self.task.as_deref() == Some(task)
    }

    /// `syn_m_c_e`: the archive has come.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn archive(&mut self, file: ReceivedFile) -> Result<(), Busy> {
        self.task = None;
        self.send(Event::Archive(file))
    }

    /// `syn_m_c_r`: the master could not send it.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn sync_failed(&mut self, error: ErrorObject) -> Result<(), Busy> {
        self.task = None;
        self.send(Event::SyncFailed(error))
    }

    fn send(&self, event: Event) -> Result<(), Busy> {
        self.events.try_send(event).map_err(|_| Busy)
    }
}
