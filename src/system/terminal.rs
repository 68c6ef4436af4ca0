//! The terminal of this process.
#![allow(unsafe_code)]

use std::{
    io::IsTerminal,
    os::fd::{AsFd, AsRawFd},
};

use nix::libc::{TIOCGWINSZ, ioctl, winsize};
use unicode_width::UnicodeWidthChar;

/// Whether what is written to `stream` may move about on it.
pub fn can_draw(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Columns that a character takes: two for most of East Asia, none for an accent on the one before it.
pub fn width(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// Columns and lines of the window at `stream`; none if it is no terminal, or does not tell.
pub fn window(stream: &impl AsFd) -> Option<(usize, usize)> {
    let mut size = winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: this request writes a `winsize` to the address that it is given, and nothing else.
    let told = unsafe { ioctl(stream.as_fd().as_raw_fd(), TIOCGWINSZ, &raw mut size) };
    (told == 0 && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}
