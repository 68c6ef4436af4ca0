//! The sections of a document.

use std::collections::{BTreeMap, BTreeSet};

use crate::citation::Place;

/// What can be cited of a document.
#[derive(Default)]
pub struct Document {
    /// Sections by their numbers, and the numbers of the items and steps in each.
    sections: BTreeMap<String, Vec<u32>>,
    /// Rows that have the number of their section in front, such as `18.11`.
    rows: BTreeSet<String>,
}

impl Document {
    /// Reads a document; gives the sections that are there twice, too.
    pub fn parse(content: &str) -> (Self, Vec<String>) {
        let (mut document, mut doubles, mut current, mut is_code) = (Self::default(), vec![], String::new(), false);
        for line in content.lines() {
            is_code ^= line.starts_with("```");
            if let Some(section) = heading(line).filter(|_| !is_code) {
                current = section.to_owned();
                if document.sections.insert(current.clone(), Vec::new()).is_some() {
                    doubles.push(current.clone());
                }
            } else if let (Some(number), Some(items)) = (item(line), document.sections.get_mut(&current)) {
                let row = number.strip_prefix(&current).and_then(|rest| rest.strip_prefix('.'));
                document.rows.extend(row.map(|_| number.to_owned()));
                items.extend(row.unwrap_or(number).parse::<u32>());
            }
        }
        (document, doubles)
    }

    /// Whether its sections have numbers.
    pub fn has_sections(&self) -> bool {
        !self.sections.is_empty()
    }

    /// Those of `places` that are not there.
    pub fn missing<'p>(&self, places: &'p [Place]) -> Vec<&'p Place> {
        let is_there = |Place { section, item }: &Place| match (self.sections.get(section), item) {
            (Some(items), Some(item)) => items.contains(item),
            (found, item) => item.is_none() && (found.is_some() || self.rows.contains(section)),
        };
        places.iter().filter(|place| !is_there(place)).collect()
    }
}

/// The number of a heading, `10.4` of `### 10.4 Worker side` and `10` of `## 10. Integrity`.
fn heading(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
    let number = title.split(' ').next()?.trim_end_matches('.');
    number.starts_with(|first: char| first.is_ascii_digit()).then_some(number)
}

/// The number of an item: `11. text`, or a row `| 11 | text |` or `| 18.11 | text |`.
fn item(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (number, _) = line.strip_prefix("| ").map_or_else(|| line.split_once(". "), |row| row.split_once(" |"))?;
    number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then_some(number)
}

#[test]
fn sections_and_what_is_in_them_are_found() {
    let text = "# T\n| 7 | a |\n## 1. One\n1. a\n 2. b\n```\n## 9 no\n```\n### 1.1 Sub\n| 3 | c |\n## 2 Two\n## 2 Again\n\
                | 2.7 | d |\n| v2 | e |\n";
    let (document, doubles) = Document::parse(text);
    assert_eq!(doubles, ["2"]);
    let sections: Vec<_> = document.sections.iter().map(|(section, items)| (section.as_str(), &items[..])).collect();
    assert_eq!(sections, [("1", &[1, 2][..]), ("1.1", &[3]), ("2", &[7])]);
    let place = |(section, item): (&str, Option<u32>)| Place { section: section.to_owned(), item };
    let there =
        [("1", Some(2)), ("1.1", None), ("1.1", Some(3)), ("2", None), ("2", Some(7)), ("2.7", None)].map(place);
    assert_eq!(document.missing(&there), [] as [&Place; 0]);
    let not = [("1", Some(3)), ("1.2", None), ("2.8", None), ("2.7", Some(1)), ("3", None), ("9", None)].map(place);
    assert_eq!(document.missing(&not).len(), not.len());
}
