//! How often a worker may ask for a check (`spec/protocol.md` 10.5).

/// The checks that a worker is granted in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Granted {
    /// The last turn with a check.
    first: Option<u64>,
    /// The last turn in which files were sent to it, or could not be: it may show what became of them.
    pub(super) sent: Option<u64>,
    /// The last turn in which it has shown that.
    shown: Option<u64>,
}

impl Granted {
    /// Whether a check in this turn is granted; being granted one uses it up.
    pub(super) fn may(&mut self, turn: u64) -> bool {
        if self.first != Some(turn) {
            self.first = Some(turn);
            return true;
        }
        let again = self.sent == Some(turn) && self.shown != Some(turn);
        if again {
            self.shown = Some(turn);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_ask_once_in_a_turn_and_once_more_after_it_was_sent_files() {
        let mut granted = Granted::default();
        assert_eq!([1, 1, 2, 2].map(|turn| granted.may(turn)), [true, false, true, false]);
        granted.sent = Some(2);
        assert_eq!([2, 2].map(|turn| granted.may(turn)), [true, false]);
        granted.sent = Some(2);
        assert!(!granted.may(2), "however often it is sent some");
        assert_eq!([3, 3].map(|turn| granted.may(turn)), [true, false]);
    }
}
