//! A buffered reader that knows its place and moves cheaply inside its buffer.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// A window on a file: the bytes from the current place on.
pub struct Window<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// Offset in the file of the buffer's start.
    base: u64,
    at: usize,
    end: usize,
}

impl<R: Read + Seek> Window<R> {
    /// A window at the start of `inner`.
    pub fn new(mut inner: R) -> io::Result<Self> {
        inner.rewind()?;
        Ok(Self::at_start(inner))
    }

    /// A window on what stands at its start already.
    pub fn at_start(inner: R) -> Self {
        Self { inner, buffer: vec![0; CHUNK].into_boxed_slice(), base: 0, at: 0, end: 0 }
    }

    /// The bytes at the current place; none at the end of the file.
    pub fn fill(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            self.base += self.end as u64;
            (self.at, self.end) = (0, 0);
            self.end = loop {
                match self.inner.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
        }
        Ok(&self.buffer[self.at..self.end])
    }

    /// Goes on by `count` of the bytes that [`Window::fill`] gave.
    pub fn consume(&mut self, count: usize) {
        self.at = self.end.min(self.at + count);
    }

    /// The current place, from the start of the file.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Goes to a place of the file.
    pub fn seek(&mut self, to: u64) -> io::Result<()> {
        match to.checked_sub(self.base).and_then(|ahead| usize::try_from(ahead).ok()) {
            Some(ahead) if ahead <= self.end => self.at = ahead,
            _ => {
                self.inner.seek(SeekFrom::Start(to))?;
                (self.base, self.at, self.end) = (to, 0, 0);
            }
        }
        Ok(())
    }
}

/// A file with a place of its own: several threads can read the same open file.
pub struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Positioned<'_> {
    /// At the start of the file.
    pub fn new(file: &File) -> Positioned<'_> {
        Positioned { file, at: 0 }
    }
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Positioned<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.file.metadata()?.len(), by),
        };
        self.at = base.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn it_reads_the_same_bytes_after_any_move() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 5).map(|n| (n % 251) as u8).collect();
        let mut window = Window::new(Cursor::new(&bytes)).unwrap();
        for to in [0, 5, CHUNK, 3, 2 * CHUNK + 7, 2 * CHUNK + 9, 3 * CHUNK + 5, 0] {
            window.seek(to as u64).unwrap();
            assert_eq!(window.offset(), to as u64);
            let mut rest = Vec::new();
            while rest.len() < CHUNK + 1 {
                let seen = window.fill().unwrap();
                if seen.is_empty() {
                    break;
                }
                let count = seen.len().min(1000);
                rest.extend_from_slice(&seen[..count]);
                window.consume(count);
            }
            assert!(bytes[to..].starts_with(&rest));
            assert!(rest.len() > CHUNK || rest.len() == bytes.len() - to);
        }
    }
}
