//! The program that `make fuzz` runs: libFuzzer, and the target that `FUZZ_TARGET` names.
#![no_main]

mod targets;

use std::sync::OnceLock;

use targets::Target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        targets::find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET is '{name}', which is no target"))
    });
    target.run(input);
});
