//! What two of our own nodes agree on beyond the classic link (`spec/native.md` 1).
//!
//! ```text
//! worker: hello …                     master: ok  Client w1 added native/1 <nonce>
//! worker: native {nonce, features}    master: ok  {features taken}
//! ```
//! A stock node never reads the suffix and never sends `native`: the link stays classic. If both take the feature
//! `session`, all that follows is sealed under keys of this connection, into which all of the above goes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    config::settings::{Link, Native},
    crypto::{End, Fernet, Nonce, Session, Terms, Transcript},
    files::ChecksumKind,
    system::{json, random},
    term::{Claim, Told},
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

/// Large files travel as their difference from what the worker has.
const DELTA: &str = "delta";

/// A worker with the files that the master had a moment ago tells no metadata.
const KNOWN: &str = "known";

/// The master repeats what is not new rarely, and the worker looks by itself.
const QUIET: &str = "quiet";

/// All that follows the agreement is sealed.
const SESSION: &str = "session";

/// Both ends tell which term of the master they know.
const TERM: &str = "term";

/// The longest name of a master, in bytes: that of a word of hello.
const NAME: usize = 255;

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
    /// Whether large files travel as their difference from what the worker has. With the longest checksums only.
    pub delta: bool,
    /// Whether all that follows the agreement is sealed.
    pub session: bool,
    /// Whether a worker tells no metadata if it has the files that the master had a moment ago. With digests and the longest
    /// checksums only.
    pub known: bool,
    /// Whether the master repeats the hash of all assignments to groups rarely, and the worker compares it by itself.
    pub quiet: bool,
    /// Whether both ends tell which term of the master they know. In a session only.
    pub term: bool,
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
            delta: has(DELTA) && has(CHECKSUM_MD5_BLAKE2B),
            known: has(KNOWN) && has(DIGEST) && has(CHECKSUM_MD5_BLAKE2B),
            quiet: has(QUIET),
            session: has(SESSION),
            term: has(TERM) && has(SESSION),
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
            (DELTA, self.delta),
            (KNOWN, self.known),
            (QUIET, self.quiet),
            (SESSION, self.session),
            (TERM, self.term),
        ];
        all.into_iter().filter(|(_, taken)| *taken).map(|(name, _)| name.to_owned()).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct OfferText {
    nonce: String,
    features: Vec<String>,
    /// The highest term that the worker has seen, if it has the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    term: Option<Claim>,
}

#[derive(Serialize, Deserialize)]
struct TakenText {
    features: Vec<String>,
    /// The name of the master, if there is to be a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    master: Option<String>,
    /// What the master tells of itself, if both have the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    term: Option<Told>,
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
    /// The master took a session and did not say who it is.
    #[error("the other node took the feature 'session' and did not tell its name")]
    NoName,
    /// The node took the terms and told none, or one of another master.
    #[error("the other node took the feature 'term' and did not tell its own")]
    NoTerm,
    /// This machine gives none.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(String),
}

/// The names that go into the keys of a session, but for that of the master.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Of the cluster.
    pub cluster: &'a str,
    /// Of the worker.
    pub worker: &'a str,
}

/// Master: the answer to a hello, by which the worker is invited to agree.
pub struct Invitation {
    nonce: Nonce,
    text: String,
    transcript: Transcript,
}

/// Worker: what it offers to a master that has invited it.
pub struct Offer {
    nonce: Nonce,
    master_nonce: Nonce,
    text: String,
    transcript: Transcript,
}

/// Master: what it has taken of an offer.
pub struct Taken {
    /// What both ends use.
    pub features: Features,
    /// The keys, if there is a session.
    pub session: Option<Session>,
    /// The highest term that the worker has seen.
    pub seen: Option<Claim>,
    /// The payload of the answer.
    pub text: String,
}

/// Worker: what both ends have agreed on.
pub struct Agreed {
    /// What they use.
    pub features: Features,
    /// The keys, if there is a session, and the name of the master.
    pub session: Option<(Session, String)>,
    /// What the master tells of its term. It is proved with the session.
    pub told: Option<Told>,
}

impl Invitation {
    /// With a new nonce, behind the `text` that a stock node answers to this hello.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(hello: &[u8], text: &str) -> std::io::Result<Self> {
        let nonce = random::bytes()?;
        let text = format!("{text} native/1 {}", URL_SAFE_NO_PAD.encode(nonce));
        let transcript = Transcript::default().and(hello).and(text.as_bytes());
        Ok(Self { nonce, text, transcript })
    }

    /// The payload of the answer.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is taken of a worker's offer. `allowed` are the features of this node, `cipher`
    /// that of the link, and `own` is what this master tells of itself.
    ///
    /// # Errors
    /// When the offer is not one.
    pub fn answer(
        &self,
        offer: &[u8],
        allowed: &[String],
        cipher: Option<&Fernet>,
        names: Names<'_>,
        own: &Told,
    ) -> Result<Taken, Disagreement> {
        let OfferText { nonce, features, term: seen } = read(offer)?;
        let worker_nonce = nonce_of(&nonce)?;
        let mut features = Features::take(&features, allowed);
        features.session &= cipher.is_some();
        features.term &= features.session;
        let seen = seen.filter(|seen| features.term && seen.master.len() <= NAME);
        if features.term && seen.is_none() {
            return Err(Disagreement::NoTerm);
        }
        let master = own.claim.master.as_str();
        let text = json::text(&TakenText {
            features: features.names(),
            master: features.session.then(|| master.to_owned()),
            term: features.term.then(|| own.clone()),
        });
        let transcript = self.transcript.clone().and(offer).and(text.as_bytes());
        let terms = terms(self.nonce, worker_nonce, names, master, transcript);
        let session = cipher.filter(|_| features.session).map(|cipher| Session::new(cipher, terms, End::Master));
        Ok(Taken { features, session, seen, text })
    }
}

impl Offer {
    /// For a master that has answered this hello so; none if that is no invitation. `seen` is the highest term that this
    /// worker has seen.
    ///
    /// # Errors
    /// When it is one with a nonce that is none, or the system has no randomness.
    pub fn new(hello: &[u8], answer: &[u8], allowed: &[String], seen: &Claim) -> Result<Option<Self>, Disagreement> {
        let welcome = String::from_utf8_lossy(answer);
        let Some((_, nonce)) = welcome.split_once(" native/1 ") else { return Ok(None) };
        let master_nonce = nonce_of(nonce)?;
        let nonce: Nonce = random::bytes().map_err(|error| Disagreement::NoRandomness(error.to_string()))?;
        let term = Features::take(allowed, allowed).term.then(|| seen.clone());
        let text = json::text(&OfferText { nonce: URL_SAFE_NO_PAD.encode(nonce), features: allowed.to_vec(), term });
        let transcript = Transcript::default().and(hello).and(answer).and(text.as_bytes());
        Ok(Some(Self { nonce, master_nonce, text, transcript }))
    }

    /// The payload of `native`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the master took, by its answer.
    ///
    /// # Errors
    /// When the answer is not one, or takes what was not offered.
    pub fn taken(
        self,
        answer: &[u8],
        allowed: &[String],
        cipher: Option<&Fernet>,
        names: Names<'_>,
    ) -> Result<Agreed, Disagreement> {
        let TakenText { features: taken, master, term } = read(answer)?;
        if let Some(feature) = taken.iter().find(|feature| !allowed.contains(feature)) {
            return Err(Disagreement::NotOffered(feature.clone()));
        }
        let features = Features::take(&taken, allowed);
        let Some(cipher) = cipher.filter(|_| features.session) else {
            return Ok(Agreed { features, session: None, told: None });
        };
        let master = master.filter(|name| !name.is_empty() && name.len() <= NAME).ok_or(Disagreement::NoName)?;
        let told = term.filter(|told| features.term && told.claim.master == master);
        if features.term && told.is_none() {
            return Err(Disagreement::NoTerm);
        }
        let terms = terms(self.master_nonce, self.nonce, names, &master, self.transcript.and(answer));
        let session = Session::new(cipher, terms, End::Worker);
        Ok(Agreed { features, session: Some((session, master)), told })
    }
}

fn terms<'a>(
    master_nonce: Nonce,
    worker_nonce: Nonce,
    names: Names<'a>,
    master: &'a str,
    transcript: Transcript,
) -> Terms<'a> {
    Terms { master_nonce, worker_nonce, cluster: names.cluster, master, worker: names.worker, transcript }
}

fn read<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T, Disagreement> {
    serde_json::from_slice(text).map_err(|error| Disagreement::Json(error.to_string()))
}

fn nonce_of(text: &str) -> Result<Nonce, Disagreement> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Disagreement::Nonce)?;
    bytes.try_into().map_err(|_| Disagreement::Nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'static> = Names { cluster: "wazuh", worker: "w1" };
    const HELLO: &[u8] = b"w1 wazuh worker 4.14.7";

    fn cipher() -> Fernet {
        Fernet::new(&[9; 32])
    }

    fn own() -> Told {
        Told { claim: Claim { term: 2, master: "m".to_owned() }, ids: 231, ttl: None }
    }

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn invitation() -> Invitation {
        Invitation::new(HELLO, "Client w1 added").unwrap()
    }

    fn answer(offer: &str, allowed: &[String]) -> Result<Taken, Disagreement> {
        invitation().answer(offer.as_bytes(), allowed, Some(&cipher()), NAMES, &own())
    }

    fn offer(allowed: &[String]) -> Offer {
        Offer::new(HELLO, invitation().text().as_bytes(), allowed, &Claim::default()).unwrap().unwrap()
    }

    #[test]
    fn two_of_our_nodes_agree() {
        let all = texts(&[CHECKSUM_MD5_BLAKE2B, CHECKSUM_MD5]);
        let offered = offer(&all);
        let agreed = answer(offered.text(), &all).unwrap();
        let payload = &agreed.text;
        assert_eq!(agreed.features.checksum(), ChecksumKind::Md5Blake2b);
        assert!(agreed.session.is_none() && !payload.contains("master"), "as an earlier release has it: {payload}");
        let weaker = answer(offered.text(), &all[1..]).unwrap();
        assert_eq!(weaker.features.checksum(), ChecksumKind::Md5, "all that both take");
        let none = answer(offered.text(), &[]).unwrap();
        assert_eq!(none.features, Features::default(), "switched off on the master");
        let taken = offered.taken(payload.as_bytes(), &all, Some(&cipher()), NAMES).unwrap();
        assert_eq!(taken.features, agreed.features);
    }

    /// Of both ends, when `change` has its way with what is on the wire: hello, its answer, the offer, its answer.
    fn sessions(change: impl Fn(usize, &[u8]) -> Vec<u8>) -> [Session; 2] {
        let all = texts(&[DIGEST, SESSION]);
        let invitation = Invitation::new(&change(0, HELLO), "Client w1 added").unwrap();
        let offer =
            Offer::new(HELLO, &change(1, invitation.text().as_bytes()), &all, &Claim::default()).unwrap().unwrap();
        let on_the_wire = change(2, offer.text().as_bytes());
        let master = invitation.answer(&on_the_wire, &all, Some(&cipher()), NAMES, &own()).unwrap();
        let taken = offer.taken(&change(3, master.text.as_bytes()), &all, Some(&cipher()), NAMES).unwrap();
        [master.session.unwrap(), taken.session.unwrap().0]
    }

    fn speak_alike([mut master, mut worker]: [Session; 2]) -> bool {
        let mut sealed = Vec::new();
        worker.sealer.seal(b"header", [1; 16], [b"x", b"y"], &mut sealed).unwrap();
        master.opener.open(b"header", &mut sealed).is_ok()
    }

    #[test]
    fn whoever_changes_a_word_of_the_agreement_has_no_session() {
        assert!(speak_alike(sessions(|_, text| text.to_vec())));
        for at in 0..4 {
            // What is still read in the same way, but for its text, and what takes a feature away.
            let blank = |which: usize, text: &[u8]| {
                let text = String::from_utf8(text.to_vec()).unwrap();
                let changed = match at {
                    0 => text.replace("4.14.7", "4.14.6"),
                    1 => text.replace("added", "Added"),
                    _ => text.replace("\"digest\", ", ""),
                };
                if which == at { changed } else { text }.into_bytes()
            };
            assert!(!speak_alike(sessions(blank)), "{at}");
        }
    }

    #[test]
    fn both_tell_the_term_that_they_know_and_only_in_a_session() {
        let all = texts(&[SESSION, TERM]);
        let seen = Claim { term: 1, master: "earlier".to_owned() };
        let offer = Offer::new(HELLO, invitation().text().as_bytes(), &all, &seen).unwrap().unwrap();
        let taken = answer(offer.text(), &all).unwrap();
        assert_eq!(taken.seen, Some(seen));
        assert_eq!(offer.taken(taken.text.as_bytes(), &all, Some(&cipher()), NAMES).unwrap().told, Some(own()));
        let without = texts(&[DIGEST, TERM]);
        let (offer, taken) =
            (super::tests::offer(&without), answer(super::tests::offer(&without).text(), &all).unwrap());
        assert!(!offer.text().contains("earlier") && taken.seen.is_none() && !taken.text.contains("231"));
    }

    #[test]
    fn every_failure_has_its_reason() {
        let offered = |answer: &[u8]| Offer::new(HELLO, answer, &[], &Claim::default()).map(|offer| offer.is_some());
        assert_eq!(offered(b"Client w1 added"), Ok(false));
        assert_eq!(offered(b"Client w1 added native/1 short"), Err(Disagreement::Nonce));
        assert_eq!(offered(b"Client w1 added native/1 AAECAwQFBgcICQoLDA0ODw"), Ok(true));
        assert!(matches!(answer("{", &[]), Err(Disagreement::Json(_))));
        assert!(matches!(answer(r#"{"nonce": "", "features": []}"#, &[]), Err(Disagreement::Nonce)));
        let taken = |answer: &str, allowed: &[String]| {
            offer(allowed).taken(answer.as_bytes(), allowed, Some(&cipher()), NAMES).map(|agreed| agreed.features)
        };
        let answer = r#"{"features": ["session"]}"#;
        assert_eq!(taken(answer, &[]), Err(Disagreement::NotOffered("session".into())));
        assert_eq!(taken(answer, &texts(&[SESSION])), Err(Disagreement::NoName));
        let all = texts(&[SESSION, TERM]);
        for term in ["", r#", "term": {"term": 2, "master": "other", "ids": 0}"#] {
            let answer = format!(r#"{{"features": ["session", "term"], "master": "m"{term}}}"#);
            assert_eq!(taken(&answer, &all), Err(Disagreement::NoTerm));
        }
    }
}
