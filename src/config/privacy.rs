//! Who may read a file that holds the key: root and the installation, and nobody else.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::Note;
use crate::system::user::{self, Owner};

/// Permissions of all users, and of the file's group.
const OTHERS: u32 = 0o007;
const GROUP: u32 = 0o070;

/// A warning if `file`, which holds the key, is open to more than root, the group of the installation and that of this
/// process, or is not open to the user that a daemon of root becomes, which is to read it again.
pub(super) fn note(file: &Path) -> Option<Note> {
    note_on("The key of the cluster", file)
}

/// The same for a file that holds another secret.
pub(super) fn note_on(secret: &str, file: &Path) -> Option<Note> {
    // Whoever could read it a moment ago knows who owns it.
    let about = fs::metadata(file).ok()?;
    let (mode, group) = (about.mode() & 0o777, about.gid());
    let name = file.display();
    if mode & OTHERS != 0 {
        return Some(Note::warning(format!(
            "{secret} is open to every user of this machine: {name} has the mode {mode:04o}; run: chmod \
             o= {name}"
        )));
    }
    let own = [Some(0), Some(user::group()), user::owner().map(|owner| owner.gid)];
    if mode & GROUP == 0 || own.contains(&Some(group)) {
        let unreadable = user::is_root() && user::owner().is_some_and(|owner| !may_read(owner, &about));
        return unreadable.then(|| {
            let (user, group) = (user::NAME, user::GROUP);
            Note::warning(format!(
                "The user '{user}' cannot read {name}: a reload would fail, and so does a start by systemd; run: chgrp \
                 {group} {name}; chmod g+r {name}"
            ))
        });
    }
    let members = user::group_name(group).unwrap_or_else(|| group.to_string());
    Some(Note::warning(format!(
        "{secret} is open to the group '{members}': {name} has the mode {mode:04o}; run: chgrp {} {name}",
        user::GROUP
    )))
}

/// Whether this user and group, which are those of the installation, may read a file that is for nobody else.
fn may_read(Owner { uid, gid }: Owner, about: &Metadata) -> bool {
    let wanted = if about.uid() == uid { 0o400 } else { 0o040 };
    about.mode() & wanted != 0 && (about.uid() == uid || about.gid() == gid)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{Permissions, set_permissions},
        os::unix::fs::{PermissionsExt, chown},
    };

    use super::*;

    #[test]
    fn a_file_is_read_by_its_user_or_its_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let about = fs::metadata(file.path()).unwrap();
        let (uid, gid) = (about.uid(), about.gid());
        let reads = |mode: u32, owner: Owner| {
            set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            may_read(owner, &fs::metadata(file.path()).unwrap())
        };
        let (user, member) = (Owner { uid, gid: gid + 1 }, Owner { uid: uid + 1, gid });
        assert!(reads(0o600, user) && reads(0o640, member) && reads(0o400, user));
        assert!(!reads(0o600, member) && !reads(0o040, user) && !reads(0o640, Owner { uid: uid + 1, gid: gid + 1 }));
    }

    #[test]
    fn who_is_not_meant_to_read_the_key_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = |mode: u32| {
            set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            note(file.path()).map(|note| note.text)
        };
        for mode in [0o600, 0o640, 0o660, 0o400] {
            assert_eq!(told(mode), None, "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o662, 0o601] {
            let text = told(mode).unwrap();
            assert!(
                text.contains("every user") && text.contains(&format!("mode {mode:04o}; run: chmod o= ")),
                "{text}"
            );
        }
        if !user::is_root() {
            return println!("SKIPPED: only root can give a file to another group");
        }
        chown(file.path(), None, Some(54_321)).unwrap();
        let text = told(0o640).unwrap();
        assert!(text.contains("the group '54321'") && text.contains("run: chgrp wazuh "), "{text}");
        assert_eq!(told(0o600), None);
    }
}
