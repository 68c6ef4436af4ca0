//! The names of messages and their twelve bytes on the wire (`spec/protocol.md` 2.2, 4.6).

use std::fmt;

const LENGTH: usize = 12;
/// Where the flag of a divided message stands.
const FLAG: usize = LENGTH - 1;
const DIVIDED: u8 = b'd';

/// A message that this daemon sends.
///
/// The two answers with a blank of their own, `ok ` and `ok-m `, are spelled as original nodes spell them; a reader
/// cannot tell the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the protocol's, explained in its sections")]
pub enum Command {
    Ok,
    OkFile,
    Err,
    Error,
    OkMaster,
    OkClient,
    Hello,
    Native,
    Echo,
    EchoClient,
    EchoMaster,
    NewFile,
    FileUpdate,
    FileEnd,
    NewString,
    StringUpdate,
    StringFailed,
    CancelTask,
    AgentInfoPermission,
    AgentInfo,
    AgentInfoEnd,
    AgentInfoFailed,
    AgentGroups,
    AgentGroupsEnd,
    AgentGroupsFailed,
    AgentGroupsWanted,
    AgentGroupsWhole,
    AgentGroupsWholeEnd,
    AgentGroupsWholeFailed,
    IntegrityPermission,
    IntegrityCheck,
    IntegrityCheckEnd,
    IntegrityCheckFailed,
    IntegritySync,
    IntegritySyncEnd,
    IntegritySyncFailed,
    IntegrityInSync,
    Nodes,
    Health,
    Agents,
    Keys,
    NodeKeys,
    Config,
    Hash,
    ControlResult,
    IntegrityChanged,
    IntegrityDigest,
    IntegrityApplied,
    Drift,
    ConfirmDeletions,
    ForgetNode,
    Outline,
    SendSync,
    SendAsync,
    SendSyncResult,
    SendSyncFailed,
    Api,
    ApiForward,
    ApiResult,
    ApiFailed,
    FileSent,
}

impl Command {
    /// The name as the protocol spells it, at most 11 bytes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OkFile => "ok ",
            Self::Err => "err",
            Self::Error => "error",
            Self::OkMaster => "ok-m ",
            Self::OkClient => "ok-c",
            Self::Hello => "hello",
            Self::Native => "native",
            Self::Echo => "echo",
            Self::EchoClient => "echo-c",
            Self::EchoMaster => "echo-m",
            Self::NewFile => "new_file",
            Self::FileUpdate => "file_upd",
            Self::FileEnd => "file_end",
            Self::NewString => "new_str",
            Self::StringUpdate => "str_upd",
            Self::StringFailed => "err_str",
            Self::CancelTask => "cancel_task",
            Self::AgentInfoPermission => "syn_a_w_m_p",
            Self::AgentInfo => "syn_a_w_m",
            Self::AgentInfoEnd => "syn_m_a_e",
            Self::AgentInfoFailed => "syn_m_a_err",
            Self::AgentGroups => "syn_g_m_w",
            Self::AgentGroupsEnd => "syn_w_g_e",
            Self::AgentGroupsFailed => "syn_w_g_err",
            Self::AgentGroupsWanted => "syn_w_g_c",
            Self::AgentGroupsWhole => "syn_g_m_w_c",
            Self::AgentGroupsWholeEnd => "syn_wgc_e",
            Self::AgentGroupsWholeFailed => "syn_wgc_err",
            Self::IntegrityPermission => "syn_i_w_m_p",
            Self::IntegrityCheck => "syn_i_w_m",
            Self::IntegrityCheckEnd => "syn_i_w_m_e",
            Self::IntegrityCheckFailed => "syn_i_w_m_r",
            Self::IntegritySync => "syn_m_c",
            Self::IntegritySyncEnd => "syn_m_c_e",
            Self::IntegritySyncFailed => "syn_m_c_r",
            Self::IntegrityInSync => "syn_m_c_ok",
            Self::Nodes => "get_nodes",
            Self::Health => "get_health",
            Self::Agents => "get_agents",
            Self::Keys => "get_keys",
            Self::NodeKeys => "node_keys",
            Self::Config => "get_config",
            Self::Hash => "get_hash",
            Self::ControlResult => "control_res",
            Self::IntegrityChanged => "int_changed",
            Self::IntegrityDigest => "int_digest",
            Self::IntegrityApplied => "int_applied",
            Self::Drift => "get_drift",
            Self::ConfirmDeletions => "confirm_del",
            Self::ForgetNode => "forget_node",
            Self::Outline => "get_outline",
            Self::SendSync => "sendsync",
            Self::SendAsync => "sendasync",
            Self::SendSyncResult => "sendsyn_res",
            Self::SendSyncFailed => "sendsyn_err",
            Self::Api => "dapi",
            Self::ApiForward => "dapi_fwd",
            Self::ApiResult => "dapi_res",
            Self::ApiFailed => "dapi_err",
            Self::FileSent => "send_f_res",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().trim_end())
    }
}

/// The twelve bytes of a frame's header that name its command and carry the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandField([u8; LENGTH]);

impl CommandField {
    /// The field of an undivided message.
    pub fn new(command: Command) -> Self {
        let (mut field, name) = ([b'-'; LENGTH], command.name().as_bytes());
        field[..name.len()].copy_from_slice(name);
        field[name.len()] = b' ';
        Self(field)
    }

    /// A field as it was received.
    pub const fn received(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand in the header.
    pub const fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// The same command in a fragment of a divided message, which may be the last.
    pub fn fragment(mut self, last: bool) -> Self {
        self.0[FLAG] = if last { b'-' } else { DIVIDED };
        self
    }

    /// Whether more fragments of this message follow.
    pub fn more_follows(&self) -> bool {
        self.0[FLAG] == DIVIDED
    }

    /// The name: what stands before the first blank of the first eleven bytes.
    pub fn name(&self) -> &[u8] {
        let text = &self.0[..FLAG];
        &text[..text.iter().position(|byte| *byte == b' ').unwrap_or(FLAG)]
    }

    /// Whether this names an answer. Such a message is never answered: two nodes that answer each other's answers
    /// would never stop (`spec/protocol.md` 4.1).
    pub fn is_answer(&self) -> bool {
        matches!(self.name(), b"ok" | b"err" | b"error" | b"ok-m" | b"ok-c")
    }
}

/// Shows the name; bytes that are not text as `\x..`.
impl fmt::Display for CommandField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_bytes_of_the_original() {
        let cases: [(Command, &[u8; 12]); 5] = [
            (Command::Echo, b"echo -------"),
            (Command::Ok, b"ok ---------"),
            (Command::OkFile, b"ok  --------"),
            (Command::OkMaster, b"ok-m  ------"),
            (Command::IntegrityPermission, b"syn_i_w_m_p "),
        ];
        for (command, bytes) in cases {
            assert_eq!(CommandField::new(command).bytes(), bytes);
        }
        assert_eq!(CommandField::new(Command::Err).bytes(), b"err --------", "C programs compare these bytes");
    }

    #[test]
    fn names_end_at_the_first_blank() {
        let name = |bytes: &[u8; 12]| String::from_utf8_lossy(CommandField::received(*bytes).name()).into_owned();
        assert_eq!(name(b"echo        "), "echo");
        assert_eq!(name(b"echo--------"), "echo-------");
        assert_eq!(name(b"ok  --------"), "ok");
        assert_eq!(name(b"syn_i_w_m_p "), "syn_i_w_m_p");
        assert_eq!(name(b"            "), "");
    }

    #[test]
    fn only_the_last_byte_marks_a_fragment() {
        assert!(CommandField::received(*b"echo ------d").more_follows());
        assert!(!CommandField::received(*b"echo -----d-").more_follows());
        assert!(!CommandField::received(*b"echo ------x").more_follows());
        assert_eq!(CommandField::new(Command::IntegrityPermission).fragment(true).bytes(), b"syn_i_w_m_p-");
    }
}
