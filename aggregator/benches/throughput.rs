//! How fast events are taken, each figure beside the floor it is measured against, in the same run.
//!
//! `cargo bench -p weir` runs all; an argument runs the parts whose name contains it. `WEIR_BENCH_SECS` sets how long the
//! end-to-end parts take (10 unless told otherwise).
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]

#[path = "throughput/events.rs"]
mod events;
#[path = "throughput/http.rs"]
mod http;
#[path = "throughput/log.rs"]
mod log;
#[path = "throughput/store.rs"]
mod store;

use std::time::Duration;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let parts: [(&str, fn()); 4] =
        [("judge", store::judge), ("log", log::run), ("store", store::run), ("http", http::run)];
    for (name, part) in parts {
        if name.contains(&wanted) {
            part();
        }
    }
}

/// Prints one figure.
fn print(name: &str, events: u64, took: Duration) {
    let rate = events as f64 / took.as_secs_f64();
    println!("{name:<58} {:>9} events/s  ({events} in {:.2} s)", rate.round(), took.as_secs_f64());
}
