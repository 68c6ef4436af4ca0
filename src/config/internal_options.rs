//! `etc/internal_options.conf`, overridden by `etc/local_internal_options.conf`.

use super::{Home, source};

const DEBUG: &str = "wazuh_clusterd.debug";
const GUESS: &str = "remoted.guess_agent_group";
const LARGEST: u8 = 2;
/// Bytes; the installed file has about 20 KiB.
const LIMIT: u64 = 1 << 20;

/// The debug level, 0 to 2: `wazuh_clusterd.debug`. `cli`, the number of `-d` given, counts if that option is 0 or, other
/// than in the stock daemon, missing: an installation without a manager has no internal options. An option that is invalid
/// means 0 (`spec/protocol.md` 15.3).
pub fn debug_level(home: &Home, cli: u8) -> u8 {
    match written(home, DEBUG).map(|text| text.parse()) {
        None | Some(Ok(0)) => cli.min(LARGEST),
        Some(Ok(level)) if level <= LARGEST => level,
        _ => 0,
    }
}

/// Whether the group of a new agent is guessed from the files that it has: `remoted.guess_agent_group`, which is 0 unless
/// somebody sets it (`spec/registration.md` 10.1).
pub fn guesses_groups(home: &Home) -> bool {
    written(home, GUESS).is_some_and(|text| text.parse() == Ok(1))
}

/// The text of an option; none if neither file sets it.
fn written(home: &Home, name: &str) -> Option<String> {
    ["etc/local_internal_options.conf", "etc/internal_options.conf"].iter().find_map(|file| {
        let bytes = source::read(&home.path().join(file), LIMIT).ok()?;
        option(&String::from_utf8_lossy(&bytes), name).map(str::to_owned)
    })
}

/// The text of an option in one file; the last line that sets it counts, since people append.
fn option<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().rev().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(other, _)| other.trim() == name)?;
    value.split('#').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_option_counts_before_the_command_line() {
        let (none, zero, one) = (None, Some("wazuh_clusterd.debug=0\n"), Some("# c\nwazuh_clusterd.debug = 1 # why\n"));
        let (two, odd) = (Some("wazuh_clusterd.debug=2"), Some("wazuh_clusterd.debug=many"));
        let (big, comment) = (Some("wazuh_clusterd.debug=3"), Some("#wazuh_clusterd.debug=2"));
        let twice = Some("wazuh_clusterd.debug=2\nwazuh_clusterd.debug=0\n");
        // internal, local, -d, level
        let cases = [
            (none, none, 0, 0),
            (none, none, 2, 2),
            (zero, none, 0, 0),
            (zero, none, 1, 1),
            (zero, none, 7, 2),
            (one, none, 2, 1),
            (zero, two, 0, 2),
            (two, zero, 1, 1),
            (two, odd, 1, 0),
            (odd, zero, 1, 1),
            (big, none, 1, 0),
            (comment, none, 1, 1),
            (none, zero, 2, 2),
            (twice, none, 1, 1),
        ];
        for (internal, local, cli, level) in cases {
            let directory = tempfile::tempdir().expect("a directory");
            fs::create_dir(directory.path().join("etc")).expect("etc");
            for (file, text) in [("internal_options.conf", internal), ("local_internal_options.conf", local)] {
                if let Some(text) = text {
                    fs::write(directory.path().join("etc").join(file), text).expect("written");
                }
            }
            assert_eq!(debug_level(&Home::new(directory.path()), cli), level, "{internal:?} {local:?} {cli}");
        }
    }
}
