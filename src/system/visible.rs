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
