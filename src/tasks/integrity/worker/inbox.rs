//! The line between the session, which hears the master, and the integrity thread, which acts.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    connection::{Arriving, ReceivedFile},
    system::{random, wakeup::Wakeup},
    wire::ErrorObject,
};

/// The messages of the master, in their order.
pub(super) enum Event {
    InSync,
    /// The check came to no verdict.
    CheckFailed(ErrorObject),
    SyncBegins(String),
    Arriving(Arriving),
    Archive(ReceivedFile),
    SyncFailed(ErrorObject),
}

/// The session's end: takes the messages of the master that concern integrity.
pub struct Inbox {
    events: Sender<Event>,
    changed: Wakeup,
    task: Option<String>,
}

/// The thread's end.
pub struct Events {
    /// Its messages on a check or a synchronisation.
    pub(super) events: Receiver<Event>,
    /// The master's files have changed. However often that comes, it takes no place of an event.
    pub(super) changed: Wakeup,
}

/// A line between the session and the thread. It holds more than a master has reason to send at a time.
pub fn channel() -> (Inbox, Events) {
    let ((events, inbox), changed) = (bounded(16), Wakeup::default());
    (Inbox { events, changed: changed.clone(), task: None }, Events { events: inbox, changed })
}

/// More has come than the thread has taken; the master is at fault.
#[derive(Debug, thiserror::Error)]
#[error("the integrity thread is busy with what came before")]
pub struct Busy;

impl Inbox {
    /// `int_changed`.
    pub fn changed(&self) {
        self.changed.wake();
    }

    /// `syn_m_c_ok`.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn in_sync(&mut self) -> Result<(), Busy> {
        self.send(Event::InSync)
    }

    /// `syn_m_c_r` of no task: the master could not compare, or the worker may not be called in sync.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn check_failed(&mut self, error: ErrorObject) -> Result<(), Busy> {
        self.send(Event::CheckFailed(error))
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

    /// The archive of the synchronisation has begun to come. What the thread has no place for is read when all has come.
    pub fn arrives(&self, arriving: Arriving) {
        let _ = self.send(Event::Arriving(arriving));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 6.9: what is pushed takes no place of the messages on a synchronisation.
    #[test]
    fn any_number_of_pushes_leaves_room_for_the_order_to_synchronise() {
        let (mut inbox, events) = channel();
        (0..1000).for_each(|_| inbox.changed());
        let task = inbox.sync_begins().unwrap();
        assert!(inbox.knows(&task));
        assert_eq!((events.changed.channel().len(), events.events.len()), (1, 1));
    }
}
