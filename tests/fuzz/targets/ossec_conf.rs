//! `ossec.conf` (`spec/protocol.md` 15.1), as a person or the API writes it.

use std::fs;

use clusterd::config::{Config, Home, outline};

use super::home::directory;

/// The file.
pub fn body(input: &[u8]) {
    let directory = directory();
    let file = directory.path().join("ossec.conf");
    fs::write(&file, input).expect("a file");
    match Config::load(Home::new(directory.path()), Some(&file)) {
        Ok(loaded) => {
            let cluster = &loaded.config.cluster;
            assert!(cluster.disabled || (!cluster.node_name.is_empty() && !cluster.nodes.is_empty()));
            assert!(loaded.notes.iter().all(|note| is_a_line(&note.text)));
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            assert!(faults.0.iter().all(|fault| is_a_line(&fault.to_string())), "{faults}");
        }
    }
    let outlines = [outline(&file, b"nonce"), outline(&file, b"nonce")];
    assert_eq!(outlines[0], outlines[1]);
}

/// Whether it can stand in a log, and forges nothing there.
pub fn is_a_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
