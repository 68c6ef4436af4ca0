//! The agent groups send thread: which groups each agent belongs to goes from the master to a worker
//! (`spec/protocol.md` 12).
//!
//! ```text
//!  master                                            worker
//!  after each turn of the local agent-groups thread
//!  string, syn_g_m_w ──────────────────────────────► stores it
//!       ◄──────────────────────────── syn_w_g_e ──── compares the hash of all assignments;
//!       ◄──────────────────────────── syn_w_g_c ──── at the fifth difference in a row asks for everything
//!  string, syn_g_m_w_c ────────────────────────────► stores it
//!       ◄──────────────────────────── syn_wgc_e ────
//! ```
//! Each worker gets its parcels in its own time, on a thread that lives while there is something to send: a slow one
//! keeps no other waiting.

pub mod master;
pub mod worker;

/// The command that the message names; `payload` goes with it.
const SET_COMMAND: &str = "global set-agent-groups";
const SET_PAYLOAD: &str = r#"{"mode": "override", "sync_status": "synced"}"#;
