//! libFuzzer's way into target `ioapic`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzz::check_or_panic(&fuzz::targets::IOAPIC, input));
