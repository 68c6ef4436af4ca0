//! A file that is read while it arrives: whoever unpacks it need not wait for its last byte.
//!
//! The bytes stand in the file, so nothing of them is held in memory, and the reader of the connection waits for nobody.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::{Receiver, never, select};
use parking_lot::Mutex;

use crate::system::wakeup::Wakeup;

/// How far a file has come.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Bytes that stand in it.
    length: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// All has come, and is what was sent.
    Whole,
    /// The rest does not come any more, or what has come is worth nothing.
    Lost,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Progress>,
    moved: Wakeup,
}

impl Shared {
    fn set(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock());
        self.moved.wake();
    }
}

/// The end of whoever writes the file. Dropped before it is whole, the file is lost.
#[derive(Default)]
pub(super) struct Arrival(Arc<Shared>);

impl Arrival {
    /// So many bytes stand in the file now.
    pub(super) fn has(&self, length: u64) {
        self.0.set(|progress| progress.length = length);
    }

    /// It has come whole.
    pub(super) fn is_whole(&self) {
        self.0.set(|progress| progress.end = Some(End::Whole));
    }

    /// The end of the one who reads `file`, another handle of the file that is written.
    pub(super) fn follow(&self, file: File) -> Arriving {
        Arriving { file, at: 0, shared: self.0.clone(), late: never(), is_late: false }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.0.set(|progress| _ = progress.end.get_or_insert(End::Lost));
    }
}

/// A file that is arriving. Reading waits for what has not come yet, and fails if it does not come. For one reader.
pub struct Arriving {
    file: File,
    at: u64,
    shared: Arc<Shared>,
    late: Receiver<Instant>,
    is_late: bool,
}

impl Arriving {
    /// Reading fails when this becomes ready.
    pub fn until(mut self, late: Receiver<Instant>) -> Self {
        self.late = late;
        self
    }

    /// Whether reading has failed because it took too long.
    pub fn is_late(&self) -> bool {
        self.is_late
    }

    /// The file, with all that stands in it now.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Progress { length, end } = *self.shared.progress.lock();
            let there = length.saturating_sub(self.at);
            match end {
                Some(End::Lost) => return Err(io::Error::other("the rest of it does not come")),
                None if there == 0 => select! {
                    recv(self.shared.moved.channel()) -> _ => (),
                    recv(self.late) -> _ => {
                        self.is_late = true;
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                },
                _ => {
                    let most = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
                    let count = self.file.read_at(&mut buffer[..most], self.at)?;
                    self.at += count as u64;
                    return Ok(count);
                }
            }
        }
    }
}

impl Seek for Arriving {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?,
            // Nobody knows where that will be.
            SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, thread};

    use super::*;

    fn pair() -> (File, Arrival, Arriving) {
        let (file, arrival) = (tempfile::tempfile().unwrap(), Arrival::default());
        let arriving = arrival.follow(file.try_clone().unwrap());
        (file, arrival, arriving)
    }

    #[test]
    fn what_is_read_while_it_arrives_is_what_was_written() {
        let (mut file, arrival, mut arriving) = pair();
        let reader = thread::spawn(move || {
            let mut content = Vec::new();
            arriving.read_to_end(&mut content).map(|_| content)
        });
        let mut written = Vec::new();
        for piece in 0..100_u8 {
            file.write_all(&[piece; 1000]).unwrap();
            written.extend_from_slice(&[piece; 1000]);
            arrival.has(written.len() as u64);
        }
        arrival.is_whole();
        drop(arrival);
        assert_eq!(reader.join().unwrap().unwrap(), written);
    }

    #[test]
    fn what_does_not_come_is_not_waited_for() {
        let (_, arrival, mut arriving) = pair();
        arrival.has(0);
        drop(arrival);
        assert!(arriving.read(&mut [0; 10]).is_err() && !arriving.is_late());
        let (_file, _arrival, arriving) = pair();
        let (late, is_late) = crossbeam_channel::bounded(1);
        let mut arriving = arriving.until(is_late);
        late.send(Instant::now()).unwrap();
        assert_eq!(arriving.read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(arriving.is_late());
    }
}
