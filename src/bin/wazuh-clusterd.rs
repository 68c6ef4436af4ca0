//! `wazuh-clusterd`.
fn main() {}
