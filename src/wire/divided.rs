//! Messages of which not all fragments have come (`spec/protocol.md` 2.3, `spec/native.md` 2.8).

use std::collections::HashMap;

use super::{CommandField, FrameError, Limits, Message};
use crate::limits::Share;

/// The fragments that are held, by the counters of their messages.
#[derive(Default)]
pub struct Divided(HashMap<u32, Part>);

/// The body of a frame, or the fragments of a message.
#[derive(Default)]
pub struct Part {
    /// Empty if it was passed over.
    pub body: Vec<u8>,
    /// What it takes of the node's budget.
    pub share: Option<Share>,
    /// Whether it is read and not held.
    pub passed_over: bool,
}

impl Part {
    /// Holds nothing of it any more.
    pub fn pass_over(&mut self) {
        *self = Self { passed_over: true, ..Self::default() };
    }

    fn append(&mut self, other: Self) {
        if self.passed_over || other.passed_over {
            return self.pass_over();
        }
        if self.body.is_empty() {
            self.body = other.body;
        } else {
            self.body.extend_from_slice(&other.body);
        }
        self.share = Share::sum(self.share.take(), other.share);
    }
}

impl Divided {
    /// Whether a fragment of `size` bytes, or a whole message, is to be held; if not, it is passed over. A message that has
    /// more than `most` bytes is not.
    ///
    /// # Errors
    /// [`FrameError`]: nothing more is to be read.
    pub fn takes(
        &self,
        limits: Limits,
        counter: u32,
        command: CommandField,
        size: usize,
        most: usize,
    ) -> Result<bool, FrameError> {
        let Limits { message: limit, divided, by_command } = limits;
        let held: usize = self.0.values().map(|part| part.body.len()).sum();
        if size + held > limit {
            return Err(FrameError::TooLong { size: size + held, limit });
        }
        let begun = self.0.get(&counter);
        if command.more_follows() && begun.is_none() && self.0.len() >= divided {
            return Err(FrameError::TooManyDivided { limit: divided });
        }
        let whole = size + begun.map_or(0, |part| part.body.len());
        Ok(!(by_command && whole > most) && begun.is_none_or(|part| !part.passed_over))
    }

    /// Adds a fragment; gives the message that it completes.
    pub fn add(&mut self, counter: u32, command: CommandField, mut part: Part) -> Option<Message> {
        if command.more_follows() {
            self.0.entry(counter).or_default().append(part);
            return None;
        }
        if let Some(mut parts) = self.0.remove(&counter) {
            parts.append(part);
            part = parts;
        }
        let Part { body, share, passed_over } = part;
        Some(Message { counter, command, body, share, passed_over })
    }

    /// Bytes of memory that are taken.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.0.values().map(|part| part.body.capacity()).sum()
    }
}
