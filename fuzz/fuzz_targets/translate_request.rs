#![no_main]
#[path = "../src/translate.rs"]
mod translate;

libfuzzer_sys::fuzz_target!(|input: &[u8]| translate::translate_request(input));
