//! What can go wrong with an archive, and who is at fault.

use std::io;

use super::{LONGEST_METADATA, LONGEST_NAME, LONGEST_NAMES, MOST_MEMBERS};

/// An archive cannot be used. The peer that made it is at fault, except for [`ArchiveError::Io`].
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// This node cannot read the file in which the archive was received.
    #[error("the received archive cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A member has no name: an empty archive, or one that ends with a separator.
    #[error("the archive has a member without a name")]
    NoName,
    /// A name is longer than [`LONGEST_NAME`].
    #[error("the archive has a name that is longer than {LONGEST_NAME} bytes")]
    LongName,
    /// All names together are longer than [`LONGEST_NAMES`].
    #[error("the names in the archive are longer than {LONGEST_NAMES} bytes in all")]
    LongNames,
    /// A name is not UTF-8.
    #[error("the archive has the name '{0}', which is not UTF-8")]
    NotUtf8(String),
    /// A name leads out of the directory in which an archive is unpacked.
    #[error("the archive has the unsafe path '{0}'")]
    Unsafe(String),
    /// The zlib stream is not complete.
    #[error("the content of '{0}' is incomplete")]
    Truncated(String),
    /// The zlib stream or its check sum is wrong.
    #[error("the content of '{name}' cannot be decompressed: {reason}")]
    Corrupt {
        /// Name of the member.
        name: String,
        /// What the decompressor says.
        reason: String,
    },
    /// All contents together are larger than permitted.
    #[error("the archive holds more than {limit} bytes of content")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// More than [`MOST_MEMBERS`] members.
    #[error("the archive has more than {MOST_MEMBERS} members")]
    TooMany,
    /// The metadata is larger than [`LONGEST_METADATA`].
    #[error("the metadata of the archive is larger than {LONGEST_METADATA} bytes")]
    LargeMetadata,
    /// The metadata is not what it should be.
    #[error(transparent)]
    Metadata(#[from] crate::files::remote::RemoteError),
}

impl ArchiveError {
    /// The code of the stock daemon for this (`spec/protocol.md` 5.3).
    pub fn code(&self) -> u16 {
        match self {
            Self::Unsafe(_) => 3003,
            Self::TooLarge { .. } => 3053,
            _ => 1000,
        }
    }
}

/// A file was not added to an archive.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The file cannot be read. The archive is whole; the metadata is not to name this member.
    #[error("'{name}' cannot be read: {error}")]
    Source {
        /// The member's name.
        name: String,
        /// What reading gave.
        error: io::Error,
    },
    /// The name cannot be that of a member. The archive is as it was before.
    #[error("'{name}' cannot be the name of a member: {fault}")]
    Name {
        /// The member's name.
        name: String,
        /// The rule that it breaks.
        fault: crate::files::path::PathFault,
    },
    /// The archive cannot be written. It is spoilt.
    #[error("the archive cannot be written: {0}")]
    Archive(#[source] io::Error),
}

impl AddError {
    /// Whether the archive must be thrown away.
    pub fn spoils(&self) -> bool {
        matches!(self, Self::Archive(_))
    }
}
