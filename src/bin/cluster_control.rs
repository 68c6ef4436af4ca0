//! `cluster_control`.
fn main() {}
