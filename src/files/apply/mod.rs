//! Applying a master's update on a worker (`spec/protocol.md` 10.7) so that a crash at any instant leaves every file
//! with its old or its new content, and the next start makes it whole; and so that what cannot be applied holds up
//! nothing else.
//!
//! The keys of the agents come first, by themselves, then all the rest, each in these steps:
//!
//! | step | where | a crash here | a failure here |
//! |---|---|---|---|
//! | survey the archive, check every entry | [`Update::open`], `plan`, `newer` | nothing was touched | the entry is named |
//! | is there room? | `space` | nothing was touched | the directory stays as it is |
//! | write every content beside its destination, durably | `stage`, `make` | temporary files are left, [`recover`] removes them | the file stays; its directory does, if the disk is full |
//! | write the journal, durably: **the changes count from here on** | `journal` | either before or after | directories with one change go on |
//! | rename all, delete the surplus, remove emptied directories, durably | `execute` | [`recover`] does it again | the file stays |
//! | remove the journal | `journal` | [`recover`] finds nothing left to do | the next update does it |
//!
//! So a directory changes as a whole, over any crash and on a full disk, if all its files can be written. A file that
//! cannot be, for a reason of its own, is named, and the others go on. One change alone needs no journal: a rename is
//! whole by itself. A file that is a mount is written over (`in_place`), for which there is one.
//!
//! Nothing outside the items' directories can be touched: paths are checked lexically, and every directory below an
//! item's own is opened name by name without following a link (`tree`).
//!
//! Large files are staged already while the archive arrives (`ahead`), which changes nothing but names that nobody looks at.
//!
//! The files of a large update are staged, and later renamed, by two threads (`share`); the steps of the table follow
//! each other all the same.

mod ahead;
mod execute;
mod in_place;
mod journal;
mod make;
mod newer;
mod outcome;
mod part;
mod plan;
mod recover;
mod share;
mod space;
mod stage;
mod step;
#[cfg(test)]
mod tests;
mod tree;
mod update;

pub use ahead::Ahead;
pub use journal::NAME as JOURNAL;
pub use newer::Contents;
pub use outcome::{Failure, Outcome, What};
pub use recover::{Recovery, recover};
pub use update::{Target, Update};
