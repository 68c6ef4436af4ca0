//! A master that lies in single entries: whatever it names, a worker writes and deletes nothing but its own synchronised
//! files, says what was wrong, and does the rest.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use crate::support::{Home, List, Victim, archive, entry, update};

const RULES: &str = "etc/rules/";

fn plain() -> Victim {
    Victim::new(|_| ())
}

/// Creating `path` with this key is refused.
fn creates(path: &str, key: &str, why: &str) {
    plain().refuses_one(List::Missing, path, entry(key, b"evil"), Some(b"evil"), why);
}

/// Deleting `path` with this key is refused.
fn deletes(path: &str, key: &str, why: &str) {
    plain().refuses_one(List::Extra, path, entry(key, b"x"), None, why);
}

#[test]
fn an_entry_that_leads_out() {
    creates("etc/rules/../../evil", RULES, "it has a component '.' or '..'");
    deletes("etc/rules/../../etc/ossec.conf", RULES, "it has a component '.' or '..'");
}

#[test]
fn an_absolute_path() {
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("evil");
    creates(path.to_str().unwrap(), RULES, "it is absolute");
    fs::write(&path, "precious").unwrap();
    deletes(path.to_str().unwrap(), RULES, "it is absolute");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn an_unknown_item_key() {
    creates("bin/evil", "bin/", "'bin/' is not a synchronised directory");
    creates("evil", "", "'' is not a synchronised directory");
    deletes("etc/ossec.conf", "/", "'/' is not a synchronised directory");
}

#[test]
fn a_key_that_is_not_that_of_the_path() {
    creates("etc/rules/evil.xml", "etc/shared/", "it is outside 'etc/shared/'");
    creates("etc/rules/evil.xml", "etc/", "subdirectories of 'etc/' are not synchronised");
    deletes("etc/rules/own.xml", "etc/lists/", "it is outside 'etc/lists/'");
}

#[test]
fn files_that_are_never_synchronised() {
    creates("etc/ossec.conf", "etc/", "files of this name are never synchronised");
    creates("etc/internal_options.conf", "etc/", "only certain files of 'etc/' are synchronised");
    deletes("etc/local_internal_options.conf", "etc/", "only certain files of 'etc/' are synchronised");
}

#[test]
fn a_directory_that_is_a_link() {
    let prepare = |home: &Home| {
        fs::create_dir(home.beside("target")).unwrap();
        fs::write(home.beside("target/victim.xml"), "precious").unwrap();
        symlink(home.beside("target"), home.path("etc/rules/link")).unwrap();
    };
    let evil = || entry(RULES, b"evil");
    for name in ["etc/rules/link/evil.xml", "etc/rules/link/victim.xml", "etc/rules/link/below/evil.xml"] {
        Victim::new(prepare).refuses_one(List::Missing, name, evil(), Some(b"evil"), "Not a directory");
        Victim::new(prepare).refuses_one(List::Shared, name, evil(), Some(b"evil"), "Not a directory");
    }
    Victim::new(prepare).refuses_one(List::Extra, "etc/rules/link/victim.xml", evil(), None, "Not a directory");
}

#[test]
fn a_file_that_is_a_link_is_replaced_and_its_target_stays() {
    let mut victim = Victim::new(|home| {
        fs::write(home.beside("target"), "precious").unwrap();
        for name in ["one.xml", "two.xml"] {
            symlink(home.beside("target"), home.path("etc/rules").join(name)).unwrap();
        }
    });
    let new: &[u8] = b"new";
    let lists = update(&[], &[("etc/rules/one.xml", entry(RULES, new))], &[("etc/rules/two.xml", entry(RULES, b"x"))]);
    victim.take(&archive(&[("etc/rules/one.xml", new)], &lists), "[Integrity sync] Finished in");
    assert_eq!(fs::read(victim.home.beside("target")).unwrap(), b"precious");
    assert_eq!(victim.home.read("etc/rules/one.xml").as_deref(), Some(new));
    assert!(!victim.home.path("etc/rules/one.xml").is_symlink());
    assert!(victim.home.path("etc/rules/two.xml").symlink_metadata().is_err());
}

#[test]
fn an_entry_without_its_content() {
    let why = "the archive does not hold its content";
    plain().refuses_one(List::Missing, "etc/rules/evil.xml", entry(RULES, b"evil"), None, why);
    plain().refuses_one(List::Shared, "etc/rules/own.xml", entry(RULES, b"evil"), None, why);
}

#[test]
fn a_content_that_is_not_what_the_metadata_says() {
    // It may be newer than the metadata of an original master, but it is no whole file.
    let mut victim = plain();
    let lists = update(&[], &[("etc/rules/own.xml", entry(RULES, b"something else"))], &[]);
    let line = victim.take(&archive(&[("etc/rules/own.xml", b"evil")], &lists), "was being changed on the master");
    assert!(line.contains("INFO: ") && line.contains("'etc/rules/own.xml'"), "{line}");
    assert_eq!(victim.home.read("etc/rules/own.xml").as_deref(), Some(&b"the worker's"[..]));

    let mut odd = entry(RULES, b"evil");
    odd["hash"] = json!("no checksum");
    let why = "its checksum in the metadata cannot be read";
    plain().refuses_one(List::Shared, "etc/rules/own.xml", odd, Some(b"evil"), why);
}

#[test]
fn one_file_in_two_lists() {
    let members: [(&str, &[u8]); 1] = [("etc/rules/own.xml", b"evil")];
    let lists = [("etc/rules/own.xml", entry(RULES, b"evil"))];
    let mut victim = plain();
    let bytes = archive(&members, &update(&[], &lists, &lists));
    victim.take(&bytes, "Found errors: 0 overwriting, 0 creating and 1 removing");
    assert_eq!(victim.home.read("etc/rules/own.xml").as_deref(), Some(&b"evil"[..]), "it is not lost");
}
