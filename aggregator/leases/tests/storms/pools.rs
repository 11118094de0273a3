//! Pools without failures: what tiers owe each other, drawn on at random. The storms count what all tiers admit together.
use weir_contract::TenantId;
use weir_contract::lease::{Definition, Draw, DrawCall, Key, Owner, Tier};
use weir_leases::limit::TierView;
use weir_leases::{Center, Timing};
use weir_seeded::SplitMix64;

use crate::oracle::Oracle;

const START_MS: u64 = 1_800_000_000_000;
const NAMES: [&str; 3] = ["enterprise", "pro", "starter"];

/// A pool, and one bucket for each tier that its owner may always draw from: half of its share, and all of its refill.
struct Pool {
    center: Center,
    key: Key,
    definition: Definition,
    promised: Vec<Oracle>,
    whole: Oracle,
}

impl Pool {
    fn new(random: &mut SplitMix64) -> Self {
        let capacity = [200, 1_000, 60_000][random.index(3)];
        let refill = 1 + random.below(2 * capacity);
        let percents = [[50, 30, 20], [60, 30, 10], [40, 30, 20]][random.index(3)];
        let tiers: Vec<_> =
            NAMES.iter().zip(percents).map(|(name, percent)| Tier { name: (*name).into(), percent }).collect();
        let promised = tiers.iter().map(|tier| {
            let percent = u64::from(tier.percent);
            // The oracle counts whole units: what it promises is a unit less than half.
            Oracle::new((capacity * percent / 200).saturating_sub(1), refill * percent, 6_000_000)
        });
        Pool {
            center: Center::new(1, START_MS, Timing::default()),
            key: Key { owner: Owner::Pool("provider".into()), limit: "tokens".into(), part: None },
            promised: promised.collect(),
            whole: Oracle::new(capacity, refill, 60_000),
            definition: Definition { capacity, refill, period_ms: 60_000, tiers },
        }
    }

    fn call(&self, tier: usize, cost: u64) -> DrawCall {
        let draw =
            Draw { key: self.key.clone(), definition: self.definition.clone(), tier: Some(NAMES[tier].into()), cost };
        DrawCall { gateway: "g".into(), draws: vec![draw] }
    }

    fn tiers(&mut self, now: u64) -> Vec<TierView> {
        let views = self.center.views(START_MS + now, 1, |_| true);
        views.into_iter().next().map(|(_, view)| view.tiers).unwrap_or_default()
    }

    /// Draws at a moment, and says what is wrong with the answer.
    fn draw(&mut self, tier: usize, cost: u64, now: u64) -> Result<(), String> {
        let before = self.tiers(now);
        let own = self.promised[tier].has(cost, now);
        let call = self.call(tier, cost);
        let answer = self.center.draw(&call, START_MS + now);
        let Some(short) = answer.short else {
            self.whole.draw(cost, now)?;
            if own {
                self.promised[tier].draw(cost, now)?;
            } else {
                self.promised[tier].empty(now);
            }
            return self.check_lenders(tier, cost, &before, now);
        };
        if own {
            return Err(format!("{} was refused {cost} units of its own", NAMES[tier]));
        }
        self.check_wait(&call, short.wait_ms, now)
    }

    /// A draw that its own tier covers costs no other tier anything.
    fn check_lenders(&mut self, tier: usize, cost: u64, before: &[TierView], now: u64) -> Result<(), String> {
        let covers = before.get(tier).is_some_and(|own| own.level >= i64::try_from(cost).expect("small"));
        let after = self.tiers(now);
        let same = |other: usize| before[other].level == after[other].level;
        if covers && (0..before.len()).any(|other| other != tier && !same(other)) {
            return Err(format!("{} has {cost} units and borrowed", NAMES[tier]));
        }
        Ok(())
    }

    /// The time to wait is exact where nobody else draws.
    fn check_wait(&self, call: &DrawCall, wait_ms: Option<u64>, now: u64) -> Result<(), String> {
        let admits = |at: u64| {
            let mut copy = Center::restored(self.center.checkpoint());
            copy.draw(call, START_MS + at).short.is_none()
        };
        match wait_ms {
            Some(wait_ms) if !admits(now + wait_ms) => Err(format!("nothing is there after {wait_ms} ms")),
            Some(wait_ms) if admits(now + wait_ms - 1) => Err(format!("it is there before {wait_ms} ms")),
            None if admits(now + 86_400_000) => Err("it is there, and was said never to be".to_owned()),
            _ => Ok(()),
        }
    }
}

/// One pool for some minutes: tiers are idle and busy in turn.
pub(crate) fn run(mut random: SplitMix64) -> Result<(), String> {
    let mut pool = Pool::new(&mut random);
    let mut now = 0;
    let mean = (pool.definition.capacity / 20).max(2);
    for turn in 0..8 {
        let busy = if turn % 2 == 0 { 2 } else { random.index(3) };
        for _ in 0..30 {
            now += random.below(1_500);
            let tier = if random.percent(70) { busy } else { random.index(3) };
            pool.draw(tier, 1 + random.below(2 * mean), now)?;
        }
        now += random.below(40_000);
    }
    Ok(())
}

/// A tenant's own limit and its pool: a request draws from both or from neither.
#[test]
fn a_saturated_pool_costs_a_tenant_nothing() {
    let mut random = SplitMix64::new(7);
    let mut pool = Pool::new(&mut random);
    let own = Draw {
        key: Key { owner: Owner::Tenant(TenantId::new("acme").expect("an id")), limit: "tokens".into(), part: None },
        definition: Definition { tiers: Vec::new(), ..pool.definition.clone() },
        tier: None,
        cost: 1,
    };
    let most = pool.definition.capacity;
    let shared = pool.call(2, most).draws.remove(0);
    let both = DrawCall { gateway: "g".into(), draws: vec![own.clone(), shared] };
    assert_eq!(pool.center.draw(&both, START_MS).short.map(|short| short.index), Some(1));
    let all = DrawCall { gateway: "g".into(), draws: vec![Draw { cost: most, ..own }] };
    assert_eq!(pool.center.draw(&all, START_MS).short, None, "the tenant's limit is as full as before");
}
