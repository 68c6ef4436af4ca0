//! The part of the `<global>` block that decides when an agent counts as disconnected.

use std::time::Duration;

use super::settings::Version;

/// The `<global>` blocks of `ossec.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// `agents_disconnection_time`; none if it is not written.
    pub agents_disconnection_time: Option<Duration>,
}

impl Global {
    /// For how long an agent may be silent in a cluster that states `version`.
    pub fn disconnection_time(&self, version: Version) -> Duration {
        const LONGER_SINCE: Version = Version { major: 4, minor: 13, patch: 0 };
        let minutes = if version < LONGER_SINCE { 10 } else { 15 };
        self.agents_disconnection_time.unwrap_or(Duration::from_secs(60 * minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_that_of_the_stated_version() {
        for (version, minutes) in [("4.4.0", 10), ("4.12.9", 10), ("4.13.0", 15), ("4.14.7", 15)] {
            let time = Global::default().disconnection_time(version.parse().expect("a version"));
            assert_eq!(time, Duration::from_secs(60 * minutes), "{version}");
        }
    }
}
