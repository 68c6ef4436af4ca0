//! The table of modules in `src/lib.rs`: `| [`name`] … | what it holds |`, the highest first.

use std::{fs, path::Path};

/// The rows, from the top down; modules of one row do not use each other.
pub struct Picture(Vec<Vec<String>>);

impl Picture {
    /// Reads it from the documentation of the crate.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("src/lib.rs");
        let rows = text.lines().filter_map(|line| line.strip_prefix("//! | [`")).map(|row| {
            let cell = row.split('|').next().unwrap_or_default();
            cell.split("[`").map(|name| name.trim_end_matches(['`', ']', ' ']).to_owned()).collect()
        });
        Self(rows.collect())
    }

    /// All of them.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(String::as_str)
    }

    /// Whether `lower` stands in a row below that of `upper`.
    pub fn is_below(&self, lower: &str, upper: &str) -> bool {
        let row = |name: &str| self.0.iter().position(|row| row.iter().any(|other| other == name));
        matches!((row(lower), row(upper)), (Some(lower), Some(upper)) if lower > upper)
    }
}
