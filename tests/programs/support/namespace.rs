//! Programs that see files of their own where others see those of the machine.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Daemon, Home};

/// User and group of the installation where [`Home::as_installed`] is used, and another group of that user.
pub const WAZUH: u32 = 4242;
pub const HELPERS: u32 = 4343;

/// `command` in a mount namespace of its own, after the shell script `setup` with these arguments. None if this machine
/// does not permit that.
pub fn unshared(setup: &str, arguments: &[&Path], command: &Command) -> Option<Command> {
    unshared_with(&["--mount"], setup, arguments, command)
}

/// [`unshared`] with other options of unshare.
pub fn unshared_with(options: &[&str], setup: &str, arguments: &[&Path], command: &Command) -> Option<Command> {
    let shell = |then: &str| {
        let mut shell = Command::new("unshare");
        let script = format!("set -e; {setup}\nshift {}; {then}", arguments.len());
        shell.args(options).args(["sh", "-c", &script, "sh"]).args(arguments).stdin(Stdio::null());
        shell
    };
    if !shell("true").output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut whole = shell(r#"exec "$@""#);
    whole.arg(command.get_program()).args(command.get_args()).env_remove("WAZUH_HOME");
    Some(whole)
}

/// Where a path is that only this daemon sees.
pub fn seen(daemon: &Daemon, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), path.display()))
}

/// The script that gives a namespace the users and groups of `$1/passwd` and `$1/group`.
pub const USERS: &str = r#"
    for name in passwd group nsswitch.conf; do
        if [ -e /etc/$name ]; then mount --bind "$1/$name" "/etc/$name"; fi
    done"#;

/// Writes the files for [`USERS`] into `directory`.
pub fn write_users(directory: &Path, users: &str, groups: &str) {
    fs::create_dir_all(directory).unwrap();
    let root = "root:x:0:0::/root:/bin/sh\n";
    for (name, text) in [
        ("passwd", format!("{root}{users}")),
        ("group", format!("root:x:0:\n{groups}")),
        ("nsswitch.conf", "passwd: files\ngroup: files\n".to_owned()),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
}

impl Home {
    /// Owners and modes of an installation, and `command` where the user `wazuh` exists.
    pub fn as_installed(&self, command: &Command) -> Option<Command> {
        let users = self.beside("users");
        write_users(
            &users,
            &format!("wazuh:x:{WAZUH}:{WAZUH}::/var/ossec:/sbin/nologin\n"),
            &format!("wazuh:x:{WAZUH}:\nhelpers:x:{HELPERS}:wazuh\n"),
        );
        let owned =
            ["", "etc", "etc/rules", "etc/shared", "logs", "queue", "queue/cluster", "var/run", "var/multigroups"];
        self.give(WAZUH, &owned);
        chown(self.path("etc/ossec.conf"), Some(0), Some(WAZUH)).unwrap();
        fs::set_permissions(self.path("etc/ossec.conf"), fs::Permissions::from_mode(0o660)).unwrap();
        unshared(USERS, &[&users], command)
    }
}
