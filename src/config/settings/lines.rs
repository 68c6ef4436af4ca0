//! On which line of a JSON text each member stands.

use std::collections::HashMap;

/// Joins the names of a path. It is shown to people too.
pub(super) const SEPARATOR: &str = " > ";

/// The line, counted from 1, of each member of the object `text`, by its path; members inside arrays are left out.
/// `text` must be valid JSON: for any other text the answer is meaningless, but it is one.
pub(super) fn index(text: &str) -> HashMap<String, usize> {
    let mut lines = HashMap::new();
    let mut open: Vec<Container> = Vec::new();
    let mut line = 1;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\n' => line += 1,
            b'{' => open.push(Container::Object(None)),
            b'[' => open.push(Container::Array),
            b'}' | b']' => {
                open.pop();
            }
            b',' => {
                if let Some(Container::Object(name)) = open.last_mut() {
                    *name = None;
                }
            }
            b'"' => {
                let mut end = at;
                while let Some((position, byte)) = bytes.next() {
                    end = position;
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
                if let Some(Container::Object(name @ None)) = open.last_mut() {
                    *name = text.get(at..=end).and_then(|quoted| serde_json::from_str(quoted).ok());
                    if let Some(path) = path(&open) {
                        lines.insert(path, line);
                    }
                }
            }
            _ => {}
        }
    }
    lines
}

enum Container {
    /// With the name of the member that is being read.
    Object(Option<String>),
    Array,
}

fn path(open: &[Container]) -> Option<String> {
    let name = |container: &Container| match container {
        Container::Object(name) => name.clone(),
        Container::Array => None,
    };
    Some(open.iter().map(name).collect::<Option<Vec<_>>>()?.join(SEPARATOR))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_have_lines() {
        let text = "{\"a\": 1,\n \"b\": {\"c,\\\"{\": [1,\n {\"x\": 1}],\n\"d\": \"}\"}\n,\"f\\u0041\":\n2}";
        let lines = index(text);
        for (path, line) in [("a", 1), ("b", 2), ("b > c,\"{", 2), ("b > d", 4), ("fA", 5)] {
            assert_eq!(lines.get(path), Some(&line), "{path}");
        }
        assert!(!lines.keys().any(|path| path.contains('x')));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}\\[\\],:\"\\\\a\né]{0,40}") {
            let _ = index(&text);
        }
    }
}
