//! The agent info thread: what a worker knows of the agents that report to it goes to the master (`spec/protocol.md` 11).
//!
//! ```text
//!  worker                                   master
//!  every 10 s:  syn_a_w_m_p ──────────────► True, unless something of this worker is being stored
//!  take from the database                   (with protocol extensions, before asking)
//!  string, syn_a_w_m ─────────────────────► a thread `agent_info` stores it
//!               ◄────────────────────────── syn_m_a_e or syn_m_a_err
//!  not arrived? mark it for sending again
//! ```
//! What is taken counts as sent in the database. A kill between that and the master's answer is to lose nothing, so a file
//! `queue/cluster-state/agent-info-under-way` is there as long as the link: one that is found means that all is to be sent
//! again.
//!
//! Neither half holds a lock while it waits, and the thread that reads the connection never asks the database.

pub mod master;
pub mod worker;
