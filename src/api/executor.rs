//! What executes requests of the API on this node: nothing, a command, or processes of the manager's framework.

use std::{
    fs::File,
    io::{self, Seek, Write},
    time::Instant,
};

use crossbeam_channel::{Receiver, never};

use super::{
    asker::Asker,
    checks::{self, Checked},
    command,
    pool::Pool,
    refusal::{LATER, Refusal, no_executor, no_framework},
};
use crate::{
    config::settings::{DistributedApi, Executor as Wanted},
    framework::Framework,
    limits::{self, Holding},
    logging::info,
    node::Node,
    wire::ErrorObject,
};

/// What executes requests.
pub(super) enum Executor {
    /// Nobody: they are refused.
    Nothing,
    /// A process of this command for each.
    Command(Vec<String>),
    /// Processes of the manager's framework.
    Pool(Pool),
}

/// A request as its executor takes it.
pub(super) enum Request {
    /// For a command, which reads it from there. The file has no name.
    File(File),
    /// For the pool: it may hold passwords, so it is on no disk.
    Memory(Holding, Checked),
}

impl Executor {
    /// What these settings want, and how many requests of one node it executes at a time.
    pub(super) fn of(settings: &DistributedApi) -> (Self, usize) {
        match &settings.executor {
            Wanted::None => (Self::Nothing, 0),
            Wanted::Command(command) => (Self::Command(command.clone()), limits::API_EXECUTIONS - 1),
            Wanted::Auto => (Self::Pool(Pool::new()), settings.processes as usize),
        }
    }

    /// Keeps a request, which is JSON and may be executed, for its turn.
    ///
    /// # Errors
    /// Why it may not be.
    pub(super) fn accept(&self, node: &Node, asker: &Asker, request: &[u8]) -> Result<Request, Refusal> {
        match self {
            Self::Nothing => Err(no_executor().into()),
            Self::Command(_) => store(node, request).map(Request::File).map_err(|error| {
                let error = ErrorObject::unexpected(format!("the request cannot be stored: {error}"));
                error.with_remedy("see whether queue/cluster may be written and has room").into()
            }),
            Self::Pool(_) => {
                Framework::find(node.home.path()).map_err(no_framework)?;
                let from_node = matches!(asker, Asker::Node { .. });
                let checked = checks::check(request, node.cluster.node_type, from_node)?;
                let share = asker.connection().try_hold(request.len()).map_err(|_| {
                    ErrorObject::unexpected("this node holds too much for its peers already").with_remedy(LATER)
                })?;
                Ok(Request::Memory(Holding { bytes: request.to_vec(), share: Some(share) }, checked))
            }
        }
    }

    /// Executes a request and gives `asker` the answer. `executed` is called before that if the answer needs no process any
    /// more.
    ///
    /// # Errors
    /// What the asker is to be told instead.
    pub(super) fn execute(
        &self,
        node: &Node,
        asker: &Asker,
        request: Request,
        executed: impl FnOnce(),
    ) -> Result<(), Refusal> {
        match (self, request) {
            (Self::Command(command), Request::File(file)) => {
                let (length, answer) = command::execute(node, command, file, asker.connection().closed())?;
                executed();
                asker.answered(length, answer);
                Ok(())
            }
            (Self::Pool(pool), Request::Memory(Holding { bytes, share: _share }, Checked { function, waits })) => {
                info!("[Cluster] [D API]", "Receiving request: {function} from {asker}");
                pool.execute(node, asker.connection(), (&bytes, waits), |answer| {
                    if answer.kept {
                        executed();
                    }
                    asker.answered(answer.length, answer.text);
                })
            }
            // What was accepted is for the executor that there is.
            _ => Err(no_executor().into()),
        }
    }

    /// Has what was read from the files of the manager be read again.
    pub(super) fn renew(&self) {
        if let Self::Pool(pool) = self {
            pool.renew();
        }
    }

    /// Becomes ready when [`Executor::rest`] is to be called.
    pub(super) fn rested(&self, node: &Node) -> Receiver<Instant> {
        match self {
            Self::Pool(pool) => pool.rested(node),
            _ => never(),
        }
    }

    /// Ends what nobody has needed for a while.
    pub(super) fn rest(&self, node: &Node) {
        if let Self::Pool(pool) = self {
            pool.rest(node);
        }
    }
}

fn store(node: &Node, request: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(node.home.cluster_dir())?;
    file.write_all(request)?;
    file.rewind()?;
    Ok(file)
}
