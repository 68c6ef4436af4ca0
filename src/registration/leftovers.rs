//! What an agent that is removed leaves in the manager's folders (`spec/registration.md` 6).

use std::path::{Component, Path};

use nix::errno::Errno;

use crate::{config::Home, logging::warn, system::disk::Disk};

/// Removes the stored differences of the agent `name` and the message counter of the agent `id`; either may be none.
pub(super) fn remove(disk: &Disk, home: &Home, id: Option<&str>, name: Option<&str>) {
    if let Some(name) = name.filter(|name| is_component(name)) {
        let folder = home.diff_dir().join(name);
        tell(&folder, disk.remove_tree(&folder));
    }
    if let Some(id) = id.filter(|id| is_component(id)) {
        let file = home.rids_dir().join(id);
        tell(&file, disk.remove_file_at(&file));
    }
}

/// Whether the name is that of something in a folder: client.keys can be written by hand.
fn is_component(name: &str) -> bool {
    matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(only)] if only == name)
}

fn tell(path: &Path, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => {
            let (path, error) = (path.display(), std::io::Error::from(error));
            warn!("[Cluster] [Registration]", "{path}, of an agent that was removed, stays: {error}.");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_belongs_to_the_agent_goes() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let path = |name: &str| folder.path().join("queue").join(name);
        for name in ["diff/web/local/1", "diff/db/1", "rids/001", "rids/0010"] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), "x").unwrap();
        }
        for odd in ["..", ".", "", "../rids", "/tmp", "web/", "diff/.."] {
            remove(&Disk::new(), &home, Some(odd), Some(odd));
        }
        assert!(path("diff/web/local/1").exists() && path("rids/001").exists());
        remove(&Disk::new(), &home, Some("001"), Some("web"));
        remove(&Disk::new(), &home, Some("001"), Some("web"));
        assert!(!path("diff/web").exists() && !path("rids/001").exists());
        assert!(path("diff/db/1").exists() && path("rids/0010").exists());
        remove(&Disk::new(), &home, None, None);
    }
}
