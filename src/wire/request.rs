//! Requests with their types (`spec/protocol.md` 4.6). A request borrows from the message, so bulk data is not copied.

use super::{CommandField, ErrorObject, longest};

/// The task of a failure that concerns none that was named.
pub const NO_TASK: &str = "None";

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

/// A received request.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the parts have the names of the protocol")]
pub enum Request<'a> {
    Hello(Hello),
    Native(&'a [u8]),
    Echo,
    EchoClient,
    EchoMaster,
    NewFile(&'a [u8]),
    FileUpdate {
        path: &'a [u8],
        data: &'a [u8],
    },
    FileEnd {
        path: &'a [u8],
        sha256: &'a [u8; 32],
    },
    NewString {
        length: usize,
    },
    StringUpdate {
        id: &'a str,
        data: &'a [u8],
    },
    StringFailed {
        length: usize,
    },
    CancelTask {
        task: &'a str,
        error: ErrorObject,
    },
    AgentInfoPermission,
    /// A string with this id holds agent information.
    AgentInfo(&'a str),
    AgentInfoEnd(&'a [u8]),
    AgentInfoFailed(&'a [u8]),
    /// A string with this id holds assignments of agents to groups; `whole` if it is all of them.
    AgentGroups {
        id: &'a str,
        whole: bool,
    },
    AgentGroupsEnd {
        report: &'a [u8],
        whole: bool,
    },
    AgentGroupsFailed {
        reason: &'a [u8],
        whole: bool,
    },
    AgentGroupsWanted,
    IntegrityPermission,
    /// Its payload, which only our nodes have, tells which files it is about.
    IntegrityCheck(&'a [u8]),
    IntegrityCheckEnd(Ended<'a>),
    IntegrityCheckFailed {
        task: &'a str,
        error: ErrorObject,
    },
    IntegritySync,
    IntegritySyncEnd(Ended<'a>),
    IntegritySyncFailed {
        task: &'a str,
        error: ErrorObject,
    },
    IntegrityInSync,
    Nodes(&'a [u8]),
    Health(&'a [u8]),
    /// Ours: the agents of the cluster.
    Agents(&'a [u8]),
    /// Ours: the keys of the nodes.
    Keys,
    /// Ours: the keys of this node.
    NodeKeys,
    Config,
    Hash,
    /// Ours: the files of the master have changed.
    IntegrityChanged,
    /// Ours: the digest of a worker's files.
    IntegrityDigest(&'a [u8]),
    /// Ours: what a worker did with the files that it got.
    IntegrityApplied(&'a [u8]),
    /// Ours: where nodes differ in what the cluster does not keep equal.
    Drift(&'a [u8]),
    ConfirmDeletions(&'a [u8]),
    ForgetNode(&'a [u8]),
    /// Ours: the master wants the outline of this worker's configuration.
    Outline(&'a [u8]),
    /// For a program of the master's manager. On the control socket the whole payload, between nodes behind an origin.
    SendSync(&'a [u8]),
    /// The same, of a program that is told at once that its request is under way.
    SendAsync(&'a [u8]),
    /// The string with this id is the answer to a request of `origin`.
    SendSyncResult(Routed<'a>),
    SendSyncFailed(Routed<'a>),
    /// A request of the API. On the control socket the whole payload, between nodes behind an origin.
    Api(&'a [u8]),
    /// A request of the API for the node named in front of it.
    ApiForward(Routed<'a>),
    ApiResult(Routed<'a>),
    ApiFailed(Routed<'a>),
    ReloadRuleset,
    /// The file with this absolute path is to be sent to a node.
    SendFile {
        path: &'a str,
        node: &'a str,
    },
    Unknown,
}

/// `<name> <content>`: a payload with the name of whom it is for, or from, in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// A node, or the request that waits on one.
    pub name: &'a str,
    /// What is behind the first blank.
    pub content: &'a [u8],
}

impl<'a> Routed<'a> {
    /// Splits `payload` at its first blank.
    ///
    /// # Errors
    /// When there is none, or the name is not text.
    pub fn parse(payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        let (name, content) = split(payload)?;
        Ok(Self { name: text(name)?, content })
    }

    /// The payload that [`Routed::parse`] splits.
    pub fn payload(name: &str, content: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b" ", content].concat()
    }
}

/// `<task id> <path>`: the file of a task has been sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    pub task: &'a str,
    pub path: &'a [u8],
}

/// A payload that has not the shape of its command; the peer is at fault and gets error 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedRequest(&'static str);

const NOT_TWO_PARTS: MalformedRequest = MalformedRequest("the payload is to be two parts with a blank between them");
/// The longest word of hello, in bytes.
const LONGEST_WORD: usize = 255;
const NOT_TEXT: MalformedRequest = MalformedRequest("the payload is to be text in UTF-8");

impl<'a> Request<'a> {
    /// The request that `command` and its decrypted `payload` make.
    ///
    /// # Errors
    /// [`MalformedRequest`], when the payload does not fit the command.
    pub fn parse(command: CommandField, payload: &'a [u8]) -> Result<Self, MalformedRequest> {
        if payload.len() > longest(command.name()) {
            return Err(MalformedRequest("the payload is longer than this request can be"));
        }
        Ok(match command.name() {
            b"hello" => Self::Hello(hello(payload)?),
            b"native" => Self::Native(payload),
            b"echo" => Self::Echo,
            b"echo-c" => Self::EchoClient,
            b"echo-m" => Self::EchoMaster,
            b"new_file" => Self::NewFile(payload),
            b"file_upd" => {
                let (path, data) = split(payload)?;
                Self::FileUpdate { path, data }
            }
            b"file_end" => {
                let (path, sum) = split(payload)?;
                let sha256 = sum.try_into().map_err(|_| MalformedRequest("the checksum is to be 32 bytes"))?;
                Self::FileEnd { path, sha256 }
            }
            b"new_str" => Self::NewString { length: number(payload)? },
            b"str_upd" => {
                let (id, data) = split(payload)?;
                Self::StringUpdate { id: text(id)?, data }
            }
            b"err_str" => Self::StringFailed { length: number(payload)? },
            b"cancel_task" => {
                let (task, error) = failure(payload)?;
                Self::CancelTask { task, error }
            }
            b"syn_a_w_m_p" => Self::AgentInfoPermission,
            b"syn_a_w_m" => Self::AgentInfo(text(payload)?),
            b"syn_m_a_e" => Self::AgentInfoEnd(payload),
            b"syn_m_a_err" => Self::AgentInfoFailed(payload),
            b"syn_g_m_w" => Self::AgentGroups { id: text(payload)?, whole: false },
            b"syn_g_m_w_c" => Self::AgentGroups { id: text(payload)?, whole: true },
            b"syn_w_g_e" => Self::AgentGroupsEnd { report: payload, whole: false },
            b"syn_wgc_e" => Self::AgentGroupsEnd { report: payload, whole: true },
            b"syn_w_g_err" => Self::AgentGroupsFailed { reason: payload, whole: false },
            b"syn_wgc_err" => Self::AgentGroupsFailed { reason: payload, whole: true },
            b"syn_w_g_c" => Self::AgentGroupsWanted,
            b"syn_i_w_m_p" => Self::IntegrityPermission,
            b"syn_i_w_m" => Self::IntegrityCheck(payload),
            b"syn_i_w_m_e" => Self::IntegrityCheckEnd(ended(payload)?),
            b"syn_i_w_m_r" => {
                let (task, error) = failure(payload)?;
                Self::IntegrityCheckFailed { task, error }
            }
            b"syn_m_c" => Self::IntegritySync,
            b"syn_m_c_e" => Self::IntegritySyncEnd(ended(payload)?),
            b"syn_m_c_r" => {
                let (task, error) = failure(payload)?;
                Self::IntegritySyncFailed { task, error }
            }
            b"syn_m_c_ok" => Self::IntegrityInSync,
            b"get_nodes" => Self::Nodes(payload),
            b"get_health" => Self::Health(payload),
            b"get_agents" => Self::Agents(payload),
            b"get_keys" => Self::Keys,
            b"node_keys" => Self::NodeKeys,
            b"get_config" => Self::Config,
            b"get_hash" => Self::Hash,
            b"int_changed" => Self::IntegrityChanged,
            b"int_digest" => Self::IntegrityDigest(payload),
            b"int_applied" => Self::IntegrityApplied(payload),
            b"get_drift" => Self::Drift(payload),
            b"confirm_del" => Self::ConfirmDeletions(payload),
            b"forget_node" => Self::ForgetNode(payload),
            b"get_outline" => Self::Outline(payload),
            b"sendsync" => Self::SendSync(payload),
            b"sendasync" => Self::SendAsync(payload),
            b"sendsyn_res" => Self::SendSyncResult(Routed::parse(payload)?),
            b"sendsyn_err" => Self::SendSyncFailed(Routed::parse(payload)?),
            b"dapi" => Self::Api(payload),
            b"dapi_fwd" => Self::ApiForward(Routed::parse(payload)?),
            b"dapi_res" => Self::ApiResult(Routed::parse(payload)?),
            b"dapi_err" => Self::ApiFailed(Routed::parse(payload)?),
            b"sendrreload" => Self::ReloadRuleset,
            b"send_file" => {
                let (path, node) = split(payload)?;
                if node.contains(&b' ') {
                    return Err(MalformedRequest("the payload is to be an absolute path without blanks, and a node"));
                }
                Self::SendFile { path: text(path)?, node: text(node)? }
            }
            _ => Self::Unknown,
        })
    }
}

fn hello(payload: &[u8]) -> Result<Hello, MalformedRequest> {
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
    Ok(Hello { node, cluster, node_type, version })
}

fn ended(payload: &[u8]) -> Result<Ended<'_>, MalformedRequest> {
    let (task, path) = split(payload)?;
    Ok(Ended { task: text(task)?, path })
}

fn failure(payload: &[u8]) -> Result<(&str, ErrorObject), MalformedRequest> {
    let (task, error) = split(payload)?;
    let error = ErrorObject::from_json(error).ok_or(MalformedRequest("the second part is to be an error object"))?;
    Ok((text(task)?, error))
}

fn split(payload: &[u8]) -> Result<(&[u8], &[u8]), MalformedRequest> {
    let blank = payload.iter().position(|byte| *byte == b' ').ok_or(NOT_TWO_PARTS)?;
    Ok((&payload[..blank], &payload[blank + 1..]))
}

fn number(payload: &[u8]) -> Result<usize, MalformedRequest> {
    text(payload)?.parse().map_err(|_| MalformedRequest("the payload is to be a length in decimal digits"))
}

fn text(bytes: &[u8]) -> Result<&str, MalformedRequest> {
    std::str::from_utf8(bytes).map_err(|_| NOT_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Command;

    #[test]
    fn a_path_ends_at_the_first_blank_and_the_data_keeps_its_own() {
        let request = Request::parse(CommandField::new(Command::FileUpdate), b"/a/b some data");
        assert_eq!(request, Ok(Request::FileUpdate { path: b"/a/b", data: b"some data" }));
        assert!(Request::parse(CommandField::new(Command::FileUpdate), b"/a/b").is_err());
    }

    #[test]
    fn hello_is_exactly_four_words() {
        let parse = |payload| Request::parse(CommandField::new(Command::Hello), payload);
        assert!(matches!(parse(b"w1 wazuh worker 4.14.7"), Ok(Request::Hello(_))));
        for bad in [&b"w 1 wazuh worker 4.14.7"[..], b"w1 wazuh worker", b"", b"\xff wazuh worker 4.14.7"] {
            assert!(parse(bad).is_err());
        }
    }

    #[test]
    fn an_error_part_that_is_no_error_object_is_refused() {
        let parse = |payload| Request::parse(CommandField::new(Command::CancelTask), payload);
        let error = ErrorObject::cluster(3039, "x").to_json();
        let good = format!("None {error}");
        assert!(parse(good.as_bytes()).is_ok());
        assert!(parse(b"None {}").is_err());
    }
}
