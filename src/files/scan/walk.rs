//! Walking the directories of the items.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
};

use super::problems::{LONGEST_FILE, Problems, Root, TOO_LARGE, Unreadable};
use crate::{
    files::{
        items::{DEEPEST, Item, ItemId, Items},
        path::{self, LONGEST_PATH},
        watch::{Suspects, Watch},
    },
    system::stamp::{Stamp, step},
};

/// A regular file that belongs to an item.
pub(super) struct Found<'w> {
    pub(super) path: &'w str,
    pub(super) item: ItemId,
    pub(super) stamp: Stamp,
    /// Whether it may be changed by another name, so that nobody is told.
    pub(super) has_names: bool,
}

/// One walk over the items. Calls `found` for every file, in path order within an item.
pub(super) struct Walk<'a> {
    home: &'a Path,
    items: &'a Items,
    watch: Option<&'a Watch>,
    found: &'a mut dyn FnMut(Found<'_>),
    problems: &'a mut Problems,
    /// The path so far; a directory's ends with a slash.
    path: String,
    /// The device of the directory.
    device: u64,
    directories: Vec<String>,
}

/// One name of a directory; subdirectories sort as if a slash followed, which makes the order that of whole paths.
struct Name {
    name: CString,
    kind: NameKind,
}

impl Name {
    fn spelling(&self) -> impl Iterator<Item = &u8> {
        self.name.to_bytes().iter().chain((self.kind == NameKind::Directory).then_some(&b'/'))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum NameKind {
    Directory,
    File,
    Link,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        home: &'a Path,
        items: &'a Items,
        problems: &'a mut Problems,
        found: &'a mut dyn FnMut(Found<'_>),
    ) -> Self {
        Walk { home, items, watch: None, found, problems, path: String::new(), device: 0, directories: Vec::new() }
    }

    /// Lets `watch` watch each directory from before it is read.
    pub(super) fn watched(self, watch: Option<&'a Watch>) -> Self {
        Walk { watch, ..self }
    }

    /// Looks at every file. Gives the items' own directories.
    pub(super) fn everything(mut self) -> Vec<Root> {
        let mut roots = Vec::new();
        for (item, Item { key, .. }) in self.items.iter() {
            self.path.clear();
            self.path.push_str(key);
            match self.root(item) {
                Ok(fd) => {
                    roots.push(Root { item, place: fstat(&fd).ok().map(|stat| (stat.st_dev, stat.st_ino)) });
                    self.directory(fd, item, 0);
                }
                Err(Errno::ENOENT) => roots.push(Root { item, place: None }),
                Err(error) => self.problems.directory(key, error.desc().to_owned()),
            }
        }
        if let Some(watch) = self.watch {
            watch.end(&self.directories);
        }
        roots
    }

    /// Looks at these files.
    pub(super) fn only(mut self, suspects: &Suspects) {
        let mut opened: Option<(String, OwnedFd)> = None;
        for path in suspects.paths() {
            let Some(id) = self.items.owner(path) else { continue };
            let (directory, name) = path::split(path);
            if opened.as_ref().is_none_or(|(before, _)| before != directory) {
                opened = self.descend(id, directory).map(|fd| (directory.to_owned(), fd));
            }
            // A directory that is gone has taken its files with it.
            let (Some((_, fd)), Ok(name)) = (&opened, CString::new(name)) else { continue };
            self.path.clear();
            self.path.push_str(path);
            match fstatat(fd, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map(|stat| kind_of(&stat)) {
                Ok(SFlag::S_IFREG) => self.file(fd, &name, id, NameKind::File),
                Ok(SFlag::S_IFLNK) => self.file(fd, &name, id, NameKind::Link),
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(error) => self.problems.file(path, error.desc().to_owned()),
            }
        }
    }

    /// Opens a directory of an item by the way that a walk over everything takes; none if there is none.
    fn descend(&mut self, id: ItemId, directory: &str) -> Option<OwnedFd> {
        let below = &directory[self.items.item(id).key.len()..];
        let mut fd = self.root(id);
        for name in below.split_terminator('/') {
            fd = fd.and_then(|above| open_below(&above, name));
        }
        let fd = fd.inspect_err(|error| {
            if !matches!(error, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) {
                self.problems.directory(directory, error.desc().to_owned());
            }
        });
        let fd = fd.ok()?;
        self.device = fstat(&fd).map_or(0, |stat| stat.st_dev);
        Some(fd)
    }

    /// The way to an item's own directory may lead over links.
    fn root(&self, id: ItemId) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(&self.home.join(&self.items.item(id).key), flags, Mode::empty())
    }

    fn directory(&mut self, fd: OwnedFd, id: ItemId, depth: usize) {
        if let Some(watch) = self.watch {
            watch.enter(self.home, &self.path, fd.as_fd());
        }
        let device = fstat(&fd).map_or(0, |stat| stat.st_dev);
        let mut dir = match Dir::from_fd(fd) {
            Ok(dir) => dir,
            Err(error) => return self.problems.directory(&self.path, error.desc().to_owned()),
        };
        self.directories.push(self.path.clone());
        let names = self.names(&mut dir, id);
        let length = self.path.len();
        for Name { name, kind } in names {
            let Ok(text) = name.to_str() else {
                // No peer of ours can name it either, so there is nothing to protect.
                let path = format!("{}{}", self.path, name.to_string_lossy());
                self.problems.unreadable.push(Unreadable { path, reason: "its name is not UTF-8".to_owned() });
                continue;
            };
            self.path.push_str(text);
            if kind == NameKind::Directory {
                self.path.push('/');
                self.subdirectory(&dir, &name, id, depth + 1);
            } else if self.path.len() > LONGEST_PATH {
                self.problems.file(&self.path, format!("its path is longer than {LONGEST_PATH} bytes"));
            } else {
                self.device = device;
                self.file(&dir, &name, id, kind);
            }
            self.path.truncate(length);
        }
    }

    /// What this directory holds for the item, sorted.
    fn names(&mut self, dir: &mut Dir, id: ItemId) -> Vec<Name> {
        let mut names = Vec::new();
        let mut untyped = Vec::new();
        for entry in dir.iter() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.problems.directory(&self.path, error.desc().to_owned());
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match entry.file_type() {
                Some(Type::Directory) => self.keep(&mut names, name.to_owned(), NameKind::Directory, id),
                Some(Type::File) => self.keep(&mut names, name.to_owned(), NameKind::File, id),
                Some(Type::Symlink) => self.keep(&mut names, name.to_owned(), NameKind::Link, id),
                Some(_) => {}
                None => untyped.push(name.to_owned()),
            }
        }
        for name in untyped {
            // Some file systems do not tell the type with the name.
            let kind = fstatat(&*dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map(|stat| kind_of(&stat));
            match kind {
                Ok(SFlag::S_IFDIR) => self.keep(&mut names, name, NameKind::Directory, id),
                Ok(SFlag::S_IFREG) => self.keep(&mut names, name, NameKind::File, id),
                Ok(SFlag::S_IFLNK) => self.keep(&mut names, name, NameKind::Link, id),
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(error) => {
                    let path = format!("{}{}", self.path, name.to_string_lossy());
                    self.problems.file(&path, error.desc().to_owned());
                }
            }
        }
        names.sort_unstable_by(|a, b| a.spelling().cmp(b.spelling()));
        names
    }

    fn keep(&self, names: &mut Vec<Name>, name: CString, kind: NameKind, id: ItemId) {
        let wanted = match kind {
            NameKind::Directory => self.items.item(id).recursive,
            NameKind::File | NameKind::Link => self.items.takes_name(id, &name.to_string_lossy()),
        };
        if wanted {
            names.push(Name { name, kind });
        }
    }

    fn subdirectory(&mut self, dir: &Dir, name: &CString, id: ItemId, depth: usize) {
        if self.items.id_of_key(&self.path).is_some() {
            return; // an item of its own, which is walked by itself
        }
        if depth > DEEPEST {
            return self.problems.directory(&self.path, format!("it is more than {DEEPEST} directories deep"));
        }
        match open_below(dir, name.as_c_str()) {
            Ok(fd) => self.directory(fd, id, depth),
            Err(Errno::ENOENT) => {}
            Err(error) => self.problems.directory(&self.path, error.desc().to_owned()),
        }
    }

    fn file(&mut self, dir: impl AsFd, name: &CStr, id: ItemId, kind: NameKind) {
        let flags = if kind == NameKind::Link { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
        step();
        match fstatat(&dir, name, flags) {
            Ok(stat) if kind_of(&stat) == SFlag::S_IFREG => {
                if stat.st_size > LONGEST_FILE {
                    self.problems.file(&self.path, TOO_LARGE.to_owned());
                } else {
                    let has_names = kind == NameKind::Link || stat.st_nlink > 1 || stat.st_dev != self.device;
                    let stamp = Stamp::of_stat(&stat);
                    (self.found)(Found { path: &self.path, item: id, stamp, has_names });
                }
            }
            Ok(_) => {}
            Err(Errno::ENOENT) => {
                // Either it has gone since its name was read, or it is a link to nothing. The latter looks like a
                // link into a file system that is not mounted just now, so it counts as a file that cannot be read.
                if kind == NameKind::Link && fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
                    self.problems.file(&self.path, "it is a link to a file that does not exist".to_owned());
                }
            }
            Err(error) => self.problems.file(&self.path, error.desc().to_owned()),
        }
    }
}

/// Opens a directory that is no link.
fn open_below<N: nix::NixPath + ?Sized>(above: impl AsFd, name: &N) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
