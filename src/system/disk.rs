//! The door to the file systems: every operation by which this daemon changes what is there, and those by which what must
//! outlast a crash is opened.
//!
//! It is one thin layer, so that a test can let any operation fail, or let the power go out at any of them (`faults`); a
//! lint (`etc/lint/clippy.toml`) keeps everybody outside of [`crate::system`] from going past it. An operation that a
//! signal interrupts begins anew, and what is written in part is written on. Files without a name, which end with whoever
//! opened them, need no door.
//!
//! What is changed is named by a single component below an open directory, and no symbolic link is followed there.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use nix::{
    NixPath,
    errno::Errno,
    fcntl::{AT_FDCWD, FallocateFlags, OFlag, RenameFlags, fallocate, openat, renameat, renameat2},
    sys::{
        stat::{Mode, fchmod, mkdirat},
        statvfs::fstatvfs,
    },
    unistd::{self, Gid, Uid, UnlinkatFlags, fchown, fsync, ftruncate, syncfs, unlinkat},
};

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod model;

#[cfg(test)]
pub(crate) use model::Luck;

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

/// What an operation is about to do; a test's store fails it by this, and remembers it.
#[derive(Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "only a test looks into it"))]
enum What<'a> {
    /// Something that is there is opened.
    Open,
    /// A file that is not there, or not yet, gets this name.
    Create(BorrowedFd<'a>, &'a str),
    /// A directory that is not there gets this name.
    MakeDirectory(BorrowedFd<'a>, &'a str),
    /// Bytes are written.
    Write(BorrowedFd<'a>),
    /// A file gets room.
    Lengthen(BorrowedFd<'a>),
    SetLength(BorrowedFd<'a>),
    /// Mode or owner change.
    Attribute,
    /// A file or a directory is made durable.
    Sync(BorrowedFd<'a>),
    SyncAll,
    Rename(BorrowedFd<'a>, &'a str, &'a str),
    Exchange(BorrowedFd<'a>, &'a str, &'a str),
    Remove(BorrowedFd<'a>, &'a str),
}

/// The disk. Cheap to clone; all clones of one are the same disk.
#[derive(Clone, Default)]
pub struct Disk {
    #[cfg(test)]
    pub(crate) faults: faults::Faults,
}

impl Disk {
    /// The real one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does an operation, and does it again when a signal has interrupted it.
    #[inline]
    fn call<T>(&self, what: What<'_>, operation: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            match self.once(what, &operation) {
                Err(Errno::EINTR) => {}
                done => return done,
            }
        }
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self)] // it has something to ask under test
    fn once<T>(&self, _: What<'_>, operation: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        operation()
    }

    #[cfg(test)]
    fn once<T>(&self, what: What<'_>, operation: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        self.faults.once(what, operation)
    }

    /// Opens something that is there, to read it or to look into it, with these flags; never for writing.
    ///
    /// # Errors
    /// The error of the system.
    pub fn look<P: NixPath + ?Sized>(&self, directory: impl AsFd, name: &P, flags: OFlag) -> Result<OwnedFd, Errno> {
        let directory = directory.as_fd();
        self.call(What::Open, || openat(directory, name, flags | OFlag::O_CLOEXEC, Mode::empty()))
    }

    /// Opens a directory, wherever links lead to.
    ///
    /// # Errors
    /// The error of the system.
    pub fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        self.call(What::Open, || openat(AT_FDCWD, path, flags, Mode::empty()))
    }

    /// Opens a file for reading, wherever links lead to.
    ///
    /// # Errors
    /// The error of the system.
    pub fn file(&self, path: &Path) -> Result<File, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        self.call(What::Open, || openat(AT_FDCWD, path, flags, Mode::empty())).map(File::from)
    }

    /// Opens the directory in which `path` is, wherever links lead to, and gives its name there.
    ///
    /// # Errors
    /// `EINVAL` when there is no such name, or it is no text; otherwise the error of the system.
    pub fn place<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p str), Errno> {
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(parent), Some(name)) = (path.parent(), name) else { return Err(Errno::EINVAL) };
        Ok((self.directory(parent)?, name))
    }

    /// Creates a file that must not exist, open for writing, readable by the owner only.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, otherwise the error of the system.
    pub fn create(&self, directory: impl AsFd, name: &str) -> Result<File, Errno> {
        let directory = directory.as_fd();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = || openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        self.call(What::Create(directory, name), open).map(File::from)
    }

    /// Opens a file for appending; one that is missing is made, with this mode as far as the umask lets it.
    ///
    /// # Errors
    /// The error of the system.
    pub fn append(&self, directory: impl AsFd, name: &str, mode: u32) -> Result<File, Errno> {
        let (directory, mode) = (directory.as_fd(), Mode::from_bits_truncate(mode));
        let access = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT;
        let flags = access | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        self.call(What::Create(directory, name), || openat(directory, name, flags, mode)).map(File::from)
    }

    /// Opens a file that exists for writing, as it is.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open(&self, directory: impl AsFd, name: &str) -> Result<File, Errno> {
        let directory = directory.as_fd();
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        self.call(What::Open, || openat(directory, name, flags, Mode::empty())).map(File::from)
    }

    /// Makes a file longer, and takes the room for that; where the file system cannot tell beforehand, does nothing.
    ///
    /// # Errors
    /// `ENOSPC` when there is no room, otherwise the error of the system.
    pub fn lengthen(&self, file: impl AsFd, from: u64, to: u64) -> Result<(), Errno> {
        let signed = |length| i64::try_from(length).map_err(|_| Errno::EFBIG);
        let (file, from, more) = (file.as_fd(), signed(from)?, signed(to.saturating_sub(from))?);
        match self.call(What::Lengthen(file), || fallocate(file, FallocateFlags::empty(), from, more)) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            other => other,
        }
    }

    /// Gives a file this length.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_length(&self, file: impl AsFd, length: u64) -> Result<(), Errno> {
        let (file, length) = (file.as_fd(), i64::try_from(length).map_err(|_| Errno::EFBIG)?);
        self.call(What::SetLength(file), || ftruncate(file, length))
    }

    /// Appends all of `bytes`, or writes them where the file stands.
    ///
    /// # Errors
    /// The error of the system.
    pub fn write(&self, file: &File, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write_some(file, bytes)?..];
        }
        Ok(())
    }

    /// Writes as many of `bytes`, which are not none, as are taken at once; gives their number.
    ///
    /// # Errors
    /// The error of the system; nothing was written then.
    pub fn write_some(&self, file: &File, bytes: &[u8]) -> Result<usize, Errno> {
        #[cfg(test)]
        let bytes = self.faults.shortened(bytes);
        match self.call(What::Write(file.as_fd()), || unistd::write(file, bytes))? {
            0 => Err(Errno::EIO),
            count => Ok(count),
        }
    }

    /// Sets the permission bits, whatever the umask.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_mode(&self, file: impl AsFd, mode: u32) -> Result<(), Errno> {
        let (file, mode) = (file.as_fd(), Mode::from_bits_truncate(mode));
        self.call(What::Attribute, || fchmod(file, mode))
    }

    /// Sets user and group.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set_owner(&self, file: impl AsFd, (user, group): (u32, u32)) -> Result<(), Errno> {
        let file = file.as_fd();
        self.call(What::Attribute, || fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))))
    }

    /// Makes a file or the names of a directory durable.
    ///
    /// # Errors
    /// The error of the system.
    pub fn sync(&self, file: impl AsFd) -> Result<(), Errno> {
        let file = file.as_fd();
        self.call(What::Sync(file), || fsync(file))
    }

    /// Makes everything on the file system of `file` durable.
    ///
    /// # Errors
    /// The error of the system.
    pub fn sync_file_system(&self, file: impl AsFd) -> Result<(), Errno> {
        let file = file.as_fd();
        self.call(What::SyncAll, || syncfs(file))
    }

    /// Gives a file another name in the same directory, replacing what has that name.
    ///
    /// # Errors
    /// The error of the system.
    pub fn rename(&self, directory: impl AsFd, from: &str, to: &str) -> Result<(), Errno> {
        let directory = directory.as_fd();
        self.call(What::Rename(directory, from, to), || renameat(directory, from, directory, to))
    }

    /// Lets two files of the same directory change their names at once.
    ///
    /// # Errors
    /// The error of the system.
    pub fn exchange(&self, directory: impl AsFd, one: &str, other: &str) -> Result<(), Errno> {
        let (directory, flags) = (directory.as_fd(), RenameFlags::RENAME_EXCHANGE);
        self.call(What::Exchange(directory, one, other), || renameat2(directory, one, directory, other, flags))
    }

    /// Removes a file, never a directory.
    ///
    /// # Errors
    /// The error of the system.
    pub fn remove_file(&self, directory: impl AsFd, name: &str) -> Result<(), Errno> {
        let directory = directory.as_fd();
        self.call(What::Remove(directory, name), || unlinkat(directory, name, UnlinkatFlags::NoRemoveDir))
    }

    /// Removes the file at `path`, never a directory.
    ///
    /// # Errors
    /// As of [`Disk::place`] and [`Disk::remove_file`].
    pub fn remove_file_at(&self, path: &Path) -> Result<(), Errno> {
        let (directory, name) = self.place(path)?;
        self.remove_file(directory, name)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it is not empty, otherwise the error of the system.
    pub fn remove_directory(&self, directory: impl AsFd, name: &str) -> Result<(), Errno> {
        let directory = directory.as_fd();
        self.call(What::Remove(directory, name), || unlinkat(directory, name, UnlinkatFlags::RemoveDir))
    }

    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// The error of the system; some of it may be gone then.
    pub fn remove_tree(&self, path: &Path) -> Result<(), Errno> {
        let (directory, name) = self.place(path)?;
        let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        self.call(What::Remove(directory.as_fd(), name), || std::fs::remove_dir_all(path).map_err(errno))
    }

    /// Makes a directory that must not exist; its mode is subject to the umask until [`Disk::set_mode`].
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, otherwise the error of the system.
    pub fn make_directory(&self, directory: impl AsFd, name: &str) -> Result<(), Errno> {
        let (directory, mode) = (directory.as_fd(), Mode::S_IRWXU | Mode::S_IRWXG);
        self.call(What::MakeDirectory(directory, name), || mkdirat(directory, name, mode))
    }

    /// What is left on the file system of `file`. Changes nothing and never fails by a test's plan.
    ///
    /// # Errors
    /// The error of the system.
    pub fn space(&self, file: impl AsFd) -> Result<Space, Errno> {
        #[cfg(test)]
        if let Some(space) = self.faults.space() {
            return Ok(space);
        }
        let vfs = fstatvfs(file)?;
        let unit = vfs.fragment_size().max(1);
        let (bytes, block) = (vfs.blocks_available().saturating_mul(unit), unit.min(4096));
        Ok(Space { bytes, files: (vfs.files() > 0).then(|| vfs.files_available()), block })
    }
}
