//! Where the installation is.

use std::{
    env,
    path::{Path, PathBuf},
};

const DEFAULT: &str = "/var/ossec";

/// The socket of the daemon of the installation: in `explicit`, else `$WAZUH_HOME`, else the directory above the one of
/// this program if it is an installation, else `/var/ossec`.
pub(super) fn control_socket(explicit: Option<&Path>) -> PathBuf {
    let home = explicit.map(Path::to_path_buf).or_else(from_environment).or_else(around_program);
    home.unwrap_or_else(|| DEFAULT.into()).join("queue/cluster/c-internal.sock")
}

fn from_environment() -> Option<PathBuf> {
    env::var_os("WAZUH_HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

fn around_program() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let home = program.parent()?.parent()?;
    home.join("etc/ossec.conf").is_file().then(|| home.to_path_buf())
}
