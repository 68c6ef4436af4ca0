//! The release that a node states in `hello`.

use std::{fmt, str::FromStr};

/// A release in the form that nodes exchange: three numbers with dots, without `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u16,
    /// The second number: nodes of different minors must not be mixed.
    pub minor: u16,
    /// The third number.
    pub patch: u16,
}

impl Version {
    /// Whether both have the same major and minor number.
    pub fn same_minor(&self, other: &Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text is not three numbers with dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is three numbers with dots, like 4.14.7")]
pub struct VersionError;

impl FromStr for Version {
    type Err = VersionError;

    /// Takes only the text that `Display` gives back: a stock master compares the text, so `4.14.07` is another
    /// version to it.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut numbers = text.split('.').map(|number| number.parse::<u16>().map_err(|_| VersionError));
        let mut next = || numbers.next().ok_or(VersionError)?;
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if version.to_string() == text { Ok(version) } else { Err(VersionError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers_with_dots() {
        let version: Version = "4.14.7".parse().expect("a version");
        assert_eq!(version.to_string(), "4.14.7");
        assert!(
            version.same_minor(&Version { patch: 0, ..version })
                && !version.same_minor(&Version { minor: 4, ..version })
        );
        for text in [
            "",
            "4",
            "4.14",
            "v4.14.7",
            "4.14.7.1",
            "4.14.7-rc1",
            "4.14.",
            "4.14.07",
            "+4.14.7",
            "4.14.65536",
            "4.14.7 ",
        ] {
            assert_eq!(text.parse::<Version>(), Err(VersionError), "{text}");
        }
    }
}
