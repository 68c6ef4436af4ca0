//! What every benchmark does around its measuring.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::machine;

/// Why a benchmark could not be run.
pub type Failure = Box<dyn Error>;

/// Runs a benchmark, if this is one: `cargo test --all-targets` runs these programs too.
pub fn main(run: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("Only `make bench` (cargo bench) measures.");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("The benchmark could not be run: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Where homes are made: `BENCH_DIR`, or `target/tmp`.
pub fn place() -> PathBuf {
    std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
}

/// Says which machine this is, and runs `run` in a directory that is made for it, and gone afterwards.
pub fn measure(prefix: &str, run: impl FnOnce(&Path) -> Result<(), Failure>) -> ExitCode {
    main(|| {
        println!("{}", machine::facts());
        let place = place();
        fs::create_dir_all(&place)?;
        run(tempfile::Builder::new().prefix(prefix).tempdir_in(place)?.path())
    })
}
