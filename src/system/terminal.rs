//! The terminal of this process.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{TIOCGWINSZ, ioctl, winsize};

/// Columns and lines of the window at `stream`; none if it is no terminal, or does not tell.
pub fn window(stream: &impl AsFd) -> Option<(usize, usize)> {
    let mut size = winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: this request writes a `winsize` to the address that it is given, and nothing else.
    let told = unsafe { ioctl(stream.as_fd().as_raw_fd(), TIOCGWINSZ, &raw mut size) };
    (told == 0 && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}
