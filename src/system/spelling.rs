//! Which known name a mistyped one was meant to be.

/// Bytes of the longest name that is compared: the work grows with the square of it.
const LONGEST: usize = 64;

/// The question that follows an unknown name, if it resembles one of `known`: `did you mean version?`
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(typed, known).map(|name| format!("did you mean {name}?"))
}

/// The first of the known names to which the fewest keystrokes are missing, if these are at most a third of what was typed.
/// Letters of either case are the same, and so are hyphen and underscore.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = folded(typed)?;
    let distance = |name: &'a str| Some((keystrokes(&typed, &folded(name)?), name));
    let (keystrokes, name) = known.into_iter().filter_map(distance).min_by_key(|(keystrokes, _)| *keystrokes)?;
    (keystrokes <= typed.len() / 3).then_some(name)
}

fn folded(name: &str) -> Option<Vec<u8>> {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    (name.len() <= LONGEST).then(|| name.bytes().map(fold).collect())
}

/// How many bytes are to be added, removed, changed or exchanged with their neighbour to make `one` of `other`: the optimal
/// string alignment distance, by rows of its table.
fn keystrokes(one: &[u8], other: &[u8]) -> usize {
    let mut before = vec![0; other.len() + 1];
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, byte) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, wanted) in other.iter().enumerate() {
            let changed = above[column] + usize::from(byte != wanted);
            let mut least = changed.min(above[column + 1] + 1).min(current[column] + 1);
            let exchanged = row > 0 && column > 0 && *byte == other[column - 1] && one[row - 1] == *wanted;
            if exchanged {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_mistyped_is_recognised() {
        let known = ["version", "files", "max_workers", "max_unauthenticated", "--list-nodes", "--ip", "-V", "cluster"];
        let cases = [
            ("versoin", Some("version")),
            ("vers", None),
            ("file", Some("files")),
            ("maxworkers", Some("max_workers")),
            ("max-workers", Some("max_workers")),
            ("MAX_WORKERS", Some("max_workers")),
            ("clutser", Some("cluster")),
            ("-v", Some("-V")),
            ("-x", None),
            ("--pi", Some("--ip")),
            ("--list-node", Some("--list-nodes")),
            ("link", None),
            ("", None),
            ("é", None),
        ];
        for (typed, meant) in cases {
            assert_eq!(closest(typed, known), meant, "{typed}");
        }
        assert_eq!(closest(&"version".repeat(1000), known), None);
        assert_eq!(did_you_mean("versoin", known).as_deref(), Some("did you mean version?"));
    }

    #[test]
    fn keystrokes_are_counted() {
        for (one, other, count) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(keystrokes(one.as_bytes(), other.as_bytes()), count, "{one} {other}");
        }
    }
}
