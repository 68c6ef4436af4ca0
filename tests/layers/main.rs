//! The order of the modules is that of the picture in `src/lib.rs`.
//!
//! | rule | what it keeps |
//! |---|---|
//! | a module uses only modules that stand below it in the table of `src/lib.rs` | no module depends on one above it, so there are no circles among modules |
//! | files of different folders use each other in one direction only | a folder can be read without those that use it |
//!
//! What is compiled for tests alone may use everything.

mod circles;
mod picture;
mod source;

use std::{collections::BTreeSet, path::Path};

use picture::Picture;
use source::Tree;

/// Fewer would mean that they are not found.
const LEAST: usize = 1000;

fn tree() -> Tree {
    let tree = Tree::read(Path::new("src"));
    assert!(tree.uses().count() > LEAST, "only {} uses were found", tree.uses().count());
    tree
}

#[test]
fn every_module_stands_in_the_picture() {
    let picture = Picture::read(Path::new("src/lib.rs"));
    let tree = tree();
    let modules: BTreeSet<&str> = tree.modules().collect();
    let shown: BTreeSet<&str> = picture.modules().collect();
    assert_eq!(modules, shown);
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let (picture, tree) = (Picture::read(Path::new("src/lib.rs")), tree());
    let wrong: Vec<String> = tree
        .uses()
        .filter(|(user, used)| user.module != used.module && !picture.is_below(&used.module, &user.module))
        .map(|(user, used)| format!("{} uses {}", user.path.display(), used.path.display()))
        .collect();
    assert!(wrong.is_empty(), "against the order of src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn files_of_different_folders_use_each_other_in_one_direction() {
    let tree = tree();
    let circles: Vec<String> = circles::find(&tree)
        .into_iter()
        .filter(|files| files.iter().map(|file| file.parent()).collect::<BTreeSet<_>>().len() > 1)
        .map(|files| files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}
