//! client.keys, line by line (`spec/registration.md` 1).

/// The longest file, in bytes: half a million agents.
pub const LONGEST_FILE: u64 = 64 * 1024 * 1024;

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
        if text.starts_with(['#', ' ']) {
            return Self::Other;
        }
        match text.trim_end_matches('\r').splitn(4, ' ').collect::<Vec<_>>()[..] {
            [id, name, ip, key] if ![id, name, ip, key].contains(&"") => match name.starts_with(['!', '#']) {
                true => Self::Removed { id },
                false => Self::Agent(Key { id, name, ip, key }),
            },
            _ => Self::Other,
        }
    }
}

/// The lines of a file, and whether each has its end: the last may not have been written to it.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(|line| match line.strip_suffix(b"\n") {
        Some(line) => (line, true),
        None => (line, false),
    })
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
        let half: Vec<_> = lines(b"a\n\nb").collect();
        assert_eq!(half, [(&b"a"[..], true), (b"", true), (b"b", false)]);
    }
}
