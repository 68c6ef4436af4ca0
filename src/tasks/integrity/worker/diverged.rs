//! What this node has alone as a former master is set aside before the new master's files take its place.
//!
//! A file counts as a whole, client.keys by its agents: after a failover it differs nearly always, because the new master has
//! registered more, and loses nothing.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::{BuildHasher, RandomState},
    io,
};

use super::{Integrity, sync::NotSynchronised};
use crate::{
    agents::client_keys::{Key, Line, Lines, number},
    files::{KEYS, Update},
    logging::warn,
    term::Diverged,
};

/// How many paths, or agents, the log names.
const NAMED: usize = 20;

impl Integrity<'_> {
    /// To be called before `update` is applied.
    ///
    /// # Errors
    /// When something cannot be set aside; nothing may be applied then.
    pub(super) fn set_aside(&self, update: &Update) -> Result<(), NotSynchronised> {
        let Some(term) = self.node.term.former() else { return Ok(()) };
        let aside = self.diverged(term).set_aside(update.paths(), KEYS);
        let aside = aside.map_err(|error| NotSynchronised::NotSetAside(term, error))?;
        if !aside.is_empty() {
            warn!(
                self.syncs.scope(),
                "As the master of term {term}, this node had {} files that the present master has not, or has otherwise. They were \
                 set aside in queue/diverged/{term}, with a list: {}. Copy what is wanted to the master, then remove that \
                 directory.",
                aside.len(),
                named(&aside)
            );
        }
        Ok(())
    }

    /// This node has all files of its master: nothing is left that it had alone.
    pub(super) fn is_equal(&self) {
        let Some(term) = self.node.term.former() else { return };
        match self.settle_keys(term) {
            Ok(()) => self.node.term.set_aside(),
            // The next check tries again.
            Err(error) => warn!(
                self.syncs.scope(),
                "Whether this node had agents alone as the master of term {term} cannot be found out: {error}. Let the user of this \
                 daemon read and write queue/diverged/{term} and {KEYS}."
            ),
        }
    }

    /// The client.keys that was set aside is listed if it has agents that the present one lacks, or else is discarded.
    fn settle_keys(&self, term: u64) -> io::Result<()> {
        let diverged = self.diverged(term);
        let Some(former) = diverged.unlisted(KEYS)? else { return Ok(()) };
        let lost = lacking(former, File::open(self.node.home.client_keys())?)?;
        if lost.is_empty() {
            return diverged.discard(KEYS);
        }
        diverged.list(KEYS)?;
        warn!(
            self.syncs.scope(),
            "As the master of term {term}, this node had {} agents that the present master has not, or has with another key: {}. \
             Their keys are in queue/diverged/{term}/{KEYS}. Import or register them at the master, then remove that \
             directory.",
            lost.len(),
            named(&lost)
        );
        Ok(())
    }

    fn diverged(&self, term: u64) -> Diverged<'_> {
        Diverged::of(&self.node.home, &self.files.disk, term)
    }
}

fn named(all: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = all.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = all.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// The agents of `former` that `present` neither has with the same key, nor has removed: their ids, in order.
fn lacking(former: File, present: File) -> io::Result<Vec<Box<str>>> {
    let sums = RandomState::new();
    let sum = |key: Key<'_>| sums.hash_one((number(key.id), key.key));
    // By a sum, because that takes a fifth of the memory of the lines.
    let mut lost: HashMap<u64, Box<str>> = HashMap::new();
    each(former, |line| {
        if let Line::Agent(key) = line {
            lost.insert(sum(key), key.id.into());
        }
    })?;
    let mut removed: HashSet<Box<str>> = HashSet::new();
    each(present, |line| match line {
        Line::Agent(key) => drop(lost.remove(&sum(key))),
        Line::Removed { id } => drop(removed.insert(number(id).into())),
        Line::Other => (),
    })?;
    let mut ids: Vec<Box<str>> = lost.into_values().filter(|id| !removed.contains(number(id))).collect();
    ids.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    Ok(ids)
}

fn each(file: File, mut see: impl FnMut(Line<'_>)) -> io::Result<()> {
    let mut lines = Lines::new(file);
    while let Some((line, _)) = lines.read()? {
        see(Line::parse(line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn file(content: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn agents_with_other_keys_and_unknown_ones_are_lacking() {
        let former =
            "1 same any k1\n002 other any k2\n003 gone any k3\n# a comment\n004 !left any k4\n1005 alone any k5\n";
        let present = "001 renamed 10.0.0.1 k1\n002 other any another\n003 !gone any k3\n006 new any k6\n";
        let lost = lacking(file(former), file(present)).unwrap();
        assert_eq!(lost, ["002", "1005"].map(Box::from));
        assert!(lacking(file(present), file(present)).unwrap().is_empty());
    }
}
