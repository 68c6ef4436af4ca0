//! What two of our own nodes agree on beyond the classic link (`spec/native.md` 1).
//!
//! ```text
//! worker: hello …                     master: ok  Client w1 added native/1 <nonce>
//! worker: native {nonce, features}    master: ok  {features taken}
//! ```
//! A stock node never reads the suffix and never sends `native`: the link stays classic.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    config::settings::{Link, Native},
    files::ChecksumKind,
    system::{json, random},
};

/// Manifests carry MD5 and 16 bytes of BLAKE2b-512 instead of the whole of that.
const CHECKSUM_MD5_BLAKE2B: &str = "checksum=md5+blake2b";

/// Manifests carry MD5 alone, if the other node does not take what tells more.
const CHECKSUM_MD5: &str = "checksum=md5";

/// The master tells when its files have changed.
const PUSH: &str = "push";

/// A check begins with digests.
const DIGEST: &str = "digest";

/// The worker tells which keys it has when the master asks.
const KEYS: &str = "keys";

/// The worker tells what it did with the files that it got.
const APPLIED: &str = "applied";

/// The worker tells the outline of its configuration.
const OUTLINE: &str = "outline";

/// The master tells which groups there are.
const GROUPS: &str = "groups";

/// Nonces are 16 random bytes; this is the length of their text.
const NONCE: usize = 22;

/// What both ends of a link use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Whether manifests carry MD5 and 16 bytes of BLAKE2b-512.
    pub checksum_md5_blake2b: bool,
    /// Whether manifests carry MD5, if not more.
    pub checksum_md5: bool,
    /// Whether the master tells when its files have changed.
    pub push: bool,
    /// Whether a check begins with digests.
    pub digest: bool,
    /// Whether the worker tells which keys it has.
    pub keys: bool,
    /// Whether the worker tells what it did with the files that it got.
    pub applied: bool,
    /// Whether the worker tells the outline of its configuration.
    pub outline: bool,
    /// Whether the master tells which groups there are.
    pub groups: bool,
}

impl Features {
    /// Whether anything was agreed on, so that both nodes are ours.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// The checksum of manifests on this link.
    pub fn checksum(self) -> ChecksumKind {
        match self {
            Self { checksum_md5_blake2b: true, .. } => ChecksumKind::Md5Blake2b,
            Self { checksum_md5: true, .. } => ChecksumKind::Md5,
            _ => ChecksumKind::Blake2b,
        }
    }

    /// What this node may use at all. Who asks for something else is refused, whatever was agreed on.
    pub fn permitted(link: &Link) -> Self {
        if link.native == Native::Never { Self::default() } else { Self::take(&link.features, &link.features) }
    }

    /// Those of `names` that this daemon knows and that `allowed` (cluster.json, `link.features`) permits.
    fn take(names: &[String], allowed: &[String]) -> Self {
        let has = |feature: &str| names.iter().any(|n| n == feature) && allowed.iter().any(|a| a == feature);
        Self {
            checksum_md5_blake2b: has(CHECKSUM_MD5_BLAKE2B),
            checksum_md5: has(CHECKSUM_MD5),
            push: has(PUSH),
            digest: has(DIGEST),
            keys: has(KEYS),
            applied: has(APPLIED),
            outline: has(OUTLINE),
            groups: has(GROUPS),
        }
    }

    fn names(self) -> Vec<String> {
        let all = [
            (CHECKSUM_MD5_BLAKE2B, self.checksum_md5_blake2b),
            (CHECKSUM_MD5, self.checksum_md5),
            (PUSH, self.push),
            (DIGEST, self.digest),
            (KEYS, self.keys),
            (APPLIED, self.applied),
            (OUTLINE, self.outline),
            (GROUPS, self.groups),
        ];
        all.into_iter().filter(|(_, taken)| *taken).map(|(name, _)| name.to_owned()).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Offer {
    nonce: String,
    features: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Taken {
    features: Vec<String>,
}

/// Why an agreement failed; the other node is at fault, and the link stays classic or is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// Not the JSON that was expected.
    #[error("the text of the agreement cannot be read: {0}")]
    Json(String),
    /// Not 16 bytes in base64url.
    #[error("the nonce of the agreement is not 16 bytes in base64url")]
    Nonce,
    /// The master took what was not offered.
    #[error("the other node took the feature '{0}', which was not offered")]
    NotOffered(String),
}

/// A new nonce as text.
///
/// # Errors
/// When the system has no randomness.
pub fn nonce() -> std::io::Result<String> {
    random::bytes::<16>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// Master: what the answer to hello ends with.
pub fn invitation(nonce: &str) -> String {
    format!(" native/1 {nonce}")
}

/// Worker: whether the answer to hello invites to an agreement.
///
/// # Errors
/// When it does with a nonce that is none.
pub fn invited(answer: &[u8]) -> Result<bool, Disagreement> {
    let text = String::from_utf8_lossy(answer);
    match text.split_once(" native/1 ") {
        None => Ok(false),
        Some((_, nonce)) if is_nonce(nonce) => Ok(true),
        Some(_) => Err(Disagreement::Nonce),
    }
}

/// Worker: the payload of `native`.
pub fn offer(nonce: String, allowed: &[String]) -> String {
    json::text(&Offer { nonce, features: allowed.to_vec() })
}

/// Master: the features taken from a worker's offer, and the payload of the answer.
///
/// # Errors
/// When the offer is not one.
pub fn answer(offer: &[u8], allowed: &[String]) -> Result<(Features, String), Disagreement> {
    let offer: Offer = serde_json::from_slice(offer).map_err(|error| Disagreement::Json(error.to_string()))?;
    if !is_nonce(&offer.nonce) {
        return Err(Disagreement::Nonce);
    }
    let features = Features::take(&offer.features, allowed);
    Ok((features, json::text(&Taken { features: features.names() })))
}

/// Worker: the features that the master took.
///
/// # Errors
/// When the answer is not one, or takes what was not offered.
pub fn taken(answer: &[u8], allowed: &[String]) -> Result<Features, Disagreement> {
    let taken: Taken = serde_json::from_slice(answer).map_err(|error| Disagreement::Json(error.to_string()))?;
    match taken.features.iter().find(|feature| !allowed.contains(feature)) {
        Some(feature) => Err(Disagreement::NotOffered(feature.clone())),
        None => Ok(Features::take(&taken.features, allowed)),
    }
}

fn is_nonce(text: &str) -> bool {
    text.len() == NONCE && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_our_nodes_agree() {
        let all = [CHECKSUM_MD5_BLAKE2B, CHECKSUM_MD5].map(str::to_owned);
        let welcome = format!("Client w1 added{}", invitation(&nonce().unwrap()));
        assert_eq!(invited(welcome.as_bytes()), Ok(true));
        let offered = offer(nonce().unwrap(), &all);
        let (features, payload) = answer(offered.as_bytes(), &all).unwrap();
        assert_eq!(features.checksum(), ChecksumKind::Md5Blake2b);
        let weaker = answer(offered.as_bytes(), &all[1..]).unwrap().0;
        assert_eq!(weaker.checksum(), ChecksumKind::Md5, "all that both take");
        assert_eq!(taken(payload.as_bytes(), &all), Ok(features));
        assert_eq!(answer(offered.as_bytes(), &[]).unwrap().0, Features::default(), "switched off on the master");
    }

    #[test]
    fn every_failure_has_its_reason() {
        assert_eq!(invited(b"Client w1 added"), Ok(false));
        assert_eq!(invited(b"Client w1 added native/1 short"), Err(Disagreement::Nonce));
        assert!(matches!(answer(b"{", &[]), Err(Disagreement::Json(_))));
        assert_eq!(answer(br#"{"nonce": "", "features": []}"#, &[]).unwrap_err(), Disagreement::Nonce);
        let answer = br#"{"features": ["session"]}"#;
        assert_eq!(taken(answer, &[]), Err(Disagreement::NotOffered("session".into())));
    }
}
