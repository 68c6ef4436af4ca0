//! Files that may have changed.

use std::collections::BTreeSet;

/// Paths that are kept. Beyond, looking at all files costs little more.
const MOST: usize = 256;

/// Some files, by their paths below the home, or all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    paths: BTreeSet<Box<str>>,
    all: bool,
}

impl Suspects {
    /// All files.
    pub fn all() -> Self {
        Self { paths: BTreeSet::new(), all: true }
    }

    /// Whether they are all files.
    pub fn are_all(&self) -> bool {
        self.all
    }

    /// Whether they are none.
    pub fn are_none(&self) -> bool {
        !self.all && self.paths.is_empty()
    }

    /// The paths, in their order; none if they are all files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(|path| &**path)
    }

    /// One more.
    pub fn add(&mut self, path: &str) {
        if self.all || self.paths.contains(path) {
            return;
        }
        if self.paths.len() == MOST {
            *self = Self::all();
        } else {
            self.paths.insert(path.into());
        }
    }

    /// All of `others`, too.
    pub fn append(&mut self, others: &Self) {
        if others.all {
            *self = Self::all();
        }
        others.paths().for_each(|path| self.add(path));
    }

    /// One less, if they are not all files.
    pub fn remove(&mut self, path: &str) {
        self.paths.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_a_number_they_are_all_files() {
        let (mut many, mut one) = (Suspects::default(), Suspects::default());
        one.add("a");
        (0..MOST).for_each(|number| many.add(&number.to_string()));
        many.add("0");
        assert!(!many.are_all());
        many.append(&one);
        many.remove("a");
        assert!(many.are_all() && many.paths().next().is_none());
        one.append(&many);
        assert_eq!(one, Suspects::all());
    }
}
