//! `cluster_control`: shows a cluster to people and programs.

use std::process::ExitCode;

fn main() -> ExitCode {
    clusterd::control::main()
}
