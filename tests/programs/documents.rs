//! What is written for users agrees with the programs: the help, the man page and the completion of each have the same
//! options, and documents the settings, limits and error codes of the program.

mod promises;
mod prose;
mod settings;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use clusterd::limits::{MEMORY, Most, Row, TABLE};
use serde_json::Value;

use crate::support::finish;

const PROGRAMS: [(&str, &str, &str); 2] = [
    ("wazuh-clusterd", env!("CARGO_BIN_EXE_wazuh-clusterd"), "_wazuh_clusterd"),
    ("cluster_control", env!("CARGO_BIN_EXE_cluster_control"), "_cluster_control"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn etc(name: &str) -> String {
    fs::read_to_string(root().join("etc").join(name)).unwrap()
}

fn run(mut command: Command, arguments: &[&str]) -> String {
    command.args(arguments);
    let Output { status, stdout, stderr } = finish(command);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The words that are options, without what follows them.
fn options<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let option = |word: &str| word.trim_end_matches([',', ';', '.']).to_owned();
    words.into_iter().filter(|word| word.starts_with('-')).map(option).collect()
}

fn of_help(program: &str) -> BTreeSet<String> {
    let text = run(Command::new(program), &["-h"]);
    let (_, rest) = text.split_once("\nOptions:\n").unwrap();
    let lines = rest.lines().take_while(|line| !line.is_empty());
    // The short one, the long one and a value come before the text.
    options(lines.flat_map(|line| line.split_whitespace().take(3)))
}

/// Those that have a paragraph in its section OPTIONS.
fn of_man_page(name: &str) -> BTreeSet<String> {
    let text = etc(&format!("man/{name}.8")).replace("\\-", "-");
    let (_, rest) = text.split_once("\n.SH OPTIONS\n").unwrap();
    let (section, _) = rest.split_once("\n.SH ").unwrap();
    let heads = section.split(".TP\n").skip(1).map(|paragraph| paragraph.lines().next().unwrap());
    options(heads.flat_map(|head| head.split([' ', '"'])))
}

/// What bash offers for `words`, the last of which is being typed.
fn completed((name, program, function): (&str, &str, &str), words: &[&str]) -> Vec<String> {
    let script = format!(
        "source {}/etc/completion/{name}; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); {function}; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", &script, "bash"]);
    run(command, &[&[program], words].concat()).lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_option_stands_in_help_man_page_and_completion() {
    for (name, program, function) in PROGRAMS {
        let help = of_help(program);
        assert!(help.len() > 8 && help.contains("-h") && help.contains("--home"), "{help:?}");
        assert_eq!(of_man_page(name), help, "the man page of {name}");
        assert_eq!(BTreeSet::from_iter(completed((name, program, function), &["-"])), help, "the completion of {name}");
    }
}

#[test]
fn values_are_completed_too() {
    let [daemon, control] = PROGRAMS;
    assert_eq!(completed(control, &["-a", "--filter"]).len(), 2);
    assert_eq!(completed(control, &["-i", "m"]), ["more"]);
    assert_eq!(completed(control, &["-fs", "never"]), ["never_connected"]);
    assert_eq!(completed(control, &["-fs", "active", "p"]), ["pending"]);
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.t");
    assert_eq!(completed(daemon, &["-c", manifest]), [format!("{manifest}oml")]);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/sr");
    for program in PROGRAMS {
        assert_eq!(completed(program, &["--home", source]), [format!("{source}c")]);
    }
    assert_eq!(completed(control, &["--wrong"]), Vec::<String>::new());
    assert_eq!(completed(control, &["--forget", "-"]), Vec::<String>::new(), "the name of a node");
}

#[test]
fn the_table_of_limits_is_that_of_the_program() {
    let mut text = String::new();
    for (title, rows) in TABLE {
        text.push_str(&format!("\n| {title} | at most | then |\n|---|---|---|\n"));
        rows.iter().for_each(|Row { what, most, full }| text.push_str(&format!("| {what} | {most} | {full} |\n")));
    }
    let page = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    assert!(page.contains(&text), "docs/limits.md is to have:\n{text}");
    let memory = format!("{} MiB", MEMORY >> 20);
    assert!(page.contains(&memory), "docs/limits.md is to name {memory}");

    let settings: Value = serde_json::from_str(&etc("cluster.json")).unwrap();
    let mut count = 0;
    for row in TABLE.iter().flat_map(|(_, rows)| *rows) {
        if let Most::Setting(name, default) | Most::Seconds(name, default) = row.most {
            let value = name.split('.').fold(&settings, |settings, name| &settings[name]);
            assert_eq!(value, default, "{name}");
            count += 1;
        }
    }
    assert_eq!(count, 7);
}

/// However the daemon is started, the C library allocates as in `make bench`, which reads the unit.
#[test]
fn every_start_sets_how_memory_is_kept() {
    let files = ["service/wazuh-clusterd.service", "service/wazuh-clusterd.init", "Containerfile"];
    let settings = files.map(|file| {
        let text = etc(file);
        let setting =
            text.lines().find_map(|line| line.split_once("GLIBC_TUNABLES=").map(|(_, value)| value.to_owned()));
        setting.unwrap_or_else(|| panic!("{file} does not set GLIBC_TUNABLES"))
    });
    assert!(settings.iter().all(|setting| *setting == settings[0]), "{settings:?}");
}
