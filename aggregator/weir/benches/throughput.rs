//! Measures how fast events are accepted, each figure next to its floor, in the same run.
//!
//! `make bench` runs all parts; `make bench PART=name` runs one. `WEIR_BENCH_SECS` sets how long each end-to-end part
//! sends, `KEYS` the number of ids that `cold` stores beforehand.
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]

#[path = "../../ledger/benches/postgres/bare.rs"]
mod bare;
#[path = "throughput/cpu.rs"]
mod cpu;
#[path = "throughput/dashboard.rs"]
mod dashboard;
#[path = "throughput/events.rs"]
mod events;
#[path = "throughput/fleet.rs"]
mod fleet;
#[path = "throughput/floor.rs"]
mod floor;
#[path = "throughput/http.rs"]
mod http;
#[path = "throughput/kafka.rs"]
mod kafka_log;
#[path = "throughput/load.rs"]
mod load;
#[path = "throughput/log.rs"]
mod log;
#[path = "throughput/pairs.rs"]
mod pairs;
#[path = "throughput/prices.rs"]
mod prices;
#[path = "throughput/redis.rs"]
mod redis_log;
#[path = "throughput/store.rs"]
mod store;
#[path = "margin/sums.rs"]
mod sums;
#[path = "margin/values.rs"]
mod values;

use std::time::Duration;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let parts: [(&str, fn()); 13] = [
        ("judge", store::judge),
        ("log", log::run),
        ("redis", redis_log::run),
        ("kafka", kafka_log::run),
        ("store", store::run),
        ("http", http::run),
        ("fleet", fleet::run),
        ("prices", || {
            prices::ledger();
            prices::served();
        }),
        ("latency", http::latency),
        ("start", http::start),
        ("cold", http::cold),
        ("sustained", http::sustained),
        ("dashboard", dashboard::run),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || name == wanted {
            part();
        }
    }
}

/// Prints one figure.
fn print(name: &str, events: u64, took: Duration) {
    let rate = events as f64 / took.as_secs_f64();
    println!("{name:<58} {:>9} events/s  ({events} in {:.2} s)", rate.round(), took.as_secs_f64());
}
