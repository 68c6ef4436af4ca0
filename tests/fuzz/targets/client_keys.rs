//! `client.keys` (`spec/registration.md` 1), into which other programs and a master write.

use clusterd::agents::client_keys::{Key, LONGEST_LINE, Line, Lines};

/// The file. Line by line it is what it is as a whole, and what is understood can be written again.
pub fn body(input: &[u8]) {
    let (mut lines, mut whole) = (Lines::new(input), Vec::new());
    while let Some((line, ended)) = lines.read().expect("it is not too long") {
        whole.extend_from_slice(line);
        whole.extend_from_slice(if ended { b"\n" } else { b"" });
        match Line::parse(line) {
            Line::Agent(key @ Key { id, name, ip, key: secret }) => {
                assert!(line.len() <= LONGEST_LINE && ![id, name, ip].iter().any(|part| part.contains(' ')));
                let again = format!("{id} {name} {ip} {secret}");
                assert_eq!(Line::parse(again.as_bytes()), Line::Agent(key));
            }
            Line::Removed { id } => assert!(!id.is_empty() && !id.contains(' ')),
            Line::Other => {}
        }
    }
    assert_eq!(whole, input);
}
