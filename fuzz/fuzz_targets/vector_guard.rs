#![no_main]
#[path = "../src/guard.rs"]
mod guard;

libfuzzer_sys::fuzz_target!(|input: &[u8]| guard::vector_guard(input));
