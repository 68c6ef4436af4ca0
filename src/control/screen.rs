//! A screen beside what stands on the terminal, drawn over in place.

use std::io::{self, Write};

use super::Output;
use crate::system::terminal;

/// Opens another screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Goes back to what stood there.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// The other screen; dropping it brings back the first.
pub(super) struct Screen {
    /// What stands on it.
    lines: Vec<String>,
}

impl Screen {
    /// Opens it, with the head on it.
    pub(super) fn enter(head: &str) -> Self {
        let screen = Self { lines: vec![head.to_owned()] };
        // A terminal that cannot be written to is noticed with the first answer.
        let _ = write(ENTER).and_then(|()| screen.redraw());
        screen
    }

    /// Draws the head and, below it, what came of a question: first what is wrong, because a window may be too low for all.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn draw(&mut self, head: &str, output: &Output) -> io::Result<()> {
        let gap = if output.err.is_empty() { None } else { Some("") };
        let lines = [head, ""].into_iter().chain(output.err.lines()).chain(gap).chain(output.out.lines());
        self.lines = lines.map(|line| line.trim_end().to_owned()).collect();
        self.redraw()
    }

    /// The same, in a window that may have another size.
    ///
    /// # Errors
    /// As [`Screen::draw`].
    pub(super) fn redraw(&self) -> io::Result<()> {
        write(&frame(&self.lines, terminal::window(&io::stdout())))
    }

    /// Leaves the terminal to the shell meanwhile.
    pub(super) fn while_away(&self, stop: impl FnOnce()) {
        // As for entering.
        let _ = write(LEAVE);
        stop();
        let _ = write(ENTER).and_then(|()| self.redraw());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Draws over the frame before, so that nothing flickers. What is wider than the window goes on in the next row, what is
/// longer is left out.
fn frame(lines: &[String], window: Option<(usize, usize)>) -> String {
    let (columns, height) = window.unwrap_or((usize::MAX, usize::MAX));
    let mut rows: Vec<&str> = lines.iter().flat_map(|line| wrap(line, columns)).collect();
    // The last row of the window tells of those that it has no room for.
    let hidden = format!("… {} more lines", rows.len() + 1 - height.min(rows.len()));
    if rows.len() > height {
        rows.truncate(height - 1);
        rows.push(wrap(&hidden, columns)[0]);
    }
    format!("{HOME}{}{REST_OF_LINE}{REST_OF_SCREEN}", rows.join(&format!("{REST_OF_LINE}\r\n")))
}

/// The rows of a line, at least one; it goes on behind a blank where there is one.
fn wrap(line: &str, columns: usize) -> Vec<&str> {
    let (mut rows, mut rest) = (Vec::new(), line);
    while let Some(end) = overflow(rest, columns) {
        let blank = if rest[end..].starts_with(' ') { Some(end) } else { rest[..end].rfind(' ') };
        let (row, next) = match blank.map(|blank| rest.split_at(blank)) {
            Some((row, next)) if !row.trim().is_empty() => (row, next.trim_start()),
            _ => rest.split_at(end),
        };
        rows.push(row);
        rest = next;
    }
    rows.push(rest);
    rows
}

/// Where the first character stands that has no room, if there is one. A row has room for one at least.
fn overflow(text: &str, columns: usize) -> Option<usize> {
    let (mut taken, mut in_colour) = (0, false);
    let ends = |(at, character): (usize, char)| {
        // A colour takes no room; all other text is without such characters.
        let begins = character == '\x1b';
        if begins || in_colour {
            in_colour = begins || character != 'm';
            return None;
        }
        taken += terminal::width(character);
        (taken > columns && at > 0).then_some(at)
    };
    text.char_indices().find_map(ends)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_fits_the_window_and_covers_the_one_before() {
        let lines = ["Every 2 s", "", "NAME", "master", "Not in sync: w1."].map(str::to_owned);
        let drawn = |window| frame(&lines, window).replace('\x1b', "^");
        assert_eq!(drawn(None), "^[HEvery 2 s^[K\r\n^[K\r\nNAME^[K\r\nmaster^[K\r\nNot in sync: w1.^[K^[J");
        assert_eq!(drawn(Some((16, 5))).matches("\r\n").count(), 4, "it fits");
        assert_eq!(drawn(Some((14, 5))), "^[HEvery 2 s^[K\r\n^[K\r\nNAME^[K\r\nmaster^[K\r\n… 2 more lines^[K^[J");
        let wrapped = "^[HEvery 2 s^[K\r\n^[K\r\nNAME^[K\r\nmaster^[K\r\nNot in sync:^[K\r\nw1.^[K^[J";
        assert_eq!(drawn(Some((14, 6))), wrapped);
        assert_eq!(drawn(Some((1, 1))), "^[H…^[K^[J");
    }

    #[test]
    fn a_row_has_no_more_columns_than_the_window() {
        assert_eq!(wrap("one  two three", 8), ["one  two", "three"]);
        assert_eq!(wrap("one     two", 6), ["one   ", "two"]);
        assert_eq!(wrap("    /a/long/path is", 8), ["    /a/l", "ong/path", "is"], "no row of blanks");
        assert_eq!(wrap("日本語x", 5), ["日本", "語x"]);
        assert_eq!(wrap("日本", 1), ["日", "本"], "what fits nowhere has a row of its own");
        assert_eq!(wrap("e\u{301}e\u{301}", 1), ["e\u{301}", "e\u{301}"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("\x1b[31maway\x1b[0m  w1 x", 8), ["\x1b[31maway\x1b[0m  w1", "x"], "a colour takes no room");
    }

    proptest! {
        #[test]
        fn wrapping_loses_blanks_only(line in "( {1,3}|[a-z]{1,9}|日|e\u{301}){0,30}", columns in 1_usize..20) {
            let rows = wrap(&line, columns);
            let width = |row: &&str| row.chars().map(terminal::width).sum::<usize>();
            prop_assert!(rows.iter().all(|row| width(row) <= columns.max(2)), "{:?}", rows);
            let dense = |text: &str| text.replace(' ', "");
            prop_assert_eq!(dense(&rows.concat()), dense(&line));
        }
    }
}
