//! What is looked at in a DAPI request before a process is started for it (`spec/protocol.md` 14.2).
//!
//! The text stays opaque: a few members are read, nothing is made of them. What the framework would call is decided again,
//! and more closely, where it is called (`pool/executor.py`).

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    config::NodeType,
    wire::{Class, ErrorObject},
};

/// Packages whose functions may be asked for.
const PACKAGES: [&str; 2] = ["wazuh", "api"];

/// The longest name of a function that is shown, in bytes.
const LONGEST_NAME: usize = 128;

/// What is known of a request that may be executed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// The name of the function, for the log.
    pub(super) function: String,
    /// Whether whoever asked waits for as long as it takes.
    pub(super) waits: bool,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    f: Function<'a>,
    #[serde(default)]
    f_kwargs: Option<Arguments>,
    #[serde(borrow, default)]
    request_type: Option<Cow<'a, str>>,
    #[serde(default)]
    from_cluster: Option<bool>,
    #[serde(default)]
    wait_for_complete: Option<bool>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    __callable__: Callable<'a>,
}

#[derive(Deserialize)]
struct Callable<'a> {
    #[serde(borrow)]
    __name__: Cow<'a, str>,
    #[serde(borrow)]
    __module__: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    tmp_file: Option<IgnoredAny>,
}

/// Checks that a request is valid JSON.
///
/// # Errors
/// What the stock daemon says of it.
pub(super) fn is_json(request: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(request).map(drop).map_err(|error| malformed(request, &error))
}

/// Checks a request that is valid JSON; `from_node` if another node sent it to this one, which is a `node_type`.
///
/// # Errors
/// What whoever asked is told, in the words of the stock daemon where it has some.
pub(super) fn check(request: &[u8], node_type: NodeType, from_node: bool) -> Result<Checked, ErrorObject> {
    let request: Request<'_> =
        serde_json::from_slice(request).map_err(|_| refuse("Wazuh object cannot be decoded from JSON".to_owned()))?;
    let Callable { __name__: name, __module__: module } = &request.f.__callable__;
    if !PACKAGES.contains(&module.split('.').next().unwrap_or_default()) {
        return Err(refuse(format!("Decoding callable from module '{}' is not allowed", shown(module))));
    }
    if request.f_kwargs.is_some_and(|arguments| arguments.tmp_file.is_some()) {
        return Err(ErrorObject::cluster(3034, "Invalid tmp_file path: files of other nodes are not accepted"));
    }
    let kind = request.request_type.as_deref().unwrap_or("local_master");
    let is_share = kind == "distributed_master" && request.from_cluster == Some(true);
    if from_node && node_type == NodeType::Worker && kind != "local_any" && !is_share {
        // The framework would ask the master for it, that is, whoever has asked.
        return Err(ErrorObject::unexpected(
            "a worker does not execute for its master what only the master can execute",
        ));
    }
    Ok(Checked { function: shown(name).into_owned(), waits: request.wait_for_complete == Some(true) })
}

/// What the stock daemon says of text that is no JSON.
fn malformed(request: &[u8], error: &serde_json::Error) -> String {
    // The parser's column is that of the first wrong character; the stock daemon's is that where the word begins.
    let before: usize =
        request.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let mut at = (before + error.column().saturating_sub(1)).min(request.len());
    while at > before && request[at - 1].is_ascii_alphanumeric() {
        at -= 1;
    }
    let text = error.to_string();
    let what = if text.starts_with("expected") || text.starts_with("EOF") { "Expecting value" } else { "Invalid JSON" };
    format!("{what}: line {} column {} (char {at})", error.line().max(1), at - before + 1)
}

fn refuse(text: String) -> ErrorObject {
    ErrorObject { verbatim: true, extra: Some(text), ..ErrorObject::new(Class::Internal, 1000) }
}

/// A name as it may be shown.
fn shown(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.<>-".contains(&byte);
    let is_plain = name.len() <= LONGEST_NAME && name.bytes().all(plain);
    if is_plain { name.into() } else { name.chars().filter(char::is_ascii_alphanumeric).take(LONGEST_NAME).collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn request(module: &str, more: &[(&str, Value)]) -> Vec<u8> {
        let mut request = json!({"f": {"__callable__": {"__name__": "status", "__module__": module, "__qualname__": "status",
            "__type__": "function"}}, "f_kwargs": {"select": null}, "unknown": 1});
        more.iter().for_each(|(name, value)| request[name] = value.clone());
        request.to_string().into_bytes()
    }

    fn refusal(request: &[u8]) -> String {
        check(request, NodeType::Master, true).unwrap_err().to_string()
    }

    #[test]
    fn a_request_of_the_framework_passes() {
        let checked = check(&request("wazuh.manager", &[("wait_for_complete", json!(true))]), NodeType::Master, true);
        assert_eq!(checked, Ok(Checked { function: "status".to_owned(), waits: true }));
        let checked = check(&request("api.authentication", &[("f_kwargs", Value::Null)]), NodeType::Master, false);
        assert_eq!(checked, Ok(Checked { function: "status".to_owned(), waits: false }));
    }

    #[test]
    fn what_is_refused_has_the_words_of_the_original() {
        let of = |module| refusal(&request(module, &[]));
        assert_eq!(of("os"), "Error 1000 - Decoding callable from module 'os' is not allowed");
        assert_eq!(of("wazuhx.os"), "Error 1000 - Decoding callable from module 'wazuhx.os' is not allowed");
        assert_eq!(of("o\ns"), "Error 1000 - Decoding callable from module 'os' is not allowed");
        let file = request("wazuh.agent", &[("f_kwargs", json!({"tmp_file": "tmp/x"}))]);
        assert!(refusal(&file).contains("Invalid tmp_file path"), "{}", refusal(&file));
        for malformed in ["{}", "[]", "1", r#"{"f": 1}"#, r#"{"f": {"__callable__": {"__name__": "a"}}}"#] {
            assert_eq!(refusal(malformed.as_bytes()), "Error 1000 - Wazuh object cannot be decoded from JSON");
        }
        let twice = r#"{"f": {"__callable__": {"__name__": "a", "__module__": "wazuh.agent"}}, "f_kwargs": {},
            "f_kwargs": {"tmp_file": "x"}}"#;
        assert_eq!(refusal(twice.as_bytes()), "Error 1000 - Wazuh object cannot be decoded from JSON");
    }

    /// It would come back to the master, which waits for it.
    #[test]
    fn a_worker_executes_for_its_master_what_is_its_share() {
        let allowed = |kind: &str, from_cluster: bool, from_node: bool| {
            let more = [("request_type", json!(kind)), ("from_cluster", json!(from_cluster))];
            check(&request("wazuh.manager", &more), NodeType::Worker, from_node).is_ok()
        };
        assert!(allowed("distributed_master", true, true) && allowed("local_any", false, true));
        assert!(!allowed("distributed_master", false, true) && !allowed("local_master", true, true));
        assert!(allowed("local_master", false, false), "a program of its own, where the API is not distributed");
    }

    #[test]
    fn text_that_is_no_json_is_refused_in_the_words_of_the_original() {
        let text = |request: &[u8]| is_json(request).unwrap_err();
        assert_eq!(text(b"not json"), "Expecting value: line 1 column 1 (char 0)");
        assert_eq!(text(b""), "Expecting value: line 1 column 1 (char 0)");
        assert_eq!(text(b"{\"a\":\n nul}"), "Expecting value: line 2 column 2 (char 7)");
        assert!(text(b"{} {}").starts_with("Invalid JSON: line 1 column 4"));
        assert!(text(b"\xff").contains("line 1"));
    }

    proptest! {
        #[test]
        fn any_text_is_checked(text in "\\PC*") {
            let _ = check(text.as_bytes(), NodeType::Worker, true);
        }
    }
}
