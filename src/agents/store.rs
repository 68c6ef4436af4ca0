//! What the rooms of the cluster ask of the agent database, in the commands that every backend understands.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;

use super::{Backend, Error, Reply};

/// The agent database of this node, as the rooms of the cluster use it. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<dyn Backend>);

impl Store {
    /// A store on this database.
    pub fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    /// Sends one command and gives the whole answer; for commands that never answer with a part.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn query(&self, request: &str) -> Result<String, Error> {
        match self.0.query(request)? {
            Reply::Ok(text) | Reply::Due(text) => Ok(text),
        }
    }
}
