//! One request on one connection, until its result.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use super::{AskError, LocalClient, Passed};
use crate::{
    system::random,
    wire::{
        Command, CommandField, Deframer, ErrorObject, Limits, Message,
        frame::{self, HEADER},
    },
};

/// What a worker answers when it has passed a request to the master; the result comes later, as `control_res`.
const FORWARDED: &[u8] = b"Sent request to master node";

/// The same for `sendasync`; its result comes as a request that is named `ok` or `err`.
const QUEUED: &[u8] = b"Added request to sendsync requests queue";

pub(super) struct Exchange<'a> {
    client: &'a LocalClient,
    asked: Command,
    counter: u32,
    stream: UnixStream,
    deframer: Deframer,
    deadline: Instant,
    forwarded: bool,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(client: &'a LocalClient, asked: Command, stream: UnixStream, deadline: Instant) -> Self {
        let (counter, deframer) = (random::number(), Deframer::new(Limits::FULL));
        Self { client, asked, counter, stream, deframer, deadline, forwarded: false }
    }

    pub(super) fn result(mut self, payload: &[u8]) -> Result<Vec<u8>, AskError> {
        self.send(self.counter, self.asked, payload)?;
        loop {
            let message = self.receive()?;
            if let Some(result) = self.take(message)? {
                return Ok(result);
            }
        }
    }

    /// The result, if `message` carries it. What belongs to nothing that was asked is passed over.
    fn take(&mut self, message: Message) -> Result<Option<Vec<u8>>, AskError> {
        let Message { counter, command, body, .. } = message;
        let delivered = self.asked == Command::SendAsync && self.forwarded;
        match Command::named(command.name()) {
            Some(Command::ControlResult) => self.delivered(counter, body).map(Some),
            // Whatever its counter is: nothing else of these names can come now.
            Some(Command::Ok) if delivered => {
                let _ = self.send(counter, Command::Ok, b"Sendsync response received");
                Ok(Some(body))
            }
            Some(Command::Err) if delivered => {
                let _ = self.send(counter, Command::Ok, b"Error response received");
                Err(AskError::Refused(ErrorObject::from_payload(&body)))
            }
            _ if counter != self.counter || !command.is_answer() => Ok(None),
            Some(Command::Ok) if body == FORWARDED || self.asked == Command::SendAsync && body == QUEUED => {
                self.forwarded = true;
                Ok(None)
            }
            Some(Command::Ok) => Ok(Some(body)),
            _ => Err(AskError::Refused(ErrorObject::from_payload(&body))),
        }
    }

    /// The master's result, delivered by a worker. The worker is told that it arrived; whether it hears this does not
    /// matter to us.
    fn delivered(&mut self, counter: u32, result: Vec<u8>) -> Result<Vec<u8>, AskError> {
        let plain_error = result.starts_with(b"Error");
        let answer = if plain_error { Command::Err } else { Command::Ok };
        let _ = self.send(counter, answer, b"Response received");
        match ErrorObject::from_json(&result) {
            Some(error) => Err(AskError::Refused(error)),
            None if plain_error => Err(AskError::Refused(ErrorObject::from_payload(&result))),
            None => Ok(result),
        }
    }

    /// Sends header and body in one write: the stock daemon's reader loses the stream when a read ends between them
    /// (`spec/protocol.md` 2.5).
    fn send(&mut self, counter: u32, command: Command, payload: &[u8]) -> Result<(), AskError> {
        let field = CommandField::new(command);
        self.show(true, field, payload);
        let mut buffer = [&[0; HEADER][..], payload].concat();
        frame::complete(&mut buffer, counter, field, payload.len());
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let left = self.time_left()?;
            let written = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write(rest));
            rest = &rest[self.moved(written)?..];
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Message, AskError> {
        loop {
            let left = self.time_left()?;
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(self.deframer.space()));
            if matches!(read, Ok(0)) {
                return Err(AskError::Closed { command: self.asked });
            }
            let count = self.moved(read)?;
            if count == 0 {
                continue;
            }
            let message = self
                .deframer
                .arrived(count)
                .map_err(|error| AskError::Broken { command: self.asked, source: io::Error::other(error) })?;
            if let Some(message) = message {
                self.show(false, message.command, &message.body);
                return Ok(message);
            }
        }
    }

    /// How many bytes a read or a write moved; none when it was interrupted or its time was over, which
    /// [`Exchange::time_left`] judges.
    fn moved(&self, outcome: io::Result<usize>) -> Result<usize, AskError> {
        let command = self.asked;
        outcome.or_else(|source| match source.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(0),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Err(AskError::Closed { command }),
            _ => Err(AskError::Broken { command, source }),
        })
    }

    fn time_left(&self) -> Result<Duration, AskError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let (command, limit, forwarded) = (self.asked, self.client.limit, self.forwarded);
            return Err(AskError::Timeout { command, limit, forwarded });
        }
        Ok(left)
    }

    fn show(&self, sent: bool, command: CommandField, payload: &[u8]) {
        if let Some(watch) = self.client.watch {
            watch(Passed { asked: self.asked, sent, command, payload });
        }
    }
}
