//! The keys of a session, and what is sealed under them (`spec/native.md` 2.8).
//!
//! ```text
//! sealed = IV (16) ‖ AES-256-CBC(PKCS#7) ‖ HMAC-SHA-256 (32) over sequence (8) ‖ header ‖ IV ‖ ciphertext
//! ```
//! The keys belong to one connection, because fresh nonces of both ends go into them, and to one direction. The sequence is
//! counted by both ends and never sent, so what was repeated, left out, reordered or sent back cannot be opened.

use std::{fmt, ops::Range};

use aes::{
    Aes256,
    cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, typenum::U16},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Fernet;

const BLOCK: usize = 16;
const TAG: usize = 32;
/// Bytes worked on at a time: they stay in the processor's cache between encryption and signature.
const PIECE: usize = 16 * 1024;
/// Sets these keys apart from every other use of the cluster key.
const USE: &[u8] = b"threatlockdown cluster session 1";

type Block = Array<u8, U16>;

/// A nonce: what one end adds to the keys, new for each connection.
pub type Nonce = [u8; 16];

/// Why something sealed was refused. The peer is at fault, or somebody between; the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or not whole blocks.
    #[error("it has not the form of a session frame")]
    Form,
    /// Not sealed by the other end, or not as the next frame of this connection.
    #[error(
        "it is not the next frame of this session: it was changed, repeated or left out on the way, or has another key"
    )]
    Signature,
    /// Sealed by the other end, and yet with wrong padding.
    #[error("its padding is wrong")]
    Padding,
    /// As many frames as can be counted were sent.
    #[error("the session has no number for another frame")]
    Exhausted,
}

/// What the two ends of a link have said to each other until they agreed, byte for byte: nobody on the way can have changed
/// or exchanged any of it without ending with other keys.
#[derive(Clone, Debug, Default)]
pub struct Transcript(Sha256);

impl Transcript {
    /// With the next payload.
    pub fn and(mut self, payload: &[u8]) -> Self {
        self.0.update((payload.len() as u64).to_be_bytes());
        self.0.update(payload);
        self
    }
}

/// All that the keys of a session depend on, beside the cluster key.
pub struct Terms<'a> {
    /// What the master has added.
    pub master_nonce: Nonce,
    /// What the worker has added.
    pub worker_nonce: Nonce,
    /// The name of the cluster.
    pub cluster: &'a str,
    /// The name of the master.
    pub master: &'a str,
    /// The name of the worker.
    pub worker: &'a str,
    /// Hello, its answer, the offer and its answer.
    pub transcript: Transcript,
}

/// Which end of a link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The master.
    Master,
    /// The worker.
    Worker,
}

/// Both directions of one end.
pub struct Session {
    /// Of what this end sends.
    pub sealer: Sealer,
    /// Of what it receives.
    pub opener: Opener,
}

/// Seals what one end sends.
pub struct Sealer(Direction);

/// Opens what one end receives.
pub struct Opener(Direction);

/// At one place in memory, however its owner is moved; wiped with it.
type Key = Box<Zeroizing<[u8; 32]>>;

struct Direction {
    encrypts: Key,
    signs: Key,
    /// The number of the next frame.
    sequence: u64,
}

/// The length of what so many bytes become.
pub const fn sealed_length(plain: usize) -> usize {
    BLOCK + BLOCK * (plain / BLOCK + 1) + TAG
}

impl Session {
    /// That of `end` under the cluster key of `cipher`.
    pub fn new(cipher: &Fernet, terms: Terms<'_>, end: End) -> Self {
        let salt = [terms.master_nonce, terms.worker_nonce].concat();
        let keys = Hkdf::<Sha256>::new(Some(&salt), cipher.key());
        let [cluster, master, worker] = [terms.cluster, terms.master, terms.worker].map(str::as_bytes);
        let transcript = terms.transcript.0.finalize();
        let key = |label: &[u8]| {
            let info = [USE, cluster, master, worker, &transcript, label].join(&0);
            let mut key = Key::default();
            // Only a length beyond 255 hashes could fail.
            keys.expand(&info, &mut **key).unwrap_or_else(|_| unreachable!());
            key
        };
        let direction = |encrypts, signs| Direction { encrypts: key(encrypts), signs: key(signs), sequence: 0 };
        let to_master = direction(b"w2m enc", b"w2m mac");
        let to_worker = direction(b"m2w enc", b"m2w mac");
        let (sends, receives) = match end {
            End::Master => (to_worker, to_master),
            End::Worker => (to_master, to_worker),
        };
        Self { sealer: Sealer(sends), opener: Opener(receives) }
    }
}

impl Direction {
    /// The signature of the next frame, begun, and the number of the one behind it.
    fn next(&self, header: &[u8]) -> Result<(Hmac<Sha256>, u64), SealError> {
        let after = self.sequence.checked_add(1).ok_or(SealError::Exhausted)?;
        // A key of HMAC may have any length; there is nothing that could fail.
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&**self.signs).unwrap_or_else(|_| unreachable!());
        Ok((mac.chain_update(self.sequence.to_be_bytes()).chain_update(header), after))
    }
}

impl Sealer {
    /// Appends to `out` what `head` and `body`, one behind the other, become under `header`, [`sealed_length`] bytes. `iv`
    /// must be new and random for each call.
    ///
    /// # Errors
    /// [`SealError::Exhausted`].
    pub fn seal(
        &mut self,
        header: &[u8],
        iv: [u8; BLOCK],
        [head, body]: [&[u8]; 2],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let (mut mac, after) = self.0.next(header)?;
        self.0.sequence = after;
        out.reserve_exact(sealed_length(head.len() + body.len()));
        out.extend_from_slice(&iv);
        mac.update(&iv);
        let mut cipher = cbc::Encryptor::<Aes256>::new((&**self.0.encrypts).into(), &iv.into());
        let mut encrypt = |blocks: &mut [u8]| {
            cipher.encrypt_blocks(Block::slice_as_chunks_mut(blocks).0);
            mac.update(blocks);
        };
        let start = out.len();
        out.extend_from_slice(head);
        let (mut left, mut done) = (body, start);
        loop {
            let (piece, after) = left.split_at(left.len().min(PIECE));
            out.extend_from_slice(piece);
            left = after;
            if left.is_empty() {
                let padding = BLOCK - (out.len() - start) % BLOCK;
                out.resize(out.len() + padding, padding as u8);
            }
            let whole = done + (out.len() - done) / BLOCK * BLOCK;
            encrypt(&mut out[done..whole]);
            done = whole;
            if left.is_empty() {
                break;
            }
        }
        out.extend_from_slice(&mac.finalize().into_bytes());
        Ok(())
    }
}

impl Opener {
    /// Opens `sealed`, which came under `header`, in its own buffer, and tells where the plain bytes stand then. The
    /// signature is verified before anything is decrypted, in constant time.
    ///
    /// # Errors
    /// [`SealError`]; the connection cannot go on, and nothing is to be opened after it.
    pub fn open(&mut self, header: &[u8], sealed: &mut [u8]) -> Result<Range<usize>, SealError> {
        let (mac, after) = self.0.next(header)?;
        let signed = sealed.len().checked_sub(TAG).ok_or(SealError::Form)?;
        if signed <= BLOCK || !signed.is_multiple_of(BLOCK) {
            return Err(SealError::Form);
        }
        let (data, tag) = sealed.split_at_mut(signed);
        mac.chain_update(&*data).verify_slice(tag).map_err(|_| SealError::Signature)?;
        self.0.sequence = after;
        let (iv, encrypted) = data.split_at_mut(BLOCK);
        let mut before = [0; BLOCK];
        before.copy_from_slice(iv);
        let mut cipher = cbc::Decryptor::<Aes256>::new((&**self.0.encrypts).into(), &before.into());
        cipher.decrypt_blocks(Block::slice_as_chunks_mut(encrypted).0);
        let padding = encrypted.last().map_or(0, |last| usize::from(*last));
        let plain = encrypted.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding));
        let plain = plain.ok_or(SealError::Padding)?;
        if encrypted[plain..].iter().any(|byte| usize::from(*byte) != padding) {
            return Err(SealError::Padding);
        }
        Ok(BLOCK..BLOCK + plain)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(hidden)")
    }
}

/// What the tests of all modules agree on.
#[cfg(test)]
fn sample_terms(transcript: Transcript) -> Terms<'static> {
    Terms { master_nonce: [1; 16], worker_nonce: [2; 16], cluster: "wazuh", master: "m", worker: "w1", transcript }
}

/// An end of the session that the tests of all modules use.
#[cfg(test)]
pub(crate) fn sample(end: End) -> Session {
    Session::new(&Fernet::new(&[9; 32]), sample_terms(Transcript::default()), end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{sample as session, sample_terms as terms, *};
    use crate::system::hex::hex;

    fn open(opener: &mut Opener, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = sealed.to_vec();
        let plain = opener.open(b"header", &mut sealed)?;
        Ok(sealed[plain].to_vec())
    }

    fn seal(sealer: &mut Sealer, plain: [&[u8]; 2]) -> Vec<u8> {
        let mut sealed = Vec::new();
        sealer.seal(b"header", [7; 16], plain, &mut sealed).unwrap();
        sealed
    }

    fn bytes(text: &Value) -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..][..2], 16).unwrap()).collect()
    }

    /// Made by the peer in Python (`tests/interop`), with a cipher library of its own.
    #[test]
    fn keys_and_frames_are_those_of_an_independent_implementation() {
        let text = include_str!("../../tests/fixtures/vectors/native_session.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let nonce = |name: &str| bytes(&case[name]).try_into().unwrap();
            let payloads = case["transcript"].as_array().unwrap();
            let transcript = payloads.iter().fold(Transcript::default(), |all, payload| all.and(&bytes(payload)));
            let terms = || Terms {
                master_nonce: nonce("master_nonce"),
                worker_nonce: nonce("worker_nonce"),
                cluster: text("cluster"),
                master: text("master"),
                worker: text("worker"),
                transcript: transcript.clone(),
            };
            let cipher = Fernet::new(text("key").as_bytes().try_into().unwrap());
            let [mut master, mut worker] = [End::Master, End::Worker].map(|end| Session::new(&cipher, terms(), end));
            for (label, direction) in [("w2m", &worker.sealer.0), ("m2w", &worker.opener.0)] {
                assert_eq!(hex(&**direction.encrypts), case["keys"][format!("{label} enc")].as_str().unwrap());
                assert_eq!(hex(&**direction.signs), case["keys"][format!("{label} mac")].as_str().unwrap());
            }
            for frame in case["frames"].as_array().unwrap() {
                let (header, plain) = (bytes(&frame["header"]), bytes(&frame["plain"]));
                let from_master = frame["from"] == "master";
                let sealer = if from_master { &mut master.sealer } else { &mut worker.sealer };
                let mut sealed = Vec::new();
                let (head, body) = plain.split_at(12);
                sealer.seal(&header, bytes(&frame["iv"]).try_into().unwrap(), [head, body], &mut sealed).unwrap();
                assert_eq!(hex(&sealed), frame["body"].as_str().unwrap());
                let opener = if from_master { &mut worker.opener } else { &mut master.opener };
                let range = opener.open(&header, &mut sealed).unwrap();
                assert_eq!(sealed[range], plain);
            }
        }
    }

    #[test]
    fn every_term_changes_every_key() {
        let cipher = Fernet::new(&[9; 32]);
        let keys = |cipher: &Fernet, change: &dyn Fn(&mut Terms<'static>)| {
            let mut terms = terms(Transcript::default());
            change(&mut terms);
            let Session { sealer, opener } = Session::new(cipher, terms, End::Master);
            [&sealer.0, &opener.0].map(|direction| [hex(&**direction.encrypts), hex(&**direction.signs)]).concat()
        };
        let mut all = Vec::new();
        all.extend(keys(&cipher, &|_| ()));
        all.extend(keys(&Fernet::new(&[8; 32]), &|_| ()));
        all.extend(keys(&cipher, &|terms| terms.master_nonce[15] ^= 1));
        all.extend(keys(&cipher, &|terms| terms.worker_nonce[0] ^= 1));
        all.extend(keys(&cipher, &|terms| std::mem::swap(&mut terms.master_nonce, &mut terms.worker_nonce)));
        all.extend(keys(&cipher, &|terms| terms.cluster = "wazuH"));
        all.extend(keys(&cipher, &|terms| terms.master = "m2"));
        all.extend(keys(&cipher, &|terms| terms.worker = "w2"));
        all.extend(keys(&cipher, &|terms| terms.transcript = Transcript::default().and(b"ab").and(b"c")));
        all.extend(keys(&cipher, &|terms| terms.transcript = Transcript::default().and(b"a").and(b"bc")));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!((all.len(), count), (40, 40), "no key is there twice");
    }

    #[test]
    fn a_frame_is_opened_once_in_its_turn_and_by_the_other_end_only() {
        let (mut master, mut worker) = (session(End::Master), session(End::Worker));
        let frames: Vec<_> = (0..3).map(|_| seal(&mut worker.sealer, [b"same", b""])).collect();
        assert_eq!(open(&mut worker.opener, &frames[0]), Err(SealError::Signature), "sent back");
        assert_eq!(open(&mut master.opener, &frames[1]), Err(SealError::Signature), "the first one is missing");
        assert_eq!(open(&mut master.opener, &frames[0]).unwrap(), b"same");
        assert_eq!(open(&mut master.opener, &frames[0]), Err(SealError::Signature), "repeated");
        assert_eq!(open(&mut master.opener, &frames[2]), Err(SealError::Signature), "reordered");
        assert_eq!(open(&mut master.opener, &frames[1]).unwrap(), b"same");
        let mut other = frames[2].clone();
        assert_eq!(master.opener.open(b"Header", &mut other), Err(SealError::Signature), "under another header");
        master.opener.0.sequence = u64::MAX;
        assert_eq!(open(&mut master.opener, &frames[2]), Err(SealError::Exhausted));
    }

    #[test]
    fn what_has_not_the_form_is_refused_before_it_is_looked_at() {
        let mut master = session(End::Master);
        for length in (0..64).chain([65, 79, 95]) {
            assert_eq!(open(&mut master.opener, &vec![0; length]), Err(SealError::Form), "{length}");
        }
        assert!(format!("{master:?}") == "Session(hidden)");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(
            head in prop::collection::vec(any::<u8>(), 0..40), body in prop::collection::vec(any::<u8>(), 0..40_000),
        ) {
            let (mut master, mut worker) = (session(End::Master), session(End::Worker));
            let sealed = seal(&mut master.sealer, [&head, &body]);
            prop_assert_eq!(sealed.len(), sealed_length(head.len() + body.len()));
            prop_assert_eq!(open(&mut worker.opener, &sealed).unwrap(), [head, body].concat());
        }

        #[test]
        fn every_altered_bit_is_noticed(body in prop::collection::vec(any::<u8>(), 0..100), bit: prop::sample::Index) {
            let (mut master, mut worker) = (session(End::Master), session(End::Worker));
            let mut sealed = seal(&mut master.sealer, [b"", &body]);
            let bit = bit.index(8 * sealed.len());
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(open(&mut worker.opener, &sealed), Err(SealError::Signature));
            sealed.truncate(bit / 8);
            prop_assert!(open(&mut worker.opener, &sealed).is_err());
        }
    }
}
