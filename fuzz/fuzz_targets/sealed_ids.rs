#![no_main]
#[path = "../src/sealed.rs"]
mod sealed;

libfuzzer_sys::fuzz_target!(|input: &[u8]| sealed::sealed_ids(input));
