//! The reader thread: socket → messages → whoever waits for them.

use std::{
    io::{ErrorKind, Read},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use log::Level;

use super::{Connection, Handler, Known, PEER_CLOSED, Reply, Socket, cipher::Candidates, has_left};
use crate::{
    crypto::TokenError,
    limits::HELD_BY_ONE,
    logging::{error, log},
    system::thread::guard,
    wire::{Command, CommandField, Deframer, ErrorObject, Limits, Message, longest},
};

/// Bytes within the time of one frame by which a peer shows that it is not silent: 2 KiB/s with the default.
const PROGRESS: usize = 64 * 1024;

pub struct Reader<H> {
    connection: Connection,
    socket: Socket,
    candidates: Candidates,
    handler: H,
    deframer: Deframer,
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
}

impl<H: Handler> Reader<H> {
    pub fn new(connection: Connection, socket: Socket, candidates: Candidates, handler: H) -> Self {
        Self {
            connection,
            socket,
            candidates,
            handler,
            deframer: Deframer::new(Limits::STRANGER),
            known: Known::AtOnce,
            told: false,
            handshake: None,
            frame_timeout: Duration::ZERO,
            frame: None,
            progress: 0,
            waits_for_deadline: false,
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
            self.notice_acceptance();
            if let Err(reason) = self.set_deadline() {
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
            self.notice_acceptance();
            match self.deframer.arrived(count) {
                Ok(None) => (),
                Ok(Some(message)) => {
                    if let Err(reason) = self.take(message) {
                        return reason;
                    }
                }
                Err(error) => return error.to_string(),
            }
            self.make_room();
            self.renew_frame_deadline(count);
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
    fn make_room(&mut self) {
        let Some(bytes) = self.deframer.wants() else { return };
        match self.connection.hold(bytes) {
            Ok(share) => self.deframer.grant(share),
            Err(_) => self.deframer.pass_over(),
        }
    }

    fn notice_acceptance(&mut self) {
        if self.handshake.is_some() && self.connection.0.accepted.load(Ordering::Acquire) {
            self.handshake = None;
            self.deframer.set_limits(Limits::PEER);
        }
    }

    /// Lets the next read wait until the nearest deadline, or for ever if there is none.
    fn set_deadline(&mut self) -> Result<(), String> {
        let Some(deadline) = self.handshake.into_iter().chain(self.frame).min() else {
            if self.waits_for_deadline {
                self.socket.set_read_timeout(None).map_err(|error| error.to_string())?;
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
                _ => "the peer did not say hello in time".to_owned(),
            });
        }
        // Less than a millisecond would be rounded to nothing, which means for ever.
        let left = left.max(Duration::from_millis(1));
        self.waits_for_deadline = true;
        self.socket.set_read_timeout(Some(left)).map_err(|error| error.to_string())
    }

    fn take(&mut self, mut message: Message) -> Result<(), String> {
        if message.passed_over {
            return self.refuse(message);
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
