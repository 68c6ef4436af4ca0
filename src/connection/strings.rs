//! Strings that a peer sends (`spec/protocol.md` 9).

use std::collections::VecDeque;

use crate::{
    limits::{Full, Holding, STRING, STRINGS, Share},
    system::random,
};

/// Receives the strings of one connection, oldest first. The stock daemon has no limit, so a peer could fill the
/// memory; here the oldest is dropped, and its task fails as if the string had never come.
#[derive(Default)]
pub struct IncomingStrings(VecDeque<Incoming>);

struct Incoming {
    id: String,
    length: usize,
    content: Holding,
}

impl IncomingStrings {
    /// `new_str`: gives the id of a new string of `length` bytes, or none if that is too long.
    pub fn begin(&mut self, length: usize) -> Option<&str> {
        if length > STRING {
            return None;
        }
        while self.0.len() >= STRINGS {
            self.0.pop_front();
        }
        let id = loop {
            let id = random::number().to_string();
            if self.find(&id).is_none() {
                break id;
            }
        };
        self.0.push_back(Incoming { id, length, content: Holding::default() });
        self.0.back().map(|incoming| incoming.id.as_str())
    }

    /// `str_upd`: appends to a string; what exceeds its declared length is dropped. `hold` takes room for what is kept; if
    /// there is none, the oldest strings are dropped for this one, and at last this one. False if there is no such string.
    pub fn append(&mut self, id: &str, data: &[u8], hold: impl Fn(usize) -> Result<Share, Full>) -> bool {
        let Some(incoming) = self.find(id).and_then(|at| self.0.get(at)) else { return false };
        let data = &data[..data.len().min(incoming.length - incoming.content.bytes.len())];
        let share = loop {
            if let Ok(share) = hold(data.len()) {
                break share;
            }
            let oldest = self.0.iter().position(|other| other.id != id && !other.content.bytes.is_empty());
            match oldest {
                Some(at) => drop(self.0.remove(at)),
                None => {
                    self.0.retain(|incoming| incoming.id != id);
                    return false;
                }
            }
        };
        let Some(incoming) = self.find(id).and_then(|at| self.0.get_mut(at)) else { return false };
        incoming.content.bytes.extend_from_slice(data);
        incoming.content.share = Share::sum(incoming.content.share.take(), Some(share));
        true
    }

    /// `err_str`: forgets the first string of this length that got nothing; gives its id.
    pub fn forget_empty(&mut self, length: usize) -> Option<String> {
        let at = self.0.iter().position(|incoming| incoming.length == length && incoming.content.bytes.is_empty())?;
        self.0.remove(at).map(|incoming| incoming.id)
    }

    /// Takes the content of a string.
    pub fn take(&mut self, id: &str) -> Option<Holding> {
        let at = self.find(id)?;
        self.0.remove(at).map(|incoming| incoming.content)
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.0.iter().position(|incoming| incoming.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::Budget;

    #[test]
    fn content_beyond_the_declared_length_is_dropped() {
        let account = Budget::new(100, 100, Duration::ZERO).account(|| ());
        let hold = |bytes| account.try_take(bytes);
        let mut strings = IncomingStrings::default();
        let id = strings.begin(5).unwrap().to_owned();
        assert!(strings.append(&id, b"Hel", hold));
        assert!(strings.append(&id, b"lo world", hold));
        assert_eq!(strings.take(&id).unwrap().bytes, b"Hello");
        assert!(strings.take(&id).is_none());
        assert!(!strings.append(&id, b"x", hold));
    }

    #[test]
    fn the_number_and_the_length_are_bounded() {
        let mut strings = IncomingStrings::default();
        assert!(strings.begin(STRING + 1).is_none());
        let first = strings.begin(1).unwrap().to_owned();
        for _ in 0..STRINGS {
            strings.begin(1);
        }
        assert_eq!(strings.0.len(), STRINGS);
        assert!(strings.take(&first).is_none());
        assert!(strings.forget_empty(1).is_some());
        assert!(strings.forget_empty(2).is_none());
    }

    #[test]
    fn what_there_is_no_room_for_is_forgotten_the_oldest_first() {
        let budget = Budget::new(10, 10, Duration::ZERO);
        let account = budget.account(|| ());
        let hold = |bytes| account.try_take(bytes);
        let mut strings = IncomingStrings::default();
        let [one, two, three] = [8, 8, 20].map(|length| strings.begin(length).unwrap().to_owned());
        assert!(strings.append(&one, &[1; 4], hold) && strings.append(&two, &[2; 4], hold));
        assert!(strings.append(&two, &[2; 4], hold));
        assert!(strings.take(&one).is_none());
        assert!(!strings.append(&three, &[3; 20], hold));
        assert!(strings.take(&two).is_none() && strings.take(&three).is_none());
        assert_eq!(budget.taken(), 0);
    }
}
