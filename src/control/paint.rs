//! The word for the state of a node, with its colour on a terminal.

use std::{env, io};

use crate::{system::terminal, verdict::State};

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// Whether there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paint(bool);

impl Paint {
    /// Where standard output is a terminal that has colours, and nobody has said `NO_COLOR`.
    pub(super) fn of_stdout() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!unwanted && terminal::can_draw(&io::stdout()))
    }

    /// `text`, which begins with the word for `state`, with that word in its colour.
    pub(super) fn state(self, state: State, text: &str) -> String {
        let colour = match state {
            State::Away | State::Behind => RED,
            State::Joining => YELLOW,
            State::InSync => GREEN,
        };
        match text.strip_prefix(state.text()) {
            Some(rest) if self.0 => format!("{colour}{state}{PLAIN}{rest}"),
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_has_a_colour_and_all_else_stays() {
        let paint = Paint(true);
        assert_eq!(paint.state(State::Away, "away     w1"), "\x1b[31maway\x1b[0m     w1");
        assert_eq!(paint.state(State::InSync, "in sync  w1"), "\x1b[32min sync\x1b[0m  w1");
        assert_eq!(paint.state(State::Away, "STATE"), "STATE");
        assert_eq!(Paint::default().state(State::Away, "away  w1"), "away  w1");
    }
}
