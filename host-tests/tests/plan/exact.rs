//! Limits held to the unit: the time that a refusal tells, tokens across workers, and the published bound.
use crate::common::{ACME, chat, config, used};
use crate::limits::left;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Sent, get, ms, ok, secs, status};

/// Rates, the capacity, and after how many milliseconds an empty bucket has one unit.
const RATES: [(&str, u64, u64); 8] = [
    ("1/s", 5, 1_000),
    ("3/s", 2, 334),
    ("1000/s", 4, 1),
    ("7/min", 2, 8_572),
    ("60/min", 1, 1_000),
    ("5/7s", 5, 1_400),
    ("90/h", 3, 40_000),
    ("1/d", 1, 86_400_000),
];

fn admitted(gateway: &Gateway) -> bool {
    let sent = gateway.send(get("/v1/models").bearer(ACME));
    let passes = sent.seen_upstream().is_some();
    if passes {
        sent.upstream(status(204)).assert_status(204);
    }
    passes
}

/// A gateway whose bucket is empty, and the refusal that says so: `Retry-After`, and `t` of `RateLimit`.
fn drained(gateway: &GatewayBuilder, rate: &str, capacity: u64) -> (Gateway, u64, u64) {
    let plan = json!({"requests": {"rate": rate, "capacity": capacity}});
    let gateway = gateway.clone().config(config(plan)).start();
    (0..capacity).for_each(|_| assert!(admitted(&gateway), "{rate}"));
    let refused = gateway.send(get("/v1/models").bearer(ACME)).reply();
    refused.assert_status(429);
    let number =
        |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{rate}: {text:?}"));
    let t = refused.header("ratelimit").and_then(|header| header.split("t=").nth(1).map(str::to_owned));
    let retry_after = refused.header("retry-after");
    (gateway, number(retry_after.as_deref()), number(t.as_deref()))
}

/// Sends so many chats through each worker, and returns what they used in the end: some less than they reserved, some more,
/// some nothing.
fn spend(gateway: &Gateway, chats: u64) -> u64 {
    let total = AtomicU64::new(0);
    gateway.on_all_workers_at_once(|worker| {
        for at in 0..chats {
            let sent = worker.send(chat(r#"{"model":"m","messages":[],"max_tokens":40}"#));
            if sent.seen_upstream().is_none() {
                sent.reply().assert_status(429);
                continue;
            }
            if at % 5 == 0 {
                sent.upstream(status(503).json(&json!({"error": {"message": "busy"}})));
                continue;
            }
            // Not 0, which means unknown where there are words.
            let (input, output) = (1 + at % 11, 1 + at * 7 % 60);
            sent.upstream(ok().json(&used(input, output)));
            total.fetch_add(input + output, Ordering::Relaxed);
        }
    });
    total.into_inner()
}

/// One gateway of several, and the requests under way in it.
struct Busy<'g> {
    gateway: &'g Gateway,
    open: Vec<Sent<'g>>,
}

/// Requests under way in one gateway at a time, at most.
const OPEN_MAX: usize = 3;
/// What each of them uses. It reserves 100 and some for its input.
const USES: u64 = 500;
const RESERVES_AT_LEAST: u64 = 100;

impl Busy<'_> {
    /// Starts a request if it may; ends the oldest where too many are open or no more may start. Returns what was used.
    fn step(&mut self) -> u64 {
        let sent = self.gateway.send(chat(r#"{"model":"m","messages":[],"max_tokens":100}"#));
        let passes = sent.seen_upstream().is_some();
        if passes {
            self.open.push(sent);
        }
        if self.open.is_empty() || (passes && self.open.len() < OPEN_MAX) {
            return 0;
        }
        self.open.remove(0).upstream(ok().json(&used(USES / 2, USES / 2)));
        USES
    }
}

on_both_gateways! {
    fn the_time_to_wait_is_exact(gateway) {
        for (rate, capacity, wait_ms) in RATES {
            let (early, retry_after, t) = drained(&gateway, rate, capacity);
            assert_eq!((retry_after, t), (wait_ms.div_ceil(1_000).max(1), wait_ms.div_ceil(1_000)), "{rate}");
            early.advance(ms(wait_ms - 1));
            assert!(!admitted(&early), "{rate}: a millisecond too early");
            early.advance(ms(1));
            assert!(admitted(&early), "{rate}: in time");
        }
    }

    fn who_obeys_retry_after_is_admitted_and_who_comes_a_second_early_is_not(gateway) {
        for (rate, capacity, _) in RATES {
            let (early, retry_after, _) = drained(&gateway, rate, capacity);
            early.advance(secs(retry_after - 1));
            assert!(!admitted(&early), "{rate}: a second early");
            let (in_time, retry_after, _) = drained(&gateway, rate, capacity);
            in_time.advance(secs(retry_after));
            assert!(admitted(&in_time), "{rate}: in time");
        }
    }

    fn no_token_is_lost_and_none_created_by_workers_at_once(gateway) {
        for workers in [2, 4] {
            let plan = json!({"tokens": {"rate": "1/d", "capacity": 20_000}});
            let gateway = gateway.clone().config(config(plan)).workers(workers).start();
            let total = spend(&gateway, 40);
            assert_eq!(left(&gateway), 20_000 - total, "{workers} workers");
            assert_eq!(gateway.metric("weir_limit_faults.fault.contended"), 0);
        }
    }

    fn what_is_used_keeps_to_the_published_bound_per_gateway_and_for_n_of_them(gateway) {
        for count in [1, 3] {
            let plan = json!({"tokens": {"rate": "600/min", "capacity": 1_000}});
            let gateways: Vec<Gateway> = (0..count).map(|_| gateway.clone().config(config(plan.clone())).start()).collect();
            let mut busy: Vec<Busy<'_>> = gateways.iter().map(|gateway| Busy { gateway, open: Vec::new() }).collect();
            let (mut total, mut passed_ms) = (0, 0);
            for _ in 0..120 {
                total += busy.iter_mut().map(Busy::step).sum::<u64>();
                let overshoot = (USES - RESERVES_AT_LEAST) * OPEN_MAX as u64;
                let bound = 1_000 + passed_ms / 100 + overshoot;
                assert!(total <= count * bound, "{total} of {count} gateways after {passed_ms} ms");
                gateways.iter().for_each(|gateway| gateway.advance(ms(700)));
                passed_ms += 700;
            }
            assert!(total >= count * (1_000 + passed_ms / 100 - USES), "and it is reached: {total}");
            let overshot: u64 = gateways.iter().map(|gateway| gateway.metric("weir_tokens_overshot")).sum();
            assert!(overshot > 0, "the gateway says how much");
        }
    }
}
