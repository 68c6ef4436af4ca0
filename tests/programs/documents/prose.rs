//! The documents as a whole: their length, their links, where they are installed, their words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{PROGRAMS, etc, root, run};

/// Markdown below the root of the repository, by its relative path.
fn documents(folders: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["README.md", "CHANGELOG.md"].map(PathBuf::from).into();
    for folder in folders {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()));
        found.extend(names.filter(|name| name.extension().is_some_and(|kind| kind == "md")));
    }
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_readme_fits_150_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "{lines}");
}

/// The anchors that a page makes of its headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let anchor = |line: &str| {
        let title: String = line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
        title.replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let (mut count, mut dead) = (0, Vec::new());
    let of_contributors = ["CONTRIBUTING.md", "SECURITY.md", "tests/benches/RESULTS.md"].map(PathBuf::from);
    for name in documents(&["docs", "spec"]).into_iter().chain(of_contributors) {
        let text = read(&name);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { name.clone() } else { name.parent().unwrap().join(path) };
            let leads = root().join(&target).exists()
                && (anchor.is_empty() || anchors(&read(&target)).iter().any(|it| it == anchor));
            if !leads {
                dead.push(format!("{}: {link}", name.display()));
            }
        }
    }
    assert!(count > 60 && dead.is_empty(), "{count} {dead:?}");
}

#[test]
fn packages_have_every_document_where_the_readme_looks_for_it() {
    let layout = read("scripts/package/layout");
    for name in documents(&["docs"]) {
        let name = name.display();
        let row = layout.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap_or_else(|| panic!("{name}"));
        assert!(row.contains(&format!(" /usr/share/doc/threatlockdown-clusterd/{name} ")), "{row}");
    }
}

#[test]
fn every_module_stands_in_the_architecture() {
    let (library, page) = (read("src/lib.rs"), read("docs/architecture.md"));
    let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<_> = modules.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/architecture.md lacks {missing:?}");
}

/// The numbers of a table whose first column has them, of those rows that `counts`.
fn codes(text: &str, counts: impl Fn(&str) -> bool) -> Vec<u32> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).filter(|cell| counts(cell));
    let mut codes = Vec::new();
    for cell in cells {
        let mut numbers =
            cell.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse::<u32>().ok());
        match cell.contains(" to ") {
            true => codes.extend(numbers.next().unwrap()..=numbers.next().unwrap()),
            false => codes.extend(numbers),
        }
    }
    codes
}

#[test]
fn every_error_code_has_its_fix() {
    let is_code = |cell: &str| cell.trim_matches('*').starts_with(|letter: char| letter.is_ascii_digit());
    let page = codes(&read("docs/troubleshooting.md"), is_code);
    let protocol = read("spec/protocol.md");
    let (_, section) = protocol.split_once("\n### 5.3 ").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut given = codes(section, |cell| cell.starts_with("**"));
    given.extend(9001..=9015);
    assert!(given.len() > 40, "{given:?}");
    let missing: Vec<_> = given.iter().filter(|code| !page.contains(code)).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md lacks {missing:?}");
}

/// Words that have another word here, and are never right.
const WORDS: [&str; 16] = [
    "classic",
    "drift",
    "enrolment",
    "enrolments",
    "fault",
    "faults",
    "folder",
    "folders",
    "house",
    "original",
    "originals",
    "ours",
    "synchronization",
    "synchronize",
    "synchronized",
    "synchronizes",
];

#[test]
fn texts_for_users_have_one_word_for_each_thing() {
    let mut texts: Vec<(String, String)> = Vec::new();
    for name in documents(&["docs"]) {
        texts.push((name.display().to_string(), read(&name)));
    }
    for name in [
        "man/cluster.json.5",
        "man/cluster_control.8",
        "man/wazuh-clusterd.8",
        "Containerfile",
        "alerts.yml",
        "failover/haproxy.cfg",
        "failover/haproxy-candidate.cfg",
        "failover/keepalived.conf",
        "ossec-cluster-master.conf",
        "ossec-cluster-worker.conf",
        "service/wazuh-clusterd.default",
        "service/wazuh-clusterd.service",
    ] {
        texts.push((name.to_owned(), etc(name)));
    }
    for (name, program, _) in PROGRAMS {
        texts.push((format!("{name} -h"), run(std::process::Command::new(program), &["-h"])));
    }
    texts.push(("cluster_control -u".into(), run(std::process::Command::new(PROGRAMS[1].1), &["-u"])));
    let mut found = Vec::new();
    for (name, text) in &texts {
        for (number, line) in text.lines().enumerate() {
            // What is between backticks is the name of something.
            let prose = line.split('`').step_by(2).collect::<Vec<_>>().join(" ").to_lowercase();
            let mut words = prose.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            found.extend(words.find(|word| WORDS.contains(word)).map(|word| format!("{name}:{}: {word}", number + 1)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
