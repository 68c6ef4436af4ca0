//! Walking the directories of the items.

use std::{ffi::CString, os::fd::OwnedFd, path::Path};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
};

use super::problems::{LONGEST_FILE, Problems, TOO_LARGE, Unreadable};
use crate::{
    files::{
        items::{DEEPEST, ItemId, Items},
        path::LONGEST_PATH,
    },
    system::stamp::{Stamp, step},
};

/// One walk over all items. Calls `found` for every regular file that belongs to one, in path order within an item.
pub(super) struct Walk<'a> {
    items: &'a Items,
    found: &'a mut dyn FnMut(&str, ItemId, Stamp),
    problems: &'a mut Problems,
    /// The path so far; a directory's ends with a slash.
    path: String,
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
    /// Gives the directories that it has looked into, relative to `home` and with a final slash.
    pub(super) fn run(
        home: &Path,
        items: &'a Items,
        problems: &'a mut Problems,
        found: &'a mut dyn FnMut(&str, ItemId, Stamp),
    ) -> Vec<String> {
        let mut walk = Walk { items, found, problems, path: String::new(), directories: Vec::new() };
        for (id, item) in items.iter() {
            walk.path.clear();
            walk.path.push_str(&item.key);
            // The way to an item's own directory may lead over links.
            match open(&home.join(&item.key), OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
                Ok(fd) => {
                    walk.problems.roots.push((id, fstat(&fd).ok().map(|stat| stat.st_dev)));
                    walk.directory(fd, id, 0);
                }
                Err(Errno::ENOENT) => walk.problems.roots.push((id, None)),
                Err(error) => walk.problems.directory(&item.key, error.desc().to_owned()),
            }
        }
        walk.directories
    }

    fn directory(&mut self, fd: OwnedFd, id: ItemId, depth: usize) {
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
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(dir, name.as_c_str(), flags, Mode::empty()) {
            Ok(fd) => self.directory(fd, id, depth),
            Err(Errno::ENOENT) => {}
            Err(error) => self.problems.directory(&self.path, error.desc().to_owned()),
        }
    }

    fn file(&mut self, dir: &Dir, name: &CString, id: ItemId, kind: NameKind) {
        let flags = if kind == NameKind::Link { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
        step();
        match fstatat(dir, name.as_c_str(), flags) {
            Ok(stat) if kind_of(&stat) == SFlag::S_IFREG => {
                if stat.st_size > LONGEST_FILE {
                    self.problems.file(&self.path, TOO_LARGE.to_owned());
                } else {
                    (self.found)(&self.path, id, Stamp::of_stat(&stat));
                }
            }
            Ok(_) => {}
            Err(Errno::ENOENT) => {
                // Either it has gone since its name was read, or it is a link to nothing. The latter looks like a
                // link into a file system that is not mounted just now, so it counts as a file that cannot be read.
                if kind == NameKind::Link && fstatat(dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
                    self.problems.file(&self.path, "it is a link to a file that does not exist".to_owned());
                }
            }
            Err(error) => self.problems.file(&self.path, error.desc().to_owned()),
        }
    }
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
