//! A new content for a file: whole or not at all, and durable when it is done if that matters.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{getegid, geteuid},
};

use super::{disk::Disk, known::Known, stamp::Stamp, user::lasting_mode};

/// The mode of a file that was not there.
const MODE: u32 = 0o640;

/// Bytes that are written at a time, if they come in pieces that are not longer.
const PIECE: usize = 64 * 1024;

fn staged_name(name: &str) -> String {
    format!(".{name}.tmp")
}

/// Removes what a process that has ended in the middle of a replacement of `path` left; tells whether there was something.
/// To be called while nobody replaces it.
///
/// # Errors
/// Those of the disk.
pub fn remove_leftover(disk: &Disk, path: &Path) -> io::Result<bool> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (directory, name) = match disk.place(&path) {
        Err(Errno::ENOENT | Errno::EINVAL) => return Ok(false),
        opened => opened?,
    };
    match disk.remove_file(&directory, &staged_name(name)) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The new content, under another name beside the file; dropping it removes it.
pub struct Replacement<'a> {
    disk: &'a Disk,
    directory: File,
    /// Its content is written; nobody can change it by this.
    file: File,
    path: PathBuf,
    staged: String,
    name: String,
    durable: bool,
    /// Whether there was no file.
    is_new: bool,
    done: bool,
}

impl<'a> Replacement<'a> {
    /// Writes `pieces` beside `path`, with the mode of what stands there and, as far as this process may, its owner; for a
    /// new file that of the directory. A symbolic link stays, and the file that it leads to is replaced. With `durable` it
    /// waits for the disk; otherwise a power cut may lose the content, old and new.
    ///
    /// # Errors
    /// Those of the disk; nothing is left then.
    pub fn new<'p>(
        disk: &'a Disk,
        path: &Path,
        durable: bool,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (directory, name) = disk.place(&path)?;
        let before = path.metadata().ok();
        let (directory, staged) = (File::from(directory), staged_name(name));
        // Another attempt may have left it when its process ended.
        match disk.remove_file(&directory, &staged) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let file = disk.create(&directory, &staged)?;
        let (name, staged_path, is_new) = (name.to_owned(), path.with_file_name(&staged), before.is_none());
        let mut replacement =
            Self { disk, directory, file, path: staged_path, staged, name, durable, is_new, done: false };
        replacement.write(pieces)?;
        disk.set_mode(&replacement.file, before.as_ref().map_or(lasting_mode(MODE), |before| before.mode() & 0o7777))?;
        let like = before.map_or_else(|| replacement.directory.metadata(), Ok)?;
        let owner = (like.uid(), like.gid());
        if owner != (geteuid().as_raw(), getegid().as_raw()) {
            match disk.set_owner(&replacement.file, owner) {
                Ok(()) | Err(Errno::EPERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if durable {
            disk.sync(&replacement.file)?;
        }
        // Whoever watches the file is to see one change of it: not, when it has its name, the end of its writing, too.
        let Self { directory, staged, .. } = &replacement;
        replacement.file = disk.look(directory, &**staged, OFlag::O_PATH | OFlag::O_NOFOLLOW)?.into();
        Ok(replacement)
    }

    /// What it is before it is put in the place of the file.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn stamp(&self) -> io::Result<Stamp> {
        Stamp::of_file(&self.file)
    }

    fn write<'p>(&self, pieces: impl Iterator<Item = &'p [u8]>) -> Result<(), Errno> {
        let mut buffer = Vec::with_capacity(PIECE);
        for piece in pieces {
            if buffer.len() + piece.len() > PIECE {
                self.disk.write(&self.file, &buffer)?;
                buffer.clear();
            }
            if piece.len() > PIECE {
                self.disk.write(&self.file, piece)?;
            } else {
                buffer.extend_from_slice(piece);
            }
        }
        self.disk.write(&self.file, &buffer)
    }

    /// Puts it in the place of the file and gives what the file is then.
    ///
    /// # Errors
    /// Those of the disk. If only the directory could not be made durable, a file that was not there is not there, and of
    /// one that was, the new content is there all the same, and may be lost with the next power cut.
    pub fn commit(mut self) -> io::Result<Stamp> {
        self.disk.rename(&self.directory, &self.staged, &self.name)?;
        self.done = true;
        if let Err(error) = self.sync() {
            if self.is_new {
                self.disk.rename(&self.directory, &self.name, &self.staged)?;
                self.done = false;
            }
            return Err(error.into());
        }
        Stamp::of_file(&self.file)
    }

    fn sync(&self) -> Result<(), Errno> {
        if self.durable { self.disk.sync(&self.directory) } else { Ok(()) }
    }

    /// As [`Replacement::commit`], if what stands there is still `before`; none if it is not, and it stays.
    ///
    /// The two change their names, and only then is looked what the other was: nobody finds it any more to change it.
    /// Where the file system cannot do that, it is looked just before; what somebody else writes at the same instant is
    /// lost, and so is the way back: that the directory could not be made durable is an error in the log only.
    ///
    /// # Errors
    /// Those of the disk; what stands there is then what stood there before.
    pub fn commit_over(mut self, before: &Known) -> io::Result<Option<Stamp>> {
        match self.disk.exchange(&self.directory, &self.staged, &self.name) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                let path = self.path.with_file_name(&self.name);
                return if before.is_renamed_to(&path) { self.rename_over().map(Some) } else { Ok(None) };
            }
            Err(error) => return Err(error.into()),
        }
        if !before.is_renamed_to(&self.path) {
            self.exchange_back()?;
            return Ok(None);
        }
        if let Err(error) = self.sync() {
            // Whoever is told that it failed is not to find it done.
            self.exchange_back()?;
            return Err(error.into());
        }
        Stamp::of_file(&self.file).map(Some)
    }

    /// If that fails, the other is the last to be removed.
    fn exchange_back(&mut self) -> Result<(), Errno> {
        self.done = true;
        self.disk.exchange(&self.directory, &self.staged, &self.name)?;
        self.done = false;
        Ok(())
    }

    fn rename_over(mut self) -> io::Result<Stamp> {
        self.disk.rename(&self.directory, &self.staged, &self.name)?;
        self.done = true;
        if let Err(error) = self.sync() {
            log::error!(
                target: "[Cluster] [Main]",
                "{} is written, but a power cut may undo that: {error}. See whether its disk is sound.",
                self.path.with_file_name(&self.name).display()
            );
        }
        Stamp::of_file(&self.file)
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.done {
            // The next attempt removes it.
            let _ = self.disk.remove_file(&self.directory, &self.staged);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    use super::*;
    use crate::system::disk::faults::{ERRORS, Fault, HARMLESS, at_each, crash_at_each};

    fn write(disk: &Disk, path: &Path, content: &str) -> io::Result<Known> {
        let pieces = || content.as_bytes().chunks(100_000);
        let stamp = Replacement::new(disk, path, true, pieces()).and_then(Replacement::commit)?;
        Ok(Known::written(stamp, pieces()))
    }

    /// The same if the file is still the one of before.
    fn write_over(disk: &Disk, path: &Path, before: &Known, content: &str) -> io::Result<Option<Known>> {
        let pieces = || content.as_bytes().chunks(100_000);
        let stamp = Replacement::new(disk, path, true, pieces())?.commit_over(before)?;
        Ok(stamp.map(|stamp| Known::written(stamp, pieces())))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_link_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("keys"), folder.path().join("link"));
        let stamp = write(&Disk::new(), &path, "first").unwrap();
        assert_eq!(Stamp::of(&path).unwrap(), *stamp.stamp());
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let long = "x".repeat(1_000_000);
        write(&Disk::new(), &link, &long).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), long);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o604);
        assert!(link.is_symlink());
        assert_eq!(names(folder.path()), ["keys", "link"]);
        assert!(write(&Disk::new(), &folder.path().join("none/keys"), "").is_err());
    }

    #[test]
    fn who_watches_the_file_sees_one_change_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let first = write(&Disk::new(), &path, "first").unwrap();
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        inotify.add_watch(folder.path(), AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO).unwrap();
        let seen = || {
            let events = inotify.read_events().unwrap();
            events.iter().filter(|event| event.name.as_deref() == Some("keys".as_ref())).count()
        };
        write_over(&Disk::new(), &path, &first, "second").unwrap().unwrap();
        assert_eq!(seen(), 1);
        write(&Disk::new(), &path, "third").unwrap();
        assert_eq!(seen(), 1);
    }

    #[test]
    fn only_what_a_replacement_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("keys"), folder.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for name in ["keys", ".keys.tmp", ".other.tmp", "keys.tmp"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        assert!(remove_leftover(&Disk::new(), &link).unwrap());
        assert!(!remove_leftover(&Disk::new(), &path).unwrap());
        assert!(!remove_leftover(&Disk::new(), &folder.path().join("none/keys")).unwrap());
        assert_eq!(names(folder.path()), [".other.tmp", "keys", "keys.tmp", "link"]);
    }

    #[test]
    fn what_somebody_else_has_written_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let first = write(&Disk::new(), &path, "first").unwrap();
        let second = write_over(&Disk::new(), &path, &first, "second").unwrap().unwrap();
        assert_eq!((Stamp::of(&path).unwrap(), &*fs::read_to_string(&path).unwrap()), (*second.stamp(), "second"));
        // One who renames, one who writes to the file that is there, one who removes it.
        fs::write(folder.path().join("new"), "their own").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(write_over(&Disk::new(), &path, &second, "third").unwrap().is_none());
        let third = Known::written(Stamp::of(&path).unwrap(), [&b"their own"[..]].into_iter());
        fs::write(&path, "their own, longer").unwrap();
        assert!(write_over(&Disk::new(), &path, &third, "third").unwrap().is_none());
        assert_eq!(
            (fs::read_to_string(&path).unwrap(), names(folder.path())),
            ("their own, longer".into(), vec!["keys".into()])
        );
        fs::remove_file(&path).unwrap();
        assert!(write_over(&Disk::new(), &path, &third, "third").unwrap().is_none());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn whatever_fails_leaves_the_old_content_or_the_new() {
        for fault in ERRORS.into_iter().chain(HARMLESS) {
            // That the new name is durable is made sure when it is there already.
            sweep(fault, true, |disk, path, _| write(disk, path, "the new content").is_ok());
            sweep(fault, false, |disk, path, old| write_over(disk, path, old, "the new content").is_ok());
        }
    }

    #[test]
    fn a_power_cut_leaves_the_old_content_or_the_new_and_what_was_done_stays_done() {
        for new_file in [false, true] {
            let operations = crash_at_each(|disk, luck, context| {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("keys");
                let old = (!new_file).then(|| write(&Disk::new(), &path, "old").unwrap());
                disk.faults.watch(folder.path());
                let done = match &old {
                    Some(old) => write_over(disk, &path, old, "new").is_ok(),
                    None => write(disk, &path, "new").is_ok(),
                };
                disk.faults.cut_power(luck);
                let content = fs::read_to_string(&path).ok();
                let is_old = content.as_deref() == old.map(|_| "old");
                assert!(content.as_deref() == Some("new") || is_old && !done, "{context}: {content:?}");
                remove_leftover(&Disk::new(), &path).unwrap();
                assert!(names(folder.path()).iter().all(|name| name == "keys"), "{context}");
            });
            assert!(operations > 6, "{operations}");
        }
    }

    /// Of case 6.9: whoever is told that it failed does not find it done.
    #[test]
    fn a_directory_that_cannot_be_made_durable_leaves_a_new_file_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let counted = Disk::new();
        write(&counted, &path, "new").unwrap();
        let disk = Disk::failing(counted.faults.done() - 1, Fault::Once(Errno::EIO));
        fs::remove_file(&path).unwrap();
        assert_eq!(write(&disk, &path, "new").unwrap_err().raw_os_error(), Some(Errno::EIO as i32));
        assert!(names(folder.path()).is_empty());
    }

    /// Lets every step of `done` meet this fault; whether only its directory `may_be` new after an error.
    fn sweep(fault: Fault, may_be: bool, done: impl Fn(&Disk, &Path, &Known) -> bool) {
        let mut failed = 0;
        at_each(fault, |disk, context| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("keys");
            let old = write(&Disk::new(), &path, "old").unwrap();
            let done = done(disk, &path, &old);
            failed += usize::from(!done);
            let content = fs::read_to_string(&path).unwrap();
            assert!(content == if done { "the new content" } else { "old" } || may_be && !done, "{context}: {content}");
            assert!(["old", "the new content"].contains(&&*content), "{context}");
            // If it was done, the last step removes the old content, and it is in nobody's way.
            assert!(done || names(folder.path()) == ["keys"], "{context}");
            write(&Disk::new(), &path, "newer").unwrap();
            assert_eq!(
                (fs::read_to_string(&path).unwrap(), names(folder.path())),
                ("newer".into(), vec!["keys".into()])
            );
        });
        assert_eq!(failed == 0, HARMLESS.contains(&fault), "{fault:?}");
    }
}
