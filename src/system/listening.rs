//! Ending a wait for connections.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::socket::{Shutdown, shutdown};

/// Makes a blocked `accept` on this listening socket return when it is called.
///
/// # Errors
/// When the socket cannot be cloned.
pub fn stopper<S: AsFd>(socket: &S) -> io::Result<impl FnOnce() + Send + use<S>> {
    let socket = socket.as_fd().try_clone_to_owned()?;
    Ok(move || {
        // A listening socket that is shut down wakes its accept; there is nothing to do if it fails.
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
    })
}
