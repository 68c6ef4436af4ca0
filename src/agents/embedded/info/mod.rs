//! What a worker tells the master of its agents, and how the master stores it.
//!
//! Two forms: the commands of 4.4 to 4.12 in [`texts`], the object of 4.13 (section 9.1) in [`collect`] and [`store`].

mod collect;
mod store;
mod texts;

pub(super) use texts::{get, set};

/// Bytes of one object that is given out, or a little more: what is known of some twenty thousand agents. What is left
/// follows with the next.
pub(super) const LONGEST_OBJECT: usize = 16 * 1024 * 1024;

/// Texts of a record in the order of section 9.1; the first is the column `name`.
const TEXTS: [&str; 18] = [
    "name",
    "ip",
    "os_name",
    "os_version",
    "os_major",
    "os_minor",
    "os_codename",
    "os_build",
    "os_platform",
    "os_uname",
    "os_arch",
    "version",
    "config_sum",
    "merged_sum",
    "manager_host",
    "node_name",
    "connection_status",
    "group_config_status",
];
