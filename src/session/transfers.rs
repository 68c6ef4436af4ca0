//! The requests of a transfer, which every handler answers alike (`spec/protocol.md` 4.5).

use crate::{
    connection::{Connection, FileRefused, IncomingFiles, IncomingStrings},
    limits::Holding,
    logging::warn,
    wire::{Command, CommandField, ErrorObject, Request},
};

/// Files and strings that one peer is sending.
pub struct Transfers {
    /// Files, complete and not.
    pub files: IncomingFiles,
    /// Strings.
    pub strings: IncomingStrings,
}

impl Transfers {
    /// None yet.
    pub fn new(files: IncomingFiles) -> Self {
        Self { files, strings: IncomingStrings::default() }
    }

    /// Takes the string with this id.
    pub fn take_string(&mut self, id: &[u8]) -> Option<Holding> {
        std::str::from_utf8(id).ok().and_then(|id| self.strings.take(id))
    }

    /// Answers `request` if it belongs to a transfer; false if it does not. Files are taken only while one is expected.
    pub fn request(&mut self, connection: &Connection, counter: u32, request: &Request<'_>, expected: bool) -> bool {
        match request {
            Request::NewFile(path) => {
                let begun = if expected { self.files.begin(path) } else { Err(FileRefused::Path) };
                tell(connection, counter, begun, Command::OkFile, "Ready to receive new file");
            }
            Request::FileUpdate { path, data } => {
                tell(connection, counter, self.files.append(path, data), Command::Ok, "File updated");
            }
            Request::FileEnd { path, sha256 } => {
                tell(connection, counter, self.files.end(path, sha256), Command::Ok, "File received correctly");
            }
            Request::NewString { length } => match self.strings.begin(*length) {
                Some(id) => connection.answer(counter, Command::Ok, id),
                None => connection.answer(counter, Command::Error, "Requested size exceeds maximum allowed limit"),
            },
            Request::StringUpdate { id, data } => {
                if self.strings.append(id, data, |bytes| connection.hold(bytes)) {
                    connection.answer(counter, Command::Ok, "String updated");
                } else {
                    connection.refuse(
                        counter,
                        &ErrorObject::unexpected(format!("there is no string with the id {id}, or no room for it")),
                    );
                }
            }
            Request::StringFailed { length } => {
                let id = self.strings.forget_empty(*length).unwrap_or_else(|| "None".to_owned());
                connection.answer(counter, Command::Ok, id);
            }
            _ => return false,
        }
        true
    }
}

fn tell(connection: &Connection, counter: u32, result: Result<(), FileRefused>, command: Command, text: &str) {
    match result {
        Ok(()) => connection.answer(counter, command, text),
        Err(refused) => {
            warn!("[Cluster] [Main]", "A file from {} was refused: {refused}", connection.peer());
            connection.answer(counter, Command::Err, refused.payload());
        }
    }
}

/// Answers a command that this handler does not know, as the original does (`spec/protocol.md` 4.4).
pub fn unknown_command(connection: &Connection, counter: u32, command: CommandField) {
    connection.answer(counter, Command::Err, format!("unknown command 'b'{command}''"));
}
