//! The part of the `<auth>` block that decides who is registered.

/// The `<auth>` block of `ossec.conf` (`spec/registration.md` 4, 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// Whether client.keys forgets agents that are removed.
    pub purge: bool,
    /// What decides where a request says nothing.
    pub force: Force,
}

/// When a new agent replaces one that has its name, address or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Force {
    /// Whether it ever does.
    pub enabled: bool,
    /// Whether it does not if it proves to be the same agent.
    pub key_mismatch: bool,
    /// Seconds for which the old one must have been disconnected; none if that does not matter.
    pub disconnected_time: Option<i64>,
    /// Seconds that must have passed since the old one was registered.
    pub after_registration_time: i64,
}

impl Default for Force {
    /// That of the stock daemon.
    fn default() -> Self {
        const HOUR: i64 = 3600;
        Self { enabled: true, key_mismatch: true, disconnected_time: Some(HOUR), after_registration_time: HOUR }
    }
}

/// The seconds of a text such as `90`, `15m`, `1h` or `7d`. Of the unit, only the first letter counts.
pub fn seconds(text: &str) -> Option<i64> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..end].parse().ok()?;
    let unit = match text.as_bytes().get(end) {
        None | Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        Some(_) => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("90", Some(90)),
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("1h", Some(3600)),
            ("2days", Some(172_800)),
            ("", None),
            ("h", None),
            ("-1", None),
            ("1w", None),
            ("1 h", None),
            ("9223372036854775807h", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
