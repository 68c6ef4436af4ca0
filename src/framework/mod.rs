//! The manager's own Python framework, and programs of this daemon that run on it.
//!
//! A manager of Wazuh 4.x brings an interpreter and the packages `wazuh` and `api`. What the stock cluster daemon does with
//! them in its own process, this daemon leaves to a process of its own: [`Framework::launch`] gives the interpreter a
//! program whose source is a part of this binary. So there is nothing to install, to find or to tamper with, and the
//! framework is never a part of this daemon.
//!
//! ```text
//!  this daemon ── socket pair ── standard input of python3 -W ignore -I -c <loader>
//!       │            frames: the source, its settings │ LOG, READY, and what the program has to say
//!       └── ends the process group, if the program does not end by itself when the line closes
//! ```

mod line;
mod program;

use std::path::{Path, PathBuf};

pub use line::{Kind, header, log, send};
pub use program::Program;

/// An interpreter and the framework that it can import.
#[derive(Clone, Debug)]
pub struct Framework {
    home: PathBuf,
    interpreter: PathBuf,
    package: PathBuf,
}

impl Framework {
    /// That of the manager in `home`.
    ///
    /// # Errors
    /// What is missing, in a few words.
    pub fn find(home: &Path) -> Result<Self, String> {
        let directory = home.join("framework");
        let interpreter = directory.join("python/bin/python3");
        if !interpreter.is_file() {
            return Err(format!("there is no {}", interpreter.display()));
        }
        match package(&directory) {
            Some(package) => Ok(Self { home: home.to_owned(), interpreter, package }),
            None => Err(format!("there is no Python package 'wazuh' in {}", directory.display())),
        }
    }

    /// The first file of the package `wazuh`: a new one comes with each version.
    pub fn package(&self) -> &Path {
        &self.package
    }
}

/// The package is in the directory itself or, as with the managers of 4.x, among those of the interpreter.
fn package(directory: &Path) -> Option<PathBuf> {
    let versions = directory.join("python/lib").read_dir().into_iter().flatten().flatten();
    let places = versions.map(|version| version.path().join("site-packages")).chain([directory.to_owned()]);
    let mut files = places.map(|place| place.join("wazuh/__init__.py"));
    files.find(|file| file.is_file())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use tempfile::TempDir;

    use super::*;

    /// A home with the interpreter of this machine and an empty package.
    pub(crate) fn home() -> TempDir {
        let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let interpreter = String::from_utf8(asked.expect("python3 is installed").stdout).unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("framework/python/bin")).unwrap();
        fs::create_dir_all(home.path().join("framework/wazuh")).unwrap();
        fs::write(home.path().join("framework/wazuh/__init__.py"), "").unwrap();
        symlink(interpreter.trim(), home.path().join("framework/python/bin/python3")).unwrap();
        home
    }

    #[test]
    fn what_is_missing_is_named() {
        let home = home();
        assert!(Framework::find(home.path()).is_ok());
        let package = home.path().join("framework/wazuh/__init__.py");
        fs::remove_file(&package).unwrap();
        assert!(Framework::find(home.path()).unwrap_err().contains("no Python package 'wazuh'"));
        let packages = home.path().join("framework/python/lib/python3.10/site-packages/wazuh");
        fs::create_dir_all(&packages).unwrap();
        fs::write(packages.join("__init__.py"), "").unwrap();
        assert!(Framework::find(home.path()).is_ok());
        fs::remove_file(home.path().join("framework/python/bin/python3")).unwrap();
        assert!(Framework::find(home.path()).unwrap_err().ends_with("framework/python/bin/python3"));
    }
}
