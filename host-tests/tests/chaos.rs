//! The built `weir.wasm` under a host that fails it: hostcalls refuse, give nothing, or answer nonsense, at random, while
//! the aggregator fails, too. No answer makes it trap, and what it promises holds all the same.
//!
//! A run is many short lives, each of a seed of its own. `make chaos SEED=n REQUESTS=1` lives the one that failed again.
mod chaos {
    pub(crate) mod ledger;
    pub(crate) mod traffic;
}

use chaos::ledger::Ledger;
use chaos::traffic::{self, Sender};
use serde_json::json;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, get, ms, ok, secs, status};
use weir_rig::workspace;
use weir_seeded::SplitMix64;

/// The default number of requests per gateway.
const REQUESTS: u64 = 100_000;

/// Requests of one life.
const LIFE: u64 = 1_000;

/// The percentages of failing hostcalls, one per life.
const PERCENTS: [u64; 5] = [1, 5, 20, 50, 90];

/// The most memory that a worker may have after a life of errors: what it starts with is some 1.5 MB.
const WORKER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Says how to live a life again when it fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("live it again with: make chaos SEED={} REQUESTS=1", self.0);
        }
    }
}

on_both_gateways! {
    fn no_answer_of_a_hostcall_makes_the_filter_trap_or_break_its_word(gateway) {
        let lives = workspace::requests_wanted().unwrap_or(REQUESTS).div_ceil(LIFE);
        let first = workspace::seed_wanted().unwrap_or(1);
        let (mut events, mut memory) = (0, 0);
        for seed in first..first + lives {
            let _replay = Replay(seed);
            let (of_life, bytes) = live(gateway.clone(), seed);
            events += of_life;
            memory = memory.max(bytes);
        }
        println!(
            "{:?}: {} requests, seeds {first} to {}: {events} events, at most {memory} bytes of memory a worker",
            gateway.profile(), lives * LIFE, first + lives - 1
        );
        assert!(events > 0, "some requests are served even so");
    }
}

/// One life: returns the number of its events, and the worker's memory at its end.
fn live(builder: GatewayBuilder, seed: u64) -> (usize, usize) {
    let mut dice = SplitMix64::new(seed);
    let gateway = builder.seed(seed).config_in_yaml(&traffic::config(dice.below(2) == 0)).start();
    let ledger = Ledger::default();
    ledger.listen(&gateway, seed);
    gateway.answer_all("tenants", |_| status(200).json(&traffic::directory()));
    gateway.tick();
    let percent = PERCENTS[dice.index(PERCENTS.len())];
    gateway.unleash_chaos(percent, seed);
    for number in 0..LIFE {
        traffic::one(&gateway, &mut dice, number);
        gateway.advance(ms(dice.below(100)));
        gateway.tick();
    }
    gateway.unleash_chaos(0, 0);
    heals(&gateway);
    ledger.recover();
    gateway.run_for(secs(300));
    let memory = gateway.worker(0).memory_bytes();
    assert!(memory <= WORKER_MAX_BYTES, "{memory} bytes");
    (ledger.assert_true(), memory)
}

/// As soon as the host answers as it should, so does the filter.
fn heals(gateway: &Gateway) {
    gateway.run_for(secs(30));
    gateway.send(get("/healthz")).upstream(ok()).assert_status(200);
    for sender in Sender::ALL {
        let reply = gateway.send(sender.chat("after")).upstream(ok().json(&json!({"model": "m"})));
        assert_eq!(reply.upstream_request().header("x-tenant-id"), Some(sender.tenant()));
    }
    gateway.send(get("/v1/models").bearer("sk_weir_nobody")).reply().assert_status(401);
}
