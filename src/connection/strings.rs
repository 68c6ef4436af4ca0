//! Strings that a peer sends (`spec/protocol.md` 9).

use std::collections::VecDeque;

use crate::{system::random, wire::MESSAGE_LIMIT};

/// Strings that are kept at a time. The original has no limit, so a peer could fill the memory; here the oldest is
/// dropped, and its task fails as if the string had never come.
const KEPT: usize = 16;

/// Receives the strings of one connection, oldest first.
#[derive(Default)]
pub struct IncomingStrings(VecDeque<Incoming>);

struct Incoming {
    id: String,
    length: usize,
    content: Vec<u8>,
}

impl IncomingStrings {
    /// `new_str`: gives the id of a new string of `length` bytes, or none if that is too long.
    pub fn begin(&mut self, length: usize) -> Option<&str> {
        if length > MESSAGE_LIMIT {
            return None;
        }
        while self.0.len() >= KEPT {
            self.0.pop_front();
        }
        let id = loop {
            let id = random::number().to_string();
            if self.find(&id).is_none() {
                break id;
            }
        };
        self.0.push_back(Incoming { id, length, content: Vec::new() });
        self.0.back().map(|incoming| incoming.id.as_str())
    }

    /// `str_upd`: appends to a string; what exceeds its declared length is dropped, and so are the oldest strings when
    /// all together become longer than one message may be. False if there is no such string.
    pub fn append(&mut self, id: &str, data: &[u8]) -> bool {
        while self.0.len() > 1 && self.0.iter().map(|i| i.content.len()).sum::<usize>() + data.len() > MESSAGE_LIMIT {
            self.0.pop_front();
        }
        let Some(incoming) = self.find(id).and_then(|at| self.0.get_mut(at)) else { return false };
        let room = incoming.length - incoming.content.len();
        incoming.content.extend_from_slice(&data[..data.len().min(room)]);
        true
    }

    /// `err_str`: forgets the first string of this length that got nothing; gives its id.
    pub fn forget_empty(&mut self, length: usize) -> Option<String> {
        let at = self.0.iter().position(|incoming| incoming.length == length && incoming.content.is_empty())?;
        self.0.remove(at).map(|incoming| incoming.id)
    }

    /// Takes the content of a string.
    pub fn take(&mut self, id: &str) -> Option<Vec<u8>> {
        let at = self.find(id)?;
        self.0.remove(at).map(|incoming| incoming.content)
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.0.iter().position(|incoming| incoming.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_beyond_the_declared_length_is_dropped() {
        let mut strings = IncomingStrings::default();
        let id = strings.begin(5).unwrap().to_owned();
        assert!(strings.append(&id, b"Hel"));
        assert!(strings.append(&id, b"lo world"));
        assert_eq!(strings.take(&id).unwrap(), b"Hello");
        assert!(strings.take(&id).is_none());
        assert!(!strings.append(&id, b"x"));
    }

    #[test]
    fn the_number_and_the_length_are_bounded() {
        let mut strings = IncomingStrings::default();
        assert!(strings.begin(MESSAGE_LIMIT + 1).is_none());
        let first = strings.begin(1).unwrap().to_owned();
        for _ in 0..KEPT {
            strings.begin(1);
        }
        assert_eq!(strings.0.len(), KEPT);
        assert!(strings.take(&first).is_none());
        assert!(strings.forget_empty(1).is_some());
        assert!(strings.forget_empty(2).is_none());
    }
}
