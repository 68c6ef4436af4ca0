//! JSON as the stock daemon's programs read it (`spec/agentdb.md` 1): members are found whatever their case, the first
//! of several wins, numbers may begin with zeros. Callers depend on it: the framework sends `{"id":001}`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Self>),
    /// In the order of the text, repeated members too.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads one value; blanks and NUL bytes may follow it, nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches([' ', '\t', '\r', '\n', '\0']);
        serde_json::from_str(&without_leading_zeros(text)).ok()
    }

    /// Reads one value and leaves what follows it.
    pub(crate) fn parse_first(text: &str) -> Option<Self> {
        serde_json::Deserializer::from_str(&without_leading_zeros(text)).into_iter().next()?.ok()
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(member, _)| member.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// A text.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A number, as the 32-bit integer that the stock daemon makes of it.
    pub(crate) fn number(&self) -> Option<i64> {
        // `as` saturates, which is what is wanted.
        if let Self::Number(number) = self { Some(i64::from(*number as i32)) } else { None }
    }

    /// A member that is a number, such as a time: longer than 32 bits in the far future.
    pub(crate) fn long_of(&self, name: &str) -> Option<i64> {
        if let Self::Number(number) = self.get(name)? { Some(*number as i64) } else { None }
    }

    /// Yes or no.
    pub(crate) fn flag(&self) -> Option<bool> {
        if let Self::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// An array.
    pub(crate) fn array(&self) -> Option<&[Self]> {
        if let Self::Array(values) = self { Some(values) } else { None }
    }

    /// A member that is a text.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// A member that is a number.
    pub(crate) fn number_of(&self, name: &str) -> Option<i64> {
        self.get(name)?.number()
    }
}

/// `text` with its numbers written as JSON wants them: `-007` becomes `-7`, `00.5` becomes `0.5`.
fn without_leading_zeros(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let (mut in_text, mut escaped, mut in_number) = (false, false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if in_text {
            in_text = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else {
            in_text = letter == '"';
            let leading = letter == '0' && !in_number && letters.peek().is_some_and(char::is_ascii_digit);
            if leading {
                continue;
            }
            in_number = letter.is_ascii_digit() || (in_number && matches!(letter, '.' | 'e' | 'E' | '+' | '-'));
        }
        result.push(letter);
    }
    result
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Json, E> {
                Ok(Json::Text(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
                let mut array = Vec::new();
                while let Some(value) = values.next_element()? {
                    array.push(value);
                }
                Ok(Json::Array(array))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
                let mut object = Vec::new();
                while let Some(member) = members.next_entry()? {
                    object.push(member);
                }
                Ok(Json::Object(object))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_are_decimal_and_texts_keep_theirs() {
        let json = Json::parse(r#"{"id":001,"b":[-019,0,00.5,10,1e05],"c":"00\"01","d":{"e":000}}"#).unwrap();
        assert_eq!(json.number_of("ID"), Some(1));
        let numbers = [-19.0, 0.0, 0.5, 10.0, 1e5].map(Json::Number);
        assert_eq!(json.get("b").and_then(Json::array), Some(&numbers[..]));
        assert_eq!(json.text_of("C"), Some("00\"01"));
        assert_eq!(json.get("d").and_then(|d| d.number_of("e")), Some(0));
    }

    #[test]
    fn the_first_of_several_members_wins_and_what_follows_is_refused() {
        assert_eq!(Json::parse(r#"{"Id":1,"id":2}"#).unwrap().number_of("id"), Some(1));
        assert!(Json::parse("{} \n\0").is_some());
        for bad in ["", "{", "{} x", "[1,]", "nonsense"] {
            assert_eq!(Json::parse(bad), None, "{bad}");
        }
        for text in ["{} x", "{}{", "{}"] {
            assert_eq!(Json::parse_first(text), Some(Json::Object(vec![])), "{text}");
        }
        assert_eq!(Json::parse_first("{x"), None);
    }

    #[test]
    fn numbers_saturate() {
        assert_eq!(Json::parse("99999999999").unwrap().number(), Some(i64::from(i32::MAX)));
        assert_eq!(Json::parse("-99999999999").unwrap().number(), Some(i64::from(i32::MIN)));
    }
}
