//! Each promise of `docs/security-model.md` names tests that exist.

use std::{fs, path::Path};

use super::root;

/// The text of all Rust and Python files below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "py") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    text
}

#[test]
fn every_promise_is_held_by_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/security-model.md")).unwrap();
    let (_, section) = page.split_once("\n## What it promises\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let sources = ["src", "tests"].map(|folder| sources(&root().join(folder))).concat();
    let (mut promises, mut missing) = (0, Vec::new());
    for row in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
        promises += 1;
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test holds: {row}");
        let exists = |name: &str| match name.strip_prefix("make ") {
            Some(target) => {
                let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
                makefile.contains(&format!("\n{}:", target.split(' ').next().unwrap()))
            }
            None if name.contains('/') => root().join(name).exists(),
            None => sources.contains(&format!("fn {name}(")) || sources.contains(&format!("def {name}(")),
        };
        missing.extend(names.into_iter().filter(|name| !exists(name)).map(str::to_owned));
    }
    assert!(promises >= 8 && missing.is_empty(), "{promises} {missing:?}");
}
