#![no_main]
#[path = "../src/usage.rs"]
mod usage;

libfuzzer_sys::fuzz_target!(|input: &[u8]| usage::usage_encoded(input));
