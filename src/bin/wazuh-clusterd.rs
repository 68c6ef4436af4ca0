//! The cluster daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    clusterd::daemon::main(std::env::args_os().skip(1))
}
