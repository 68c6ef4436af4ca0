//! The twelve bytes that name a message on the wire (`spec/protocol.md` 2.2).

use std::fmt;

use super::Command;

const LENGTH: usize = 12;
/// Where the flag of a divided message stands.
const FLAG: usize = LENGTH - 1;
const DIVIDED: u8 = b'd';

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().trim_end())
    }
}

/// The twelve bytes of a frame's header that name its command and carry the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandField([u8; LENGTH]);

impl CommandField {
    /// The field of an undivided message.
    pub fn new(command: Command) -> Self {
        let (mut field, name) = ([b'-'; LENGTH], command.name().as_bytes());
        field[..name.len()].copy_from_slice(name);
        field[name.len()] = b' ';
        Self(field)
    }

    /// A field as it was received.
    pub const fn received(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand in the header.
    pub const fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// The same command in a fragment of a divided message, which may be the last.
    pub fn fragment(mut self, last: bool) -> Self {
        self.0[FLAG] = if last { b'-' } else { DIVIDED };
        self
    }

    /// Whether more fragments of this message follow.
    pub fn more_follows(&self) -> bool {
        self.0[FLAG] == DIVIDED
    }

    /// The name: what stands before the first blank of the first eleven bytes.
    pub fn name(&self) -> &[u8] {
        let text = &self.0[..FLAG];
        &text[..text.iter().position(|byte| *byte == b' ').unwrap_or(FLAG)]
    }

    /// Whether this names an answer ([`Command::is_answer`]).
    pub fn is_answer(&self) -> bool {
        Command::named(self.name()).is_some_and(Command::is_answer)
    }
}

/// Shows the name; bytes that are not text as `\x..`.
impl fmt::Display for CommandField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_bytes_of_the_original() {
        let cases: [(Command, &[u8; 12]); 5] = [
            (Command::Echo, b"echo -------"),
            (Command::Ok, b"ok ---------"),
            (Command::OkFile, b"ok  --------"),
            (Command::OkMaster, b"ok-m  ------"),
            (Command::IntegrityPermission, b"syn_i_w_m_p "),
        ];
        for (command, bytes) in cases {
            assert_eq!(CommandField::new(command).bytes(), bytes);
        }
        assert_eq!(CommandField::new(Command::Err).bytes(), b"err --------", "C programs compare these bytes");
    }

    #[test]
    fn names_end_at_the_first_blank() {
        let name = |bytes: &[u8; 12]| String::from_utf8_lossy(CommandField::received(*bytes).name()).into_owned();
        assert_eq!(name(b"echo        "), "echo");
        assert_eq!(name(b"echo--------"), "echo-------");
        assert_eq!(name(b"ok  --------"), "ok");
        assert_eq!(name(b"syn_i_w_m_p "), "syn_i_w_m_p");
        assert_eq!(name(b"            "), "");
    }

    #[test]
    fn only_the_last_byte_marks_a_fragment() {
        assert!(CommandField::received(*b"echo ------d").more_follows());
        assert!(!CommandField::received(*b"echo -----d-").more_follows());
        assert!(!CommandField::received(*b"echo ------x").more_follows());
        assert_eq!(CommandField::new(Command::IntegrityPermission).fragment(true).bytes(), b"syn_i_w_m_p-");
    }
}
