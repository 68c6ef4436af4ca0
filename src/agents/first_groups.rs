//! Which groups an agent that connects for the first time gets.

/// Where it goes if nothing speaks for another group.
const DEFAULT: &str = "default";

/// The groups of its registration (names joined by commas) that exist; without such a one those that are guessed, and
/// else `default`.
///
/// # Errors
/// Those of `exists`.
pub fn first_groups<'a, E>(
    registered: &'a str,
    guess: Option<&'a str>,
    mut exists: impl FnMut(&str) -> Result<bool, E>,
) -> Result<Vec<&'a str>, E> {
    for names in [registered, guess.unwrap_or_default()] {
        let mut found = Vec::new();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            if exists(name)? {
                found.push(name);
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(vec![DEFAULT])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_then_a_guess_then_default() {
        let groups = |registered, guess| {
            first_groups(registered, guess, |name| if name == "x" { Err(()) } else { Ok(name != "gone") })
        };
        assert_eq!(groups("web,gone,db", Some("app")), Ok(vec!["web", "db"]));
        assert_eq!(groups("gone", Some("app,web")), Ok(vec!["app", "web"]));
        assert_eq!(groups("", Some("gone")), Ok(vec!["default"]));
        assert_eq!(groups("", None), Ok(vec!["default"]));
        assert_eq!(groups("x", None), Err(()));
    }
}
