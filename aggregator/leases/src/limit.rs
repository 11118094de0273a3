//! One limit of the fleet: its levels, the leases on it, and the shares promised.
mod lease;
mod level;
mod levels;
mod shares;
mod size;
mod tiers;
mod time;
mod timing;
mod view;

use serde::{Deserialize, Serialize};
use weir_contract::lease::{COUNT_MAX, Definition, Draw, Grant, LeaseState, Report, SHARE_MAX_MS};
use weir_fault::{Point, hit};

use lease::Lease;
pub use levels::Levels;
use shares::Share;
use size::Size;
use tiers::Tiers;
pub use view::{HolderView, LimitView, TierView};

/// The most leases on one limit. Further gateways are [`LeaseState::Refused`] until some have expired.
pub(crate) const LEASES_PER_LIMIT_MAX: usize = 512;

pub use timing::Timing;

/// A call's facts beside a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// The gateway process.
    pub(crate) gateway: &'a str,
    /// Whether it can ask for each request.
    pub(crate) draws: bool,
    /// The center's memory.
    pub(crate) epoch: u64,
    /// The center's time.
    pub(crate) now: u64,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    size: Size,
    tiers: Tiers,
    /// The time until which refill is credited.
    at_ms: u64,
    leases: Vec<Lease>,
    shares: Vec<Share>,
    /// Units that gateways may hold of an earlier memory, until `unknown_until_ms`.
    unknown: u64,
    unknown_until_ms: u64,
    /// Until when gateways may spend shares that an earlier memory promised, up to the whole refill.
    unknown_shares_until_ms: u64,
    timing: Timing,
    /// Leases that ended with units unspent, and those units; until [`Limit::take_lost`].
    #[serde(skip)]
    lost: Lost,
}

/// Leases that ended without a word from their gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// How many.
    pub(crate) leases: u64,
    /// What they still held, which counts as spent.
    pub(crate) units: u64,
}

impl Limit {
    /// A limit that nobody has drawn on: full.
    pub(crate) fn new(definition: &Definition, now: u64, timing: Timing) -> Self {
        let mut limit = Self::empty(definition, now, timing);
        for tier in 0..limit.tiers.len() {
            let units = limit.tiers.share(tier, definition.capacity);
            limit.put_back(tier, units);
        }
        limit
    }

    /// A limit of which the center has forgotten at `lost_ms` who holds what. It begins empty, and until every earlier
    /// lease has ended all of it may be out.
    pub(crate) fn forgotten(definition: &Definition, lost_ms: u64, timing: Timing) -> Self {
        let unknown_until_ms = lost_ms + timing.outlived_ms();
        let unknown_shares_until_ms = unknown_until_ms + SHARE_MAX_MS;
        let unknown = definition.capacity;
        let empty = Self::empty(definition, lost_ms, timing);
        Limit { unknown, unknown_until_ms, unknown_shares_until_ms, ..empty }
    }

    fn empty(definition: &Definition, now: u64, timing: Timing) -> Self {
        Limit {
            size: Size::new(definition.clone(), now),
            tiers: Tiers::empty(definition),
            at_ms: now,
            leases: Vec::new(),
            shares: Vec::new(),
            unknown: 0,
            unknown_until_ms: 0,
            unknown_shares_until_ms: 0,
            timing,
            lost: Lost::default(),
        }
    }

    /// Takes a report and tops the lease up.
    pub(crate) fn report(&mut self, caller: Caller<'_>, report: &Report) -> Grant {
        if !report.share {
            self.unknown_shares_until_ms = 0;
        }
        self.advance(caller.now);
        let refused = Grant { lease: report.lease, state: LeaseState::Refused, ..Grant::default() };
        if !self.hear_definition(&report.definition) {
            return refused;
        }
        let Some(tier) = self.tiers.index(report.tier.as_deref()) else { return refused };
        let Some(index) = self.find(caller, report, tier) else {
            let full = self.leases.len() >= LEASES_PER_LIMIT_MAX;
            let state = if full { LeaseState::Refused } else { LeaseState::Lapsed };
            return Grant { state, ..refused };
        };
        let given_back = self.leases[index].hear(report);
        self.catch_up(index, caller, report);
        self.leases[index].lasts_until(self.at_ms + self.timing.outlived_ms());
        self.put_back(tier, given_back);
        let sharers = self.share(caller, report, tier);
        let target = self.divide(index, caller.draws);
        self.top_up(index, report.want.min(target));
        self.assert_bound();
        self.grant(index, target, sharers)
    }

    /// Draws for one request. The error is the time until there is enough; None if there never is.
    pub(crate) fn draw(&mut self, draw: &Draw, now: u64) -> Result<(), Option<u64>> {
        self.advance(now);
        let known = self.hear_definition(&draw.definition);
        let Some(tier) = self.tiers.index(draw.tier.as_deref()).filter(|_| known) else {
            return Err(Some(self.timing.outlived_ms()));
        };
        if self.tiers.available(tier, &self.size) < draw.cost && !hit(Point::DrawUnpaid) {
            return Err(self.tiers.wait_ms(tier, draw.cost, &self.size).filter(|wait_ms| *wait_ms < COUNT_MAX));
        }
        if !hit(Point::DrawUnpaid) {
            self.tiers.take(tier, draw.cost, &self.size);
        }
        self.assert_bound();
        Ok(())
    }

    /// Undoes a draw whose request was refused by another limit.
    pub(crate) fn undo(&mut self, draw: &Draw) {
        if let Some(tier) = self.tiers.index(draw.tier.as_deref()) {
            self.put_back(tier, draw.cost);
        }
    }

    /// Whole units that a tier can have now.
    pub(crate) fn available(&self, tier: Option<&str>) -> u64 {
        self.tiers.index(tier).map_or(0, |tier| self.tiers.available(tier, &self.size))
    }

    /// What ended without a word since the last time, for metrics.
    pub(crate) fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// The settings in force. Leases and shares under others keep their ends.
    pub(crate) fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Whether nothing is lost by dropping it at `now`: it is as full as a new one, or a budget that no gateway has
    /// named for its period and `budget_kept_ms`.
    pub(crate) fn is_over(&mut self, now: u64, budget_kept_ms: u64) -> bool {
        self.advance(now);
        let definition = &self.size.definition;
        let full = i128::from(definition.capacity) * i128::from(self.size.scale());
        let is_full = self.total() >= full;
        let is_idle = self.leases.is_empty() && self.shares.is_empty() && self.unknown == 0;
        let kept_ms = budget_kept_ms.saturating_add(definition.period_ms);
        let is_stale = definition.refill == 0 && self.size.heard_ms().saturating_add(kept_ms) < now;
        is_idle && (is_stale || (definition.refill > 0 && is_full))
    }

    /// The lease of a report: known, adopted from an earlier memory, or new. None: the gateway must drop it.
    fn find(&mut self, caller: Caller<'_>, report: &Report, tier: usize) -> Option<usize> {
        let is_it =
            |lease: &Lease| lease.gateway == caller.gateway && lease.number == report.lease && lease.tier == tier;
        if let Some(index) = self.leases.iter().position(is_it) {
            return Some(index);
        }
        if self.leases.len() >= LEASES_PER_LIMIT_MAX {
            return None;
        }
        let mut lease = Lease::new(caller.gateway, report, tier, self.at_ms);
        if report.epoch != 0 || report.granted != 0 {
            let held = report.granted.saturating_sub(report.spent);
            let earlier = report.epoch < caller.epoch && held <= self.unknown;
            if !earlier || self.unknown_until_ms <= self.at_ms {
                return None;
            }
            lease.granted = report.granted;
            self.unknown -= held;
            if hit(Point::AdoptedOnce) {
                self.unknown = 0;
            }
        }
        self.leases.push(lease);
        Some(self.leases.len() - 1)
    }

    /// The gateway was granted more than this memory knows: the center went back in time, and pays from its level.
    fn catch_up(&mut self, index: usize, caller: Caller<'_>, report: &Report) {
        let lease = &mut self.leases[index];
        let more = report.granted.saturating_sub(lease.granted);
        if report.epoch == caller.epoch && more > 0 {
            lease.granted = report.granted;
            self.tiers.take(lease.tier, more, &self.size);
        }
    }

    /// Decides whether the lease is one that the limit is divided among. Returns how much it should hold.
    fn divide(&mut self, index: usize, draws: bool) -> u64 {
        let tier = self.leases[index].tier;
        let same = |lease: &&Lease| lease.tier == tier && lease.wants;
        let largest = self.leases.iter().filter(same).map(|lease| lease.largest).max().unwrap_or(1);
        let capacity = self.tiers.share(tier, self.size.definition.capacity);
        let lent = self.timing.lent(capacity);
        let holders_max = lent / largest.max(1);
        let holds = |(other, lease): &(usize, &Lease)| *other != index && same(lease) && lease.holds;
        let others = self.leases.iter().enumerate().filter(holds).count() as u64;
        let lease = &mut self.leases[index];
        lease.holds = lease.wants && (others < holders_max || !draws);
        if lease.holds { self.size.target((lent, capacity), others + 1, largest) } else { 0 }
    }

    /// Grants until the lease holds `units`, as far as the level allows.
    fn top_up(&mut self, index: usize, units: u64) {
        let lease = &mut self.leases[index];
        let available = self.tiers.available(lease.tier, &self.size);
        let units = lease.missing(units).min(available).min(COUNT_MAX.saturating_sub(lease.granted));
        lease.granted += units;
        self.tiers.take(lease.tier, units, &self.size);
    }

    fn grant(&self, index: usize, target: u64, sharers: u64) -> Grant {
        let lease = &self.leases[index];
        Grant {
            lease: lease.number,
            state: if lease.holds || !lease.wants { LeaseState::Held } else { LeaseState::Draw },
            granted: lease.granted,
            target,
            level: self.tiers.available(lease.tier, &self.size),
            wait_ms: self.tiers.wait_ms(lease.tier, lease.largest, &self.size).unwrap_or(COUNT_MAX).min(COUNT_MAX),
            sharers: sharers.min(COUNT_MAX),
        }
    }
}
