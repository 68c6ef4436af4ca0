//! Requests to the registrar (`spec/registration.md` 2 to 5).

use std::collections::HashSet;

use super::answer::Refusal;
use crate::{
    config::{Force, seconds},
    sockets::json::Json,
};

/// The most digits that an id may have.
const ID_DIGITS: usize = 8;

/// What is asked for. All of it has the right form; whether it is possible is another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A new agent.
    Add(Add),
    /// The end of an agent.
    Remove {
        /// As it was given.
        id: String,
        /// Whether client.keys is to forget it.
        purge: bool,
    },
    /// What client.keys says of an agent.
    Get {
        /// As it was given.
        id: String,
    },
}

/// A new agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Add {
    pub(super) name: String,
    /// `any`, or something that may be an address.
    pub(super) ip: String,
    /// The id that it is to have.
    pub(super) id: Option<String>,
    /// The key that it is to have.
    pub(super) key: Option<String>,
    /// By which it proves that it is one of the agents that exist.
    pub(super) key_hash: Option<String>,
    /// At least one if any, each once.
    pub(super) groups: Option<Vec<String>>,
    /// Overrides the configuration.
    pub(super) force: Option<Force>,
}

impl Request {
    /// Understands a JSON request. What follows the JSON does not matter.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let request = Json::parse_first(text).ok_or(Refusal::Json)?;
        let function = request.text_of("function").ok_or(Refusal::NoFunction)?;
        if !matches!(function, "add" | "remove" | "get") {
            return Err(Refusal::Internal);
        }
        let arguments = request.get("arguments").ok_or(Refusal::NoArguments)?;
        if function == "add" {
            return Add::read(arguments).map(Self::Add);
        }
        let id = arguments.text_of("id").ok_or(Refusal::NoId)?.to_owned();
        Ok(match function {
            "remove" => Self::Remove { id, purge: arguments.get("purge").and_then(Json::flag) == Some(true) },
            _ => Self::Get { id },
        })
    }
}

impl Add {
    fn read(arguments: &Json) -> Result<Self, Refusal> {
        let text = |name: &str, refusal| match arguments.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => value.text().map(|text| Some(text.to_owned())).ok_or(refusal),
        };
        let id = text("id", Refusal::NoId)?;
        if id.as_deref().is_some_and(|id| !is_id(id)) {
            return Err(Refusal::NoId);
        }
        let name = text("name", Refusal::NoName)?.filter(|name| is_name(name)).ok_or(Refusal::NoName)?;
        let ip = text("ip", Refusal::NoIp)?.ok_or(Refusal::NoIp)?;
        let groups = text("groups", Refusal::InvalidGroup)?.map(|list| split(&list));
        if groups.as_ref().is_some_and(Vec::is_empty) {
            return Err(Refusal::InvalidGroup);
        }
        let (key, key_hash) = (text("key", Refusal::Json)?, text("key_hash", Refusal::Json)?);
        let force = arguments.get("force").map(|force| read_force(force).ok_or(Refusal::Json)).transpose()?;
        Ok(Self { name, ip, id, key, key_hash, groups, force })
    }
}

/// The force options of a request; none if one is missing or wrong.
fn read_force(force: &Json) -> Option<Force> {
    let flag = |value: &Json| match value {
        Json::Bool(flag) => Some(*flag),
        Json::Number(number) => Some(*number != 0.0),
        _ => None,
    };
    let time = |value: &Json| value.number().or_else(|| seconds(value.text()?));
    let disconnected = force.get("disconnected_time")?;
    let (examined, disconnected_time) = (flag(disconnected.get("enabled")?)?, time(disconnected.get("value")?)?);
    Some(Force {
        enabled: flag(force.get("enabled")?)?,
        key_mismatch: flag(force.get("key_mismatch")?)?,
        disconnected_time: examined.then_some(disconnected_time),
        after_registration_time: time(force.get("after_registration_time")?)?,
    })
}

/// The names of a list, each once.
fn split(list: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    list.split(',').filter(|name| !name.is_empty() && seen.insert(*name)).map(str::to_owned).collect()
}

/// Whether an agent may be called so; the rule of the enrolment service, whose other clients keep to it themselves.
pub(super) fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (2..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_letter)
}

/// Whether a new agent may have this id. That of the manager, 0, is not free.
fn is_id(id: &str) -> bool {
    (1..=ID_DIGITS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()) && id.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn add(arguments: &str) -> Result<Add, Refusal> {
        match Request::parse(&format!(r#"{{"arguments":{arguments},"function":"add"}} trailing"#))? {
            Request::Add(add) => Ok(add),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_missing_has_its_own_refusal() {
        for (text, refusal) in [
            ("{", Refusal::Json),
            ("{}", Refusal::NoFunction),
            (r#"{"function":1}"#, Refusal::NoFunction),
            (r#"{"function":"ad"}"#, Refusal::Internal),
            (r#"{"function":"add"}"#, Refusal::NoArguments),
            (r#"{"function":"add","arguments":{}}"#, Refusal::NoName),
            (r#"{"function":"add","arguments":{"name":1,"ip":"any"}}"#, Refusal::NoName),
            (r#"{"function":"add","arguments":{"name":"web"}}"#, Refusal::NoIp),
            (r#"{"function":"remove"}"#, Refusal::NoArguments),
            (r#"{"function":"remove","arguments":{}}"#, Refusal::NoId),
            (r#"{"function":"get","arguments":{"id":1}}"#, Refusal::NoId),
        ] {
            assert_eq!(Request::parse(text), Err(refusal), "{text}");
        }
        for (rest, refusal) in [
            (r#""groups":"""#, Refusal::InvalidGroup),
            (r#""groups":",""#, Refusal::InvalidGroup),
            (r#""groups":["a"]"#, Refusal::InvalidGroup),
            (r#""id":7"#, Refusal::NoId),
            (r#""id":"""#, Refusal::NoId),
            (r#""id":"000""#, Refusal::NoId),
            (r#""id":"123456789""#, Refusal::NoId),
            (r#""id":"7 !x any k\n""#, Refusal::NoId),
            (r#""key":1"#, Refusal::Json),
        ] {
            assert_eq!(add(&format!(r#"{{"name":"web","ip":"any",{rest}}}"#)), Err(refusal), "{rest}");
        }
    }

    #[test]
    fn a_complete_request_is_taken() {
        let full = add(
            r#"{"Name":"u.1","ip":"any","id":"007","key":"k","key_hash":"h","groups":"web,db,,web","force":{"enabled":1,
                "key_mismatch":false,"disconnected_time":{"enabled":true,"value":"1h"},"after_registration_time":60}}"#,
        );
        let force =
            Force { enabled: true, key_mismatch: false, disconnected_time: Some(3600), after_registration_time: 60 };
        let text = |text: &str| Some(text.to_owned());
        let expected = Add {
            name: "u.1".to_owned(),
            ip: "any".to_owned(),
            id: text("007"),
            key: text("k"),
            key_hash: text("h"),
            groups: Some(vec!["web".to_owned(), "db".to_owned()]),
            force: Some(force),
        };
        assert_eq!(full, Ok(expected));
        let least = add(r#"{"name":"web","ip":"any","id":null}"#).unwrap();
        assert_eq!(least, Add { name: "web".to_owned(), ip: "any".to_owned(), ..Add::default() });
    }

    #[test]
    fn force_is_complete_or_refused() {
        let whole = r#"{"enabled":false,"key_mismatch":true,"disconnected_time":{"enabled":false,"value":0},"after_registration_time":"0"}"#;
        let with = |force: &str| add(&format!(r#"{{"name":"web","ip":"any","force":{force}}}"#)).map(|add| add.force);
        let nothing = Force { enabled: false, key_mismatch: true, disconnected_time: None, after_registration_time: 0 };
        assert_eq!(with(whole), Ok(Some(nothing)));
        for (part, wrong) in [
            (r#""enabled":false,"key"#, r#""key"#),
            (r#""key_mismatch":true,"#, ""),
            (r#""key_mismatch":true"#, r#""key_mismatch":"true""#),
            (r#""value":0"#, r#""value":"soon""#),
            (r#","value":0"#, ""),
            (r#""enabled":false,"value""#, r#""value""#),
            (r#"{"enabled":false,"value":0}"#, "3600"),
            (r#","after_registration_time":"0""#, ""),
            (r#""0""#, "null"),
        ] {
            assert!(whole.contains(part));
            assert_eq!(with(&whole.replacen(part, wrong, 1)), Err(Refusal::Json), "{part} {wrong}");
        }
        assert_eq!(with("null"), Err(Refusal::Json));
    }

    #[test]
    fn only_true_purges() {
        let purge = |value: &str| {
            Request::parse(&format!(r#"{{"function":"remove","arguments":{{"id":"001","purge":{value}}}}}"#)).unwrap()
        };
        for (value, expected) in [("true", true), ("false", false), ("1", false), (r#""true""#, false)] {
            assert_eq!(purge(value), Request::Remove { id: "001".to_owned(), purge: expected }, "{value}");
        }
    }

    #[test]
    fn names_are_those_of_the_enrolment_service() {
        let longest = "u".repeat(128);
        for good in ["nn", "user-1", "user_1", "user.1", "-a", "1.", &longest] {
            assert!(is_name(good), "{good}");
        }
        let long = "u".repeat(129);
        for bad in ["", "n", ".a", "user*1", "a b", "a\nb", "!a", "#a", "a/b", "ää", &long] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}\\[\\]\":,a-z0-9\\\\ ]{0,60}|\\PC{0,30}") {
            let _ = Request::parse(&text);
        }
    }
}
