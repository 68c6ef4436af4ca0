//! The agent database (`spec/agentdb.md`): which agents exist, what is known of them, and which groups they belong to.
//!
//! ```text
//!  the other modules ──► Store ──► Backend ─┬─► embedded: SQLite at queue/db/global.db, served to the manager's
//!                                           │             other programs at the sockets of wazuh-db
//!                                           └─► wazuh_db: client of the stock database daemon
//! ```
//! Both speak the commands of the stock daemon, so what other modules need is written once, in [`Store`].

mod active;
mod agent_info;
mod assignments;
pub mod client_keys;
mod covered;
pub mod embedded;
mod first_groups;
mod group_folders;
pub mod listing;
mod measured;
mod registered;
mod store;
pub mod wazuh_db;

pub use active::{Active, Numbers};
pub use agent_info::{AgentInfo, Form, Stored, texts};
pub use assignments::{Groups, hash_of};
pub use covered::Covered;
pub use embedded::is_group_name;
pub use first_groups::first_groups;
pub use group_folders::{GroupFolders, is_group};
pub use measured::Measured;
pub use registered::{Before, NewAgent, Registered};
pub use store::Store;

/// A database that understands the commands of the stock daemon.
///
/// Every call may wait: callers hold no lock and are never the reader of a connection.
pub trait Backend: Send + Sync + 'static {
    /// Sends one command, such as `global get-agent-info 1`, and gives what is behind the status word of the answer.
    ///
    /// # Errors
    /// [`Error`].
    fn query(&self, request: &str) -> Result<Reply, Error>;

    /// The same for somebody else, whose statement may take long: what the cluster needs does not wait for it.
    ///
    /// # Errors
    /// [`Error`].
    fn command(&self, request: &str) -> Result<Reply, Error> {
        self.query(request)
    }

    /// Makes the row of an agent that has just got its key.
    ///
    /// # Errors
    /// [`Error`]; refused if its number is taken.
    fn insert(&self, agent: &NewAgent<'_>) -> Result<(), Error> {
        self.query(&agent.command()).map(drop)
    }

    /// Takes what the master must know of the agents of this node. What is taken counts as sent.
    ///
    /// # Errors
    /// [`Error`].
    fn take_info(&self) -> Result<TakenInfo, Error>;

    /// Stores what [`Backend::take_info`] gave on another node. Gives the number of agents that do not exist here and
    /// were left out, if the database tells.
    ///
    /// # Errors
    /// [`Error`].
    fn store_info(&self, info: &str) -> Result<Option<usize>, Error>;
}

/// What the master must know of the agents of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenInfo {
    /// A JSON object with up to three lists (section 9.1), `{}` if there is nothing.
    pub info: String,
    /// Whether there is more to take at once.
    pub more: bool,
}

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// All there is.
    Ok(String),
    /// There is more: ask again from the last element on.
    Due(String),
}

/// Why the agent database gave no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It refused the request; the text is the database's own.
    #[error("{0}")]
    Refused(String),
    /// It could not be asked, or did not answer in time; the text says why and what to do.
    #[error("the agent database is not available: {0}")]
    Unavailable(String),
}
