//! A center as the protocol describes it, for one limit without tiers: simple, and apart from the real one.
use std::collections::BTreeMap;

use weir_contract::lease::{
    Answer, CLOCK_ERROR_MS, Call, DrawAnswer, DrawCall, Grant, LeaseState, Report, Short, TTL_MS,
};

/// What gateways call.
pub(crate) trait Serve {
    fn advance(&mut self, now: u64);
    fn call(&mut self, call: &Call) -> Answer;
    fn draw(&mut self, call: &DrawCall) -> DrawAnswer;
    /// Loses its memory, where it can.
    fn forget(&mut self);
}

/// A lease as the center believes it to be.
#[derive(Clone, Debug, Default)]
struct Lease {
    granted: u64,
    spent: u64,
    returned: u64,
    wants: bool,
    ends: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Center {
    pub(crate) epoch: u64,
    capacity: u64,
    refill: u64,
    period_ms: u64,
    /// Units times the period.
    level: u128,
    now: u64,
    leases: BTreeMap<(String, u64), Lease>,
    pub(crate) sharers: u64,
    /// Units that gateways gave back.
    pub(crate) returned: u64,
}

impl Center {
    pub(crate) fn new(capacity: u64, refill: u64, period_ms: u64) -> Self {
        let level = u128::from(capacity) * u128::from(period_ms);
        let leases = BTreeMap::new();
        Center { epoch: 1, capacity, refill, period_ms, level, now: 1, leases, sharers: 0, returned: 0 }
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.advance(self.now + ms);
    }

    pub(crate) fn level(&self) -> u64 {
        u64::try_from(self.level / u128::from(self.period_ms)).expect("units")
    }

    pub(crate) fn held(&self) -> u64 {
        self.leases.values().map(|lease| lease.granted.saturating_sub(lease.spent)).sum()
    }

    fn put(&mut self, amount: u128) {
        let room = u128::from(self.capacity.saturating_sub(self.held())) * u128::from(self.period_ms);
        self.level = (self.level + amount).min(room.max(self.level));
    }

    fn report(&mut self, gateway: &str, report: &Report) -> Grant {
        let key = (gateway.to_owned(), report.lease);
        if !self.leases.contains_key(&key) && (report.granted > 0 || report.epoch > 0) {
            return Grant { lease: report.lease, state: LeaseState::Lapsed, ..Grant::default() };
        }
        let lease = self.leases.entry(key.clone()).or_default();
        lease.spent = lease.spent.max(report.spent);
        let back = report.returned.saturating_sub(lease.returned);
        lease.returned += back;
        self.returned += back;
        (lease.wants, lease.ends) = (report.want > 0, self.now + TTL_MS + CLOCK_ERROR_MS);
        let wants = lease.wants;
        self.put(u128::from(back) * u128::from(self.period_ms));
        let holders = self.leases.values().filter(|lease| lease.wants).count() as u64;
        let target = if wants { (self.capacity / (2 * holders)).max(1) } else { 0 };
        let level = self.level();
        let lease = self.leases.get_mut(&key).expect("there");
        let more = (lease.spent + report.want.min(target)).saturating_sub(lease.granted).min(level);
        lease.granted += more;
        self.level -= u128::from(more) * u128::from(self.period_ms);
        let granted = lease.granted;
        Grant {
            lease: report.lease,
            state: LeaseState::Held,
            granted,
            target,
            level: self.level(),
            wait_ms: self.wait_ms(report.largest),
            sharers: self.sharers,
        }
    }

    fn wait_ms(&self, units: u64) -> u64 {
        let missing = (u128::from(units) * u128::from(self.period_ms)).saturating_sub(self.level);
        u64::try_from(missing.div_ceil(u128::from(self.refill))).expect("a span")
    }
}

impl Serve for Center {
    /// Refills what leases leave room for, and forgets those that have ended.
    fn advance(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        self.put(u128::from(passed) * u128::from(self.refill));
        self.leases.retain(|_, lease| lease.ends > now);
    }

    fn call(&mut self, call: &Call) -> Answer {
        call.check().expect("a call in range");
        let leases = call.leases.iter().map(|report| self.report(&call.gateway, report)).collect();
        Answer { epoch: self.epoch, sent_ms: call.sent_ms, at_ms: self.now, ttl_ms: TTL_MS, leases }
    }

    fn draw(&mut self, call: &DrawCall) -> DrawAnswer {
        call.check().expect("a call in range");
        let draw = &call.draws[0];
        if self.level() < draw.cost {
            let short = Short { index: 0, wait_ms: Some(self.wait_ms(draw.cost)) };
            return DrawAnswer { epoch: self.epoch, short: Some(short), levels: vec![self.level()] };
        }
        self.level -= u128::from(draw.cost) * u128::from(self.period_ms);
        DrawAnswer { epoch: self.epoch, short: None, levels: vec![self.level()] }
    }

    fn forget(&mut self) {}
}
