//! The keep alive threads (`spec/protocol.md` 7.1, 7.2).
//!
//! A worker sends `echo-c` every 60 s and closes the connection after two failures in a row: [`worker`]. The master, and
//! every node on its control socket, closes peers that have not sent one for 120 s: [`supervision`].

pub mod supervision;
pub mod worker;
