//! Why a request of the API is not executed, in the form in which whoever asked is told.

use crate::wire::ErrorObject;

/// Why a request was not executed.
pub enum Refusal {
    /// The words of the executor, which knows what the framework expects, or of the stock daemon.
    Words(String),
    /// An error of this node.
    Error(ErrorObject),
}

impl From<ErrorObject> for Refusal {
    fn from(error: ErrorObject) -> Self {
        Self::Error(error)
    }
}

/// Nothing is there that could execute a request.
pub fn no_executor() -> ErrorObject {
    ErrorObject::unexpected("this node has no program that executes requests of the API")
        .with_remedy("set distributed_api.executor in etc/cluster.json to auto, or name one")
}
