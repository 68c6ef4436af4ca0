//! Lexical rules for paths relative to the home directory. Nothing here looks at a disk.

/// Longest relative path that is taken, in bytes: the limit of Linux without its final zero.
pub const LONGEST_PATH: usize = 4095;
/// Longest name of a file or directory, in bytes.
pub const LONGEST_COMPONENT: usize = 255;

/// What is wrong with the spelling of a relative path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// No characters at all.
    #[error("it is empty")]
    Empty,
    /// It begins with a slash.
    #[error("it is absolute")]
    Absolute,
    /// Two slashes in a row, or one at the end. Both separators of the archive format contain `//`, so this rule also
    /// keeps them out of every name.
    #[error("it has an empty component")]
    EmptyComponent,
    /// A component `.` or `..`.
    #[error("it has a component '.' or '..'")]
    DotComponent,
    /// A NUL byte, which no file name can have.
    #[error("it contains a NUL byte")]
    Nul,
    /// One component is longer than [`LONGEST_COMPONENT`].
    #[error("one of its components is longer than {LONGEST_COMPONENT} bytes")]
    LongComponent,
    /// The whole is longer than [`LONGEST_PATH`].
    #[error("it is longer than {LONGEST_PATH} bytes")]
    Long,
}

/// Checks that `path` is relative, names something below its start and has only one spelling.
///
/// # Errors
/// [`PathFault`]: why it is none; whoever named it is at fault.
pub fn check(path: &str) -> Result<(), PathFault> {
    if path.is_empty() {
        return Err(PathFault::Empty);
    }
    if path.len() > LONGEST_PATH {
        return Err(PathFault::Long);
    }
    if path.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    if path.bytes().any(|byte| byte == 0) {
        return Err(PathFault::Nul);
    }
    for component in path.split('/') {
        match component {
            "" => return Err(PathFault::EmptyComponent),
            "." | ".." => return Err(PathFault::DotComponent),
            long if long.len() > LONGEST_COMPONENT => return Err(PathFault::LongComponent),
            _ => {}
        }
    }
    Ok(())
}

/// Splits `etc/shared/a/b` into `etc/shared/a/` and `b`. The directory keeps its slash; it is empty for a bare name.
pub fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |at| at + 1))
}

/// The one spelling of a member name of an archive: leading slashes stripped, `.` and `..` resolved without looking at
/// the disk. `None` if it leaves the directory in which it starts, or names that directory itself.
pub fn normalise(name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in name.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    if parts.is_empty() { None } else { Some(parts.join("/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_pass() {
        for good in ["a", "etc/shared/x y/ü", "a/.b", "a/...", "a/..b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, fault) in [
            ("", PathFault::Empty),
            ("/a", PathFault::Absolute),
            ("a//b", PathFault::EmptyComponent),
            ("a/", PathFault::EmptyComponent),
            ("../a", PathFault::DotComponent),
            ("a/../b", PathFault::DotComponent),
            ("a/./b", PathFault::DotComponent),
            ("a/..", PathFault::DotComponent),
            ("a\0b", PathFault::Nul),
            ("x|@@//@@|y", PathFault::EmptyComponent),
            ("x|//@@//|y", PathFault::EmptyComponent),
            ("x|@@//@@", PathFault::EmptyComponent),
        ] {
            assert_eq!(check(bad), Err(fault), "{bad:?}");
        }
        assert_eq!(check(&"a".repeat(256)), Err(PathFault::LongComponent));
        assert_eq!(check(&"a/".repeat(2048)), Err(PathFault::Long));
    }

    #[test]
    fn names_are_normalised_as_the_original_does() {
        assert_eq!(normalise("/abs/file").as_deref(), Some("abs/file"));
        assert_eq!(normalise("a/../b").as_deref(), Some("b"));
        assert_eq!(normalise("a/./b//c").as_deref(), Some("a/b/c"));
        for bad in ["../evil", "a/../../evil", "", "/", ".", "a/.."] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }

    #[test]
    fn split_keeps_the_slash_with_the_directory() {
        assert_eq!(split("etc/a"), ("etc/", "a"));
        assert_eq!(split("a"), ("", "a"));
    }
}
