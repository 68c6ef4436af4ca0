//! What etcd's JSON gateway takes and gives (`spec/failover.md` 4): keys and values in base64, whole numbers as text, and
//! what is 0, false or empty left out.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, Visitor},
};
use serde_json::{Value, json};

use super::super::{Entry, MOST_WRITES, Revision, Why};
use crate::system::at_most::AtMost;

/// Operations of one transaction that etcd takes by default.
const MOST_OPERATIONS: usize = 128;

// The guard's own write is one more.
const _: () = assert!(MOST_WRITES < MOST_OPERATIONS);

/// A whole number, as a number or as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole(pub(super) u64);

/// Bytes, in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) revision: Whole,
    /// The time of etcd's own leader, as far as the member that answers knows it.
    #[serde(default)]
    pub(super) raft_term: Whole,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    pub(super) key: Bytes,
    value: Bytes,
    create_revision: Whole,
    mod_revision: Whole,
    lease: Whole,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    pub(super) header: Header,
    pub(super) kvs: AtMost<KeyValue, MOST_OPERATIONS>,
    pub(super) more: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transaction {
    pub(super) header: Header,
    pub(super) succeeded: bool,
    responses: AtMost<Operation, MOST_OPERATIONS>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Operation {
    response_range: Option<Range>,
}

/// A lease that was granted or renewed. One that has ended has no time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Granted {
    pub(super) header: Header,
    #[serde(rename = "ID")]
    pub(super) id: Whole,
    #[serde(rename = "TTL")]
    pub(super) ttl: Whole,
}

/// A line of a stream.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Line<T> {
    pub(super) result: T,
}

/// A line of a watch. What has changed is read anew, so that only the number of its events counts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub(super) created: bool,
    /// The watch has ended: its beginning was compacted, or this user may not read.
    pub(super) canceled: bool,
    pub(super) cancel_reason: String,
    pub(super) events: Count,
}

/// How many elements a list has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count(pub(super) usize);

#[derive(Deserialize)]
pub(super) struct Authenticated {
    pub(super) token: String,
}

impl Transaction {
    /// What each operation has read, in their order.
    pub(super) fn entries(self) -> Vec<Option<Entry>> {
        let read = |one: Operation| one.response_range.and_then(|range| range.kvs.0.into_iter().next());
        self.responses.0.into_iter().map(|one| read(one).map(Entry::from)).collect()
    }
}

impl From<KeyValue> for Entry {
    fn from(one: KeyValue) -> Self {
        let KeyValue { key: _, value, create_revision, mod_revision, lease } = one;
        Self { value: value.0, created: create_revision.0, changed: mod_revision.0, lease: lease.0 }
    }
}

/// An answer.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Why> {
    // An error may come with status 200: in a stream.
    match serde_json::from_slice(body) {
        Ok(answer) => Ok(answer),
        Err(fault) => Err(error(body).unwrap_or_else(|| Why::Senseless(fault.to_string()))),
    }
}

/// What etcd says of a request that it did not do; none if that is not etcd.
pub(super) fn error(body: &[u8]) -> Option<Why> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Said,
        #[serde(default)]
        code: Option<i64>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Text(String),
        Object {
            message: String,
            #[serde(default, alias = "code")]
            grpc_code: i64,
        },
    }
    let Refusal { error, code } = serde_json::from_slice(body).ok()?;
    Some(match error {
        Said::Text(message) => Why::Said { code: code.unwrap_or_default(), message },
        Said::Object { message, grpc_code } => Why::Said { code: grpc_code, message },
    })
}

/// In base64.
pub(super) fn text(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// An operation that puts; without a lease if that is 0.
pub(super) fn put(path: &str, value: &[u8], lease: u64) -> Value {
    json!({"request_put": {"key": text(path), "value": text(value), "lease": lease.to_string()}})
}

/// An operation that reads one key.
pub(super) fn get(path: &str) -> Value {
    json!({"request_range": {"key": text(path)}})
}

/// An operation that deletes one key.
pub(super) fn delete(path: &str) -> Value {
    json!({"request_delete_range": {"key": text(path)}})
}

/// One that deletes all keys from `first` up to `last`, this one included.
pub(super) fn delete_range(first: &str, last: &str) -> Value {
    json!({"request_delete_range": {"key": text(first), "range_end": text([last.as_bytes(), b"\0"].concat())}})
}

/// A condition: the key was created at this revision; 0 if it is not there.
pub(super) fn is_created(path: &str, revision: Revision) -> Value {
    let revision = revision.to_string();
    json!({"key": text(path), "target": "CREATE", "result": "EQUAL", "create_revision": revision})
}

/// A condition: the key was written last at this revision.
pub(super) fn is_changed(path: &str, revision: Revision) -> Value {
    let revision = revision.to_string();
    json!({"key": text(path), "target": "MOD", "result": "EQUAL", "mod_revision": revision})
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or one as text")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Whole, E> {
                text.parse().map(Whole).map_err(|_| E::custom(format_args!("'{text}' is not a whole number")))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| D::Error::custom("a value is not in base64"))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn senseless<T: DeserializeOwned>(body: &str) -> bool {
        matches!(parse::<T>(body.as_bytes()).map(|_| ()), Err(Why::Senseless(_)))
    }

    #[test]
    fn what_is_absent_is_zero_and_numbers_come_as_text() {
        let lost: Transaction = parse(br#"{"header":{"cluster_id":"1","revision":"77","raft_term":"2"}}"#).unwrap();
        assert_eq!((lost.succeeded, lost.header.revision), (false, Whole(77)));
        let dead: Line<Granted> = parse(br#"{"result":{"header":{"revision":77},"ID":"7587848390"}}"#).unwrap();
        assert_eq!((dead.result.ttl, dead.result.id), (Whole(0), Whole(7_587_848_390)));
        assert!(parse::<Range>(b"{}").unwrap().kvs.0.is_empty());
        let range: Range =
            parse(br#"{"kvs":[{"key":"YQ==","create_revision":"5","mod_revision":6}],"count":"1"}"#).unwrap();
        let entry = Entry::from(range.kvs.0[0].clone());
        assert_eq!(entry, Entry { value: vec![], created: 5, changed: 6, lease: 0 });
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(senseless::<Range>("") && senseless::<Range>("<html>") && senseless::<Range>("[1]"));
        assert!(senseless::<Range>(r#"{"kvs":[{"key":"not base64!"}]}"#));
        assert!(senseless::<Granted>(r#"{"ID":"-1"}"#) && senseless::<Granted>(r#"{"ID":1.5}"#));
        assert!(senseless::<Granted>(r#"{"ID":"99999999999999999999"}"#) && senseless::<Granted>(r#"{"ID":null}"#));
        assert!(senseless::<Line<Granted>>("{}"));
        let many = format!(r#"{{"kvs":[{}{{}}]}}"#, "{},".repeat(MOST_OPERATIONS));
        assert!(senseless::<Range>(&many));
        assert!(senseless::<Range>(&"[".repeat(100_000)));
    }

    #[test]
    fn errors_are_read_in_all_their_forms() {
        let said = |body: &str| error(body.as_bytes());
        let expected = |code, message: &str| Some(Why::Said { code, message: message.into() });
        assert_eq!(
            said(r#"{"error":"etcdserver: x","code":7,"message":"etcdserver: x"}"#),
            expected(7, "etcdserver: x")
        );
        assert_eq!(
            said(r#"{"error":{"grpc_code":14,"http_code":503,"message":"m","http_status":"S"}}"#),
            expected(14, "m")
        );
        assert_eq!(said(r#"{"error":{"code":16,"message":"m"}}"#), expected(16, "m"));
        assert_eq!(said(r#"{"error":"x"}"#), expected(0, "x"));
        for other in ["", "{}", r#"{"error":7}"#, "Client sent an HTTP request to an HTTPS server.\n"] {
            assert_eq!(said(other), None, "{other}");
        }
        let in_stream = parse::<Line<Granted>>(br#"{"error":{"grpc_code":14,"message":"m"}}"#).unwrap_err();
        assert_eq!(Some(in_stream), expected(14, "m"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in r#"(\{|\}|\[|\]|"(kvs|result|error|ID|events|responses|code|message)"|:|,|"[0-9a=]{0,3}"|[0-9]{1,3}){0,12}"#) {
            let body = body.as_bytes();
            let _ = (parse::<Range>(body), parse::<Transaction>(body), parse::<Line<Watched>>(body), error(body));
        }
    }
}
