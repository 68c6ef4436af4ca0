//! Whether there is room for all new contents beside the old ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::plan::Write;
use super::tree::Tree;
use super::{ApplyError, path_of};
use crate::system::disk::Space;

struct Need {
    directory: String,
    space: Space,
    bytes: u64,
    files: u64,
}

/// Refuses the update if a file system cannot take its part of it. What others write meanwhile is not foreseen: that
/// the disk becomes full is dealt with when it happens.
pub(super) fn check(tree: &mut Tree<'_>, writes: &[Write]) -> Result<(), ApplyError> {
    let mut needs: HashMap<u64, Need> = HashMap::new();
    for group in writes.chunk_by(|a, b| (a.item, path_of(a)) == (b.item, path_of(b))) {
        let directory = path_of(&group[0]);
        let failed = |error| ApplyError::Disk { path: directory.to_owned(), error };
        let Ok(nearest) = tree.nearest(group[0].item, directory) else {
            continue; // fails by name when it is staged
        };
        let device = Tree::device(&nearest).map_err(failed)?;
        let need = match needs.entry(device) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let space = tree.disk.space(&nearest).map_err(failed)?;
                new.insert(Need { directory: directory.to_owned(), space, bytes: 0, files: 0 })
            }
        };
        let block = need.space.block;
        need.files += group.len() as u64;
        need.bytes += group.iter().map(|write| write.size.div_ceil(block) * block).sum::<u64>();
    }
    for Need { directory, space, bytes, files } in needs.into_values() {
        if bytes > space.bytes {
            return Err(ApplyError::Space { directory, needed: bytes, free: space.bytes });
        }
        if let Some(free) = space.files.filter(|free| files > *free) {
            return Err(ApplyError::Files { directory, needed: files, free });
        }
    }
    Ok(())
}
