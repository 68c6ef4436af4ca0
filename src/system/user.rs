//! The user that the daemon runs as and that owns the files it writes.
#![allow(unsafe_code)]

use std::{ffi::CString, io, path::Path};

use nix::{
    errno::Errno,
    sys::prctl::set_no_new_privs,
    unistd::{
        Gid, Group, Uid, User, getegid, geteuid, getresgid, getresuid, initgroups, setegid, seteuid, setresgid,
        setresuid,
    },
};

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

/// The mode of what this process makes and its next run has to write to again. A process in the group of root that is not
/// root has a number that somebody chose for a while (OpenShift does): there the group may do what the user may.
pub fn lasting_mode(mode: u32) -> u32 {
    let is_by_group = getegid().as_raw() == 0 && !is_root();
    if is_by_group { mode | (mode & 0o700) >> 3 } else { mode }
}

/// The user of this process, by number.
pub fn number() -> u32 {
    geteuid().as_raw()
}

/// The name of the user of this process; its number if it has none.
pub fn own_name() -> String {
    user_name(number()).unwrap_or_else(|| number().to_string())
}

/// The name of the group of this process; its number if it has none.
pub fn own_group_name() -> String {
    group_name(group()).unwrap_or_else(|| group().to_string())
}

/// The group of this process, by number.
pub fn group() -> u32 {
    getegid().as_raw()
}

/// The name of a group, if it has one.
pub fn group_name(gid: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
}

/// The user and group of the installation, if they exist on this machine.
pub fn owner() -> Option<Owner> {
    find().ok()
}

fn find() -> Result<Owner, String> {
    let failed = |error: Errno| format!("cannot look up user '{NAME}': {error}; see /etc/nsswitch.conf");
    let missing = |what: &str, name: &str| format!("the {what} '{name}' does not exist");
    let user = User::from_name(NAME).map_err(failed)?.ok_or_else(|| missing("user", NAME))?;
    let group = Group::from_name(GROUP).map_err(failed)?.ok_or_else(|| missing("group", GROUP))?;
    Ok(Owner { uid: user.uid.as_raw(), gid: group.gid.as_raw() })
}

/// The name of the user `uid`, if it has one.
pub fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// The user and group that a daemon of root becomes; `home` is for the remedy.
///
/// # Errors
/// A sentence with the remedy: there is no such user, or it is root.
pub fn find_owner(home: &Path) -> Result<Owner, String> {
    let home = home.display();
    let owner = find().map_err(|problem| {
        format!(
            "{problem}; run 'groupadd -r {GROUP}; useradd -r -g {GROUP} -d {home} -s /sbin/nologin {NAME}', or start \
             with -r to stay root"
        )
    })?;
    if owner.uid == 0 || owner.gid == 0 {
        return Err(format!(
            "the user '{NAME}' or the group '{GROUP}' has the number of root; give it a number of its own"
        ));
    }
    Ok(owner)
}

/// Becomes `owner`, that of [`find_owner`], for good. Call it before the first thread starts: what it gives up, it gives
/// up for the calling thread.
///
/// # Errors
/// A sentence with the remedy: the kernel refuses, or root privileges could be regained.
pub fn become_owner(owner: Owner) -> Result<(), String> {
    leave_root(owner).map_err(|error| {
        format!(
            "cannot switch to user '{NAME}': {error}; start as root with all its capabilities, or as '{NAME}', or \
             with -r to stay root"
        )
    })
}

fn leave_root(owner: Owner) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    initgroups(&CString::new(NAME)?, gid)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // Whoever started this process may have had the kernel keep them.
    give_up_capabilities()?;
    set_no_new_privs()?;
    let (users, groups) = (getresuid()?, getresgid()?);
    let changed = [users.real, users.effective, users.saved] == [uid; 3]
        && [groups.real, groups.effective, groups.saved] == [gid; 3];
    if !changed || seteuid(Uid::from_raw(0)).is_ok() || setegid(Gid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root privileges could be regained"));
    }
    Ok(())
}

fn give_up_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two times 32 bits for each set.
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let none = [[0u32; 3]; 2];
    // SAFETY: the header (version, and 0 for this thread) and the data (effective, permitted and inheritable, twice) have
    // the layout of capset(2), and the kernel only reads them.
    let result = unsafe { nix::libc::syscall(nix::libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}
