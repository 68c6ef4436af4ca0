//! Payloads of requests (`spec/protocol.md` 4.6): each command from everybody, and what its text is read as.

use clusterd::{
    session::hello,
    wire::{Asker, Command, ErrorObject, Hello, NotTaken, Payload, Request, Routed, longest},
};

use super::input::Input;

const ASKERS: [Asker; 5] = [Asker::Stranger, Asker::Worker, Asker::Master, Asker::Program, Asker::Daemon];

/// The first byte chooses who asks; the name of the command and its payload follow.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let (asker, field) = (input.choice(&ASKERS), input.command());
    let payload = input.0;
    let may_ask = Command::named(field.name()).is_some_and(|command| command.askers().contains(&asker));
    match Request::parse(asker, field, payload) {
        Ok(_) => assert!(may_ask && payload.len() <= longest(field)),
        Err(NotTaken::Malformed(_)) => assert!(may_ask),
        Err(NotTaken::Unknown | NotTaken::SayHelloFirst) => assert!(!may_ask),
    }
    if let Ok(Routed { name, content }) = Routed::read(payload) {
        assert_eq!(Routed::payload(name, content), payload);
    }
    if let Ok(who) = Hello::read(payload) {
        greets(&who, payload);
    }
    if let Some(error) = ErrorObject::from_json(payload) {
        assert_eq!(ErrorObject::from_json(error.to_json().as_bytes()), Some(error));
    }
}

/// A name that is let in is one that can be a directory.
fn greets(who: &Hello, payload: &[u8]) {
    let version = "4.14.7".parse().expect("a version");
    let Hello { node, cluster, node_type, version: stated } = who;
    assert_eq!(format!("{node} {cluster} {node_type} {stated}").as_bytes(), payload);
    let rules = hello::Rules { master: "m", cluster: "wazuh", version, accept_patch_versions: true, allowed: true };
    if hello::check(who, &rules).is_ok() {
        assert!(!node.is_empty() && node != "." && node != ".." && !node.contains(['/', '\0', '\n']));
    }
}
