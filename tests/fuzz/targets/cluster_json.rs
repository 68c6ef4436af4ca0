//! `cluster.json` (`spec/protocol.md` 15.2).

use std::path::Path;

use clusterd::{config::Settings, files::Items};

use super::ossec_conf::is_a_line;

/// The file.
pub fn body(input: &[u8]) {
    match Settings::parse(input, Path::new("/cluster.json")) {
        Ok(settings) => {
            assert!(settings.differences(&settings).is_empty());
            let items = Items::try_from(&settings.files).expect("what is accepted can be used");
            assert!(items.excludes("ossec.conf"));
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            assert!(faults.0.iter().all(|fault| is_a_line(&fault.to_string())), "{faults}");
        }
    }
}
