//! What the sources cite of `spec/` is there.
//!
//! | form | means |
//! |---|---|
//! | a document and its sections: `10.2`, `8.1, 9`, `7.16 and 7.17`, `2 to 5`, `18, item 11`, `10.4 step 3` | each of them |
//! | `section 9.1`, or `(10.3, 10.6)` in parentheses, in a comment | those of the document that the file named last; if it has named none, of the one that the `mod.rs` of its folder names first |
//! | the same in a document of `spec/` | its own sections |
//!
//! A section is a heading that begins with that number; an item or a step is one of a list or of a table there.

mod citation;
mod document;
mod text;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use citation::{Citation, Place};
use document::Document;
use text::Text;

const SPEC: &str = "spec";

/// Fewer would mean that they are not found.
const LEAST: usize = 150;

/// The files that may cite, below the root of the repository.
fn sources() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = [SPEC, "src", "tests", "docs"].map(PathBuf::from).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { sources.push(path) }
        }
    }
    sources
        .extend(fs::read_dir(".").expect("the root").map(|entry| PathBuf::from(entry.expect("an entry").file_name())));
    sources.retain(|path| ["rs", "md", "py"].iter().any(|kind| path.extension().is_some_and(|it| it == *kind)));
    sources.sort();
    sources
}

/// A file and what it cites.
struct Source {
    text: Text,
    citations: Vec<Citation>,
}

/// The document that `path` speaks of where it names none itself: the first that the files of its folders name.
fn of_folder<'s>(sources: &'s BTreeMap<PathBuf, Source>, path: &Path) -> Option<&'s str> {
    let own = path.file_name().is_some_and(|name| name == "mod.rs");
    path.ancestors().skip(if own { 2 } else { 1 }).find_map(|folder| {
        let source = sources.get(&folder.join("mod.rs"))?;
        source.citations.iter().find_map(|citation| citation.document.as_deref())
    })
}

/// What does not resolve in one file, and the number of citations in it.
fn check(
    sources: &BTreeMap<PathBuf, Source>,
    documents: &BTreeMap<String, Document>,
    path: &Path,
) -> (usize, Vec<String>) {
    let (source, mut wrong, mut count) = (&sources[path], Vec::new(), 0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let own = Some(&*name).filter(|name| path.starts_with(SPEC) && documents[*name].has_sections());
    let mut named = of_folder(sources, path);
    for Citation { at, document, places } in &source.citations {
        named = document.as_deref().or(named);
        let meant = document.as_deref().or(own).or(named);
        let versions = document.is_none() && Place::are_versions(places);
        let line = source.text.line(*at);
        let mut tell = |what: String| wrong.push(format!("{}:{line}: {what}", path.display()));
        match meant.map(|name| (name, documents.get(name))) {
            // Numbers in parentheses that nobody can take for sections.
            None => continue,
            Some((name, None)) => tell(format!("there is no {SPEC}/{name}")),
            Some((name, Some(found))) => match found.missing(places) {
                missing if versions && !missing.is_empty() => continue,
                missing => missing.iter().for_each(|place| tell(format!("{SPEC}/{name} has no {place}"))),
            },
        }
        count += 1;
    }
    (count, wrong)
}

#[test]
fn every_citation_names_a_section_that_exists() {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut sources_by_path, mut documents, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for path in sources() {
        let content = read(&path);
        if path.starts_with(SPEC) {
            let (document, doubles) = Document::parse(&content);
            wrong.extend(doubles.iter().map(|section| format!("{}: two sections {section}", path.display())));
            documents.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), document);
        }
        let (text, bare) = match path.extension().is_some_and(|kind| kind == "rs") {
            true => (Text::of_comments(&content), true),
            false => (Text::of_prose(&content), path.starts_with(SPEC)),
        };
        let citations = citation::all(&text.all, bare);
        sources_by_path.insert(path, Source { text, citations });
    }
    let mut count = 0;
    for path in sources_by_path.keys() {
        let (some, also_wrong) = check(&sources_by_path, &documents, path);
        count += some;
        wrong.extend(also_wrong);
    }
    assert!(wrong.is_empty(), "{} of {count} citations do not resolve:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= LEAST, "only {count} citations were found");
    println!("{count} citations resolve.");
}
