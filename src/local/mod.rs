//! The control socket, `queue/cluster/c-internal.sock` (`spec/protocol.md` 13).

pub mod client;
