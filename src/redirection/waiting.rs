//! Local programs that wait for what another node says.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{Program, RequestKind};
use crate::{connection::Connection, system::random};

/// Requests that may wait at a time.
const LIMIT: usize = 4096;

/// The requests of local programs that were passed to another node, by the name under which that node answers. Each
/// request has a name of its own, so that answers find their way whatever order they come in.
#[derive(Default)]
pub struct Waiting(Mutex<HashMap<u32, Entry>>);

struct Entry {
    program: Program,
    /// The connection to the node that was asked; nobody else may answer.
    asked: Connection,
}

impl Waiting {
    /// Notes a request of `program` that `asked` is going to get; gives its name. None if too many wait already.
    pub fn add(&self, program: Program, asked: &Connection) -> Option<String> {
        let mut entries = self.0.lock();
        if entries.len() >= LIMIT {
            entries.retain(|_, entry| !entry.program.connection.is_closed());
        }
        if entries.len() >= LIMIT {
            return None;
        }
        let name = std::iter::repeat_with(random::number).find(|name| !entries.contains_key(name))?;
        entries.insert(name, Entry { program, asked: asked.clone() });
        Some(name.to_string())
    }

    /// Whether a request of this program waits.
    pub fn has(&self, program: &Connection) -> bool {
        self.0.lock().values().any(|entry| entry.program.connection.is(program))
    }

    /// The program whose request has this name, if it was `asked` for an answer of `kind`. It waits no more.
    pub fn take(&self, name: &str, asked: &Connection, kind: impl Fn(RequestKind) -> bool) -> Option<Program> {
        let name: u32 = name.parse().ok()?;
        let mut entries = self.0.lock();
        entries.get(&name).filter(|entry| entry.asked.is(asked) && kind(entry.program.kind))?;
        entries.remove(&name).map(|entry| entry.program)
    }

    /// The node at the other end of `asked` is lost: tells all programs that wait for it.
    pub fn lost(&self, asked: &Connection, reason: &str) {
        let mut entries = self.0.lock();
        let lost: Vec<u32> = entries.iter().filter(|(_, entry)| entry.asked.is(asked)).map(|(name, _)| *name).collect();
        let programs: Vec<Program> =
            lost.iter().filter_map(|name| entries.remove(name)).map(|entry| entry.program).collect();
        drop(entries);
        for program in programs {
            program.unknown(reason);
        }
    }
}
