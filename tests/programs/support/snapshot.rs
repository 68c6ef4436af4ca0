//! Everything below a directory, to compare before and after.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

/// Path to a description: kind, mode, content.
pub type Snapshot = BTreeMap<String, String>;

/// All that is below `root`, without what `leave_out` names (with everything below it).
pub fn snapshot(root: &Path, leave_out: &[&str]) -> Snapshot {
    let mut found = Snapshot::new();
    walk(root, "", leave_out, &mut found);
    found
}

fn walk(root: &Path, inside: &str, leave_out: &[&str], found: &mut Snapshot) {
    let Ok(entries) = fs::read_dir(root.join(inside)) else { return };
    for entry in entries.flatten() {
        let path = format!("{inside}{}", entry.file_name().to_string_lossy());
        if leave_out.contains(&path.as_str()) {
            continue;
        }
        let Ok(about) = fs::symlink_metadata(entry.path()) else { continue };
        let mode = about.mode() & 0o7777;
        let shown = if about.is_dir() {
            format!("directory {mode:o}")
        } else if about.is_symlink() {
            format!("link to {}", fs::read_link(entry.path()).unwrap_or_default().display())
        } else if about.file_type().is_socket() {
            "socket".to_owned()
        } else {
            let content = fs::read(entry.path()).unwrap_or_default();
            format!("file {mode:o} {} bytes {}", content.len(), &blake2b_simd::blake2b(&content).to_hex()[..16])
        };
        found.insert(path.clone(), shown);
        if about.is_dir() {
            walk(root, &format!("{path}/"), leave_out, found);
        }
    }
}
