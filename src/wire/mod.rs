//! The wire format, without I/O and without a clock.
//!
//! ```text
//! frame   = counter (4, BE) ‖ size (4, BE) ‖ command (12) ‖ body (size)            spec/protocol.md 2
//! command = name ‖ ' ' ‖ '-'…   the 12th byte 'd' marks a fragment that is not the last
//! body    = Fernet token of the payload (between nodes) or the payload itself (control socket)
//! ```
//! In a session of two nodes of this daemon, the frames are those of [`sealed`].
//!
//! A message is a request or the answer to one; an answer carries the counter of its request. [`Deframer`] turns bytes
//! into messages, [`frame`] the other way; [`Request`] gives a received payload its type; [`ErrorObject`] is what `err`
//! answers carry.
//!
#![doc = include_str!("frames.md")]

mod command;
mod commands;
mod deframer;
mod divided;
mod error;
#[cfg(test)]
mod examples;
pub mod frame;
mod payload;
pub mod sealed;

use crate::limits;
pub use command::CommandField;
pub use commands::{
    AgentGroups, AgentGroupsOutcome, AgentInfo, AgentInfoOutcome, Api, Asker, Check, Command, Delivery, Link, NotTaken,
    Order, Own, Question, Redirected, Request, Succession, Sync, Transfer, longest,
};
pub use deframer::{Deframer, FrameError, Limits, Message};
pub use divided::{Divided, Part};
pub use error::{Class, ErrorObject};
pub use payload::{
    Chunk, Ended, Failure, FileEnd, Hello, MalformedRequest, NO_TASK, Payload, Routed, SendFile, StringChunk,
};

/// The largest payload that travels in one frame, 5 MiB; also the length of a fragment with its header.
pub const FRAME_LIMIT: usize = 5 * 1024 * 1024;

/// The largest message of the stock daemon.
pub const MESSAGE_LIMIT: usize = limits::MESSAGE;
