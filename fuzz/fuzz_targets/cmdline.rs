//! libFuzzer's way into target `cmdline`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzz::parser::check_or_panic(&fuzz::parser::CMDLINE, input));
