//! The archive in which file contents and metadata travel (`spec/protocol.md` 10.3).
//!
//! ```text
//! member  = name  |//@@//|  zlib stream of the content
//! archive = member  |@@//@@|  member  |@@//@@|  …  |@@//@@|  member "files_metadata.json"
//! ```
//!
//! The format has no lengths: a stock reader cuts at every `|@@//@@|`, wherever it stands. So [`ArchiveWriter`]
//! never lets these bytes appear inside a member, while [`survey`] takes each zlib stream to its own end and survives
//! archives of stock writers in which they do.

mod cache;
mod deflate;
mod error;
mod inflate;
mod separator;
mod source;
mod stored;
mod stream;
mod survey;
mod writer;

pub use cache::MemberCache;
pub use error::{AddError, ArchiveError};
pub use stream::PART;
pub use survey::{Member, Survey, Visitor, survey, visit};
pub use writer::{Added, ArchiveWriter};

pub(super) use inflate::Inflater;
pub(super) use source::{Positioned, Window};

/// Stands between the name of a member and its content.
pub const PATH_SEP: &[u8; 8] = b"|//@@//|";
/// Stands between two members.
pub const FILE_SEP: &[u8; 8] = b"|@@//@@|";
/// Name of the member that holds the metadata.
pub const METADATA_NAME: &str = "files_metadata.json";
/// Compression level of stock writers.
pub const LEVEL: u32 = 1;
/// Default bound for the sum of all inflated contents (`max_zip_size`), in bytes.
pub const MOST_INFLATED: u64 = 1 << 30;
/// Most bytes of inflated metadata that are held in memory.
pub const LONGEST_METADATA: usize = 64 << 20;
/// Most members that are taken from one archive.
pub const MOST_MEMBERS: usize = 1_000_000;
/// Most bytes of all names of one archive: what is held in memory of each besides is of one size.
pub const LONGEST_NAMES: usize = 32 << 20;
/// Longest name of a member as it stands in an archive, before it is normalised.
pub const LONGEST_NAME: usize = 8192;

#[cfg(test)]
mod tests;
