//! The requests of a transfer, which both ends of a link answer alike (`spec/protocol.md` 4.5).

use crate::{
    connection::{FileRefused, IncomingFiles, IncomingStrings, Proof, Reply},
    limits::Holding,
    logging::warn,
    wire::{Chunk, Command, FileEnd, StringChunk, Transfer},
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

    /// Answers a request of a transfer. Files are taken only while one is `expected`, with this proof.
    pub fn request(&mut self, reply: Reply, request: Transfer<'_>, expected: Option<Proof>) {
        match request {
            Transfer::NewFile(path) => {
                let begun = expected.map_or(Err(FileRefused::Path), |proof| self.files.begin(path, proof));
                file_answer(reply, begun, Command::OkFile, "Ready to receive new file");
            }
            Transfer::FileUpdate(Chunk { path, data }) => {
                file_answer(reply, self.files.append(path, data), Command::Ok, "File updated");
            }
            Transfer::FileEnd(FileEnd { path, sha256 }) => {
                file_answer(reply, self.files.end(path, sha256), Command::Ok, "File received correctly");
            }
            Transfer::NewString(length) => match self.strings.begin(length) {
                Some(id) => reply.ok(id),
                None => reply.answer(Command::Error, "Requested size exceeds maximum allowed limit"),
            },
            Transfer::StringUpdate(StringChunk { id, data }) => {
                if self.strings.append(id, data, |bytes| reply.connection().hold(bytes)) {
                    reply.ok("String updated");
                } else {
                    reply.fail(format!("there is no string with the id {id}, or no room for it"));
                }
            }
            Transfer::StringFailed(length) => {
                reply.ok(self.strings.forget_empty(length).unwrap_or_else(|| "None".to_owned()));
            }
        }
    }
}

/// Answers what became of a request of a file.
fn file_answer(reply: Reply, result: Result<(), FileRefused>, command: Command, text: &str) {
    match result {
        Ok(()) => reply.answer(command, text),
        Err(refused) => {
            let peer = reply.connection().peer();
            warn!("[Cluster] [Main]", "A file from {peer} was refused: {refused}");
            reply.answer(Command::Err, refused.payload());
        }
    }
}
