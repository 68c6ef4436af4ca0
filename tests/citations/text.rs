//! The prose of a file, in one piece: a citation may go on in the next line.

/// Prose, and where its lines begin.
pub struct Text {
    /// Lines that belong together have a blank between them, others a line feed.
    pub all: String,
    /// Places in `all`, and the numbers of the lines there.
    lines: Vec<(usize, usize)>,
}

impl Text {
    /// The comments of a file of Rust.
    pub fn of_comments(content: &str) -> Self {
        Self::of(content.lines().map(comment))
    }

    /// A document, without its code.
    pub fn of_prose(content: &str) -> Self {
        let mut is_code = false;
        Self::of(content.lines().map(|line| {
            let fence = line.trim_start().starts_with("```");
            is_code ^= fence;
            Some(line.trim()).filter(|line| !is_code && !fence && !line.is_empty())
        }))
    }

    fn of<'a>(lines: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut text = Self { all: String::new(), lines: Vec::new() };
        for (line, number) in lines.zip(1..) {
            text.lines.push((text.all.len(), number));
            text.all.push_str(line.unwrap_or_default());
            text.all.push(if line.is_some() { ' ' } else { '\n' });
        }
        text
    }

    /// The number of the line at a place.
    pub fn line(&self, at: usize) -> usize {
        self.lines.iter().rev().find(|(begin, _)| *begin <= at).map_or(0, |(_, number)| *number)
    }
}

/// What a line of Rust says to people.
fn comment(line: &str) -> Option<&str> {
    let at = if line.trim_start().starts_with("//") { line.find("//") } else { line.find(" // ").map(|at| at + 1) }?;
    Some(line[at..].trim_start_matches(['/', '!']).trim())
}

#[test]
fn comments_go_on_in_the_next_line() {
    let text = Text::of_comments("//! a\n//! b\nlet x = \"// c\"; // d\n\n    /// http://e\n");
    assert_eq!(text.all, "a b d \nhttp://e ");
    assert_eq!([0, 2, 4, 7].map(|at| text.line(at)), [1, 2, 3, 5]);
    assert_eq!(Text::of_prose("a\n```\nb\n```\n| c |").all, "a \n\n\n| c | ");
}
