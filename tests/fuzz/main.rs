//! What fuzzing has found, and where it begins: each input of `corpus/` through the body of its target (`README.md`).

#![allow(clippy::unwrap_used, reason = "all of this program is a test")]

mod targets;

use std::{fs, path::PathBuf};

use targets::TARGETS;

fn corpus() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fuzz/corpus"].iter().collect()
}

/// One after the other, because each is timed by the processor time of this process.
#[test]
fn what_was_found_once_is_harmless() {
    for target in TARGETS {
        let mut inputs: Vec<PathBuf> =
            fs::read_dir(corpus().join(target.name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{} begins with nothing", target.name);
        for input in inputs {
            // Shown if it fails.
            println!("{}", input.display());
            target.run(&fs::read(input).unwrap());
        }
    }
}

#[test]
fn each_directory_of_the_corpus_is_that_of_a_target() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(targets::find(&name).is_some(), "{name}");
    }
}
