//! Trees of all kinds.

use proptest::{collection, prelude::*};

use super::*;
use crate::files::KEYS;

fn trees() -> impl Strategy<Value = Files> {
    let path = "etc/(shared/[ab]|shared/[ab]/[ab]|rules/[abc]|client\\.keys)";
    let content = collection::vec(any::<u8>(), 0..3);
    collection::btree_map(path, content, 0..8).prop_map(|mut files| {
        // A name is either a file or a directory.
        let directories: Vec<String> = files.keys().map(|path| crate::files::path::split(path).0.to_owned()).collect();
        files.retain(|path, _| !directories.contains(&format!("{path}/")));
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_two_trees_become_equal_whatever_happens_on_the_way(
        old in trees(), new in trees(), at in 0usize..60, few in 0usize..2, what in 0usize..3, two in 0usize..2,
    ) {
        let pair = Pair::new(&new, &old);
        let disk = Disk::failing(at, [Fault::Crash, Fault::Once(Errno::ENOSPC), Fault::Once(Errno::EACCES)][what]);
        let target = Target { home: pair.worker.path(), owner: None, disk: &disk, outlines: None };
        let update = open(archive(pair.master.path(), pair.worker.path(), ChecksumKind::Md5Blake2b));
        update.apply_with(&target, few * FEW, (1 - two) * MANY);
        recover(pair.worker.path(), &Items::standard(), &Disk::new());
        for (path, content) in only_files(pair.worker.path()) {
            prop_assert!(old.get(&path) == Some(&content) || new.get(&path) == Some(&content), "{}", path);
        }
        // Where a file becomes a directory or the reverse, one takes the place of the other a cycle later.
        for _ in 0..2 {
            pair.sync(&Disk::new());
        }
        // Keys are never deleted.
        let mut expected = new;
        if let (false, Some(keys)) = (expected.contains_key(KEYS), old.get(KEYS)) {
            expected.insert(KEYS.to_owned(), keys.clone());
        }
        prop_assert_eq!(only_files(pair.worker.path()), expected);
    }
}
