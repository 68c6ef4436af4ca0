//! Text of somebody else, as it may stand before people.

/// Whether a terminal would obey this character instead of showing it: a control character, or one that turns the
/// direction in which the others are written.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text in which such a character is its escape.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|character| push(&mut shown, character));
    shown
}

/// Appends a character, or its escape if it would be hidden.
pub fn push(shown: &mut String, character: char) {
    if is_hidden(character) {
        shown.extend(character.escape_default());
    } else {
        shown.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_all_languages_are_shown() {
        for shown in ["é日שلa 1", "\u{301}", "👍"] {
            assert!(!shown.contains(is_hidden), "{shown}");
        }
        for hidden in ["\n", "\x1b", "\u{9b}", "\u{7f}", "\u{202e}", "\u{2066}"] {
            assert!(hidden.contains(is_hidden), "{hidden:?}");
        }
    }
}
