//! The error objects of `err` answers (`spec/protocol.md` 5).

use std::fmt;

use serde_json::{Value, json};

use crate::system::json;

/// The class of an error: who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The daemon or its machine.
    Internal,
    /// The cluster: another node, its configuration or its connection.
    Cluster,
    /// The request.
    Request,
    /// The request names what does not exist.
    NotFound,
}

impl Class {
    const ALL: [Self; 4] = [Self::Internal, Self::Cluster, Self::Request, Self::NotFound];

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Internal => ("WazuhInternalError", "Wazuh Internal Error"),
            Self::Cluster => ("WazuhClusterError", "Wazuh Cluster Error"),
            Self::Request => ("WazuhError", "Bad Request"),
            Self::NotFound => ("WazuhResourceNotFound", "Resource Not Found"),
        }
    }
}

/// An error that travels between nodes, or to a local program.
///
/// Only its number and the part that is special to the case travel; each side has the sentences in a table of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorObject {
    /// Who is at fault.
    pub class: Class,
    /// The number, `spec/protocol.md` 5.3.
    pub code: u32,
    /// What is special to the case; for [`ErrorObject::verbatim`] the whole message.
    pub extra: Option<String>,
    /// Whether `extra` is the whole message.
    pub verbatim: bool,
    /// What to do, where that is special to the case.
    pub remedy: Option<String>,
}

impl ErrorObject {
    /// An error that needs no more than its number.
    pub fn new(class: Class, code: u32) -> Self {
        Self { class, code, extra: None, verbatim: false, remedy: None }
    }

    /// An error of the cluster with what is special to the case.
    pub fn cluster(code: u32, extra: impl Into<String>) -> Self {
        Self { extra: Some(extra.into()), ..Self::new(Class::Cluster, code) }
    }

    /// Error 1000: a failure that has no number of its own.
    pub fn unexpected(extra: impl Into<String>) -> Self {
        Self { extra: Some(extra.into()), ..Self::new(Class::Internal, 1000) }
    }

    /// A bad request that names its fault.
    pub fn request(code: u32, extra: impl Into<String>) -> Self {
        Self { extra: Some(extra.into()), ..Self::new(Class::Request, code) }
    }

    /// The same error with what to do.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The object that travels.
    pub fn to_json(&self) -> String {
        let (class, title) = self.class.names();
        let mut ids = String::new();
        if matches!(self.class, Class::Request | Class::NotFound) {
            ids.push_str(r#", "ids": []"#);
        }
        format!(
            r#"{{"__wazuh_exception__": {{"__class__": "{class}", "__object__": {{"type": "about:blank", "title": "{title}", "code": {}, "extra_message": {}, "extra_remediation": {}, "cmd_error": {}, "dapi_errors": {{}}{ids}}}}}}}"#,
            self.code,
            json::text(&self.extra),
            json::text(&self.remedy),
            self.verbatim,
        )
    }

    /// The error that `payload` of an `err` answer carries. What is not such an object is error 3000 with the text as
    /// it came; nothing a peer sends can make this fail.
    pub fn from_payload(payload: &[u8]) -> Self {
        Self::from_json(payload).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&payload[..payload.len().min(1024)]).into_owned();
            Self::cluster(3000, text)
        })
    }

    /// The error object in `payload`, if it is one.
    pub fn from_json(payload: &[u8]) -> Option<Self> {
        if payload.len() > 64 * 1024 {
            return None;
        }
        let value: Value = serde_json::from_slice(payload).ok()?;
        let error = value.get("__wazuh_exception__")?;
        let object = error.get("__object__")?;
        let class = Class::ALL.into_iter().find(|class| error.get("__class__") == Some(&json!(class.names().0)));
        let extra = match object.get("extra_message") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        Some(Self {
            class: class.unwrap_or(Class::Internal),
            code: object.get("code").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok())?,
            extra,
            verbatim: object.get("cmd_error") == Some(&Value::Bool(true)),
            remedy: object.get("extra_remediation").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// The sentence, without the number.
    pub fn message(&self) -> String {
        match (&self.extra, self.verbatim) {
            (Some(extra), true) => extra.clone(),
            (Some(extra), false) if sentence(self.code).is_empty() => extra.clone(),
            (Some(extra), false) => format!("{}: {extra}", sentence(self.code)),
            (None, _) => sentence(self.code).to_owned(),
        }
    }
}

/// The form of logs and terminals: `Error 3028 - Worker node ID already exists: w1`.
impl fmt::Display for ErrorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error {} - {}", self.code, self.message())
    }
}

impl std::error::Error for ErrorObject {}

/// The sentences that belong to the numbers. A number that is not here shows only its extra message.
fn sentence(code: u32) -> &'static str {
    match code {
        1000 => "Wazuh Internal Error",
        1400 => "Invalid offset",
        1401 => "Invalid limit",
        1405 => "Specified limit exceeds maximum allowed (100000)",
        1406 => "0 is not a valid limit",
        1724 => "Not a valid select field",
        1728 => "Invalid node type",
        1730 => "Node does not exist",
        3000 => "Cluster",
        3001 => "The archive could not be built",
        3003 => "Error during file handling",
        3007 => "A worker may not send files of its own to the master",
        3012 => "Cluster is not running",
        3018 => "Error sending request",
        3020 => "Timeout sending request",
        3022 => "Unknown node or path",
        3023 => "Worker node is not connected to master",
        3027 => "Unknown task id",
        3028 => "Worker node ID already exists",
        3029 => "Connected worker with same name as the master",
        3030 => "Worker does not belong to the same cluster",
        3031 => "Worker and master versions are not the same",
        3032 => "No request waits for this answer",
        3036 => "JSON couldn't be loaded",
        3039 => "Timeout while waiting to receive a file",
        3040 => "Error while waiting to receive a file",
        3050 => "Message exceeds the allowed size",
        3053 => "The decompressed archive exceeds the allowed size",
        3060 => "Invalid node name",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_that_of_the_original() {
        assert_eq!(
            ErrorObject::cluster(3028, "specw1").to_json(),
            r#"{"__wazuh_exception__": {"__class__": "WazuhClusterError", "__object__": {"type": "about:blank", "title": "Wazuh Cluster Error", "code": 3028, "extra_message": "specw1", "extra_remediation": null, "cmd_error": false, "dapi_errors": {}}}}"#
        );
        let advised = ErrorObject::unexpected("it is full").with_remedy("make room");
        assert!(advised.to_json().contains(r#""extra_message": "it is full", "extra_remediation": "make room", "#));
        assert_eq!(ErrorObject::from_json(advised.to_json().as_bytes()), Some(advised));
        let unknown = ErrorObject::new(Class::NotFound, 1730);
        assert_eq!(ErrorObject::from_payload(unknown.to_json().as_bytes()), unknown);
        assert_eq!(unknown.to_string(), "Error 1730 - Node does not exist");
    }

    #[test]
    fn anything_else_is_error_3000_with_its_text() {
        for payload in
            [&b"unknown command 'b'x''"[..], b"", b"\xff\xfe", b"{}", b"[1]", b"{\"__wazuh_exception__\": 3}"]
        {
            assert_eq!(ErrorObject::from_payload(payload).code, 3000);
        }
    }
}
