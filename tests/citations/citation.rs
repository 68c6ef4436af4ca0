//! Citations in a piece of prose.

use std::fmt;

/// A place that is cited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `10.4`.
    pub section: String,
    /// The number of an item, or of a step.
    pub item: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "section {}", self.section)?;
        self.item.map_or(Ok(()), |item| write!(f, " with an item {item}"))
    }
}

impl Place {
    /// Whether these may be versions of the original, 4.4 to 4.14.
    pub fn are_versions(places: &[Self]) -> bool {
        let minor = |place: &Self| place.section.strip_prefix("4.").and_then(|minor| minor.parse::<u32>().ok());
        places.iter().all(|place| minor(place).is_some_and(|minor| (4..=14).contains(&minor)))
    }
}

/// Places of one document.
#[derive(Debug, PartialEq, Eq)]
pub struct Citation {
    /// Where it begins in the text.
    pub at: usize,
    /// The document, `protocol.md`; none if it is not named.
    pub document: Option<String>,
    /// May be none: the document as a whole.
    pub places: Vec<Place>,
}

/// All citations of a text; with `bare`, also those that name no document.
pub fn all(text: &str, bare: bool) -> Vec<Citation> {
    let mut found = Vec::new();
    for (at, _) in text.char_indices() {
        if let Some((document, rest)) = document(&text[at..]) {
            let places = list(rest.trim_start_matches(' ')).0;
            found.push(Citation { at, document: Some(document.to_owned()), places });
        } else if bare && let Some(places) = unnamed(&text[at..]) {
            found.push(Citation { at, document: None, places });
        }
    }
    found
}

/// The name of a document at the beginning of `text`, and what follows it.
fn document(text: &str) -> Option<(&str, &str)> {
    let name = text.strip_prefix("spec/")?;
    let end = name.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_')?;
    let rest = name[end..].strip_prefix(".md").filter(|_| end > 0)?;
    Some((&name[..end + 3], rest.strip_prefix('`').unwrap_or(rest)))
}

/// Sections without a document: `section 9.1`, or `(10.3, 10.6)` and `(10.7: because)`.
fn unnamed(text: &str) -> Option<Vec<Place>> {
    let word = ["section ", "sections "].iter().find_map(|word| text.strip_prefix(word));
    if let Some(rest) = word {
        return Some(list(rest).0).filter(|places| !places.is_empty());
    }
    let (places, rest) = list(text.strip_prefix('(')?);
    let is_dotted = !places.is_empty() && places.iter().all(|place| place.section.contains('.'));
    (is_dotted && rest.starts_with([')', ':', ';', ','])).then_some(places)
}

/// A list of places at the beginning of `text`, and what follows it.
fn list(text: &str) -> (Vec<Place>, &str) {
    let (mut places, mut rest) = (Vec::<Place>::new(), text);
    let Some((first, mut after)) = number(rest) else { return (places, text) };
    places.push(Place { section: first.to_owned(), item: None });
    loop {
        rest = after;
        let last = places.last().map(|place| place.section.clone()).unwrap_or_default();
        let item = [", item ", " item ", " step ", ", step "].iter().find_map(|word| rest.strip_prefix(word));
        let range = rest.strip_prefix(" to ").and_then(number);
        let next = [", ", " and ", " or "].iter().find_map(|word| rest.strip_prefix(word)).and_then(number);
        if let Some((item, behind)) = item.and_then(number) {
            if let Some(place) = places.last_mut() {
                place.item = item.parse().ok();
            }
            after = behind;
        } else if let Some((end, behind)) = range {
            places.extend(between(&last, end).into_iter().map(|section| Place { section, item: None }));
            after = behind;
        } else if let Some((next, behind)) = next {
            places.push(Place { section: next.to_owned(), item: None });
            after = behind;
        } else {
            return (places, rest);
        }
    }
}

/// The sections after `first` up to `end`; the text itself, which is none, if these are no range.
fn between(first: &str, end: &str) -> Vec<String> {
    let split = |text: &str| match text.rsplit_once('.') {
        Some((major, minor)) => Some((format!("{major}."), minor.parse::<u32>().ok()?)),
        None => Some((String::new(), text.parse::<u32>().ok()?)),
    };
    match (split(first), split(end)) {
        (Some((major, from)), Some((same, to))) if major == same && from < to => {
            (from + 1..=to).map(|minor| format!("{major}{minor}")).collect()
        }
        _ => vec![format!("{first} to {end}")],
    }
}

/// The number of a section at the beginning of `text`, `10` or `10.4`, and what follows it.
fn number(text: &str) -> Option<(&str, &str)> {
    let digits = |text: &str| text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let major = digits(text);
    if major == 0 || major > 2 || text.starts_with('0') {
        return None;
    }
    let minor = text[major..].strip_prefix('.').map_or(0, digits);
    let end = if minor > 0 { major + 1 + minor } else { major };
    let rest = &text[end..];
    // `4.14.7` is a version, and `1.5x` or `10%` is something else.
    let other = rest.strip_prefix('.').unwrap_or(rest).starts_with(|letter: char| letter.is_alphanumeric());
    (!other && !rest.starts_with(['%', '+'])).then_some((&text[..end], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The citations of a text in short.
    fn cited(text: &str) -> String {
        let short = |Citation { document, places, .. }: Citation| {
            let places = places.into_iter().map(|Place { section, item }| match item {
                Some(item) => format!("{section}#{item}"),
                None => section,
            });
            format!("{}[{}]", document.unwrap_or_default(), places.collect::<Vec<_>>().join(" "))
        };
        all(text, true).into_iter().map(short).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn all_forms_are_read() {
        for (text, expected) in [
            ("(`spec/protocol.md` 10.5).", "protocol.md[10.5]"),
            ("see `spec/native.md`.", "native.md[]"),
            ("2.1  spec/protocol.md 2", "protocol.md[2]"),
            ("`spec/protocol.md` 5.3. The", "protocol.md[5.3]"),
            ("(`spec/protocol.md` 10.2, `spec/native.md` 2)", "protocol.md[10.2] native.md[2]"),
            ("`spec/agentdb.md` 1, 9 and 10)", "agentdb.md[1 9 10]"),
            ("`spec/agentdb.md` 7.9 to 7.11)", "agentdb.md[7.9 7.10 7.11]"),
            ("`spec/registration.md` 2 to 4)", "registration.md[2 3 4]"),
            ("`spec/protocol.md` 4 to 3.1)", "protocol.md[4 4 to 3.1]"),
            ("`spec/protocol.md` 18, item 11)", "protocol.md[18#11]"),
            ("`spec/protocol.md` 10.2, 10.4 step 3), of", "protocol.md[10.2 10.4#3]"),
            ("`spec/protocol.md` 3, which", "protocol.md[3]"),
            ("made less (7.4).", "[7.4]"),
            ("their name (10.7: `ar.conf`,", "[10.7]"),
            ("(10.3, 10.6)", "[10.3 10.6]"),
            ("of section 5, and", "[5]"),
            ("sections 8 and 9.1", "[8 9.1]"),
        ] {
            assert_eq!(cited(text), expected, "{text}");
        }
    }

    #[test]
    fn other_numbers_are_none() {
        for text in [
            "(4.14.7)",
            "(4.8+)",
            "(1.5 s)",
            "(10%)",
            "(7)",
            "(0.5)",
            "(RFC 8018, 5.2)",
            "section of",
            "spec/",
            "spec/x.rs 2",
            "the version 4.13",
            "(3.5x)",
        ] {
            assert_eq!(cited(text), "", "{text}");
        }
        assert!(Place::are_versions(&list("4.4 to 4.14").0) && !Place::are_versions(&list("4.2").0));
    }
}
