//! What the tests share.

mod archive;
pub mod c_client;
mod daemon;
mod footprint;
#[path = "../../cluster/support/framework.rs"]
mod framework;
mod home;
mod manager;
mod namespace;
mod peer;
#[path = "../../cluster/support/raw.rs"]
#[allow(dead_code, reason = "tests/cluster uses all of it")]
mod raw;
mod scripted;
mod snapshot;
mod victim;
mod wait;

pub use archive::{archive, entry, manifest, update};
#[allow(unused_imports, reason = "tests/chaos uses it")]
pub use daemon::control_command;
pub use daemon::{Daemon, clusterd, control, finish};
pub use footprint::{Footprint, most_memory};
pub use framework::install_framework;
pub use home::{Address, Home, KEY};
pub use manager::{Program, register};
pub use namespace::{HELPERS, USERS, WAZUH, seen, unshared, unshared_with, write_users};
pub use peer::{Answer, Peer, Permission};
#[allow(unused_imports, reason = "tests/chaos does without")]
pub use raw::RawPeer;
pub use scripted::ScriptedMaster;
pub use snapshot::{Snapshot, snapshot};
pub use victim::{List, Victim};
pub use wait::{LIMIT, until};

/// Says why a test cannot show anything on this machine.
pub fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
}
