//! The shapes of payloads (`spec/protocol.md` 4.6).

use super::ErrorObject;

/// The task of a failure that concerns none that was named.
pub const NO_TASK: &str = "None";

/// The longest word of hello, in bytes.
const LONGEST_WORD: usize = 255;

/// A payload that has not the shape of its command; the peer is at fault and gets error 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedRequest(&'static str);

impl MalformedRequest {
    /// Longer than the table of commands allows.
    pub const TOO_LONG: Self = Self("the payload is longer than this request can be");
    const NOT_TWO_PARTS: Self = Self("the payload is to be two parts with a blank between them");
    const NOT_TEXT: Self = Self("the payload is to be text in UTF-8");
}

/// What is read from the payload of a command, without a copy.
pub trait Payload<'a>: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When `payload` has another shape.
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest>;
}

/// Bytes as they came.
impl<'a> Payload<'a> for &'a [u8] {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        Ok(payload)
    }
}

/// Text.
impl<'a> Payload<'a> for &'a str {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        text(payload)
    }
}

/// A length in decimal digits.
impl Payload<'_> for usize {
    fn read(payload: &[u8]) -> Result<Self, MalformedRequest> {
        text(payload)?.parse().map_err(|_| MalformedRequest("the payload is to be a length in decimal digits"))
    }
}

impl Payload<'_> for u32 {
    fn read(payload: &[u8]) -> Result<Self, MalformedRequest> {
        text(payload)?.parse().map_err(|_| MalformedRequest("the payload is to be an agent id in decimal digits"))
    }
}

/// What a worker says of itself, `<node name> <cluster name> <node type> <version>` (`spec/protocol.md` 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name of the node.
    pub node: String,
    /// The cluster it wants to join.
    pub cluster: String,
    /// `worker`, by every node known; shown and not checked.
    pub node_type: String,
    /// The version it speaks, as text.
    pub version: String,
}

impl Payload<'_> for Hello {
    fn read(payload: &[u8]) -> Result<Self, MalformedRequest> {
        let words: Vec<&str> = text(payload)?.split(' ').collect();
        let [node, cluster, node_type, version] = words[..] else {
            return Err(MalformedRequest(
                "hello is to be four words: node name, cluster name, node type, version (names cannot have blanks)",
            ));
        };
        if words.iter().any(|word| word.len() > LONGEST_WORD) {
            return Err(MalformedRequest("a word of hello is too long"));
        }
        let [node, cluster, node_type, version] = [node, cluster, node_type, version].map(str::to_owned);
        Ok(Self { node, cluster, node_type, version })
    }
}

/// `<path> <data>`: a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The path of the file.
    pub path: &'a [u8],
    /// Its next bytes.
    pub data: &'a [u8],
}

impl<'a> Payload<'a> for Chunk<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (path, data) = split(payload)?;
        Ok(Self { path, data })
    }
}

/// `<path> <checksum>`: the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEnd<'a> {
    /// The path of the file.
    pub path: &'a [u8],
    /// Its SHA-256.
    pub sha256: &'a [u8; 32],
}

impl<'a> Payload<'a> for FileEnd<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (path, sum) = split(payload)?;
        let sha256 = sum.try_into().map_err(|_| MalformedRequest("the checksum is to be 32 bytes"))?;
        Ok(Self { path, sha256 })
    }
}

/// `<id> <data>`: a part of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringChunk<'a> {
    /// The id of the string.
    pub id: &'a str,
    /// Its next bytes.
    pub data: &'a [u8],
}

impl<'a> Payload<'a> for StringChunk<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (id, data) = split(payload)?;
        Ok(Self { id: text(id)?, data })
    }
}

/// `<name> <content>`: a payload with the name of whom it is for, or from, in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// A node, or the request that waits on one.
    pub name: &'a str,
    /// What is behind the first blank.
    pub content: &'a [u8],
}

impl<'a> Payload<'a> for Routed<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (name, content) = split(payload)?;
        Ok(Self { name: text(name)?, content })
    }
}

impl Routed<'_> {
    /// The payload that is read as this.
    pub fn payload(name: &str, content: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b" ", content].concat()
    }
}

/// `<task id> <path>`: the file of a task has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The task.
    pub task: &'a str,
    /// The path of the file.
    pub path: &'a [u8],
}

impl<'a> Payload<'a> for Ended<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (task, path) = split(payload)?;
        Ok(Self { task: text(task)?, path })
    }
}

/// `<task id> <error object>`: a task has failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The task, or [`NO_TASK`].
    pub task: &'a str,
    /// Why.
    pub error: ErrorObject,
}

impl<'a> Payload<'a> for Failure<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (task, error) = split(payload)?;
        let malformed = MalformedRequest("the second part is to be an error object");
        Ok(Self { task: text(task)?, error: ErrorObject::from_json(error).ok_or(malformed)? })
    }
}

/// `<path> <node>`: a file is to be sent to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFile<'a> {
    /// Its absolute path.
    pub path: &'a str,
    /// The name of the node.
    pub node: &'a str,
}

impl<'a> Payload<'a> for SendFile<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (path, node) = split(payload)?;
        if node.contains(&b' ') {
            return Err(MalformedRequest("the payload is to be an absolute path without blanks, and a node"));
        }
        Ok(Self { path: text(path)?, node: text(node)? })
    }
}

fn split(payload: &[u8]) -> Result<(&[u8], &[u8]), MalformedRequest> {
    let blank = payload.iter().position(|byte| *byte == b' ').ok_or(MalformedRequest::NOT_TWO_PARTS)?;
    Ok((&payload[..blank], &payload[blank + 1..]))
}

fn text(bytes: &[u8]) -> Result<&str, MalformedRequest> {
    std::str::from_utf8(bytes).map_err(|_| MalformedRequest::NOT_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_is_exactly_four_words() {
        assert!(Hello::read(b"w1 wazuh worker 4.14.7").is_ok());
        for bad in [&b"w 1 wazuh worker 4.14.7"[..], b"w1 wazuh worker", b"", b"\xff wazuh worker 4.14.7"] {
            assert!(Hello::read(bad).is_err());
        }
        assert!(Hello::read(format!("{} wazuh worker 4.14.7", "w".repeat(256)).as_bytes()).is_err());
    }
}
