//! Why a request is not executed to its end.

use std::time::Instant;

use crate::{connection::Connection, node::Node, wire::ErrorObject};

/// What ends the wait for a process.
#[derive(Clone, Copy)]
pub(super) struct Stop<'a> {
    pub(super) node: &'a Node,
    /// Who must still be there; none if it is not for one of them.
    pub(super) asker: Option<&'a Connection>,
    /// By the clock of the node.
    pub(super) late: Option<Instant>,
    /// By that of the machine: what it does itself is to be done then.
    pub(super) patience: Option<Instant>,
}

impl Stop<'_> {
    /// What whoever asked is told, if the time has come.
    pub(super) fn error(&self) -> Option<ErrorObject> {
        if self.node.shutdown.ordered() {
            return Some(ErrorObject::cluster(3018, "this node stops"));
        }
        if self.asker.is_some_and(Connection::is_closed) {
            return Some(ErrorObject::cluster(3018, "the asking program has disconnected"));
        }
        if self.patience.is_some_and(|patience| Instant::now() >= patience) {
            return Some(ErrorObject::unexpected("the process was not ready in time"));
        }
        let late = self.late.is_some_and(|late| self.node.clock.now() >= late);
        late.then(|| ErrorObject::cluster(3021, "Timeout executing API request"))
    }
}
