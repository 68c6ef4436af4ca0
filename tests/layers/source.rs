//! The files of the library, and which of them uses which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A path of names in the code: `crate`, `agents`, `Store`.
type Names = Vec<String>;

/// One file.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// The module of the crate that it belongs to.
    pub module: String,
    /// The modules from the crate down to this file.
    names: Names,
    /// What it names.
    paths: BTreeSet<Names>,
    /// What it calls by another place's name: a name, and the path behind it.
    exports: BTreeMap<String, Names>,
}

/// All files that are compiled for more than tests.
pub struct Tree(BTreeMap<Names, File>);

impl Tree {
    /// Reads the files below `root`, beginning with its `lib.rs`.
    pub fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut left: Vec<(PathBuf, Names)> = vec![(root.join("lib.rs"), Vec::new())];
        while let Some((path, names)) = left.pop() {
            let code = code(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
            let is_folder = path.file_name().is_some_and(|name| name == "mod.rs" || name == "lib.rs");
            let folder = if is_folder { path.parent().expect("a folder").to_owned() } else { path.with_extension("") };
            for child in children(&code) {
                let below = [&names[..], std::slice::from_ref(&child)].concat();
                let alone = folder.join(format!("{child}.rs"));
                left.push((if alone.exists() { alone } else { folder.join(&child).join("mod.rs") }, below));
            }
            let (paths, exports) = names_of(&code);
            let module = names.first().cloned().unwrap_or_default();
            files.insert(names.clone(), File { path, module, names, paths, exports });
        }
        // The root only lists the modules.
        files.remove(&Vec::new());
        Self(files)
    }

    /// The modules of the crate.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter(|names| names.len() == 1).map(|names| names[0].as_str())
    }

    /// Each file with each other file that it uses.
    pub fn uses(&self) -> impl Iterator<Item = (&File, &File)> {
        self.0.values().flat_map(move |file| {
            let used: BTreeSet<&Names> = file
                .paths
                .iter()
                .filter_map(|path| self.find(&file.names, path, 0))
                .map(|used| &used.names)
                .filter(|names| **names != file.names)
                .collect();
            used.into_iter().map(move |names| (file, &self.0[names]))
        })
    }

    /// The file that `path`, as it is written in the module `from`, leads to; none if that is outside of the crate.
    fn find(&self, from: &[String], path: &[String], depth: usize) -> Option<&File> {
        let mut at = from.to_vec();
        let mut rest = path.iter();
        match path.first()?.as_str() {
            "crate" => {
                at.clear();
                rest.next();
            }
            "self" => _ = rest.next(),
            "super" => {
                while rest.as_slice().first().is_some_and(|name| name == "super") {
                    at.pop();
                    rest.next();
                }
            }
            child if self.0.contains_key(&[from, &[child.to_owned()]].concat()) => {}
            _ => return None,
        }
        while let Some(name) = rest.as_slice().first() {
            let below = [&at[..], std::slice::from_ref(name)].concat();
            if self.0.contains_key(&below) {
                at = below;
                rest.next();
                continue;
            }
            // What a module only passes on belongs to the file behind it.
            let export = self.0.get(&at).and_then(|file| file.exports.get(name)).filter(|_| depth < 8);
            return match export.and_then(|path| self.find(&at, path, depth + 1)) {
                Some(file) => Some(file),
                None => self.0.get(&at),
            };
        }
        self.0.get(&at)
    }
}

/// The text without comments, strings, and what is for tests only.
fn code(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(one) = rest.chars().next() {
        let passed_over = match one {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#\"") => {
                let (begin, end) = if rest.starts_with("r#") { (3, "\"#") } else { (2, "\"") };
                begin + rest[begin..].find(end).expect("the end of a raw string") + end.len()
            }
            '"' => 1 + quoted(&rest[1..], '"'),
            // A character, not a lifetime.
            '\'' if rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'') => 1 + quoted(&rest[1..], '\''),
            _ => {
                code.push(one);
                one.len_utf8()
            }
        };
        rest = &rest[passed_over..];
    }
    without_tests(&code)
}

/// The length of what stands in quotes, with the quote that ends it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().find(|(at, one)| {
        // The first character may be the quote itself: `'\''` is escaped, and an empty string is none.
        let ends = *one == quote && !escaped && (quote == '"' || *at > 0);
        escaped = *one == '\\' && !escaped;
        ends
    });
    end.expect("the end of a string").0 + 1
}

fn without_tests(code: &str) -> String {
    let Some(at) = code.find("#[cfg(test)]") else { return code.to_owned() };
    let (before, rest) = (&code[..at], &code[at + "#[cfg(test)]".len()..]);
    let (end, brace) = (rest.find(';'), rest.find('{'));
    let end = match (end, brace) {
        (Some(end), Some(brace)) if brace < end => brace + block(&rest[brace..]),
        (Some(end), _) => end + 1,
        (None, Some(brace)) => brace + block(&rest[brace..]),
        (None, None) => rest.len(),
    };
    format!("{before}{}", without_tests(&rest[end..]))
}

/// The length of the block in braces with which `code` begins.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The modules that are declared as files of their own.
fn children(code: &str) -> Vec<String> {
    let declared = code.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    });
    declared.collect()
}

/// What the code names, and what it passes on.
fn names_of(code: &str) -> (BTreeSet<Names>, BTreeMap<String, Names>) {
    let (mut paths, mut exports) = (BTreeSet::new(), BTreeMap::new());
    let mut rest = code.to_owned();
    for statement in code.split(';') {
        let Some(at) = statement.find("use ") else { continue };
        let before = statement[..at].rsplit('\n').next().unwrap_or_default().trim();
        if !before.is_empty() && !before.starts_with("pub") {
            continue;
        }
        let tree = &statement[at + "use ".len()..];
        rest = rest.replacen(&statement[at..], "", 1);
        for (path, name) in expand(&[], tree) {
            let is_export = before.starts_with("pub");
            if !is_export || path.first().is_some_and(|first| first == "crate") {
                paths.insert(path.clone());
            }
            if is_export {
                exports.insert(name, path);
            }
        }
    }
    paths.extend(written(&rest));
    (paths, exports)
}

/// The paths of a tree as in `use`, each with the name that it gets.
fn expand(before: &[String], tree: &str) -> Vec<(Names, String)> {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix = tree[..open].trim_end_matches("::").split("::").map(str::trim).filter(|name| !name.is_empty());
        let before: Names = before.iter().cloned().chain(prefix.map(str::to_owned)).collect();
        let inside = tree[open + 1..].trim_end();
        let inside = inside.strip_suffix('}').unwrap_or(inside);
        return parts(inside).into_iter().flat_map(|part| expand(&before, part)).collect();
    }
    let (path, renamed) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let mut names: Names = before.to_vec();
    names.extend(path.split("::").map(str::trim).filter(|name| !name.is_empty() && *name != "self").map(str::to_owned));
    if path.trim() == "self" && before.is_empty() {
        return Vec::new();
    }
    let name = renamed.map(str::to_owned).or_else(|| names.last().cloned()).unwrap_or_default();
    if names.is_empty() { Vec::new() } else { vec![(names, name)] }
}

/// The parts of a list that stand between commas, not inside braces.
fn parts(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The paths that stand in code: `crate::files::JOURNAL`, `super::short`, `later::Later`.
fn written(code: &str) -> impl Iterator<Item = Names> + '_ {
    let is_name = |byte: char| byte.is_alphanumeric() || byte == '_' || byte == ':';
    code.split(move |byte| !is_name(byte)).filter(|word| word.contains("::")).filter_map(|word| {
        let names: Names = word.trim_matches(':').split("::").map(str::to_owned).collect();
        names.iter().all(|name| !name.is_empty()).then_some(names)
    })
}
