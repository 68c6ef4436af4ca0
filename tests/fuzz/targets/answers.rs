//! What a node reads from the answers and the strings of another: errors, agreements, digests, agents, assignments.

use clusterd::{
    agents::{hash_of, texts},
    crypto::Fernet,
    files::{Buckets, Manifest, manifest::Protected},
    session::native::{Agreed, Invitation, Names, Offer, Taken},
    term::{Claim, Told},
    wire::ErrorObject,
};

use super::{home::items, input::Input};

/// The first byte chooses what the rest is read as.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let which = input.byte() % 7;
    let bytes = input.0;
    let text = String::from_utf8_lossy(bytes);
    match which {
        0 => {
            let error = ErrorObject::from_payload(bytes);
            assert_eq!(ErrorObject::from_payload(error.to_json().as_bytes()), error);
            assert!(error.to_string().starts_with("Error "));
        }
        1 => _ = Offer::new(HELLO, bytes, &features(), &Claim::default()),
        2 => offered(bytes),
        3 => answered(bytes),
        4 => {
            if let Some(buckets) = Buckets::parse(bytes) {
                assert_eq!(Buckets::parse(buckets.text().as_bytes()), Some(buckets));
            }
            let manifest = Manifest::new(items(), Vec::new(), Protected::default());
            let digests = manifest.digests();
            let differing = digests.differing(bytes);
            assert!(bytes == digests.answer(false) || bytes == b"same" || differing != Buckets::NONE);
            _ = digests.are_those_of(bytes);
        }
        5 => {
            if let Ok(list) = texts(&text) {
                assert!(list.len() <= text.len());
            }
        }
        _ => _ = hash_of(&text),
    }
}

const HELLO: &[u8] = b"w1 wazuh worker 4.14.7";

const NAMES: Names<'_> = Names { cluster: "wazuh", worker: "w1" };

fn features() -> Vec<String> {
    ["push", "digest", "session", "term"].map(str::to_owned).to_vec()
}

fn own() -> Told {
    Told { claim: Claim { term: 2, master: "m".to_owned() }, ids: 231, ttl: None }
}

fn invitation() -> Invitation {
    Invitation::new(HELLO, "Client w1 added").expect("the system has randomness")
}

/// A master gets this offer.
fn offered(offer: &[u8]) {
    let cipher = Fernet::new(&[9; 32]);
    if let Ok(Taken { features: taken, session, .. }) =
        invitation().answer(offer, &features(), Some(&cipher), NAMES, &own())
    {
        assert_eq!(taken.session, session.is_some());
    }
}

/// A worker gets this answer to its offer.
fn answered(answer: &[u8]) {
    let cipher = Fernet::new(&[9; 32]);
    let offer = Offer::new(HELLO, invitation().text().as_bytes(), &features(), &Claim::default());
    let offer = offer.expect("it is good").expect("it is an invitation");
    if let Ok(Agreed { features: taken, session, .. }) = offer.taken(answer, &features(), Some(&cipher), NAMES) {
        assert_eq!(taken.session, session.is_some());
    }
}
