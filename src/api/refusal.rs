//! Why a request of the API is not executed, in the form in which whoever asked is told.

use crate::wire::ErrorObject;

/// The remedy where others are being served.
pub const LATER: &str = "ask again later";

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

/// There is no framework that could execute one.
pub fn no_framework(reason: String) -> Refusal {
    ErrorObject::unexpected(format!("this node cannot execute requests of the API: {reason}"))
        .with_remedy(
            "install the Wazuh manager on it, or name an executor in etc/cluster.json, distributed_api.executor",
        )
        .into()
}
