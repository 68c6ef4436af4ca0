//! Whether there is room for all new contents beside the old ones.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    journal,
    plan::{Part, Write},
    stage::Refused,
    tree::Tree,
};
use crate::system::disk::Space;

/// What a file system has left.
struct Left {
    bytes: u64,
    files: Option<u64>,
    block: u64,
}

impl From<Space> for Left {
    fn from(Space { bytes, files, block }: Space) -> Self {
        Self { bytes, files, block }
    }
}

/// Tells which directories a file system cannot take all new files of, while it takes those before. What others write
/// meanwhile is not foreseen: that the disk becomes full is dealt with when it happens.
///
/// `is_there` tells what is there already.
pub(super) fn check<'p>(tree: &mut Tree<'_>, part: &'p Part, is_there: impl Fn(&Write) -> bool) -> Refused<'p> {
    let mut refused = Refused::default();
    let mut left: HashMap<u64, Left> = HashMap::new();
    if let Some((device, directory)) = journal::place(tree)
        && let Ok(space) = tree.disk.space(&directory)
    {
        let space = Space { bytes: space.bytes.saturating_sub(journal::size(part)), ..space };
        left.insert(device, space.into());
    }
    for group in part.writes.chunk_by(|a, b| a.directory() == b.directory()) {
        let (item, directory) = group[0].directory();
        // What fails here fails by its name when it is staged.
        let Ok(nearest) = tree.nearest(item, directory) else { continue };
        let Ok(device) = Tree::device(&nearest) else { continue };
        let left = match left.entry(device) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let Ok(space) = tree.disk.space(&nearest) else { continue };
                new.insert(space.into())
            }
        };
        let missing = || group.iter().filter(|write| !is_there(write));
        let files = missing().count() as u64;
        let bytes = missing().map(|write| write.size.div_ceil(left.block) * left.block).sum::<u64>();
        let reason = if bytes > left.bytes {
            format!("{bytes} bytes needed, {} free", left.bytes)
        } else if let Some(free) = left.files.filter(|free| files > *free) {
            format!("{files} new files needed, {free} possible")
        } else {
            left.bytes -= bytes;
            left.files = left.files.map(|free| free - files);
            continue;
        };
        refused.insert(group[0].directory(), format!("there is no room for the new files of '{directory}': {reason}"));
    }
    refused
}
