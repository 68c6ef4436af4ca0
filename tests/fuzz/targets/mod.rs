//! What is fuzzed: one body for each place where bytes of others are read. `make fuzz` gives it what libFuzzer finds,
//! `main.rs` what has been kept in `corpus/`.
//!
//! A body panics if a property does not hold. Any panic of the code that it calls is a finding, too.

mod answers;
mod archive;
mod client_keys;
mod cluster_json;
mod database;
mod delta;
mod fernet;
mod frames;
mod gateway;
mod growth;
mod home;
mod http;
mod input;
mod journal;
mod manifest;
mod masters;
mod ossec_conf;
mod peers;
mod registration;
mod requests;
mod session;
mod update;

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// One place where bytes of others are read.
pub struct Target {
    /// As in `corpus/` and in `FUZZ_TARGET`.
    pub name: &'static str,
    body: fn(&[u8]),
    /// The longest input that makes sense, in bytes, as far as 1 MiB.
    pub longest: usize,
}

const KIB: usize = 1024;

/// All of them.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target { name: "frames", body: frames::body, longest: 1024 * KIB },
    Target { name: "fernet", body: fernet::body, longest: 64 * KIB },
    Target { name: "session", body: session::body, longest: 64 * KIB },
    Target { name: "requests", body: requests::body, longest: 1024 * KIB },
    Target { name: "answers", body: answers::body, longest: 1024 * KIB },
    Target { name: "manifest", body: manifest::body, longest: 1024 * KIB },
    Target { name: "archive", body: archive::body, longest: 1024 * KIB },
    Target { name: "update", body: update::body, longest: 256 * KIB },
    Target { name: "delta", body: delta::body, longest: 64 * KIB },
    Target { name: "journal", body: journal::body, longest: 256 * KIB },
    Target { name: "ossec_conf", body: ossec_conf::body, longest: 1024 * KIB },
    Target { name: "cluster_json", body: cluster_json::body, longest: 1024 * KIB },
    Target { name: "client_keys", body: client_keys::body, longest: 1024 * KIB },
    Target { name: "registration", body: registration::body, longest: 64 * KIB },
    Target { name: "database", body: database::body, longest: 64 * KIB },
    Target { name: "http", body: http::body, longest: 64 * KIB },
    Target { name: "gateway", body: gateway::body, longest: 64 * KIB },
    Target { name: "control", body: peers::program, longest: 64 * KIB },
    Target { name: "worker", body: peers::worker, longest: 64 * KIB },
    Target { name: "master", body: masters::body, longest: 64 * KIB },
    Target { name: "growth", body: growth::body, longest: 4 * KIB },
];

/// Processor time of this process that one input may take, with all that instruments it. What takes longer grows faster
/// than its input.
const LONGEST: Duration = Duration::from_secs(2);

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Tries one input.
    ///
    /// # Panics
    /// If a property does not hold, or it takes too long.
    pub fn run(&self, input: &[u8]) {
        let begun = processor_time();
        (self.body)(input);
        let taken = processor_time() - begun;
        assert!(taken < LONGEST, "{}: an input of {} bytes takes {taken:?}", self.name, input.len());
    }
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).expect("the clock of this process")
}
