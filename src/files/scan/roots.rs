//! The items' own directories: one that is missing, or not mounted, is no order to delete its files everywhere.

use super::problems::{Problems, Root as Found};
use crate::files::items::{ItemId, Items};

/// What is remembered of the items' own directories, by number of the item.
#[derive(Default)]
pub(super) struct Roots(Vec<Root>);

#[derive(Clone, Default)]
struct Root {
    /// The device that it was on when it was last as it should be.
    device: Option<u64>,
    /// Whether it had files and has been missing, or strangely empty, since.
    lost: bool,
}

impl Roots {
    /// Protects the items among `found` whose directory is not there, or is empty and on another device than before: an unmounted
    /// file system leaves such a directory. `had` and `has` tell whether an item had files in the last scan, and has any
    /// now.
    pub(super) fn check(
        &mut self,
        items: &Items,
        found: &[Found],
        problems: &mut Problems,
        had: impl Fn(ItemId) -> bool,
        has: impl Fn(ItemId) -> bool,
    ) {
        for Found { item: id, place } in found.iter().copied() {
            let device = place.map(|(device, _)| device);
            let at = usize::from(id.0);
            if self.0.len() <= at {
                self.0.resize(at + 1, Root::default());
            }
            let root = &mut self.0[at];
            let key = &items.item(id).key;
            let reason = match device {
                None => "it is not there",
                Some(now) if !has(id) && root.device.is_some_and(|before| before != now) => {
                    "it is empty and on another device than before: is it mounted?"
                }
                Some(_) => {
                    *root = Root { device, lost: false };
                    continue;
                }
            };
            root.lost |= had(id);
            if root.lost {
                problems.directory(key, reason.to_owned());
            } else {
                problems.protected.directories.push(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_directory_is_protected_until_it_is_back() {
        let items = Items::standard();
        let id = items.id_of_key("etc/rules/").unwrap();
        let mut roots = Roots::default();
        let mut check = |device: Option<u64>, had: bool, has: bool| {
            let (mut problems, found) =
                (Problems::default(), Found { item: id, place: device.map(|device| (device, 1)) });
            roots.check(&items, &[found], &mut problems, |_| had, |_| has);
            (problems.protected.directories.len(), problems.unreadable.len())
        };
        assert_eq!(check(None, false, false), (1, 0), "never there: protected, and nothing to tell");
        assert_eq!(check(Some(1), false, true), (0, 0));
        assert_eq!(check(None, true, false), (1, 1), "moved away");
        assert_eq!(check(None, false, false), (1, 1), "still");
        assert_eq!(check(Some(2), false, false), (1, 1), "an empty mount point");
        assert_eq!(check(Some(2), false, true), (0, 0), "moved to another device with its files");
        assert_eq!(check(Some(2), true, false), (0, 0), "emptied by a person");
    }
}
