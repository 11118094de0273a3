#![no_main]
#[path = "../src/money.rs"]
mod money;

libfuzzer_sys::fuzz_target!(|input: &[u8]| money::cost_report(&String::from_utf8_lossy(input)));
