//! Private files: what only the nodes that may be master have alike, such as the password of registrations, the certificate of
//! the enrolment daemon, and the users of the API (`spec/failover.md` 8.6). They are few and small, and travel as one answer.
//!
//! A list names them: files, and directories with a slash at the end. The node that receives them goes by its own list.

use std::{
    io::{self, Read},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::path;
use crate::system::{
    directory::open_beneath, disk::Disk, hex::hex, json, place, replacement::Replacement, stamp::Stamp,
};

/// The longest contents, in bytes, of all private files together.
pub const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// How many there may be.
pub const MOST_FILES: usize = 500;

/// How deep directories are looked into.
const DEEPEST: usize = 8;

/// How often a file is read until nobody changes it meanwhile.
const ATTEMPTS: usize = 3;

/// The mode of a directory that is missing.
const DIRECTORY_MODE: u32 = 0o770;

/// Where a list may name something.
const PLACES: [&str; 3] = ["etc/", "api/", "integrations/"];

/// What each node has for itself, or all nodes have alike anyway.
const OTHERS: [&str; 8] = [
    "etc/ossec.conf",
    "etc/cluster.json",
    "etc/client.keys",
    "etc/internal_options.conf",
    "etc/rules",
    "etc/decoders",
    "etc/lists",
    "etc/shared",
];

/// Whether a list may name this.
pub fn may_be_named(entry: &str) -> bool {
    let name = entry.strip_suffix('/').unwrap_or(entry);
    let is_of = |other: &&str| name == *other || name.strip_prefix(*other).is_some_and(|rest| rest.starts_with('/'));
    path::check(name).is_ok() && PLACES.iter().any(|place| name.starts_with(place)) && !OTHERS.iter().any(is_of)
}

/// Private files, in the order of their paths.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Private(Vec<PrivateFile>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PrivateFile {
    path: String,
    #[serde(with = "content")]
    content: Vec<u8>,
}

/// Contents are any bytes.
mod content {
    use serde::{Deserializer, Serializer, de::Error as _};

    use super::*;

    pub fn serialize<S: Serializer>(content: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(content))
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Private {
    /// Those of `list` that are there, beneath `home`; over no link, and none whose name begins with a dot.
    ///
    /// # Errors
    /// When one cannot be read, or they are more than [`MOST_FILES`] and [`MOST_BYTES`]. The text names it.
    pub fn collect(home: &Path, list: &[String]) -> io::Result<Self> {
        let mut paths = Vec::new();
        for entry in list {
            match entry.strip_suffix('/') {
                Some(directory) => walk(home, directory, DEEPEST, &mut paths)?,
                None => paths.push(entry.clone()),
            }
        }
        paths.sort_unstable();
        paths.dedup();
        let (mut files, mut left) = (Vec::new(), MOST_BYTES);
        for path in paths {
            if let Some(content) = read(home, &path, left).map_err(|error| named(&path, error))? {
                left -= content.len() as u64;
                files.push(PrivateFile { path, content });
            }
        }
        if files.len() > MOST_FILES {
            return Err(too_much());
        }
        Ok(Self(files))
    }

    /// What is equal where the files are.
    pub fn digest(&self) -> String {
        let mut sum = Sha256::new();
        for PrivateFile { path, content } in &self.0 {
            sum.update(path.as_bytes());
            sum.update([0]);
            sum.update((content.len() as u64).to_be_bytes());
            sum.update(content);
        }
        hex(&sum.finalize())
    }

    /// Their paths: a list that names these and no others.
    pub fn paths(&self) -> Vec<String> {
        self.0.iter().map(|file| file.path.clone()).collect()
    }

    /// As they travel.
    pub fn to_json(&self) -> String {
        json::text(self)
    }

    /// Understands what another node has sent.
    ///
    /// # Errors
    /// When that is none, or names what `list` does not; the other node is at fault, or the lists differ.
    pub fn parse(text: &[u8], list: &[String]) -> io::Result<Self> {
        let private: Self = serde_json::from_slice(text)?;
        let is_listed = |path: &str| {
            list.iter().any(|entry| *entry == path || (entry.ends_with('/') && path.starts_with(entry.as_str())))
        };
        let bytes: u64 = private.0.iter().map(|file| file.content.len() as u64).sum();
        if private.0.len() > MOST_FILES || bytes > MOST_BYTES {
            return Err(too_much());
        }
        match private.0.iter().find(|file| path::check(&file.path).is_err() || !is_listed(&file.path)) {
            Some(file) => Err(io::Error::other(format!(
                "the master sends {:?}, which failover.files does not name here: let it be the same on all candidates",
                file.path
            ))),
            None => Ok(private),
        }
    }

    /// Replaces those that differ beneath `home`, each whole or not at all, and leaves all others as they are. A new file has
    /// mode 0640. Gives the paths of those that were replaced.
    ///
    /// # Errors
    /// Those of the disk, with the path; what was replaced before stays.
    pub fn apply(&self, home: &Path, disk: &Disk) -> io::Result<Vec<&str>> {
        let mut replaced = Vec::new();
        for PrivateFile { path, content } in &self.0 {
            let put = || -> io::Result<bool> {
                let (parent, _) = path::split(path);
                place::make(home, parent, DIRECTORY_MODE, None)?;
                if read(home, path, MOST_BYTES)?.as_ref() == Some(content) {
                    return Ok(false);
                }
                Replacement::new(disk, &home.join(path), true, [&content[..]].into_iter())?.commit()?;
                Ok(true)
            };
            if put().map_err(|error| named(path, error))? {
                replaced.push(path.as_str());
            }
        }
        Ok(replaced)
    }
}

fn named(path: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn too_much() -> io::Error {
    io::Error::other(format!("failover.files names more than {MOST_FILES} files, or {MOST_BYTES} bytes; name fewer"))
}

/// The content of a file of at most `most` bytes; none if there is no such file. What is changed while it is read is read again.
fn read(home: &Path, path: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    for _ in 0..ATTEMPTS {
        let file = match open_beneath(home, path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let before = Stamp::of_file(&file)?;
        let mut content = Vec::new();
        (&file).take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            return Err(too_much());
        }
        if Stamp::of_file(&file)? == before {
            return Ok(Some(content));
        }
    }
    Err(io::Error::other("it is being changed all the time"))
}

/// Adds the files below a directory that is there.
fn walk(home: &Path, directory: &str, deep: usize, paths: &mut Vec<String>) -> io::Result<()> {
    let entries = match home.join(directory).read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(named(directory, error)),
    };
    for entry in entries {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let path = format!("{directory}/{name}");
        if kind.is_dir() && deep > 0 {
            walk(home, &path, deep - 1, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
        if paths.len() > MOST_FILES {
            return Err(too_much());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::symlink,
    };

    use super::*;

    fn list() -> Vec<String> {
        ["etc/authd.pass", "api/configuration/", "etc/missing"].map(str::to_owned).to_vec()
    }

    fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("api/configuration/security")).unwrap();
        fs::create_dir_all(home.path().join("etc")).unwrap();
        for (path, content) in files {
            fs::write(home.path().join(path), content).unwrap();
        }
        home
    }

    const FILES: [(&str, &str); 3] = [
        ("etc/authd.pass", "secret"),
        ("api/configuration/api.yaml", ""),
        ("api/configuration/security/rbac.db", "\u{0}\u{1}é"),
    ];

    #[test]
    fn what_is_listed_comes_whole_and_only_what_differs_is_replaced() {
        let (master, candidate) =
            (home(&FILES), home(&[("etc/authd.pass", "old"), ("api/configuration/own", "stays")]));
        fs::write(master.path().join("etc/other"), "not listed").unwrap();
        fs::write(master.path().join("api/configuration/.api.yaml.tmp"), "half").unwrap();
        let private = Private::collect(master.path(), &list()).unwrap();
        let sent = Private::parse(private.to_json().as_bytes(), &list()).unwrap();
        assert_eq!(sent, private);
        fs::remove_dir_all(candidate.path().join("api/configuration/security")).unwrap();
        let replaced = sent.apply(candidate.path(), &Disk::new()).unwrap();
        assert_eq!(replaced, ["api/configuration/api.yaml", "api/configuration/security/rbac.db", "etc/authd.pass"]);
        for (path, content) in FILES {
            assert_eq!(fs::read_to_string(candidate.path().join(path)).unwrap(), content);
        }
        assert!(candidate.path().join("api/configuration/own").exists(), "nothing is removed");
        assert!(sent.apply(candidate.path(), &Disk::new()).unwrap().is_empty());
        // What stays is no difference.
        assert_ne!(Private::collect(candidate.path(), &list()).unwrap().digest(), private.digest());
        assert_eq!(Private::collect(candidate.path(), &sent.paths()).unwrap().digest(), private.digest());
    }

    /// As the example of the frames has it.
    #[test]
    fn the_digest_is_what_the_specification_says() {
        let home = home(&FILES[..1]);
        let digest = Private::collect(home.path(), &list()).unwrap().digest();
        assert_eq!(digest, "b1c3365868e7697cd8a48c6869a4011ef42d8f39288827669d0dbabf4b29ecc3");
    }

    #[test]
    fn a_master_writes_where_the_list_says_and_over_no_link() {
        let one = |path: &str| format!(r#"[{{"path": "{path}", "content": "eA=="}}]"#);
        for path in
            ["etc/ossec.conf", "etc/authd.pass/x", "api/configuration", "api/configuration/../../etc/x", "/etc/x"]
        {
            let refused = Private::parse(one(path).as_bytes(), &list()).unwrap_err().to_string();
            assert!(refused.contains("which failover.files does not name here"), "{refused}");
        }
        assert!(Private::parse(b"[{\"path\": \"etc/authd.pass\", \"content\": \"?\"}]", &list()).is_err());
        let many = vec![r#"{"path": "etc/authd.pass", "content": ""}"#; MOST_FILES + 1].join(",");
        assert!(
            Private::parse(format!("[{many}]").as_bytes(), &list()).unwrap_err().to_string().contains("name fewer")
        );
        let (home, outside) = (home(&[]), tempfile::tempdir().unwrap());
        symlink(outside.path(), home.path().join("api/configuration/link")).unwrap();
        symlink(outside.path().join("x"), home.path().join("etc/authd.pass")).unwrap();
        for path in ["api/configuration/link/x", "etc/authd.pass"] {
            let sent = Private::parse(one(path).as_bytes(), &list()).unwrap();
            assert!(sent.apply(home.path(), &Disk::new()).unwrap_err().to_string().starts_with(path));
        }
        assert_eq!(outside.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn too_much_is_told() {
        let home = home(&[]);
        let large = File::create(home.path().join("etc/authd.pass")).unwrap();
        large.set_len(MOST_BYTES).unwrap();
        assert!(Private::collect(home.path(), &list()).is_ok());
        large.set_len(MOST_BYTES + 1).unwrap();
        assert!(
            Private::collect(home.path(), &list()).unwrap_err().to_string().contains("etc/authd.pass: failover.files")
        );
        large.set_len(0).unwrap();
        for number in 0..=MOST_FILES {
            fs::write(home.path().join(format!("api/configuration/{number}")), "").unwrap();
        }
        assert!(Private::collect(home.path(), &list()).unwrap_err().to_string().contains("name fewer"));
    }

    #[test]
    fn a_list_names_neither_what_is_equal_anyway_nor_what_is_of_one_node() {
        for entry in
            ["etc/authd.pass", "api/configuration/", "etc/sslmanager.key", "integrations/custom-x", "etc/rules.d/"]
        {
            assert!(may_be_named(entry), "{entry}");
        }
        for entry in [
            "etc/",
            "etc",
            "etc/ossec.conf",
            "etc/rules/",
            "etc/rules/a.xml",
            "etc/shared/",
            "queue/db/",
            "/etc/passwd",
            "etc/../x",
            "etc//x",
            "",
        ] {
            assert!(!may_be_named(entry), "{entry}");
        }
    }
}
