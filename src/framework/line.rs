//! Frames between this daemon and a program that runs on the framework, in both directions: `u32 length, u8 kind, payload`,
//! in network order.

use std::io::{self, Read, Write};

use log::Level;

use crate::logging::{self, Scope};

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To the program: its source or its settings, or what it is to do.
    Request = 1,
    /// What came of it.
    Result = 2,
    /// It was not done.
    Refused = 3,
    /// A line for cluster.log: a level, and text.
    Log = 4,
    /// The program can begin; the version of the framework.
    Ready = 5,
    /// The program ends after its next result.
    Last = 6,
    /// The program ends, because of this error.
    Failed = 7,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Request, Self::Result, Self::Refused, Self::Log, Self::Ready, Self::Last, Self::Failed];
}

/// Bytes before the payload.
const HEADER: usize = 5;

/// Writes a frame.
///
/// # Errors
/// When the program has ended, or `payload` is longer than 4 GiB.
pub fn send(to: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&length.to_be_bytes());
    header[4] = kind as u8;
    to.write_all(&header)?;
    to.write_all(payload)
}

/// Reads the kind and the length of the next frame, whose payload follows.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] when the program has ended; [`io::ErrorKind::InvalidData`] when this is not a frame.
pub fn header(from: &mut impl Read) -> io::Result<(Kind, usize)> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let [length @ .., kind] = header;
    let known = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
    let kind =
        known.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it wrote something that is not a frame"))?;
    Ok((kind, u32::from_be_bytes(length) as usize))
}

/// Writes the payload of a [`Kind::Log`] frame to the log.
pub fn log(scope: &Scope, payload: &[u8]) {
    let (level, text) = payload.split_first().map_or((b'I', payload), |(level, text)| (*level, text));
    let level = match level {
        b'E' => Level::Error,
        b'W' => Level::Warn,
        b'D' => Level::Debug,
        _ => Level::Info,
    };
    logging::log!(scope, level, "{}", String::from_utf8_lossy(text));
}
