//! `docs/configuration.md` and cluster.json(5) have every setting as the table of the program has it, with the default
//! that is embedded. `UPDATE_DOCS=1 cargo test --test programs documents` writes them anew.

use std::{collections::BTreeMap, env, fmt::Write, fs};

use clusterd::config::settings::reference::{Accepts, GROUPS, Group, Setting};
use serde_json::Value;

use super::{etc, root};

/// What a member of a directory has where a new directory leaves it out.
const OF_DIRECTORY: [(&str, &str); 8] = [
    ("permissions", "0660"),
    ("source", "master"),
    ("files", "all"),
    ("recursive", "true"),
    ("restart", "false"),
    ("remove_subdirs_if_empty", "false"),
    ("extra_valid", "false"),
    ("description", "empty"),
];

fn shown(value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = match value {
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => text(other),
    };
    if text.is_empty() { "empty".into() } else { text }
}

/// The default of the setting `name`.
fn default(embedded: &Value, name: &str) -> String {
    if let Some(member) = name.strip_prefix("files.DIRECTORY.") {
        return BTreeMap::from(OF_DIRECTORY)[member].to_owned();
    }
    shown(name.split('.').fold(embedded, |value, name| &value[name]))
}

fn accepted(accepts: Accepts) -> String {
    match accepts {
        Accepts::Seconds => "seconds, 0.01 to 604800".into(),
        Accepts::Whole(from, to) => format!("{from} to {to}"),
        Accepts::Bytes(from, to) => format!("bytes, {from} to {to}"),
        Accepts::Fraction(from, to) => format!("{from} to {to}"),
        Accepts::Flag => "true or false".into(),
        Accepts::Word(words) => words.join(", "),
        Accepts::Other(words) => words.into(),
    }
}

/// Name, and what is shown of it, of each synchronised directory.
fn directories(embedded: &Value) -> impl Iterator<Item = (&String, [String; 5])> {
    let members = ["permissions", "files", "recursive", "remove_subdirs_if_empty", "description"];
    let directories = embedded["files"].as_object().unwrap().iter().filter(|(_, value)| value.is_object());
    directories.map(move |(name, value)| (name, members.map(|member| shown(&value[member]))))
}

/// Whether these are the settings of synchronised directories, among others.
fn names_directories(settings: &[Setting]) -> bool {
    settings.iter().any(|setting| setting.name.contains("DIRECTORY"))
}

fn markdown(embedded: &Value) -> String {
    let mut text = String::new();
    for Group { title, introduction, settings } in GROUPS {
        write!(text, "\n### {title}\n\n").unwrap();
        if !introduction.is_empty() {
            write!(text, "{introduction}\n\n").unwrap();
        }
        if names_directories(settings) {
            text.push_str("| directory | mode | files | recursive | removes empty subdirectories | content |\n");
            text.push_str("|---|---|---|---|---|---|\n");
            for (name, [mode, files, recursive, removes, description]) in directories(embedded) {
                writeln!(text, "| `{name}` | {mode} | {files} | {recursive} | {removes} | {description} |").unwrap();
            }
            text.push('\n');
        }
        text.push_str("| setting | accepts | default | purpose |\n|---|---|---|---|\n");
        for Setting { name, accepts, purpose } in *settings {
            let (accepts, default) = (accepted(*accepts), default(embedded, name));
            writeln!(text, "| `{name}` | {accepts} | {default} | {purpose} |").unwrap();
        }
    }
    text.push('\n');
    text
}

/// The text as the man page has it: literals bold, a sentence on each line.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace(". ", ".\n");
    let mut shown = String::new();
    for (at, part) in escaped.split('`').enumerate() {
        shown.push_str(if at == 0 { "" } else { ["\\fR", "\\fB"][at % 2] });
        shown.push_str(part);
    }
    shown
}

fn man_page(embedded: &Value) -> String {
    let mut text = String::new();
    for Group { title, introduction, settings } in GROUPS {
        writeln!(text, ".SH {}", title.to_uppercase()).unwrap();
        if !introduction.is_empty() {
            writeln!(text, "{}", roff(introduction)).unwrap();
        }
        if names_directories(settings) {
            writeln!(text, "The default directories:").unwrap();
            for (name, [.., description]) in directories(embedded) {
                writeln!(text, ".TP\n.B {name}\n{}", roff(&description)).unwrap();
            }
            writeln!(text, ".PP\nThe members of each directory, and two of the list as a whole:").unwrap();
        }
        for Setting { name, accepts, purpose } in *settings {
            let (accepts, default) = (roff(&accepted(*accepts)), default(embedded, name));
            writeln!(text, ".TP\n.BR {name} \" ({default})\"\n{}\nAccepts: {accepts}.", roff(purpose)).unwrap();
        }
    }
    text
}

/// `file` has `text` between the lines `begin` and `end`.
fn holds(file: &str, begin: &str, end: &str, text: &str) {
    let path = root().join(file);
    let present = fs::read_to_string(&path).unwrap();
    let (before, rest) = present.split_once(&format!("{begin}\n")).unwrap();
    let (_, after) = rest.split_once(&format!("{end}\n")).unwrap();
    let expected = format!("{before}{begin}\n{text}{end}\n{after}");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(present == expected, "{file} differs from the table of settings: run this test with UPDATE_DOCS=1");
    }
}

#[test]
fn both_references_are_those_of_the_table() {
    let embedded: Value = serde_json::from_str(&etc("cluster.json")).unwrap();
    holds("docs/configuration.md", "<!-- settings -->", "<!-- end of settings -->", &markdown(&embedded));
    holds("etc/man/cluster.json.5", ".\\\" settings", ".\\\" end of settings", &man_page(&embedded));
}
