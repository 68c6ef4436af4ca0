//! The listener for those who watch this node (cluster.json, `metrics.listen`).
//!
//! ```text
//!  GET /metrics  Prometheus text     ┐
//!  GET /health   200 or 503, JSON    ├─ made for each request from a View of the node and its counters
//!  GET /         a page for people   ┘
//!  GET /master   200 or 503, a line: whether this node acts as the master, for load balancers
//! ```
//! Threads: `metrics-listen` accepts, at a loopback address or a UNIX socket; `metrics`, one for each program, of bounded
//! number. Nothing here is waited for by another module, and nothing waits for a slow agent database longer than a second.

mod exposition;
mod health;
mod page;
mod process;
mod server;
mod view;

pub use server::Server;
