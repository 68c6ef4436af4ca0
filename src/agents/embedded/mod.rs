//! The embedded database: SQLite at `queue/db/global.db`, in the schema of the stock daemon, owned by one thread.
//!
//! ```text
//!  Store ───────────┐
//!  queue/db/wdb ────┼─► bounded queue ──► agent-db: Database (SQLite), one transaction for each command
//!  wdb-http.sock ───┘
//!  SQL of others ─────┬─ reads ──────────► agent-db-read, beside it
//!                     └─ all else ───────► agent-db, when nothing else waits
//! ```
//! What other programs and nodes ask with `global sql` may take long, and what the cluster needs does not wait for it: at
//! most half a second for one that writes.

mod access;
mod agents;
mod answer;
mod arguments;
mod changes;
mod command;
mod database;
mod fault;
mod groups;
mod handle;
pub mod housekeeping;
mod info;
mod labels;
mod limit;
mod other;
mod owner;
mod reader;
mod routes;
mod rows;
mod schema;
pub mod server;
mod space;
mod sql;
mod statements;
#[cfg(test)]
mod tests;
mod tidy;
mod work;

pub use answer::Answer;
pub use database::Database;
pub use groups::is_valid_name as is_group_name;
pub use handle::Embedded;
pub use owner::Owner;
