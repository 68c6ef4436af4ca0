//! The stock programs of a manager step aside when ours are installed, and come back when they are removed
//! (`scripts/package/stock`). `make package-test` shows it with whole packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const OURS: [(&str, &str); 2] = [
    ("wazuh-clusterd", env!("CARGO_BIN_EXE_wazuh-clusterd")),
    ("cluster_control", env!("CARGO_BIN_EXE_cluster_control")),
];

/// The directory of the programs of an installation.
struct Bin(tempfile::TempDir);

impl Bin {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The manager's package puts its programs there.
    fn manager_puts(&self, text: &str) {
        for (name, _) in OURS {
            fs::write(self.path(name), text).unwrap();
        }
    }

    fn call(&self, function: &str) {
        let script = concat!(". ", env!("CARGO_MANIFEST_DIR"), "/scripts/package/stock; ");
        let mut command = Command::new("sh");
        command.arg("-euc").arg(format!("{script}{function} \"$1\"")).arg("sh").arg(self.0.path());
        assert!(command.status().unwrap().success(), "{function}");
    }

    /// As `make install` does it.
    fn install_ours(&self) {
        self.call("keep_stock");
        for (name, program) in OURS {
            fs::copy(program, self.path(name)).unwrap();
        }
    }

    /// What is there, by name: the text of a stock program, or `ours`.
    fn programs(&self) -> Vec<(String, String)> {
        let mut programs: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| named(&entry.unwrap().path())).collect();
        programs.sort();
        programs
    }
}

fn named(path: &Path) -> (String, String) {
    let content = fs::read(path).unwrap();
    let is_ours = OURS.iter().any(|(_, program)| fs::read(program).unwrap() == content);
    let what = if is_ours { "ours".to_owned() } else { String::from_utf8(content).unwrap() };
    (path.file_name().unwrap().to_str().unwrap().to_owned(), what)
}

/// The programs with these endings and contents, as [`Bin::programs`] gives them.
fn both(endings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut programs: Vec<_> = OURS
        .iter()
        .flat_map(|(name, _)| endings.iter().map(move |(ending, what)| (format!("{name}{ending}"), (*what).to_owned())))
        .collect();
    programs.sort();
    programs
}

const KEPT: &str = ".wazuh-manager";

#[test]
fn stock_programs_are_kept_and_come_back() {
    let bin = Bin::new();
    bin.manager_puts("4.14.7");
    for _ in 0..2 {
        bin.install_ours();
        assert_eq!(bin.programs(), both(&[("", "ours"), (KEPT, "4.14.7")]));
    }
    bin.call("give_back");
    assert_eq!(bin.programs(), both(&[("", "4.14.7")]));
    bin.call("give_back");
    assert_eq!(bin.programs(), both(&[("", "4.14.7")]), "what is not ours is not removed");
}

#[test]
fn without_a_manager_nothing_is_left() {
    let bin = Bin::new();
    bin.install_ours();
    assert_eq!(bin.programs(), both(&[("", "ours")]));
    bin.call("give_back");
    assert_eq!(bin.programs(), []);
}

/// An upgrade of the manager overwrites ours, as nothing tells its package of them.
#[test]
fn the_newest_stock_programs_count() {
    for ours_again in [true, false] {
        let bin = Bin::new();
        bin.manager_puts("4.14.6");
        bin.install_ours();
        // Replaces the file: a package does not write into a program that runs.
        for (name, _) in OURS {
            fs::remove_file(bin.path(name)).unwrap();
        }
        bin.manager_puts("4.14.7");
        if ours_again {
            bin.install_ours();
            assert_eq!(bin.programs(), both(&[("", "ours"), (KEPT, "4.14.7")]));
        }
        bin.call("give_back");
        assert_eq!(bin.programs(), both(&[("", "4.14.7")]));
    }
}

/// The rpm brings ours under another name, of which the place is taken by each of its scripts, however often.
#[test]
fn a_package_takes_the_place_and_leaves_it() {
    let bin = Bin::new();
    for (name, program) in OURS {
        fs::copy(program, bin.path(&format!("{name}.threatlockdown"))).unwrap();
    }
    bin.manager_puts("4.14.7");
    for _ in 0..2 {
        bin.call("take_place");
        assert_eq!(bin.programs(), both(&[("", "ours"), (KEPT, "4.14.7"), (".threatlockdown", "ours")]));
    }
    for (name, _) in OURS {
        fs::remove_file(bin.path(&format!("{name}.threatlockdown"))).unwrap();
    }
    bin.call("give_back");
    assert_eq!(bin.programs(), both(&[("", "4.14.7")]));
}
