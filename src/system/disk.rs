//! Every operation by which a worker changes synchronised files: one thin layer, so that a test can make any of them
//! fail, or let the power go out at any of them.
//!
//! All names are single components below an open directory, and no operation follows a symbolic link.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, RenameFlags, fallocate, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, ftruncate, syncfs, unlinkat};

/// What a file system has left for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes.
    pub bytes: u64,
    /// Files; `None` where the file system does not count them.
    pub files: Option<u64>,
    /// Bytes to which the size of a file is rounded up, at most 4096: network file systems name far larger units
    /// here that no file takes.
    pub block: u64,
}

/// The disk.
#[derive(Default)]
pub struct Disk {
    #[cfg(test)]
    pub(crate) faults: faults::Faults,
}

impl Disk {
    /// The real one.
    pub fn new() -> Self {
        Self::default()
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self)] // it has something to ask under test
    fn gate(&self) -> Result<(), Errno> {
        Ok(())
    }

    #[cfg(test)]
    fn gate(&self) -> Result<(), Errno> {
        self.faults.gate()
    }

    /// Creates a file that must not exist, open for writing, readable by the owner only.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, otherwise the error of the system.
    pub fn create(&self, directory: impl AsFd, name: &str) -> Result<File, Errno> {
        self.gate()?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        #[cfg(test)]
        self.faults.watch(&file);
        Ok(file)
    }

    /// Opens a file that exists for writing, as it is.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open(&self, directory: impl AsFd, name: &str) -> Result<File, Errno> {
        self.gate()?;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(directory, name, flags, Mode::empty())?);
        #[cfg(test)]
        self.faults.watch(&file);
        Ok(file)
    }

    /// Makes a file longer, and takes the room for that; where the file system cannot tell beforehand, does nothing.
    ///
    /// # Errors
    /// `ENOSPC` when there is no room, otherwise the error of the system.
    pub fn lengthen(&self, file: impl AsFd, from: u64, to: u64) -> Result<(), Errno> {
        self.gate()?;
        let signed = |length| i64::try_from(length).map_err(|_| Errno::EFBIG);
        match fallocate(file, FallocateFlags::empty(), signed(from)?, signed(to.saturating_sub(from))?) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            other => other,
        }
    }

    /// Gives a file this length.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_length(&self, file: impl AsFd, length: u64) -> Result<(), Errno> {
        self.gate()?;
        ftruncate(file, i64::try_from(length).map_err(|_| Errno::EFBIG)?)
    }

    /// Appends all of `bytes`, or writes them where the file stands.
    ///
    /// # Errors
    /// The error of the system.
    pub fn write(&self, mut file: &File, bytes: &[u8]) -> Result<(), Errno> {
        self.gate()?;
        file.write_all(bytes).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    /// Sets the permission bits, whatever the umask.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_mode(&self, file: impl AsFd, mode: u32) -> Result<(), Errno> {
        self.gate()?;
        fchmod(file, Mode::from_bits_truncate(mode))
    }

    /// Sets user and group.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_owner(&self, file: impl AsFd, (user, group): (u32, u32)) -> Result<(), Errno> {
        self.gate()?;
        fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
    }

    /// Makes a file or the names of a directory durable.
    ///
    /// # Errors
    /// The error of the system.
    pub fn sync(&self, file: impl AsFd) -> Result<(), Errno> {
        self.gate()?;
        #[cfg(test)]
        self.faults.synced(&file);
        fsync(file)
    }

    /// Makes everything on the file system of `file` durable.
    ///
    /// # Errors
    /// The error of the system.
    pub fn sync_file_system(&self, file: impl AsFd) -> Result<(), Errno> {
        self.gate()?;
        #[cfg(test)]
        self.faults.all_synced();
        syncfs(file)
    }

    /// Gives a file another name in the same directory, replacing what has that name.
    ///
    /// # Errors
    /// The error of the system.
    pub fn rename(&self, directory: impl AsFd, from: &str, to: &str) -> Result<(), Errno> {
        self.gate()?;
        #[cfg(test)]
        if self.faults.mounts.contains(&to) {
            return Err(Errno::EBUSY);
        }
        let directory = directory.as_fd();
        renameat(directory, from, directory, to)
    }

    /// Lets two files of the same directory change their names at once.
    ///
    /// # Errors
    /// The error of the system.
    pub fn exchange(&self, directory: impl AsFd, one: &str, other: &str) -> Result<(), Errno> {
        self.gate()?;
        let directory = directory.as_fd();
        renameat2(directory, one, directory, other, RenameFlags::RENAME_EXCHANGE)
    }

    /// Removes a file, never a directory.
    ///
    /// # Errors
    /// The error of the system.
    pub fn remove_file(&self, directory: impl AsFd, name: &str) -> Result<(), Errno> {
        self.gate()?;
        #[cfg(test)]
        if self.faults.mounts.contains(&name) {
            return Err(Errno::EBUSY);
        }
        unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it is not empty, otherwise the error of the system.
    pub fn remove_directory(&self, directory: impl AsFd, name: &str) -> Result<(), Errno> {
        self.gate()?;
        unlinkat(directory, name, UnlinkatFlags::RemoveDir)
    }

    /// Makes a directory that must not exist; its mode is subject to the umask until [`Disk::set_mode`].
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, otherwise the error of the system.
    pub fn make_directory(&self, directory: impl AsFd, name: &str) -> Result<(), Errno> {
        self.gate()?;
        mkdirat(directory, name, Mode::S_IRWXU | Mode::S_IRWXG)
    }

    /// What is left on the file system of `file`. Changes nothing and never fails by a test's plan.
    ///
    /// # Errors
    /// The error of the system.
    pub fn space(&self, file: impl AsFd) -> Result<Space, Errno> {
        #[cfg(test)]
        if let Some(space) = self.faults.space {
            return Ok(space);
        }
        let vfs = fstatvfs(file)?;
        let unit = vfs.fragment_size().max(1);
        let (bytes, block) = (vfs.blocks_available().saturating_mul(unit), unit.min(4096));
        Ok(Space { bytes, files: (vfs.files() > 0).then(|| vfs.files_available()), block })
    }
}

#[cfg(test)]
pub(crate) mod faults {
    //! A plan by which operations fail.

    use std::fs::File;
    use std::os::fd::AsFd;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nix::errno::Errno;
    use nix::sys::stat::fstat;

    use super::Space;

    /// What happens at an operation.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(crate) enum Fault {
        /// This one operation fails.
        Once(Errno),
        /// The program is at fault.
        Panic,
        /// The power goes out: this operation and all later ones fail, and files that were not synced lose half of
        /// their content.
        Crash,
    }

    #[derive(Default)]
    pub(crate) struct Faults {
        pub(crate) plan: Option<(usize, Fault)>,
        pub(crate) space: Option<Space>,
        /// Names that no file can take or leave, as if each were a mount.
        pub(crate) mounts: Vec<&'static str>,
        done: AtomicUsize,
        unsynced: Mutex<Vec<File>>,
    }

    impl Faults {
        pub(crate) fn done(&self) -> usize {
            self.done.load(Ordering::SeqCst)
        }

        pub(super) fn gate(&self) -> Result<(), Errno> {
            let now = self.done.fetch_add(1, Ordering::SeqCst);
            match self.plan {
                Some((at, Fault::Once(error))) if at == now => Err(error),
                Some((at, Fault::Panic)) if at == now => panic!("operation {at}"),
                Some((at, Fault::Crash)) if at <= now => {
                    for file in self.unsynced.lock().unwrap().drain(..) {
                        let length = file.metadata().unwrap().len();
                        file.set_len(length / 2).unwrap();
                    }
                    Err(Errno::EIO)
                }
                _ => Ok(()),
            }
        }

        pub(super) fn watch(&self, file: &File) {
            if self.plan.is_some() {
                self.unsynced.lock().unwrap().push(file.try_clone().unwrap());
            }
        }

        pub(super) fn synced(&self, file: impl AsFd) {
            let inode = fstat(file).unwrap().st_ino;
            self.unsynced.lock().unwrap().retain(|other| fstat(other).unwrap().st_ino != inode);
        }

        pub(super) fn all_synced(&self) {
            self.unsynced.lock().unwrap().clear();
        }
    }
}
