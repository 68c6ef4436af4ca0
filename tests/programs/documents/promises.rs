//! Each promise of `docs/security-model.md`, and each attack that it names, has tests that exist.

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

/// The rows of a section of the page.
fn rows(section: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/security-model.md")).unwrap();
    let (_, text) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    text.lines().filter(|line| line.starts_with("| ")).skip(1).map(str::to_owned).collect()
}

/// Names in a cell that are neither tests nor files nor targets of make.
fn missing(cell: &str, sources: &str) -> Vec<String> {
    let exists = |name: &str| match name.strip_prefix("make ") {
        Some(target) => {
            let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
            makefile.contains(&format!("\n{}:", target.split(' ').next().unwrap()))
        }
        None if name.contains('/') => root().join(name).exists(),
        None => sources.contains(&format!("fn {name}(")) || sources.contains(&format!("def {name}(")),
    };
    cell.split('`').skip(1).step_by(2).filter(|name| !exists(name)).map(str::to_owned).collect()
}

fn all_sources() -> String {
    ["src", "tests"].map(|folder| sources(&root().join(folder))).concat()
}

#[test]
fn every_promise_is_held_by_tests_that_exist() {
    let (sources, promises) = (all_sources(), rows("What it promises"));
    assert!(promises.len() >= 8, "{promises:?}");
    for row in promises {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(cell.contains('`'), "no test holds: {row}");
        assert_eq!(missing(cell, &sources), Vec::<String>::new());
    }
}

#[test]
fn every_attack_has_tests_in_both_roles() {
    let (sources, attacks) = (all_sources(), rows("Attacks of peers, and their tests"));
    assert!(attacks.len() >= 15, "{attacks:?}");
    for row in attacks {
        for cell in row.trim_end_matches(" |").rsplit(" | ").take(2) {
            assert!(cell.contains('`') || cell.starts_with("by construction: "), "no test shows: {row}");
            assert_eq!(missing(cell, &sources), Vec::<String>::new());
        }
    }
}
