//! `distributed_api`, `link` and `local`: who may talk to the daemon, and how.

use super::section::Section;
use serde_json::Value;
use std::time::Duration;

/// Features of the native link that this build knows (`spec/native.md` 2).
const FEATURES: [&str; 3] = ["checksum=md5", "push", "applied"];

/// `distributed_api`.
#[derive(Debug, Clone, PartialEq)]
pub struct DistributedApi {
    /// Whether a worker passes requests of the API to the master; otherwise it executes them itself.
    pub enabled: bool,
    /// The program that executes requests of the API, and its arguments; empty for none. It gets a request on its standard
    /// input and gives the answer on its standard output, both JSON.
    pub executor: Vec<String>,
}

/// `link`: ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Whether two nodes of ours speak more than the classic protocol.
    pub native: Native,
    /// Features that are offered and taken on such a link, in the spelling of `spec/native.md`.
    pub features: Vec<String>,
    /// Whether a master accepts other patch versions of its own minor.
    pub accept_patch_versions: bool,
    /// Connections of one address that have not said `hello`.
    pub max_unauthenticated_per_address: u32,
    /// Connections of all addresses that have not said `hello`.
    pub max_unauthenticated: u32,
    /// Connected workers.
    pub max_workers: u32,
    /// From the accepted connection to its `hello`.
    pub handshake_timeout: Duration,
    /// From the header of a frame to its last byte.
    pub frame_timeout: Duration,
    /// The first pause before a worker connects again.
    pub reconnect_min: Duration,
}

/// `link` > `native` (`spec/native.md` 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Native {
    /// If the other end can.
    Auto,
    /// Never.
    Never,
    /// A link that stays classic is closed.
    Require,
}

/// `local`: ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Local {
    /// Clients of the control socket at the same time.
    pub max_clients: u32,
    /// Whether `get_config` shows the key.
    pub show_key: bool,
}

impl DistributedApi {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let what = "a list: the absolute path of a program, then its arguments; or [] for none";
        let executor = section.texts("executor", what, |word| !word.contains('\0'));
        if executor.first().is_some_and(|program| !program.starts_with('/')) {
            section.fault("executor", "does not begin with an absolute path", &executor[0], &format!("write {what}"));
        }
        let api = Self { enabled: section.flag("enabled"), executor };
        section.finish();
        api
    }
}

impl Link {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        const COUNTS: std::ops::RangeInclusive<u32> = 1..=65_535;
        let features = format!("a list of features, of which this version knows: {}", FEATURES.join(", "));
        let link = Self {
            native: section.convert("native", "auto, never or require", native).unwrap_or(Native::Never),
            features: section.texts("features", &features, |feature| FEATURES.contains(&feature)),
            accept_patch_versions: section.flag("accept_patch_versions"),
            max_unauthenticated_per_address: section.count("max_unauthenticated_per_address", COUNTS),
            max_unauthenticated: section.count("max_unauthenticated", COUNTS),
            max_workers: section.count("max_workers", COUNTS),
            handshake_timeout: section.seconds("handshake_timeout"),
            frame_timeout: section.seconds("frame_timeout"),
            reconnect_min: section.seconds("reconnect_min"),
        };
        section.finish();
        link
    }
}

fn native(value: &Value) -> Option<Native> {
    match value.as_str()? {
        "auto" => Some(Native::Auto),
        "never" => Some(Native::Never),
        "require" => Some(Native::Require),
        _ => None,
    }
}

impl Local {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let local = Self { max_clients: section.count("max_clients", 1..=65_535), show_key: section.flag("show_key") };
        section.finish();
        local
    }
}
