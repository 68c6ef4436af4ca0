//! At the start: finishing or dropping what a crash left.

use std::{os::fd::OwnedFd, path::Path};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::OFlag,
};

use super::{
    execute::Execution,
    journal::{self, Unread},
    share::{FEW, How, MANY},
    step::{Did, Mounts, Step},
    tree::Tree,
};
use crate::{
    files::items::{DEEPEST, Items, is_staged},
    system::disk::Disk,
};

/// What was found at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Replacements and deletions of an interrupted update that were carried out now.
    pub finished: usize,
    /// Whether there was a journal that could not be used: that update was never complete and is forgotten.
    pub dropped: bool,
    /// Staged files that belonged to nothing and were removed.
    pub leftovers: usize,
    /// What a person should know: sentences without their end.
    pub problems: Vec<String>,
}

/// Completes an update whose journal is there, then removes the journal and all staged files that are left below the
/// items' directories. To be called before anything is applied, while nobody else applies.
///
/// Cannot fail as a whole: what goes wrong is in [`Recovery::problems`], and the next integrity check repairs it.
pub fn recover(home: &Path, items: &Items, disk: &Disk) -> Recovery {
    let mut recovery = Recovery::default();
    let mut tree = match Tree::open(home, items, None, disk) {
        Ok(tree) => tree,
        Err(error) => {
            recovery.problems.push(format!("the home directory cannot be opened: {}", error.desc()));
            return recovery;
        }
    };
    match journal::read(&tree) {
        Ok(None) => {}
        Ok(Some(journal)) => {
            let steps: Vec<Step<'_>> = journal.steps.iter().map(journal::Promise::step).collect();
            let how = How::new(steps.len(), FEW, MANY);
            let report = &mut |did: Did, path: &str, done: Result<bool, Errno>| match (did, done) {
                (_, Ok(done)) => recovery.finished += usize::from(done),
                // The staged content is gone: it had become the file before the crash.
                (Did::Put(_), Err(Errno::ENOENT)) => {}
                (_, Err(error)) => {
                    recovery.problems.push(format!("'{path}' of an interrupted update failed: {}", error.desc()));
                }
            };
            let execution = Execution { token: journal.token, how, mounts: Mounts::Overwrite };
            execution.run(&mut tree, &steps, report);
        }
        Err(Unread::Disk(error)) => {
            // It and what it names stay as they are, for the next start or the next update.
            let reason = error.desc();
            recovery.problems.push(format!("the journal of an interrupted update cannot be read: {reason}"));
            return recovery;
        }
        Err(Unread::Invalid(reason)) => {
            recovery.dropped = true;
            recovery.problems.push(format!("the journal of an interrupted update is not valid: {reason}"));
        }
    }
    if let Err(error) = journal::remove(&tree) {
        recovery.problems.push(format!("'{}' cannot be removed: {}", journal::PATH, error.desc()));
    }
    for (id, item) in items.iter() {
        if let Ok(root) = tree.directory(id, &item.key, false) {
            sweep(root, disk, if item.recursive { DEEPEST } else { 0 }, &mut recovery);
        }
    }
    recovery
}

/// Removes staged files from a directory and from those below it, following no link.
fn sweep(directory: OwnedFd, disk: &Disk, depth: usize, recovery: &mut Recovery) {
    let (mut staged, mut below) = (Vec::new(), Vec::new());
    let Ok(mut open) = Dir::from_fd(directory) else { return };
    for entry in open.iter().map_while(Result::ok) {
        let Ok(name) = entry.file_name().to_str() else { continue };
        if is_staged(name) {
            staged.push(name.to_owned());
        } else if !matches!(name, "." | "..") && !matches!(entry.file_type(), Some(kind) if kind != Type::Directory) {
            below.push(entry.file_name().to_owned());
        }
    }
    for name in staged {
        match disk.remove_file(&open, &name) {
            Ok(()) => recovery.leftovers += 1,
            Err(error) => {
                recovery.problems.push(format!("the staged file '{name}' cannot be removed: {}", error.desc()));
            }
        }
    }
    if depth == 0 {
        return;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    for name in below {
        if let Ok(next) = disk.look(&open, name.as_c_str(), flags) {
            sweep(next, disk, depth - 1, recovery);
        }
    }
}
