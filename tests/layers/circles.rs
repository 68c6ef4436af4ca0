//! Files that use each other, directly or through others.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::source::Tree;

type Graph<'t> = BTreeMap<&'t Path, BTreeSet<&'t Path>>;

/// The circles, each with all its files.
pub fn find(tree: &Tree) -> Vec<BTreeSet<&Path>> {
    let mut graph = Graph::new();
    for (user, used) in tree.uses() {
        graph.entry(&user.path).or_default().insert(&used.path);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> = graph.keys().map(|file| (*file, reach(&graph, file))).collect();
    let mut circles: Vec<BTreeSet<&Path>> = Vec::new();
    for (file, others) in &reached {
        if others.contains(file) && !circles.iter().any(|circle| circle.contains(file)) {
            circles.push(
                others
                    .iter()
                    .filter(|other| reached.get(**other).is_some_and(|back| back.contains(file)))
                    .copied()
                    .collect(),
            );
        }
    }
    circles
}

fn reach<'t>(graph: &Graph<'t>, from: &Path) -> BTreeSet<&'t Path> {
    let (mut found, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(file) = left.pop() {
        let next: Vec<&'t Path> =
            graph.get(file).into_iter().flatten().copied().filter(|next| found.insert(*next)).collect();
        left.extend(next);
    }
    found
}
