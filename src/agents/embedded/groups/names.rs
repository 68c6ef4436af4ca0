//! Names of groups: they are names of folders too.

use crate::logging::warn;

/// The longest name, in bytes.
const LONGEST: usize = 255;

/// Whether a group may be called so.
pub fn is_valid(name: &str) -> bool {
    fault(name).is_none()
}

/// Tells the log what is wrong with a name.
pub(super) fn warn(name: &str) {
    if let Some(fault) = fault(name) {
        warn!("[Cluster] [Agent database]", "Invalid group name. {fault}");
    }
}

fn fault(name: &str) -> Option<String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    match name {
        _ if name.len() > LONGEST => {
            let start = &name[..name.floor_char_boundary(32)];
            Some(format!("The group '{start}…' exceeds the maximum length of {LONGEST} characters permitted"))
        }
        "." => Some("'.' represents the current directory in unix systems".to_owned()),
        ".." => Some("'..' represents the parent directory in unix systems".to_owned()),
        _ if name.is_empty() || !name.bytes().all(is_letter) => Some(format!("'{name}' contains invalid characters")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_folders() {
        for good in ["default", "a.b", "...", "A-Z_0"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a,b", "ä"] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(is_valid(&"a".repeat(255)) && !is_valid(&"a".repeat(256)));
    }
}
