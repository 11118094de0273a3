//! One gateway process: its shared data, and workers that draw and renew.
use std::collections::HashMap;

use serde_json::{Value, json};
use weir_contract::lease::{Answer, Call, DrawCall};
use weir_contract::{Class, TenantId, Timestamp};
use weir_filter::classify::ClassSet;
use weir_filter::config::{ConfigError, Environment, Policy, parse};
use weir_filter::fetch::Fetched;
use weir_filter::fleet::Renewals;
use weir_filter::fleet::draw::{self, Drew};
use weir_filter::hash::Keyed;
use weir_filter::limit::{Charge, Demand, DrawnFrom, Limiter, RequestTraits, Settlement, SharedBuckets, Unit, Verdict};
use weir_filter::store::{Read, Store, Write};
use weir_seeded::SplitMix64;

use crate::center::{Center, Serve};

pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// Envoy's shared data, or Kong's: a missing key takes 0 only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    values: HashMap<String, (Vec<u8>, u32)>,
    kong: bool,
}

impl Store for Memory {
    fn read(&mut self, key: &str) -> Read {
        self.values.get(key).map_or(Read::Missing, |(value, cas)| Read::Found(value.clone(), *cas))
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        let next = match self.values.get(key) {
            Some((_, found)) if *found != cas => return Write::Mismatch,
            Some((_, found)) => found + 1,
            None if self.kong && cas != 0 => return Write::Mismatch,
            None => 1,
        };
        self.values.insert(key.to_owned(), (value.to_vec(), next));
        Write::Written
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Admitted,
    Shared,
    Open,
    Limited,
    Short,
    Unreachable,
}

pub(crate) struct Gateway {
    pub(crate) store: Memory,
    pub(crate) renewals: Vec<Renewals>,
    policy: Policy,
    random: SplitMix64,
    /// Its clock, in milliseconds since the start.
    pub(crate) clock: u64,
}

/// A configuration with this plan, and with these fields.
pub(crate) fn compile(plan: &Value, fields: &Value) -> Result<Policy, ConfigError> {
    let mut config = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "plans": {"p": plan},
    });
    config.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let config = parse(config.to_string().as_bytes())?;
    Policy::compile(config, &Environment::Elsewhere, Keyed::new([7; 16]))
}

fn policy(plan: &Value) -> Policy {
    compile(plan, &json!({"leases": {"cluster": "weir", "token": "fleet-token-0123456789"}})).expect("a policy")
}

impl Gateway {
    pub(crate) fn new(seed: u64, workers: usize, plan: &Value) -> Self {
        let store = Memory { kong: seed % 2 == 1, ..Memory::default() };
        let random = SplitMix64::new(seed);
        let mut gateway = Gateway { store, renewals: Vec::new(), policy: policy(plan), random, clock: 0 };
        (0..workers).for_each(|_| gateway.add_worker());
        gateway
    }

    fn renewals(&mut self) -> Renewals {
        let random = self.random.bytes(32);
        Renewals::new(random.try_into().expect("32 bytes"))
    }

    fn add_worker(&mut self) {
        let renewals = self.renewals();
        self.renewals.push(renewals);
    }

    /// A worker dies, and another takes its place.
    pub(crate) fn kill(&mut self, worker: usize) {
        self.renewals[worker] = self.renewals();
    }

    /// The shared data are gone, as after a reload of Kong.
    pub(crate) fn wipe(&mut self) {
        self.store.values.clear();
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(START_MS + self.clock)
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.clock += ms;
    }

    pub(crate) fn clock_back(&mut self, ms: u64) {
        let mut nothing = Center::new(1, 1, 1_000);
        // Workers tick before, so that they know how late it was.
        let _seen = self.call(&mut nothing);
        self.clock = self.clock.saturating_sub(ms);
    }

    fn charge(&self, cost: u64) -> Charge {
        let limit = &self.policy.plans.get("p").expect("the plan").limits[0];
        let traits = RequestTraits {
            class: Class::Other,
            classes: ClassSet::of(Class::Other),
            route: None,
            key: "k",
            user: None,
            model: None,
        };
        Charge {
            limit: 0,
            unit: if &*limit.name == "tokens" { Unit::Tokens } else { Unit::Requests },
            bucket_id: limit.bucket_id(&traits),
            shared_bucket_id: limit.shared_bucket_id(),
            bucket: limit.bucket,
            cost,
            fleet: limit.fleet,
            from: DrawnFrom::Bucket,
        }
    }

    fn note(&mut self, worker: usize, charge: &Charge) {
        let now = self.now();
        let limit = &self.policy.plans.get("p").expect("the plan").limits[0];
        let center = self.policy.center.as_ref().expect("a center");
        self.renewals[worker].note(&Demand { tenant: "acme", limit, charge, center }, now);
    }

    /// A request through a worker, which cannot be held.
    pub(crate) fn request(&mut self, worker: usize, cost: u64) -> Answered {
        match self.take(worker, cost) {
            Ok(drawn) => match drawn.from {
                DrawnFrom::Share => Answered::Shared,
                DrawnFrom::Nothing => Answered::Open,
                _ => Answered::Admitted,
            },
            Err(refused) => refused,
        }
    }

    /// What a request has drawn, to be settled.
    pub(crate) fn draw(&mut self, worker: usize, cost: u64) -> Option<Charge> {
        self.take(worker, cost).ok()
    }

    fn take(&mut self, worker: usize, cost: u64) -> Result<Charge, Answered> {
        let (charge, now) = (self.charge(cost), self.now());
        let verdict = SharedBuckets::new(&mut self.store).take("acme", &[charge], now);
        let (due, result) = match verdict {
            Verdict::Admitted(standings) => (standings[0].due, Ok(Charge { from: standings[0].from, ..charge })),
            Verdict::Limited(_) => (false, Err(Answered::Limited)),
            Verdict::Short(_) => (true, Err(Answered::Short)),
            Verdict::Unreachable(_) => (true, Err(Answered::Unreachable)),
            Verdict::Unavailable(fault) => panic!("{fault:?}"),
        };
        if due {
            self.note(worker, &charge);
        }
        result
    }

    /// The call of a request that is held, and its charge.
    pub(crate) fn draw_call(&mut self, cost: u64) -> (Charge, DrawCall) {
        let charge = self.charge(cost);
        let plan = self.policy.plans.get("p").expect("the plan");
        let tenant = TenantId::new("acme").expect("an id");
        let asked = plan.limits.iter().take(1).map(|limit| (limit, &charge));
        let body = self.renewals[0].draw_call(&mut self.store, &tenant, asked).expect("a call");
        (charge, serde_json::from_slice(&body).expect("a draw"))
    }

    /// The answer to it, or none.
    pub(crate) fn drew(&mut self, charge: &Charge, answer: Option<&[u8]>) -> Option<Charge> {
        let now = self.now();
        let fetched = answer.map_or(Fetched::Nothing, ok);
        match draw::read(&fetched, 1) {
            Drew::All(_) => return Some(Charge { from: DrawnFrom::Center, ..*charge }),
            Drew::Short { wait_ms, .. } => {
                SharedBuckets::new(&mut self.store).refused("acme", charge, wait_ms, now);
            }
            Drew::Unanswered => SharedBuckets::new(&mut self.store).refused("acme", charge, None, now),
        }
        None
    }

    pub(crate) fn settle(&mut self, worker: usize, charge: &Charge, used: u64) {
        let now = self.now();
        let settlement = Settlement { reserved: *charge, used };
        SharedBuckets::new(&mut self.store).settle("acme", &[settlement], now).expect("settled");
        self.note(worker, charge);
    }

    /// What the lease holds: what can be drawn at once, or owed.
    pub(crate) fn balance(&mut self) -> i64 {
        let id = self.charge(1).bucket_id;
        SharedBuckets::new(&mut self.store).lease_balance("acme", id)
    }

    /// The next calls of one worker.
    pub(crate) fn calls_of(&mut self, worker: usize) -> Vec<(u64, Call)> {
        let now = self.now();
        let mut calls = Vec::new();
        if let Some(out) = self.renewals[worker].next_call(&mut self.store, true, now) {
            calls.push((out.call, serde_json::from_slice(&out.body).expect("a call")));
        }
        calls
    }

    pub(crate) fn answer(&mut self, worker: usize, call: u64, answer: &[u8]) {
        let now = self.now();
        self.renewals[worker].answered(&mut self.store, call, &ok(answer), now);
    }

    pub(crate) fn lose(&mut self, worker: usize, call: u64) {
        let now = self.now();
        self.renewals[worker].answered(&mut self.store, call, &Fetched::Nothing, now);
    }

    /// The first worker's next call, and what the center answers.
    pub(crate) fn call(&mut self, center: &mut Center) -> Option<(u64, Vec<u8>)> {
        let (id, call) = self.calls_of(0).into_iter().next()?;
        Some((id, bytes(&center.call(&call))))
    }

    /// The same after the time between two reports, with demand.
    pub(crate) fn call_later(&mut self, center: &mut Center) -> Option<(u64, Vec<u8>)> {
        self.pass(1_100);
        self.request(0, 1);
        self.call(center)
    }

    /// All workers renew what is due.
    pub(crate) fn exchange(&mut self, center: &mut Center) {
        for worker in 0..self.renewals.len() {
            for (id, call) in self.calls_of(worker) {
                let answer = bytes(&center.call(&call));
                self.answer(worker, id, &answer);
            }
        }
    }

    /// All workers go on ticking for a time in which nobody answers.
    pub(crate) fn fail_for(&mut self, ms: u64) {
        (0..ms / 1_000).for_each(|_| self.fail_calls());
    }

    /// All workers try to renew after a while, and nobody answers.
    pub(crate) fn fail_calls(&mut self) {
        self.pass(1_000);
        for worker in 0..self.renewals.len() {
            for (id, _) in self.calls_of(worker) {
                self.lose(worker, id);
            }
        }
    }
}

fn ok(body: &[u8]) -> Fetched<'_> {
    Fetched::Answer { status: 200, etag: None, cache_control: None, body }
}

pub(crate) fn bytes(answer: &Answer) -> Vec<u8> {
    serde_json::to_vec(answer).expect("json")
}
