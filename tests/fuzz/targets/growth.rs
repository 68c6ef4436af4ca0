//! Inputs that grow: what is read in a time that grows faster than its length is found by no short input. So a short one
//! is repeated here until it is as long as it may be.

use super::{TARGETS, Target, input::Input};

/// Those that start nothing that takes its own time, whatever is read.
const GROWING: [&str; 12] = [
    "frames",
    "fernet",
    "requests",
    "answers",
    "manifest",
    "archive",
    "ossec_conf",
    "cluster_json",
    "client_keys",
    "registration",
    "database",
    "http",
];

/// The first byte chooses the target; of its input the next part is the beginning, the next is repeated, and the last is
/// the end.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let Target { body, longest, .. } = find(input.byte());
    let (first, unit, last) = (input.part(), input.part(), input.0);
    let times = longest.saturating_sub(first.len() + last.len()) / unit.len().max(1);
    body(&[first, &unit.repeat(times), last].concat());
}

fn find(number: u8) -> &'static Target {
    let name = GROWING[usize::from(number) % GROWING.len()];
    TARGETS.iter().find(|target| target.name == name).expect("it is one of them")
}
