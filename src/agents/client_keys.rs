//! client.keys, line by line (`spec/registration.md` 1).
//!
//! Of lines of agents that there are with one number, `7` and `007` alike, the first counts, for everybody who reads the
//! file.

use std::io::{self, BufRead, BufReader, Read, Take};

/// The longest file, in bytes: half a million agents.
pub const LONGEST_FILE: u64 = 64 * 1024 * 1024;

/// The longest line that is understood, in bytes.
pub const LONGEST_LINE: usize = 2047;

/// Bytes that are read at a time.
const BUFFER: usize = 64 * 1024;

/// An id without its leading zeros, by which ids are compared: `7` and `007` are one row of the agent database.
pub fn number(id: &str) -> &str {
    id.trim_start_matches('0')
}

/// A line of client.keys, without what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// An agent that exists.
    Agent(Key<'a>),
    /// An agent that was removed. Its id stays taken.
    Removed {
        /// The id.
        id: &'a str,
    },
    /// A comment, or nothing that can be understood.
    Other,
}

/// What client.keys says of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// As it is written, usually with at least three digits.
    pub id: &'a str,
    /// Without blanks.
    pub name: &'a str,
    /// `any`, an address, or an address and a prefix.
    pub ip: &'a str,
    /// The rest of the line.
    pub key: &'a str,
}

impl<'a> Line<'a> {
    /// Understands a line.
    pub fn parse(line: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(line) else { return Self::Other };
        if text.starts_with(['#', ' ']) || line.len() > LONGEST_LINE {
            return Self::Other;
        }
        let mut parts = text.trim_end_matches('\r').splitn(4, ' ').filter(|part| !part.is_empty());
        match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some(id), Some(name), Some(ip), Some(key)] => match name.starts_with(['!', '#']) {
                true => Self::Removed { id },
                false => Self::Agent(Key { id, name, ip, key }),
            },
            _ => Self::Other,
        }
    }
}

/// A file, read line by line: it may be long, and memory is for one line.
pub struct Lines<R> {
    file: BufReader<Take<R>>,
    line: Vec<u8>,
    length: u64,
}

impl<R: Read> Lines<R> {
    /// From where `file` stands.
    pub fn new(file: R) -> Self {
        let file = BufReader::with_capacity(BUFFER, file.take(LONGEST_FILE + 1));
        Self { file, line: Vec::new(), length: 0 }
    }

    /// The next line, without what ends it, and whether that is there: the last may not have been written to its end.
    /// None after the last.
    ///
    /// # Errors
    /// When the file cannot be read, or turns out to be longer than [`LONGEST_FILE`]: lines that were given are not to
    /// count then.
    pub fn read(&mut self) -> io::Result<Option<(&[u8], bool)>> {
        self.line.clear();
        let length = self.file.read_until(b'\n', &mut self.line)?;
        self.length += length as u64;
        if self.length > LONGEST_FILE {
            return Err(io::Error::other(format!("it is longer than {LONGEST_FILE} bytes")));
        }
        Ok((length > 0).then(|| match self.line.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (&self.line[..], false),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_agent_one_that_was_removed_or_neither() {
        let agent = |id, name, ip, key| Line::Agent(Key { id, name, ip, key });
        for (text, expected) in [
            (&b"001 web any k1"[..], agent("001", "web", "any", "k1")),
            (b"003 db 10.0.0.0/8 k3 k4\r", agent("003", "db", "10.0.0.0/8", "k3 k4")),
            (b"002 !old any k2", Line::Removed { id: "002" }),
            (b"002 #old any k2", Line::Removed { id: "002" }),
            (b"x y z k", agent("x", "y", "z", "k")),
            (b"# 9 x any k", Line::Other),
            (b" 8 x any k", Line::Other),
            (b"4 a any", Line::Other),
            (b"4 a  k", Line::Other),
            (b"", Line::Other),
            (b"4 \xff any k", Line::Other),
        ] {
            assert_eq!(Line::parse(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_no_agent() {
        let line = |length: usize| format!("001 web any {}", "k".repeat(length - 12)).into_bytes();
        assert!(matches!(Line::parse(&line(LONGEST_LINE)), Line::Agent(_)));
        assert_eq!(Line::parse(&line(LONGEST_LINE + 1)), Line::Other);
    }

    #[test]
    fn a_file_is_read_to_its_end_if_it_is_not_too_long() {
        let mut half = Lines::new(&b"a\n\nb"[..]);
        for expected in [Some((&b"a"[..], true)), Some((b"", true)), Some((b"b", false)), None, None] {
            assert_eq!(half.read().unwrap(), expected);
        }
        let long = |length| Lines::new(io::repeat(b'x').take(length)).read().map(|line| line.is_some());
        assert!(long(LONGEST_FILE).unwrap());
        assert!(long(LONGEST_FILE + 1).is_err());
    }
}
