//! The edges of a lease's life: one gateway is granted much, then is cut off or loses its center; when the limit is
//! full again, it spends what it still holds in the same moment as another takes all that the center has.
use weir_contract::TenantId;
use weir_contract::lease::{Answer, Call, Definition, Draw, DrawCall, Key, Owner};
use weir_leases::{Center, Timing};
use weir_seeded::SplitMix64;

use super::gateway::{Gateway, GatewayBug, Verdict};
use super::oracle::Oracle;

const CAPACITY: u64 = 100;
const START_MS: u64 = 1_800_000_000_000;

struct Edge {
    random: SplitMix64,
    gateway: Gateway,
    center: Center,
    /// How far the gateway's clock is behind.
    behind_ms: u64,
    /// Whether it calls although a call is under way.
    eager: bool,
    /// Units drawn for a request that will use none.
    reserved: u64,
    /// Answers under way, with their time of arrival.
    answers: Vec<(u64, Answer)>,
}

/// Plays one seed.
pub(crate) fn run(mut random: SplitMix64, bug: Option<GatewayBug>) -> Result<(), String> {
    let owner = Owner::Tenant(TenantId::new("acme").expect("an id"));
    let key = Key { owner, limit: "requests".into(), part: None };
    let definition = Definition { capacity: CAPACITY, refill: CAPACITY, period_ms: 1_000, tiers: Vec::new() };
    let mut gateway = Gateway::new("gateway".into(), key.clone(), definition.clone(), None, bug);
    gateway.idle_ms = 60_000;
    let forgets_at = if random.percent(50) { 1_000 + random.below(2_000) } else { u64::MAX };
    let steps_at = 1_500 + random.below(9_000);
    let step_ms = match random.below(10) {
        0..=5 => random.below(1_000),
        6..=8 => 2_000 + random.below(6_000),
        _ => 0,
    };
    let eager = random.percent(50);
    let cut_off = random.percent(50);
    let reserves = random.percent(40);
    let ends_at = match forgets_at {
        u64::MAX if random.percent(30) => 11_000 + random.below(1_000),
        u64::MAX if random.percent(60) => 13_002 + random.below(900),
        u64::MAX => 10_500 + random.below(9_000),
        _ if cut_off => forgets_at + 1_000 + random.below(12_000),
        _ => forgets_at + 12_001 + random.below(3_000),
    };
    let center = Center::new(1, START_MS, Timing::default());
    let mut edge = Edge { random, gateway, center, behind_ms: 0, eager, reserved: 0, answers: Vec::new() };
    for now in 1_000..ends_at {
        if now == forgets_at {
            edge.center = Center::forgotten(2, START_MS + now, Timing::default());
            edge.other_is_adopted(now);
        }
        if now == steps_at {
            edge.behind_ms = step_ms;
        }
        if reserves {
            edge.reserve(now);
        }
        let reaches =
            now < 1_010 || (reserves && now < 3_010) || (forgets_at != u64::MAX && !(cut_off && now >= forgets_at));
        edge.step(now, reaches);
    }
    edge.finish(ends_at, key, definition)
}

impl Edge {
    fn local(&self, now: u64) -> u64 {
        START_MS + now - self.behind_ms
    }

    /// Another gateway, which holds a unit, goes on with a center that forgot.
    fn other_is_adopted(&mut self, now: u64) {
        let mut report = self.gateway.clone().report(self.local(now));
        (report.lease, report.epoch, report.granted, report.spent) = (1, 1, 1, 0);
        let call = Call { gateway: "other".into(), sent_ms: now, draws: true, leases: vec![report] };
        self.center.call(&call, START_MS + now);
    }

    /// A request reserves all that the lease has, and later turns out to use nothing.
    fn reserve(&mut self, now: u64) {
        let local = self.local(now);
        match now {
            2_900 => {
                self.reserved = self.gateway.balance();
                if self.reserved > 0 && self.gateway.request(self.reserved, local) != Verdict::Admitted {
                    self.reserved = 0;
                }
            }
            4_000 => {
                self.gateway.settle(self.reserved, 0);
            }
            _ => {}
        }
    }

    /// One millisecond. The gateway calls at its ticks, if it reaches the center.
    fn step(&mut self, now: u64, reaches: bool) {
        let local = self.local(now);
        if now == 1_000 {
            (0..20).for_each(|_| assert_eq!(self.gateway.request(1, local), Verdict::Ask));
        }
        let is_tick = now % 500 == 0;
        if is_tick && (self.gateway.should_call(true, local) || self.eager) && reaches {
            let leases = vec![self.gateway.report(local)];
            let call = Call { gateway: "gateway".into(), sent_ms: local, draws: true, leases };
            // The call itself is quick: what is late is the answer.
            let answer = self.center.call(&call, START_MS + now + 1);
            let slowest = if self.random.percent(30) { 50 } else { 2_000 };
            let arrives = now + 2 + self.random.below(slowest);
            self.answers.push((arrives, answer));
        }
        for (_, answer) in self.answers.extract_if(.., |(arrives, _)| *arrives == now) {
            self.gateway.apply(&answer, answer.leases[0], local);
        }
    }

    /// Everybody spends everything.
    fn finish(mut self, now: u64, key: Key, definition: Definition) -> Result<(), String> {
        let mut oracle = Oracle::new(CAPACITY, CAPACITY, 1_000);
        let local = self.local(now);
        while self.gateway.request(1, local) == Verdict::Admitted {
            oracle.draw(1, now)?;
        }
        loop {
            let (key, definition) = (key.clone(), definition.clone());
            let draws = vec![Draw { key, definition, tier: None, cost: 1 }];
            let call = DrawCall { gateway: "other".into(), draws };
            if self.center.draw(&call, START_MS + now).short.is_some() {
                return Ok(());
            }
            oracle.draw(1, now)?;
        }
    }
}
