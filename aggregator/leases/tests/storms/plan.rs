//! What a seed is: the limit, the gateways, the demand, and what goes wrong.
use weir_contract::lease::{Definition, Tier};
use weir_seeded::SplitMix64;

/// Which failures a seed may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing fails: how much is admitted counts.
    Calm,
    /// Everything fails.
    Storm,
}

/// Which failures a storm has most of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    /// All alike.
    Everything,
    /// Leases that end unrenewed, under clocks that go back.
    Expiry,
    /// A center that forgets, and messages that are late.
    Memory,
    /// Gateways that live on their share.
    Shares,
}

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Alike at all gateways.
    Even,
    /// Most at one gateway.
    Skewed,
    /// In bursts that wander from gateway to gateway.
    Bursts,
    /// All at one gateway, in turns of that many milliseconds.
    Turns(u64),
    /// At all gateways, in pulses that many milliseconds apart: the limit is full when one begins.
    Pulses(u64),
}

/// One simulated fleet.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) gateways: usize,
    pub(crate) definition: Definition,
    /// The definition of half of the gateways, where they differ.
    pub(crate) smaller: Option<Definition>,
    /// Tiers of the gateways, in turn.
    pub(crate) tiers: Vec<String>,
    pub(crate) cost: u64,
    /// Whether requests settle for less than they draw, and some for more.
    pub(crate) settles: bool,
    pub(crate) demand: Demand,
    /// Requests in a second, in the whole fleet.
    pub(crate) rate: u64,
    pub(crate) draws: bool,
    pub(crate) share: bool,
    pub(crate) weather: Weather,
    pub(crate) focus: Focus,
    /// How long a gateway without demand keeps what it holds.
    pub(crate) idle_ms: u64,
    pub(crate) latency_ms: u64,
    pub(crate) length_ms: u64,
    /// A center that fails over once, to a replica that lags by that much.
    pub(crate) lag_ms: Option<u64>,
}

impl Plan {
    /// The storm of a seed.
    pub(crate) fn storm(random: &mut SplitMix64) -> Self {
        let plan = Self::any_storm(random);
        match random.index(10) {
            0 | 1 => plan.focused(Focus::Expiry, random),
            2 | 3 => plan.focused(Focus::Memory, random),
            4 | 5 => plan.focused(Focus::Shares, random),
            _ => plan,
        }
    }

    /// A small fleet whose limit is soon full and soon empty, under one kind of failure.
    fn focused(self, focus: Focus, random: &mut SplitMix64) -> Self {
        let capacity = [20, 40, 80][random.index(3)];
        Plan {
            gateways: 2 + random.index(2),
            definition: Definition { capacity, refill: capacity, period_ms: 1_000, tiers: Vec::new() },
            smaller: None,
            tiers: Vec::new(),
            cost: 1,
            settles: focus == Focus::Memory && random.percent(50),
            demand: match random.below(10) {
                0 => Demand::Even,
                1..=3 => Demand::Turns(2_000 + random.below(10_000)),
                _ => Demand::Pulses(4_000 + random.below(10_000)),
            },
            rate: 3 * capacity,
            share: focus == Focus::Shares,
            focus,
            idle_ms: if focus == Focus::Shares { 3_000 } else { 9_000 },
            ..self
        }
    }

    fn any_storm(random: &mut SplitMix64) -> Self {
        let gateways = [1, 2, 2, 3, 3, 4, 8, 16, 64][random.index(9)];
        let capacity = [5, 20, 60, 100, 1_000, 30_000][random.index(6)];
        let period_ms = [1_000, 10_000, 60_000, 60_000][random.index(4)];
        let refill = if random.percent(10) { 0 } else { capacity.min(1 + random.below(2 * capacity)) };
        let pool = random.percent(15);
        let tier = |name: &str, percent| Tier { name: name.to_owned(), percent };
        let tiers = if pool { vec![tier("gold", 50), tier("silver", 30)] } else { Vec::new() };
        let settles = random.percent(40);
        let cost = if settles || random.percent(30) { 1 + random.below((capacity / 5).max(1)) } else { 1 };
        let definition = Definition { capacity, refill, period_ms, tiers };
        let differs = !pool && gateways <= 4 && random.percent(30);
        let half = Definition { capacity: (capacity / 2).max(1), refill: refill / 2, ..definition.clone() };
        let mean = (refill * 1_000 / period_ms / cost).max(1);
        Plan {
            gateways,
            smaller: differs.then_some(half),
            tiers: if pool { vec!["gold".into(), "silver".into()] } else { Vec::new() },
            definition,
            cost,
            settles,
            // The strictest definition is in force only while its gateway has demand.
            demand: if differs {
                Demand::Even
            } else {
                [Demand::Even, Demand::Skewed, Demand::Bursts][random.index(3)]
            },
            rate: (mean * (1 + random.below(4))).clamp(10, 300),
            draws: random.percent(70),
            share: random.percent(25),
            weather: Weather::Storm,
            focus: Focus::Everything,
            idle_ms: 3_000,
            latency_ms: 1 + random.below(40),
            length_ms: 60_000 + random.below(60_000),
            lag_ms: None,
        }
    }

    /// Demand above the refill, and nothing fails.
    pub(crate) fn calm(gateways: usize, cost_percent: u64, demand: Demand) -> Self {
        let capacity = 3_000;
        let cost = (capacity * cost_percent / 100).max(1);
        Plan {
            gateways,
            definition: Definition { capacity, refill: capacity, period_ms: 60_000, tiers: Vec::new() },
            smaller: None,
            tiers: Vec::new(),
            cost,
            settles: false,
            demand,
            rate: (capacity * 2 / 60 / cost).max(2),
            draws: true,
            share: false,
            weather: Weather::Calm,
            focus: Focus::Everything,
            idle_ms: 3_000,
            latency_ms: 10,
            length_ms: 180_000,
            lag_ms: None,
        }
    }
}
