//! Reading a delta, which comes in pieces.

use super::{COPY, INSERT};

/// Why a delta cannot be carried out. Whoever sent it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither insert nor copy.
    #[error("it has a step that is none")]
    Unknown,
    /// A step does nothing.
    #[error("it has a step without length")]
    Empty,
    /// It makes more than was said.
    #[error("it makes a longer content than it is to make")]
    TooLong,
    /// It makes less than was said, or ends in the middle of a step.
    #[error("it ends too early")]
    TooShort,
}

/// What is next of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// These bytes.
    Insert(&'a [u8]),
    /// So many bytes of the base from there on, if it has them.
    Copy {
        /// From the start of the base.
        from: u64,
        /// More than none.
        length: u64,
    },
}

/// Takes a delta apart. Never makes more than the size that was said, and holds no more than the beginning of a step.
pub struct Steps {
    /// Bytes that are still to be made.
    left: u64,
    /// Bytes that are still to be inserted by the present step.
    inserting: u64,
    /// The beginning of the next step.
    head: Vec<u8>,
}

/// The longest beginning of a step.
const HEAD: usize = 17;

impl Steps {
    /// Of a delta that makes a content of this size.
    pub fn new(size: u64) -> Self {
        Self { left: size, inserting: 0, head: Vec::with_capacity(HEAD) }
    }

    /// Takes the next piece, and gives what it says to `step`.
    ///
    /// # Errors
    /// Those of `step`, and [`Fault`].
    pub fn take<E: From<Fault>>(
        &mut self,
        mut piece: &[u8],
        mut step: impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !piece.is_empty() {
            if self.inserting > 0 {
                let count = piece.len().min(usize::try_from(self.inserting).unwrap_or(usize::MAX));
                let (now, rest) = piece.split_at(count);
                step(Step::Insert(now))?;
                self.inserting -= count as u64;
                piece = rest;
                continue;
            }
            self.head.push(piece[0]);
            piece = &piece[1..];
            match (self.head[0], self.head.len()) {
                (INSERT, 9) => self.inserting = self.promised(1)?,
                (COPY, HEAD) => {
                    let (from, length) = (self.number(1), self.promised(9)?);
                    step(Step::Copy { from, length })?;
                }
                (INSERT | COPY, _) => continue,
                _ => return Err(Fault::Unknown.into()),
            }
            self.head.clear();
        }
        Ok(())
    }

    /// At its end.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn finish(self) -> Result<(), Fault> {
        let is_whole = self.left == 0 && self.inserting == 0 && self.head.is_empty();
        if is_whole { Ok(()) } else { Err(Fault::TooShort) }
    }

    /// The length at this place, by which less is left.
    fn promised(&mut self, at: usize) -> Result<u64, Fault> {
        let length = self.number(at);
        if length == 0 {
            return Err(Fault::Empty);
        }
        self.left = self.left.checked_sub(length).ok_or(Fault::TooLong)?;
        Ok(length)
    }

    /// The eight bytes at this place, which are there.
    fn number(&self, at: usize) -> u64 {
        self.head[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}
