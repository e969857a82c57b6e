//! Fuzz targets over one action type.
//!
//! An input is a [`program::Program`]: a set-up and actions. libFuzzer mutates its bytes ([`codec`]), people read its
//! text (qtest lines), and conformance cases and the programs in `seeds/` are the same thing. [`execution`] runs one on
//! the reference machine and checks what must hold whatever a guest does; [`canary`] tells whether a corpus gets where
//! it should. [`guest`] is apart: random programs in a real guest, against the VMM as a process.
//!
//! Nothing here needs libFuzzer but the two small files in `fuzz_targets/`, which the feature `libfuzzer` turns on.

pub mod bench;
pub mod canary;
pub mod codec;
pub mod differential;
pub mod execution;
pub mod guest;
pub mod parser;
pub mod planted;
pub mod program;
pub mod promote;
pub mod provoked;
pub mod reduce;
pub mod seeds;
pub mod target;
pub mod targets;

/// Runs one input and panics on a finding, so that libFuzzer keeps the input. With [`planted::VARIABLE`] set, the
/// machine has that bug.
///
/// # Panics
/// With the finding and the program as text.
pub fn check_or_panic(target: &target::Target, input: &[u8]) {
    if let Some(mutant) = planted::asked_for() {
        return planted::check_or_panic(target, mutant, input);
    }
    if let Err(finding) = execution::check(target, input) {
        let program = codec::decode(target, input);
        panic!("finding: {finding}\n{}", program.text(target));
    }
}
