//! The files that every node of a cluster holds equal: which they are, what they contain, how they travel and how a
//! worker replaces its own.
//!
//! ```text
//!   items ──► scan ──► Manifest ──► compare ──► Difference ──► archive::ArchiveWriter     (master)
//!               │                      ▲                              │
//!               ▼                      │ RemoteManifest               ▼ the archive, over the wire
//!            Manifest ─────────────────┘                      apply::Update ──► home      (worker)
//! ```
//!
//! * [`items`] — the directories of the cluster and the rule that says whether a path belongs to one of them.
//! * [`scan`] — walks them, hashing only what changed, and publishes a [`manifest::Manifest`]; [`watch`] — what need not be
//!   looked at for that.
//! * [`remote`] — a peer's manifest, read from its JSON; [`mod@compare`] — what one lacks against the other; [`digest`] —
//!   whether there is anything to compare; [`lately`] — what has changed since a node had the same.
//! * [`archive`] — the format in which contents travel; [`outline`], [`delta`] — a large one as its difference from what the
//!   other node has.
//! * [`private`] — what only the nodes that may be master have alike.
//! * [`apply`] — replaces files so that a crash at any instant leaves each with its old or its new content.
//!
//! This room is a leaf: it knows nothing of the network, of roles or of configuration files.

pub mod apply;
pub mod archive;
pub mod checksum;
pub mod compare;
pub mod delta;
pub mod digest;
pub mod items;
mod json;
pub mod lately;
pub mod manifest;
pub mod outline;
pub mod path;
pub mod private;
pub mod remote;
pub mod scan;
pub mod watch;

pub use self::{
    apply::{Ahead, Contents, Failure, JOURNAL, Outcome, Recovery, Target, Update, What, recover},
    archive::{AddError, Added, ArchiveError, ArchiveWriter, LONGEST_METADATA, MemberCache, survey},
    checksum::{Checksum, ChecksumKind, ContentSum, Proof, Prover, md5_of, sum_of},
    compare::{Counts, Difference, compare},
    digest::{Buckets, Digests},
    items::{Item, Items, ItemsFault, KEYS, Names},
    lately::{Changes, Lately},
    manifest::{Entry, Manifest},
    outline::Outlines,
    private::Private,
    remote::RemoteManifest,
    scan::{Scan, Scanner, Unreadable, open_file},
    watch::{Watch, Which},
};
