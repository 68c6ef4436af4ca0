//! The switch of a connection to a session, without a gap (`spec/native.md` 1).
//!
//! Each direction has one moment for it. A master reads sealed frames from the message behind `native` on, and writes them
//! behind its answer. A worker sends nothing between `native` and that answer, and its master nothing before the first
//! sealed frame of the worker, so both directions of the worker change while nothing is under way.

use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Answer, Connection, Reply};
use crate::{
    crypto::{Sealer, Session},
    wire::Command,
};

/// What the writer does behind a message.
pub enum Then {
    /// It goes on.
    GoOn,
    /// It seals all that follows.
    Seal(Sealer),
    /// It waits until it is told so, or that it is to go on.
    Wait(Receiver<Sealer>),
}

/// A connection on which nothing goes out until it is decided what it speaks. Dropping it lets it go on as before.
pub struct Undecided {
    connection: Connection,
    decide: Sender<Sealer>,
}

impl Undecided {
    /// From now on both directions are sealed.
    pub fn seal(self, session: Session) {
        let Session { sealer, opener } = session;
        *self.connection.0.opener.lock() = Some(opener);
        // A writer that has ended needs none.
        let _ = self.decide.send(sealer);
    }
}

impl Connection {
    /// [`Connection::request`] of what decides on a session: nothing goes out behind it before the decision.
    pub fn request_undecided(&self, command: Command, payload: impl Into<Vec<u8>>) -> (Answer, Undecided) {
        let (decide, decision) = bounded(1);
        let undecided = Undecided { connection: self.clone(), decide };
        let begun = self.begin_then(self.0.request_timeout, command, payload, Then::Wait(decision));
        (begun.and_then(super::Begun::wait), undecided)
    }

    /// Whether the message that is being handled, and all that follow, came by a session.
    pub fn in_session(&self) -> bool {
        self.0.in_session.load(Ordering::Acquire)
    }
}

impl Reply {
    /// [`Reply::ok`], and from then on both directions are sealed. For the reader's thread, so that the next message is read
    /// as a part of the session.
    pub fn ok_then_seal(mut self, payload: impl Into<Vec<u8>>, session: Session) {
        let Session { sealer, opener } = session;
        *self.connection.0.opener.lock() = Some(opener);
        self.due = false;
        self.connection.answer_then(self.counter, Command::Ok, payload, Then::Seal(sealer));
    }
}
