//! The reader thread: socket → messages → whoever waits for them.

use std::{
    io::{self, BufReader, ErrorKind, Read},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use log::Level;

use super::{Connection, Handler, Known, NOT_IN_TIME, PEER_CLOSED, Reply, cipher::Candidates, has_left};
use crate::{
    crypto::{Opener, TokenError},
    limits::HELD_BY_ONE,
    logging::{error, log},
    system::{memory::give_back_stack, thread::guard},
    wire::{Command, CommandField, Deframer, Divided, ErrorObject, Limits, Message, Part, longest, sealed},
};

/// Bytes that are read beyond what is wanted: of short messages header and body come with one call. Longer ones are read to
/// where they stay.
const AHEAD: usize = 512;

/// From one giving back of the stack to the next, at least. An idle worker asks a question every 9 s, and each goes deep.
const REST: Duration = Duration::from_secs(5);

/// Bytes within the time of one frame by which a peer shows that it is not silent: 2 KiB/s with the default.
const PROGRESS: usize = 64 * 1024;

pub struct Reader<H> {
    connection: Connection,
    socket: BufReader<Incoming>,
    candidates: Candidates,
    handler: H,
    deframer: Deframer,
    /// Of the session, from its beginning on, with the fragments that it has opened.
    session: Option<(Opener, Divided)>,
    known: Known,
    /// Whether it was told that one of its messages was passed over.
    told: bool,
    /// When a stranger must have been accepted.
    handshake: Option<Instant>,
    frame_timeout: Duration,
    /// When the present frame must be complete, or [`PROGRESS`] bytes further.
    frame: Option<Instant>,
    /// Bytes since that was set.
    progress: usize,
    /// The read timeout that is in force at the socket, so that it is set only when it changes.
    waits_for_deadline: bool,
    /// When its stack was last given back.
    rested: Instant,
}

/// The bytes of a connection.
struct Incoming(Connection);

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0.0.socket).read(buffer)
    }
}

impl<H: Handler> Reader<H> {
    pub fn new(connection: Connection, candidates: Candidates, handler: H) -> Self {
        Self {
            socket: BufReader::with_capacity(AHEAD, Incoming(connection.clone())),
            connection,
            candidates,
            handler,
            deframer: Deframer::new(Limits::STRANGER),
            session: None,
            known: Known::AtOnce,
            told: false,
            handshake: None,
            frame_timeout: Duration::ZERO,
            frame: None,
            progress: 0,
            waits_for_deadline: false,
            rested: Instant::now(),
        }
    }

    pub fn of(mut self, known: Known) -> Self {
        self.known = known;
        self
    }

    pub fn with_timeouts(mut self, handshake: Duration, frame: Duration) -> Self {
        self.handshake = Some(Instant::now() + handshake);
        self.frame_timeout = frame;
        self
    }

    pub fn run(mut self) {
        let reason = self.read_all();
        self.connection.close(&reason);
        // Somebody else may have closed it first, and knows better why.
        let reason = self.connection.0.reason.get().cloned().unwrap_or(reason);
        self.handler.closed(&reason);
    }

    /// Reads until the connection ends; gives the reason.
    fn read_all(&mut self) -> String {
        loop {
            self.notice_changes();
            // What is there already is not waited for.
            if self.socket.buffer().is_empty()
                && let Err(reason) = self.set_deadline()
            {
                return reason;
            }
            let count = match self.socket.read(self.deframer.space()) {
                Ok(0) if self.deframer.inside_frame() => return "the peer closed it in the middle of a message".into(),
                Ok(0) => return PEER_CLOSED.into(),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The deadline is checked at the next turn.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) if has_left(&error) && !self.deframer.inside_frame() => return PEER_CLOSED.into(),
                Err(error) => return error.to_string(),
            };
            self.connection.0.traffic.received.add(count as u64);
            // It may have been accepted while the read waited.
            self.notice_changes();
            match self.deframer.arrived(count) {
                Ok(None) => (),
                Ok(Some(message)) => {
                    if let Err(reason) = self.take(message) {
                        return reason;
                    }
                }
                Err(error) => return error.to_string(),
            }
            if let Err(reason) = self.make_room() {
                return reason;
            }
            self.renew_frame_deadline(count);
            self.rest();
        }
    }

    /// The stack is small while nothing is read.
    fn rest(&mut self) {
        if !self.deframer.inside_frame() && self.rested.elapsed() >= REST {
            self.rested = Instant::now();
            give_back_stack();
        }
    }

    /// A frame must be complete in time, or at least make progress: a slow link is not a silent one.
    fn renew_frame_deadline(&mut self, count: usize) {
        self.progress += count;
        if !self.deframer.inside_frame() {
            (self.frame, self.progress) = (None, 0);
        } else if self.frame.is_none() || self.progress >= PROGRESS {
            (self.frame, self.progress) = (Some(Instant::now() + self.frame_timeout), 0);
        }
    }

    /// Takes room for the frame that has begun. While it waits, nothing is read, and the peer waits too.
    fn make_room(&mut self) -> Result<(), String> {
        let Some(bytes) = self.deframer.wants() else { return Ok(()) };
        if self.session.is_some() {
            // What is passed over cannot be verified, so a frame of a session has to be held.
            let share = self.connection.hold_frame(bytes);
            self.deframer.grant(share.map_err(|_| "there is no room for a frame of its session".to_owned())?);
            return Ok(());
        }
        match self.connection.hold(bytes) {
            Ok(share) => self.deframer.grant(share),
            Err(_) => self.deframer.pass_over(),
        }
        Ok(())
    }

    /// Whether the peer is a stranger no more, and whether a session has begun.
    fn notice_changes(&mut self) {
        let accepted = self.handshake.is_some() && self.connection.0.accepted.load(Ordering::Acquire);
        let opener = if self.session.is_none() { self.connection.0.opener.lock().take() } else { None };
        if !accepted && opener.is_none() {
            return;
        }
        if accepted {
            self.handshake = None;
        }
        if let Some(opener) = opener {
            self.session = Some((opener, Divided::default()));
            self.deframer.forget_divided();
            self.connection.0.in_session.store(true, Ordering::Release);
        }
        self.deframer.set_limits(match (self.session.is_some(), self.handshake.is_some()) {
            (false, _) => Limits::PEER,
            (true, false) => Limits::SEALED,
            (true, true) => Limits::SEALED_STRANGER,
        });
    }

    /// Lets the next read wait until the nearest deadline, or for ever if there is none.
    fn set_deadline(&mut self) -> Result<(), String> {
        let Some(deadline) = self.handshake.into_iter().chain(self.frame).min() else {
            if self.waits_for_deadline {
                self.connection.0.socket.set_read_timeout(None).map_err(|error| error.to_string())?;
                self.waits_for_deadline = false;
            }
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(match self.frame {
                Some(frame) if frame <= deadline => {
                    format!("a message was begun and not completed within {:?}", self.frame_timeout)
                }
                _ => NOT_IN_TIME.to_owned(),
            });
        }
        // Less than a millisecond would be rounded to nothing, which means for ever.
        let left = left.max(Duration::from_millis(1));
        self.waits_for_deadline = true;
        self.connection.0.socket.set_read_timeout(Some(left)).map_err(|error| error.to_string())
    }

    /// Decrypts a frame. Gives the message that it completes.
    fn open(&mut self, message: Message) -> Result<Option<Message>, String> {
        let Some((opener, divided)) = &mut self.session else { return self.decrypt(message).map(Some) };
        let message = sealed::open(opener, message).map_err(|error| {
            self.connection.0.traffic.auth_failures.add(1);
            format!("a frame of the session cannot be opened: {error}")
        })?;
        let Message { counter, command, body, share, passed_over } = message;
        let limits = if self.handshake.is_some() { Limits::STRANGER } else { Limits::PEER };
        let takes = divided.takes(limits, counter, command, body.len(), longest(command));
        let mut part = Part { body, share, passed_over };
        if !takes.map_err(|error| error.to_string())? || self.connection.0.account.is_beyond() {
            part.pass_over();
        }
        Ok(divided.add(counter, command, part))
    }

    /// Decrypts a message as it is on a link without a session.
    fn decrypt(&mut self, mut message: Message) -> Result<Message, String> {
        if message.passed_over {
            return Ok(message);
        }
        message.body = self.connection.0.cipher.open(&mut self.candidates, message.body).map_err(|error| {
            self.connection.0.traffic.auth_failures.add(1);
            let hint = match error {
                // One half of the key signs and the other encrypts; either may be what differs.
                TokenError::Signature | TokenError::Padding => "; the <key> must be the same on both nodes",
                _ => "",
            };
            format!("the message '{}' cannot be decrypted: {error}{hint}", message.command)
        })?;
        Ok(message)
    }

    fn take(&mut self, frame: Message) -> Result<(), String> {
        let Some(message) = self.open(frame)? else { return Ok(()) };
        if message.passed_over {
            return self.refuse(message);
        }
        self.connection.0.life.sign();
        if self.known == Known::ByKey {
            self.connection.accept();
        }
        if message.command.is_answer() {
            // An answer that nobody waits for is late, or injected; to answer it would begin an endless exchange.
            self.connection.0.pending.deliver(message);
            return Ok(());
        }
        // A request that breaks our own program ends its connection, not the node.
        let reply = Reply::new(&self.connection, message.counter, message.command);
        guard(|| self.handler.request(reply, message)).map_err(|panic| {
            let peer = self.connection.peer();
            error!("[Cluster] [Main]", "A request of {peer} failed: {panic}. Please report this.");
            "one of its requests failed on this node".to_owned()
        })
    }

    /// A message was not held: whoever waits for it, here or there, is told.
    fn refuse(&mut self, mut message: Message) -> Result<(), String> {
        if self.handshake.is_some() {
            return Err(format!("there is no room for the message '{}' of a stranger", message.command));
        }
        let most = longest(message.command);
        let error = ErrorObject::cluster(
            3050,
            format!(
                "'{}' may have {most} bytes, and all of one connection {HELD_BY_ONE} (docs/limits.md)",
                message.command
            ),
        );
        let level = if std::mem::replace(&mut self.told, true) { Level::Debug } else { Level::Warn };
        log!("[Cluster] [Main]", level, "A message of {} was not taken: {error}.", self.connection.peer());
        if message.command.is_answer() {
            message.command = CommandField::new(Command::Err);
            message.body = error.to_json().into_bytes();
            self.connection.0.pending.deliver(message);
        } else {
            Reply::new(&self.connection, message.counter, message.command).refuse(&error);
        }
        Ok(())
    }
}
