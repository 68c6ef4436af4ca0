//! Whether a candidate may be the master now, by what the arbiter knows: a judgement that asks nobody.

use crate::arbiter::{Entry, Malformed};

/// A candidate may be the master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chance {
    /// How many others are to try it before: its place among those in sync, without the master that is gone.
    pub rank: u32,
    /// Whether that one is among those before it.
    pub behind_former: bool,
    /// The term of the master before; 0 if there was none.
    pub term: u64,
    /// Those in sync with the master before.
    pub in_sync: Vec<String>,
    /// No id above this one was given.
    pub ids: u32,
    /// Whether ids were given, and this node has no agent: those who have them must all be in the records.
    pub needs_all: bool,
    /// Whether a person has overruled something.
    pub forced: bool,
}

impl Chance {
    /// That of whom a person makes the master, whatever hinders it. Terms and ids that the arbiter knows count all the same; of
    /// the others nobody knows whether they have what this node has.
    pub(super) fn by_force(sync: Option<&Entry>, ids: Option<&Entry>) -> Self {
        let term = sync.and_then(|entry| entry.sync().ok()).map_or(0, |sync| sync.term);
        let ids = ids.and_then(|entry| entry.ids().ok()).unwrap_or(0);
        Self { term, ids: u32::try_from(ids).unwrap_or(u32::MAX), forced: true, ..Self::default() }
    }
}

/// Why a candidate may not be the master.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// The arbiter cannot be asked.
    #[error("etcd cannot be asked: {0}")]
    Unreachable(String),
    /// There is a master.
    #[error("{0} is the master")]
    Taken(String),
    /// Another cluster has the same name.
    #[error(
        "etcd has the keys of another cluster of this name, whose key is another one ({found}, here {own}); give one of them another \
         <name>, or an etcd of its own, or let all nodes have the same <key>"
    )]
    Foreign {
        /// The fingerprint of its key.
        found: String,
        /// That of the own one.
        own: String,
    },
    /// A value at the arbiter cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No master was elected yet.
    #[error("no master was elected yet; the first is the candidate whose <node_type> is master")]
    NotFirst,
    /// The arbiter has forgotten everything.
    #[error(
        "etcd does not know the masters that this node has seen: it has lost its data, or failover.etcd names another one; \
         'cluster_control --promote --force' on the node that was the master last begins anew"
    )]
    Forgotten,
    /// The arbiter has gone back.
    #[error(
        "etcd knows of term {known} only, and this node has seen term {seen}: it was restored from a backup; 'cluster_control \
         --promote --force' on the node that was the master last begins anew"
    )]
    Restored {
        /// What it knows.
        known: u64,
        /// What this node has seen.
        seen: u64,
    },
    /// It has given the role back.
    #[error("it has given the role of the master back a moment ago, and lets the others take it")]
    GaveBack,
    /// It waits for a person.
    #[error("failover.auto is false here; 'cluster_control --promote' makes this node the master")]
    NotAutomatic,
    /// This node did not have all of the last master.
    #[error(
        "this node was not in sync with the last master ({} may follow); if none of those comes back: 'cluster_control --promote \
         --force' here, and what this node lacks is lost", list(.0)
    )]
    NotInSync(Vec<String>),
    /// This node has lost its keys.
    #[error(
        "etc/client.keys has no agent, and ids up to {0} were given; put it back, or, if there really is no agent: 'cluster_control \
         --promote --force'"
    )]
    NoAgents(u32),
}

impl Hindrance {
    /// Another one is the master, by the value of its key.
    pub(super) fn taken(entry: &Entry) -> Self {
        entry.master().map_or_else(Self::from, |master| Self::Taken(master.node))
    }

    /// Whether a person may decide otherwise.
    pub fn may_be_overruled(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Taken(_) | Self::Foreign { .. } => false,
            Self::Malformed(_)
            | Self::NotFirst
            | Self::Forgotten
            | Self::Restored { .. }
            | Self::GaveBack
            | Self::NotAutomatic
            | Self::NotInSync(_)
            | Self::NoAgents(_) => true,
        }
    }

    /// Whether it is how things should be: nobody has to do anything.
    pub fn is_usual(&self) -> bool {
        matches!(self, Self::Taken(_) | Self::NotFirst)
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

/// What a candidate knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Its name.
    pub name: &'a str,
    /// The fingerprint of the key of its cluster.
    pub cluster: &'a str,
    /// Whether its `<node_type>` is master.
    pub is_first: bool,
    /// Whether it has seen a master that was elected.
    pub knows_elections: bool,
    /// The highest term that it has seen.
    pub term: u64,
    /// The master of that term.
    pub former: &'a str,
    /// Whether it has any keys of agents.
    pub agents: bool,
}

/// Whether it may be the master, when the keys of the arbiter hold this.
///
/// # Errors
/// [`Hindrance`].
pub fn of(
    local: &Local<'_>,
    master: Option<&Entry>,
    sync: Option<&Entry>,
    ids: Option<&Entry>,
) -> Result<Chance, Hindrance> {
    let ours = |found: &str| match found == local.cluster {
        true => Ok(()),
        false => Err(Hindrance::Foreign { found: found.to_owned(), own: local.cluster.to_owned() }),
    };
    if let Some(entry) = master {
        ours(&entry.master()?.cluster)?;
        return Err(Hindrance::taken(entry));
    }
    let ids = ids.map(Entry::ids).transpose()?.map_or(0, |ids| u32::try_from(ids).unwrap_or(u32::MAX));
    let Some(sync) = sync.map(Entry::sync).transpose()? else {
        return match (local.knows_elections, local.is_first) {
            (true, _) => Err(Hindrance::Forgotten),
            (false, true) => Ok(Chance { ids, ..Chance::default() }),
            (false, false) => Err(Hindrance::NotFirst),
        };
    };
    ours(&sync.cluster)?;
    if sync.term < local.term {
        return Err(Hindrance::Restored { known: sync.term, seen: local.term });
    }
    let Some(place) = sync.candidates.iter().position(|name| name == local.name) else {
        return Err(Hindrance::NotInSync(sync.candidates));
    };
    let behind_former = sync.candidates[..place].iter().any(|name| name == local.former);
    let rank = place as u32 - u32::from(behind_former);
    let needs_all = ids > 0 && !local.agents;
    Ok(Chance { rank, behind_former, term: sync.term, in_sync: sync.candidates, ids, needs_all, forced: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> Entry {
        Entry { value: value.as_bytes().to_vec(), created: 5, changed: 5, lease: 0 }
    }

    const LOCAL: Local<'static> =
        Local { name: "b", cluster: "k", is_first: false, knows_elections: true, term: 3, former: "a", agents: true };

    fn judged(local: Local<'_>, master: Option<&str>, sync: Option<&str>, ids: Option<&str>) -> Result<Chance, String> {
        let [master, sync, ids] = [master, sync, ids].map(|value| value.map(entry));
        of(&local, master.as_ref(), sync.as_ref(), ids.as_ref()).map_err(|why| why.to_string())
    }

    fn sync(term: u64, cluster: &str, names: &str) -> String {
        format!(r#"{{"term":{term},"cluster":"{cluster}","candidates":[{names}]}}"#)
    }

    #[test]
    fn who_is_in_sync_follows_in_its_turn() {
        let known = sync(3, "k", r#""a","b""#);
        let chance = judged(LOCAL, None, Some(&known), Some("17")).unwrap();
        let in_sync = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(chance, Chance { behind_former: true, term: 3, in_sync, ids: 17, ..Chance::default() });
        // The master of another term may be among those who wait for it.
        let later = Local { former: "c", ..LOCAL };
        let places = |chance: Chance| (chance.rank, chance.behind_former);
        assert_eq!(places(judged(later, None, Some(&known), None).unwrap()), (1, false));
        let last = sync(3, "k", r#""d","a","b""#);
        assert_eq!(places(judged(LOCAL, None, Some(&last), None).unwrap()), (1, true), "d was asked to follow");
        let first = Local { is_first: true, knows_elections: false, term: 0, ..LOCAL };
        assert_eq!(judged(first, None, None, None), Ok(Chance::default()), "the very first");
        let keyless = Local { agents: false, ..LOCAL };
        let needs_all = |ids| judged(keyless, None, Some(&known), ids).unwrap().needs_all;
        assert_eq!([None, Some("0"), Some("4")].map(needs_all), [false, false, true]);
    }

    #[test]
    fn by_force_no_term_and_no_id_is_used_again() {
        let known = entry(&sync(7, "k", r#""a""#));
        let chance = Chance::by_force(Some(&known), Some(&entry("17")));
        assert_eq!(chance, Chance { term: 7, ids: 17, forced: true, ..Chance::default() });
        let nothing = Chance { forced: true, ..Chance::default() };
        assert_eq!(Chance::by_force(Some(&entry("{")), Some(&entry("x"))), nothing);
    }

    #[test]
    fn nobody_else_does_and_the_reason_says_what_to_do() {
        let master = r#"{"node":"a","address":"10.0.0.1","port":1516,"since":1,"cluster":"k"}"#;
        let other = master.replace(r#""k""#, r#""x""#);
        let known = sync(3, "k", r#""a","b""#);
        let new = Local { knows_elections: false, term: 0, ..LOCAL };
        for (local, master, sync, ids, reason) in [
            (LOCAL, Some(master), Some(&*known), None, "a is the master"),
            (
                LOCAL,
                Some(&*other),
                Some(&known),
                None,
                "another cluster of this name, whose key is another one (x, here k)",
            ),
            (LOCAL, None, Some(&sync(3, "x", r#""b""#)), None, "another cluster of this name"),
            (LOCAL, None, Some(&sync(2, "k", r#""b""#)), None, "term 2 only, and this node has seen term 3"),
            (
                LOCAL,
                None,
                Some(&sync(3, "k", r#""a","c""#)),
                None,
                "not in sync with the last master (a, c may follow)",
            ),
            (LOCAL, None, None, None, "etcd does not know the masters"),
            (Local { is_first: true, ..LOCAL }, None, None, None, "etcd does not know the masters"),
            (new, None, None, None, "no master was elected yet"),
            (LOCAL, None, Some("{"), None, "holds no value of this daemon"),
            (LOCAL, None, Some(&known), Some("x"), "holds no value of this daemon"),
        ] {
            let error = judged(local, master, sync, ids).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
