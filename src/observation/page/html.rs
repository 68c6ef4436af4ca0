//! Text as it may stand in a document.

use std::time::{Duration, SystemTime};

use crate::system::{clock::utc, human, visible::is_hidden};

/// What stands where nothing is known.
pub(super) const NOTHING: &str = "–";

/// `text` without any meaning of its own.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ if is_hidden(character) => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

/// A date that stays in one line.
pub(super) fn date(moment: SystemTime) -> String {
    format!("<time>{}</time>", utc(moment))
}

/// `5 s ago`.
pub(super) fn ago(age: Option<Duration>) -> String {
    age.map_or_else(|| NOTHING.to_owned(), |age| format!("{} ago", human::span(age)))
}

/// The same of a date, which is shown when it is pointed at.
pub(super) fn ago_of(moment: Option<SystemTime>, now: SystemTime) -> String {
    let Some(moment) = moment else { return NOTHING.to_owned() };
    let age = now.duration_since(moment).unwrap_or_default();
    format!("<time title=\"{}\">{}</time>", utc(moment), ago(Some(age)))
}

/// A column: its name, and whether it holds numbers.
pub(super) struct Column(pub(super) &'static str, pub(super) bool);

impl Column {
    fn class(&self) -> &'static str {
        if self.1 { "number" } else { "text" }
    }
}

/// A row of a table, whose texts are written as they are.
pub(super) struct Row<const N: usize> {
    pub(super) cells: [String; N],
    /// What stands below them, over the whole width; nothing if it is empty.
    pub(super) below: String,
}

/// A table with this id. On a narrow screen each cell shows the name of its column.
pub(super) fn table<const N: usize>(id: &str, columns: &[Column; N], rows: impl Iterator<Item = Row<N>>) -> String {
    let head = |column: &Column| format!("<th scope=\"col\" class=\"{}\">{}</th>", column.class(), column.0);
    let cell = |(column, html): (&Column, &String)| {
        let nothing = if html == NOTHING { " nothing" } else { "" };
        format!("<td class=\"{}{nothing}\" data-column=\"{}\">{html}</td>", column.class(), column.0)
    };
    let row = |Row { cells, below }: Row<N>| {
        let cells: String = columns.iter().zip(&cells).map(cell).collect();
        let below = match &*below {
            "" => String::new(),
            below => format!("<tr class=\"why\"><td colspan=\"{N}\">{below}</td></tr>\n"),
        };
        format!("<tr>{cells}</tr>\n{below}")
    };
    let (head, rows): (String, String) = (columns.iter().map(head).collect(), rows.map(row).collect());
    format!("<table id=\"{id}\">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn text_has_no_meaning_and_dates_are_short() {
        assert_eq!(escape("<b a=\"1\" c='2'>&\u{1b}é"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}é");
        let moment = UNIX_EPOCH + Duration::from_millis(1_795_426_771_722);
        let later = moment + Duration::from_secs(9);
        assert_eq!(ago_of(Some(moment), later), "<time title=\"2026-11-23 09:39:31 UTC\">9 s ago</time>");
        assert!(ago_of(Some(later), moment).contains("0 s ago"), "a clock that was set back");
        assert_eq!(ago_of(None, later), "–");
    }
}
