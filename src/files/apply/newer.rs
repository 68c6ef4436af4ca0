//! Contents that are newer than the checksum under which they come.
//!
//! A master of the stock daemon archives what a file holds *now*, under the checksum of its last scan. While agents
//! register every few seconds, that is so with each `client.keys` that it sends. So a newer content is taken if it is
//! whole; one that was caught while somebody wrote it waits for the next check, as the next scan of the master gives
//! its checksum.
//!
//! Nothing in an archive tells that a content is whole but the content itself:
//!
//! | file | whole if |
//! |---|---|
//! | `etc/client.keys` | it ends with a whole line, and its last agent is the last one of this node, or one that this node lacks |
//! | XML | each element is closed |
//! | any other | it ends with a whole line |
//!
//! An empty content is never whole: most writing begins with that.

use std::{fs::File, io::Read, path::Path};

use quick_xml::{Reader, events::Event};

use crate::files::{
    archive::{ArchiveError, Inflater, Member, Positioned, Window},
    items::KEYS,
    scan::open_file,
};

/// The longest content that is judged, in bytes: `client.keys` of half a million agents. A longer one waits.
const LONGEST: u64 = 64 << 20;

/// Which contents of an archive are taken.
#[derive(Clone, Copy, Debug)]
pub enum Contents<'a> {
    /// Those that have the checksum that the metadata gives.
    AsScanned,
    /// Newer ones, too, if they are whole.
    OrNewer {
        /// The home directory, for a look at the keys that are there.
        home: &'a Path,
    },
}

impl Contents<'_> {
    /// Whether this member is whole; none if only its checksum counts.
    pub(super) fn whole(self, archive: &File, path: &str, member: &Member) -> Option<bool> {
        let Contents::OrNewer { home } = self else { return None };
        if member.size > LONGEST {
            return Some(false);
        }
        // What cannot be read now is told when it is staged, if it is ever taken.
        Some(read(archive, path, member).is_ok_and(|content| match path {
            KEYS => own(home).is_some_and(|ours| are_whole_keys(&content, &ours)),
            _ => is_whole(&content),
        }))
    }
}

fn read(archive: &File, path: &str, member: &Member) -> Result<Vec<u8>, ArchiveError> {
    let mut window = Window::at_start(Positioned::new(archive));
    window.seek(member.offset)?;
    let mut content = Vec::with_capacity(usize::try_from(member.size).unwrap_or_default());
    Inflater::new().run(&mut window, path, member.size, &mut |bytes| {
        content.extend_from_slice(bytes);
        Ok::<(), ArchiveError>(())
    })?;
    Ok(content)
}

/// The keys of this node; none if they cannot be read.
fn own(home: &Path) -> Option<Vec<u8>> {
    let mut keys = Vec::new();
    if let Some(file) = open_file(home, KEYS).ok()? {
        file.take(LONGEST + 1).read_to_end(&mut keys).ok()?;
    }
    (keys.len() as u64 <= LONGEST).then_some(keys)
}

/// The registrar adds agents at the end, so of a file that was cut between two lines the last agent is one that this node
/// has before its last. The same is so when the last one was removed: that waits.
fn are_whole_keys(content: &[u8], ours: &[u8]) -> bool {
    let Some(last) = ids(content).last() else { return false };
    let is_new = ids(ours).all(|id| id != last);
    content.ends_with(b"\n") && (is_new || ids(ours).last() == Some(last))
}

fn ids(keys: &[u8]) -> impl Iterator<Item = u32> {
    let first = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    keys.split(|byte| *byte == b'\n').filter_map(first)
}

fn is_whole(content: &[u8]) -> bool {
    match content.trim_ascii_start().first() {
        Some(b'<') => is_whole_xml(content),
        _ => content.ends_with(b"\n"),
    }
}

/// With one root or several, as the manager's files have them. What is no XML for the strict waits, too.
fn is_whole_xml(content: &[u8]) -> bool {
    let mut reader = Reader::from_reader(content);
    let mut open = 0usize;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_)) => open += 1,
            Ok(Event::End(_)) => open = open.saturating_sub(1),
            Ok(Event::Text(text)) if open == 0 && !text.trim_ascii().is_empty() => return false,
            Ok(Event::Eof) => return open == 0,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_whole_when_they_reach_as_far_as_those_that_are_there() {
        let ours = b"001 a any 1\n002 b any 2\n003 c any 3\n";
        for (content, whole) in [
            (&b"001 a any 1\n002 b any 2\n003 c any 3\n004 d any 4\n"[..], true),
            (b"001 a any 1\n003 c any 3\n", true),
            (b"002 b any 2\n004 d any 4\n", true),
            (b"001 a any 1\n002 b any 2\n003 !c any 3\n", true),
            (b"001 a any 1\n002 b any 2\n003 c any 3\n004 d an", false),
            (b"001 a any 1\n002 b any 2\n", false),
            (b"001 a any 1\n", false),
            (b"# nobody\n", false),
            (b"", false),
        ] {
            assert_eq!(are_whole_keys(content, ours), whole, "{}", content.escape_ascii());
        }
        assert!(are_whole_keys(b"001 a any 1\n", b""), "the first keys of this node");
    }

    #[test]
    fn other_files_are_whole_when_they_end_as_such_files_do() {
        for (content, whole) in [
            ("<group name=\"a,\">\n  <rule id=\"1\" level=\"0\"/>\n</group>\n", true),
            ("<!-- a --><group name=\"a,\"/>\n<group name=\"b,\"></group>", true),
            ("\n<group name=\"a,\">\n  <rule id=\"1\" level=\"0\"/>\n", false),
            ("<group name=\"a,\"></group>\n<group name", false),
            ("<group name=\"a,\"></group>\n<!-- a", false),
            ("<group name=\"a,\"></group>\nabc\n", false),
            ("key:value\nother:", false),
            ("key:value\nother:value\n", true),
            ("", false),
        ] {
            assert_eq!(is_whole(content.as_bytes()), whole, "{content}");
        }
    }

    proptest! {
        /// The only beginnings that pass are those after which a file could end.
        #[test]
        fn a_beginning_is_whole_only_where_a_file_may_end(agents in 1usize..30, cut in 0usize..600) {
            let keys: String = (1..=agents).map(|id| format!("{id:03} a{id} any k{id}\n")).collect();
            let cut = cut.min(keys.len());
            let whole = are_whole_keys(&keys.as_bytes()[..cut], keys.as_bytes());
            prop_assert_eq!(whole, cut == keys.len());
        }
    }
}
