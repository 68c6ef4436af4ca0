//! The one table of commands: name, payload, length, and who may send each (`spec/protocol.md` 4.6).
//!
//! Everything else about commands follows from it: how a payload is read ([`Request::parse`]), how long it may be
//! ([`Command::longest`]), which peer is taken at its word, and what the page of frames has to show. A new command is a row
//! here; whoever takes requests of its group does not compile without an arm for it.

use super::{
    CommandField,
    payload::{Chunk, Ended, Failure, FileEnd, MalformedRequest, Payload, Routed, SendFile, StringChunk},
};
use crate::limits::{ANSWER, API, CHUNK, ECHO, REQUEST, SEND};

/// Who sends a request, as the end that receives it sees that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A peer at the port of a master that has not said hello.
    Stranger,
    /// A worker, after hello, to its master.
    Worker,
    /// A master to a worker.
    Master,
    /// A program to the daemon of its machine, at the control socket.
    Program,
    /// That daemon to the program.
    Daemon,
}

/// Why a request is not taken; the peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// No command has this name, or not for this asker.
    #[error("the command is unknown here")]
    Unknown,
    /// Only a worker may ask this.
    #[error("say hello first")]
    SayHelloFirst,
    /// The payload does not fit the command.
    #[error(transparent)]
    Malformed(#[from] MalformedRequest),
}

/// Makes [`Command`], [`Request`] and the groups of it from the table.
macro_rules! commands {
    (
        answers { $($answer:ident = $answer_name:literal,)+ }
        $(
            $(#[$about:meta])*
            $group:ident {
                $($(#[$doc:meta])* $command:ident $(($payload:ty))? = $name:literal, $longest:expr, [$($asker:ident)+],)+
            }
        )+
    ) => {
        /// The name of a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is explained at the variant of its request")]
        pub enum Command { $($answer,)+ $($($command,)+)+ }

        impl Command {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$answer,)+ $($(Self::$command,)+)+];

            /// The name as the protocol spells it, at most 11 bytes.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$answer => $answer_name,)+ $($(Self::$command => $name,)+)+ }
            }

            /// Whether this is an answer. Such a message is never answered: two nodes that answer each other's answers
            /// would never stop (`spec/protocol.md` 4.1).
            pub const fn is_answer(self) -> bool {
                matches!(self, $(Self::$answer)|+)
            }

            /// The longest payload that this daemon takes, in bytes.
            pub const fn longest(self) -> usize {
                match self { $(Self::$answer)|+ => ANSWER, $($(Self::$command => $longest,)+)+ }
            }

            /// Who may send it. An answer may come from everybody.
            pub const fn askers(self) -> &'static [Asker] {
                match self { $(Self::$answer)|+ => &[], $($(Self::$command => &[$(Asker::$asker),+],)+)+ }
            }
        }

        $(
            $(#[$about])*
            #[derive(Debug, PartialEq, Eq)]
            pub enum $group<'a> { $($(#[$doc])* $command $(($payload))?,)+ }

            impl $group<'_> {
                /// The command of this request.
                pub const fn command(&self) -> Command {
                    match self { $(Self::$command { .. } => Command::$command,)+ }
                }
            }
        )+

        /// A received request, by what it is about. It borrows from the message, so bulk data is not copied.
        #[derive(Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each has the name of its group")]
        pub enum Request<'a> { $($group($group<'a>),)+ }

        impl<'a> Request<'a> {
            fn read(command: Command, payload: &'a [u8]) -> Result<Self, NotTaken> {
                Ok(match command {
                    $($(Command::$command => {
                        Self::$group($group::$command $((<$payload as Payload<'a>>::read(payload)?))?)
                    })+)+
                    $(Command::$answer)|+ => return Err(NotTaken::Unknown),
                })
            }
        }
    };
}

commands! {
    // The two with a blank of their own are spelled as other nodes spell them; a reader cannot tell the difference.
    answers {
        Ok = "ok",
        OkFile = "ok ",
        OkMaster = "ok-m ",
        OkClient = "ok-c",
        Err = "err",
        Error = "error",
    }

    /// The beginning of a connection, keep-alives, and the end of a task.
    Link {
        /// Who the peer is: [`Hello`](super::Hello) between nodes, any name at the control socket.
        Hello(&'a [u8]) = "hello", REQUEST, [Stranger Worker Program],
        /// What a worker offers for the link (`spec/native.md` 1).
        Native(&'a [u8]) = "native", REQUEST, [Worker],
        /// The payload comes back.
        Echo = "echo", ECHO, [Stranger Worker Master Program],
        /// The keep-alive of a worker or of a program; the payload comes back.
        EchoClient = "echo-c", ECHO, [Stranger Worker Program],
        /// A master asks whether a worker lives; the payload comes back.
        EchoMaster = "echo-m", ECHO, [Master],
        /// The peer gives up a task, for this reason.
        CancelTask(Failure<'a>) = "cancel_task", REQUEST, [Worker Master],
    }

    /// A file or a string on its way (`spec/protocol.md` 8, 9).
    Transfer {
        /// A file with this path begins.
        NewFile(&'a [u8]) = "new_file", REQUEST, [Worker Master],
        /// The next bytes of a file.
        FileUpdate(Chunk<'a>) = "file_upd", CHUNK, [Worker Master],
        /// A file is complete.
        FileEnd(FileEnd<'a>) = "file_end", REQUEST, [Worker Master],
        /// A string of so many bytes begins.
        NewString(usize) = "new_str", REQUEST, [Worker Master Daemon],
        /// The next bytes of a string.
        StringUpdate(StringChunk<'a>) = "str_upd", CHUNK, [Worker Master Daemon],
        /// A string of so many bytes is given up.
        StringFailed(usize) = "err_str", REQUEST, [Worker Master Daemon],
    }

    /// The integrity check of a worker (`spec/protocol.md` 10).
    Check {
        /// May it be checked now?
        IntegrityPermission = "syn_i_w_m_p", REQUEST, [Worker],
        /// The digest of its files (`spec/native.md` 2).
        IntegrityDigest(&'a [u8]) = "int_digest", REQUEST, [Worker],
        /// A check begins. Only a worker with `digest` has a payload: the files that it is about.
        IntegrityCheck(&'a [u8]) = "syn_i_w_m", REQUEST, [Worker],
        /// The file of a check has been sent.
        IntegrityCheckEnd(Ended<'a>) = "syn_i_w_m_e", REQUEST, [Worker],
        /// A check has failed on the worker.
        IntegrityCheckFailed(Failure<'a>) = "syn_i_w_m_r", REQUEST, [Worker],
        /// What the worker did with the files that it got (`spec/native.md` 2).
        IntegrityApplied(&'a [u8]) = "int_applied", REQUEST, [Worker],
    }

    /// What comes of an integrity check (`spec/protocol.md` 10).
    Sync {
        /// The worker differs, and gets files.
        IntegritySync = "syn_m_c", REQUEST, [Master],
        /// The file with them has been sent.
        IntegritySyncEnd(Ended<'a>) = "syn_m_c_e", REQUEST, [Master],
        /// A check, or the sending of files, has failed on the master.
        IntegritySyncFailed(Failure<'a>) = "syn_m_c_r", REQUEST, [Master],
        /// The worker is equal to the master.
        IntegrityInSync = "syn_m_c_ok", REQUEST, [Master],
        /// The files of the master have changed (`spec/native.md` 2).
        IntegrityChanged = "int_changed", REQUEST, [Master],
    }

    /// Agent information of a worker (`spec/protocol.md` 11).
    AgentInfo {
        /// May it be sent now?
        AgentInfoPermission = "syn_a_w_m_p", REQUEST, [Worker],
        /// The string with this id holds it.
        AgentInfo(&'a str) = "syn_a_w_m", REQUEST, [Worker],
    }

    /// What the master did with agent information.
    AgentInfoOutcome {
        /// It was stored, as this report says.
        AgentInfoEnd(&'a [u8]) = "syn_m_a_e", REQUEST, [Master],
        /// It was not, for this reason.
        AgentInfoFailed(&'a [u8]) = "syn_m_a_err", REQUEST, [Master],
    }

    /// Assignments of agents to groups (`spec/protocol.md` 12).
    AgentGroups {
        /// The string with this id holds what is new.
        AgentGroups(&'a str) = "syn_g_m_w", REQUEST, [Master],
        /// The string with this id holds all of them.
        AgentGroupsWhole(&'a str) = "syn_g_m_w_c", REQUEST, [Master],
    }

    /// What a worker did with assignments.
    AgentGroupsOutcome {
        /// What is new was stored, as this report says.
        AgentGroupsEnd(&'a [u8]) = "syn_w_g_e", REQUEST, [Worker],
        /// It was not, for this reason.
        AgentGroupsFailed(&'a [u8]) = "syn_w_g_err", REQUEST, [Worker],
        /// All of them were stored, as this report says.
        AgentGroupsWholeEnd(&'a [u8]) = "syn_wgc_e", REQUEST, [Worker],
        /// They were not, for this reason.
        AgentGroupsWholeFailed(&'a [u8]) = "syn_wgc_err", REQUEST, [Worker],
        /// The worker wants all of them.
        AgentGroupsWanted = "syn_w_g_c", REQUEST, [Worker],
    }

    /// A question about the cluster, which its master answers (`spec/protocol.md` 13).
    Question {
        /// Its nodes, with these arguments.
        Nodes(&'a [u8]) = "get_nodes", REQUEST, [Worker Program],
        /// The nodes that this filter takes, with what each did last.
        Health(&'a [u8]) = "get_health", REQUEST, [Worker Program],
        /// A page of its agents (`spec/protocol.md` 13.12).
        Agents(&'a [u8]) = "get_agents", REQUEST, [Worker Program],
        /// The keys of its nodes (`spec/protocol.md` 13.12).
        Keys = "get_keys", REQUEST, [Worker Program],
        /// Where nodes differ in what is not synchronised (`spec/protocol.md` 13.12).
        Drift(&'a [u8]) = "get_drift", REQUEST, [Worker Program],
    }

    /// A question about the node that is asked (`spec/protocol.md` 13).
    Own {
        /// Its configuration.
        Config = "get_config", REQUEST, [Program],
        /// The checksums of its ruleset.
        Hash = "get_hash", REQUEST, [Program],
        /// Its keys, by their fingerprints (`spec/native.md` 2.6).
        NodeKeys = "node_keys", REQUEST, [Master Program],
        /// Which term of the master it knows (`spec/native.md` 5).
        Term = "get_term", REQUEST, [Program],
        /// The outline of its ossec.conf, under this nonce (`spec/native.md` 2.7).
        Outline(&'a [u8]) = "get_outline", REQUEST, [Master],
    }

    /// Who the master is, and is to be (`spec/native.md` 5).
    Succession {
        /// No id up to this one is certain to be free for another master.
        Ids(u32) = "ids", REQUEST, [Master],
        /// Let nothing change any more: this worker is to be the master.
        Prepare = "hand_over_p", REQUEST, [Worker],
        /// This worker, which is equal now, claims to be the master; JSON.
        HandOver(&'a [u8]) = "hand_over", REQUEST, [Worker],
        /// What a candidate is to have besides; the digest of what it has.
        PrivateFiles(&'a [u8]) = "failover_f", REQUEST, [Worker],
    }

    /// What a program has its node do (`spec/protocol.md` 13).
    Order {
        /// Make this node the master; JSON, with `force` (`spec/protocol.md` 13.12).
        Promote(&'a [u8]) = "promote", REQUEST, [Program],
        /// Delete what was held back on the workers that this filter takes (`spec/protocol.md` 13.12).
        ConfirmDeletions(&'a [u8]) = "confirm_del", REQUEST, [Program],
        /// Forget the worker of this name, which is away (`spec/protocol.md` 13.12).
        ForgetNode(&'a [u8]) = "forget_node", REQUEST, [Program],
        /// Have the ruleset loaded.
        ReloadRuleset = "sendrreload", REQUEST, [Program],
        /// Send a file to another node.
        SendFile(SendFile<'a>) = "send_file", REQUEST, [Program],
    }

    /// A request for a program of the master's manager (`spec/protocol.md` 13.9).
    Redirected {
        /// The whole payload at the control socket, behind an origin between nodes.
        SendSync(&'a [u8]) = "sendsync", SEND, [Worker Program],
        /// The same, of a program that is told at once that its request is under way.
        SendAsync(&'a [u8]) = "sendasync", SEND, [Program],
        /// The string with this id is the answer to a request of this origin.
        SendSyncResult(Routed<'a>) = "sendsyn_res", REQUEST, [Master],
        /// A request of this origin was not done, for this reason.
        SendSyncFailed(Routed<'a>) = "sendsyn_err", REQUEST, [Master],
    }

    /// A request of the API (`spec/protocol.md` 14.1).
    Api {
        /// The whole payload at the control socket, behind an origin between nodes.
        Api(&'a [u8]) = "dapi", API, [Worker Master Program],
        /// One for the node named in front of it.
        ApiForward(Routed<'a>) = "dapi_fwd", API, [Program],
        /// The string with this id is the answer to a request of this origin; a program is told the id alone.
        ApiResult(Routed<'a>) = "dapi_res", REQUEST, [Worker Master Daemon],
        /// A request of this origin was not executed, for this reason; a program is told the reason alone.
        ApiFailed(Routed<'a>) = "dapi_err", REQUEST, [Worker Master Daemon],
    }

    /// What a program is told of its request later (`spec/protocol.md` 13).
    Delivery {
        /// The answer to a question that was forwarded to the master.
        ControlResult(&'a [u8]) = "control_res", REQUEST, [Daemon],
        /// The string with this id tells what became of a file.
        FileSent(&'a [u8]) = "send_f_res", REQUEST, [Daemon],
    }
}

impl Command {
    /// The command of this name, as a reader takes it: without a blank at its end.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|command| command.name().trim_end().as_bytes() == name)
    }
}

/// The longest payload of a message, in bytes, by its command. What nobody knows is as short as most requests.
pub fn longest(command: CommandField) -> usize {
    Command::named(command.name()).map_or(REQUEST, Command::longest)
}

impl<'a> Request<'a> {
    /// What `asker` wants with this command and its decrypted `payload`.
    ///
    /// # Errors
    /// [`NotTaken`]: `asker` may not send this command, or the payload does not fit it.
    pub fn parse(asker: Asker, command: CommandField, payload: &'a [u8]) -> Result<Self, NotTaken> {
        let not_taken = if asker == Asker::Stranger { NotTaken::SayHelloFirst } else { NotTaken::Unknown };
        let command = Command::named(command.name()).filter(|command| command.askers().contains(&asker));
        let command = command.ok_or(not_taken)?;
        if payload.len() > command.longest() {
            return Err(MalformedRequest::TOO_LONG.into());
        }
        Self::read(command, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(asker: Asker, command: Command, payload: &[u8]) -> Result<Request<'_>, NotTaken> {
        Request::parse(asker, CommandField::new(command), payload)
    }

    #[test]
    fn a_name_is_that_of_one_command() {
        for command in Command::ALL {
            let same = |other: &&Command| other.name().trim_end() == command.name().trim_end();
            let answers = command.is_answer();
            assert_eq!(
                Command::ALL.iter().filter(same).count(),
                if answers { usize::from(answers) + others(*command) } else { 1 }
            );
            assert!(command.name().len() <= 11, "{command}");
            assert_eq!(command.askers().is_empty(), answers, "{command}");
        }
    }

    /// `ok` is spelled in two ways.
    fn others(command: Command) -> usize {
        usize::from(matches!(command, Command::Ok | Command::OkFile))
    }

    #[test]
    fn each_is_taken_from_those_who_may_send_it_and_from_nobody_else() {
        let all = [Asker::Stranger, Asker::Worker, Asker::Master, Asker::Program, Asker::Daemon];
        for command in Command::ALL {
            for asker in all {
                let refused = matches!(parse(asker, *command, b""), Err(NotTaken::Unknown | NotTaken::SayHelloFirst));
                assert_eq!(refused, !command.askers().contains(&asker), "{command} of {asker:?}");
            }
        }
        let unknown = CommandField::received(*b"nonsense ---");
        assert_eq!(Request::parse(Asker::Stranger, unknown, b""), Err(NotTaken::SayHelloFirst));
        assert_eq!(Request::parse(Asker::Worker, unknown, b""), Err(NotTaken::Unknown));
    }

    #[test]
    fn a_payload_beyond_the_length_of_its_command_is_refused() {
        let long = vec![b'x'; REQUEST + 1];
        assert_eq!(parse(Asker::Program, Command::Nodes, &long), Err(NotTaken::Malformed(MalformedRequest::TOO_LONG)));
        assert_eq!(parse(Asker::Program, Command::Echo, &long), Ok(Request::Link(Link::Echo)));
        assert_eq!(longest(CommandField::received(*b"ok  --------")), ANSWER);
        assert_eq!(longest(CommandField::received(*b"nonsense ---")), REQUEST);
    }

    #[test]
    fn a_path_ends_at_the_first_blank_and_the_data_keeps_its_own() {
        let request = parse(Asker::Master, Command::FileUpdate, b"/a/b some data");
        let chunk = Chunk { path: b"/a/b", data: b"some data" };
        assert_eq!(request, Ok(Request::Transfer(Transfer::FileUpdate(chunk))));
        assert!(parse(Asker::Master, Command::FileUpdate, b"/a/b").is_err());
    }

    #[test]
    fn an_error_part_that_is_no_error_object_is_refused() {
        let error = super::super::ErrorObject::cluster(3039, "x").to_json();
        let good = format!("None {error}");
        assert!(parse(Asker::Worker, Command::CancelTask, good.as_bytes()).is_ok());
        assert!(parse(Asker::Worker, Command::CancelTask, b"None {}").is_err());
    }
}
