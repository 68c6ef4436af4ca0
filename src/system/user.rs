//! The user that the daemon runs as and that owns the files it writes.

use std::io;

use nix::unistd::{Gid, Group, Uid, User, geteuid, initgroups, setgid, setuid};

/// The name of the user of an installation; another one is given when the program is built (`make USER=…`).
pub const NAME: &str = match option_env!("WAZUH_USER") {
    Some(name) => name,
    None => "wazuh",
};

/// The name of its group.
pub const GROUP: &str = match option_env!("WAZUH_GROUP") {
    Some(name) => name,
    None => "wazuh",
};

/// A user and a group, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Whether this process may give files away and change its user.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The user and group of the installation, if they exist on this machine.
pub fn owner() -> Option<Owner> {
    let user = User::from_name(NAME).ok().flatten()?;
    let group = Group::from_name(GROUP).ok().flatten()?;
    Some(Owner { uid: user.uid.as_raw(), gid: group.gid.as_raw() })
}

/// Becomes `owner` for good: groups, group, then user, and checks that there is no way back.
///
/// # Errors
/// When the kernel refuses one of the steps, or when root could be had again.
pub fn become_user(owner: Owner) -> io::Result<()> {
    let name = std::ffi::CString::new(NAME)?;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    initgroups(&name, gid)?;
    setgid(gid)?;
    setuid(uid)?;
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root privileges could be taken back"));
    }
    Ok(())
}
