#![no_main]
#[path = "../src/body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::request_edits(input));
