//! What stands at the arbiter of changes of client.keys: sealed, because it has the keys of agents.

use std::io;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{crypto::Fernet, system::random};

/// Bytes of the changes in one record, about; an arbiter takes 1.5 MiB at a time.
const LARGEST: usize = 256 * 1024;

/// A change of client.keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// An agent was registered.
    Added {
        /// Its line: id, name, address and key.
        line: String,
        /// The groups that it asked for, joined by commas; empty for none.
        groups: String,
        /// When, in seconds since 1970.
        date: i64,
    },
    /// An agent was removed.
    Removed {
        /// Its id, as it is written.
        id: String,
        /// Its name.
        name: String,
    },
}

impl Change {
    /// The id that was given, if one was.
    pub fn id(&self) -> Option<u32> {
        match self {
            Self::Added { line, .. } => line.split(' ').next()?.parse().ok(),
            Self::Removed { .. } => None,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Added { line, groups, .. } => line.len() + groups.len(),
            Self::Removed { id, name } => id.len() + name.len(),
        }
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// No key of this node has sealed it.
    #[error(
        "it is sealed with a key that this node does not have; let the keys of the cluster be the same on all candidates \
         (<key>, link.accept_keys)"
    )]
    Key,
    /// Another version has written it.
    #[error("it was written by another version ({0}); run one version on all candidates")]
    Form(#[from] serde_json::Error),
}

/// The changes in parts, each of which fits into a record.
pub fn parts(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    let mut rest = changes;
    std::iter::from_fn(move || {
        let mut size = 0;
        let fits = |change: &&Change| {
            size += change.size();
            size <= LARGEST
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (part, after) = rest.split_at(count);
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

/// A record of these changes.
///
/// # Errors
/// When the system has no randomness.
pub fn seal(changes: &[Change], cipher: &Fernet, now: u64) -> io::Result<Vec<u8>> {
    let plain = Zeroizing::new(serde_json::to_vec(changes).map_err(io::Error::from)?);
    let mut token = Vec::new();
    cipher.seal(&plain, now, random::bytes()?, &mut token);
    Ok(token)
}

/// The changes of a record.
///
/// # Errors
/// [`Unreadable`].
pub fn open(token: Vec<u8>, ciphers: &[Fernet]) -> Result<Vec<Change>, Unreadable> {
    let (_, plain) = Fernet::open_any(ciphers, token).map_err(|_| Unreadable::Key)?;
    Ok(serde_json::from_slice(&Zeroizing::new(plain))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(id: u32, groups: usize) -> Change {
        Change::Added { line: format!("{id:03} web any k{id}"), groups: "g".repeat(groups), date: 1_700_000_000 }
    }

    #[test]
    fn a_record_is_read_by_whoever_has_the_key_and_shows_nothing() {
        let (own, other) = (Fernet::new(&[1; 32]), Fernet::new(&[2; 32]));
        let changes = vec![added(7, 3), Change::Removed { id: "003".into(), name: "old".into() }];
        let token = seal(&changes, &own, 5).unwrap();
        assert!(!String::from_utf8_lossy(&token).contains("web"));
        assert_eq!(open(token.clone(), &[other.clone(), own.clone()]).unwrap(), changes);
        assert!(open(token, &[other]).unwrap_err().to_string().contains("link.accept_keys"));
        let mut senseless = Vec::new();
        own.seal(b"[{\"later\":1}]", 5, [0; 16], &mut senseless);
        assert!(open(senseless, &[own]).unwrap_err().to_string().contains("another version"));
        assert_eq!((changes[0].id(), changes[1].id()), (Some(7), None));
    }

    #[test]
    fn many_changes_are_several_records() {
        assert_eq!(parts(&[]).count(), 0);
        let changes: Vec<_> = (1..=20).map(|id| added(id, LARGEST / 8)).chain([added(21, 3 * LARGEST)]).collect();
        let parts: Vec<_> = parts(&changes).collect();
        assert_eq!(parts.concat(), changes);
        assert!(parts.iter().all(|part| part.len() <= 8) && parts.len() == 4, "{}", parts.len());
    }
}
