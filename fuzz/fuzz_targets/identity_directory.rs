#![no_main]
#[path = "../src/identity.rs"]
mod identity;

libfuzzer_sys::fuzz_target!(|input: &[u8]| identity::directory(input));
