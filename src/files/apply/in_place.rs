//! Writing over a file that is a mount of its own, as containers have them: no other file can take its name.
//!
//! The promise is weaker than elsewhere: for an instant others see a mixture, and after a crash it is there until the next
//! start. But the journal and the staged content stay until all of it is on the disk, so that start does it again.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek},
    os::fd::OwnedFd,
};

use nix::{errno::Errno, fcntl::OFlag};

use crate::system::disk::Disk;

/// Bytes written at a time.
const CHUNK: usize = 64 * 1024;

/// Gives the file `name` the content of the file `staged` of the same directory, durably, and removes the latter.
///
/// The file keeps its owner and its mode, which are those of whoever mounted it. If there is no room for a longer content,
/// nothing has changed.
pub(super) fn overwrite(disk: &Disk, directory: &OwnedFd, staged: &str, name: &str) -> Result<(), Errno> {
    let source = File::from(disk.look(directory, staged, OFlag::O_RDONLY | OFlag::O_NOFOLLOW)?);
    let target = disk.open(directory, name)?;
    let (new, old) = (length(&source)?, length(&target)?);
    if new > old {
        disk.lengthen(&target, old, new).inspect_err(|_| _ = disk.set_length(&target, old))?;
    }
    // Once more, before half a file is left.
    write(disk, &source, &target, new).or_else(|_| write(disk, &source, &target, new))?;
    // One that stays is removed by the next start.
    disk.remove_file(directory, staged).ok();
    Ok(())
}

fn write(disk: &Disk, mut source: &File, mut target: &File, length: u64) -> Result<(), Errno> {
    source.rewind().and_then(|()| target.rewind()).map_err(errno)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => disk.write(target, &chunk[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(errno(error)),
        }
    }
    disk.set_length(target, length)?;
    disk.sync(target)
}

/// The length of a regular file.
fn length(file: &File) -> Result<u64, Errno> {
    let about = file.metadata().map_err(errno)?;
    if about.is_file() { Ok(about.len()) } else { Err(Errno::EBUSY) }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
