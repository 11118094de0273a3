//! What is left of a limit, tier by tier.
//!
//! Each tier has its share of capacity and refill. It lends what is above half of its share; what no tier reserves is
//! lent whole. So an idle tier's share serves others while the pool is high, half of it is always there when its owner
//! comes back, and its refill is its own as long as it stays below that half.
use serde::{Deserialize, Serialize};

use super::level::Level;
use super::size::Size;
use weir_contract::lease::{COUNT_MAX, Definition};
use weir_fault::{Point, hit};

/// One tier's level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tier {
    /// Its name; empty for what no tier reserves, and for a limit without tiers.
    name: String,
    percent: u8,
    level: Level,
}

/// All tiers of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tiers(Vec<Tier>);

impl Tiers {
    /// Tiers whose levels are 0.
    pub(super) fn empty(definition: &Definition) -> Self {
        let named = definition.tiers.iter().map(|tier| (tier.name.clone(), tier.percent));
        let rest = 100_u8.saturating_sub(definition.tiers.iter().map(|tier| tier.percent).sum());
        let all = named.chain((rest > 0).then(|| (String::new(), rest)));
        Tiers(all.map(|(name, percent)| Tier { name, percent, level: Level::default() }).collect())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Name, share and whole units of one.
    pub(super) fn describe(&self, index: usize) -> (&str, u8, i64) {
        let tier = &self.0[index];
        (&tier.name, tier.percent, tier.level.units())
    }

    /// The tier of that name.
    pub(super) fn index(&self, name: Option<&str>) -> Option<usize> {
        self.0.iter().position(|tier| tier.name == name.unwrap_or_default())
    }

    /// A tier's share of an amount.
    pub(super) fn share(&self, index: usize, of: u64) -> u64 {
        let share = u128::from(of) * u128::from(self.0[index].percent) / 100;
        u64::try_from(share).unwrap_or(of)
    }

    /// The sum of all levels, in fractions.
    pub(super) fn total(&self, scale: u64) -> i128 {
        self.0.iter().map(|tier| tier.level.fractions(scale)).sum()
    }

    /// Adds `by` milliseconds of refill to each tier, less the millionths of it that `paused_ppm` tells for the tier, and
    /// at most `room` in all.
    pub(super) fn refill(&mut self, size: &Size, by: u64, paused_ppm: impl Fn(usize) -> u64, room: i128) {
        let (scale, definition) = (size.scale(), &size.definition);
        let credit = |(index, tier): (usize, &Tier)| {
            let full = i128::from(definition.capacity) * i128::from(definition.period_ms) * i128::from(tier.percent);
            let gain = i128::from(by) * i128::from(definition.refill) * i128::from(tier.percent);
            let paused = i128::from(paused_ppm(index).min(PPM));
            let gain = gain * (i128::from(PPM) - paused) / i128::from(PPM);
            gain.min(full - tier.level.fractions(scale)).max(0)
        };
        let credits: Vec<i128> = self.0.iter().enumerate().map(credit).collect();
        let sum: i128 = credits.iter().sum();
        for (tier, credit) in self.0.iter_mut().zip(credits) {
            let credit = if sum > room { proportion(credit, room.max(0), sum) } else { credit };
            tier.level = Level::from_fractions(tier.level.fractions(scale) + credit, scale);
        }
    }

    /// Whole units that a tier can have now: its own and those lent to it.
    pub(super) fn available(&self, index: usize, size: &Size) -> u64 {
        let own = self.0[index].level.units();
        let lent = |(other, tier): (usize, &Tier)| if other == index { 0 } else { tier.lends(size) };
        let lent: i64 = self.0.iter().enumerate().map(lent).sum();
        u64::try_from(own.saturating_add(lent)).unwrap_or(0)
    }

    /// Takes whole units: the tier's own first, then lent ones. The caller has checked [`Tiers::available`]; more than
    /// that becomes a debt of the tier.
    pub(super) fn take(&mut self, index: usize, units: u64, size: &Size) {
        let mut missing = i64::try_from(units).unwrap_or(i64::MAX);
        let own = self.0[index].level.units().clamp(0, missing);
        let own = if hit(Point::LentFirst) { 0 } else { own };
        self.0[index].draw(own, size);
        missing -= own;
        for other in (0..self.0.len()).filter(|other| *other != index) {
            let lent = self.0[other].lends(size).min(missing);
            if !hit(Point::LentUnpaid) {
                self.0[other].draw(lent, size);
            }
            missing -= lent;
        }
        self.0[index].draw(missing, size);
    }

    /// Puts whole units back, at most `room` fractions: into the tier first, then where there is space.
    pub(super) fn put(&mut self, index: usize, units: u64, size: &Size, room: i128) {
        let scale = size.scale();
        let mut rest = (i128::from(units) * i128::from(scale)).min(room.max(0));
        let order = std::iter::once(index).chain((0..self.0.len()).filter(|other| *other != index));
        for tier in order {
            let tier = &mut self.0[tier];
            let held = tier.level.fractions(scale);
            let space = (tier.full(size) - held).clamp(0, rest);
            tier.level = Level::from_fractions(held + space, scale);
            rest -= space;
        }
    }

    /// Changes what is left of the first tier by whole units; it may become a debt.
    pub(super) fn shift(&mut self, more: i128, size: &Size) {
        let scale = size.scale();
        if let Some(tier) = self.0.first_mut() {
            tier.level = Level::from_fractions(tier.level.fractions(scale) + more * i128::from(scale), scale);
        }
    }

    /// Lowers levels until `excess` fractions are gone or no level is above 0.
    pub(super) fn cut(&mut self, mut excess: i128, scale: u64) {
        for tier in self.0.iter_mut().rev() {
            let held = tier.level.fractions(scale);
            let gone = excess.min(held).max(0);
            tier.level = Level::from_fractions(held - gone, scale);
            excess -= gone;
        }
    }

    /// Keeps each amount where the number of fractions in a unit changes, rounded down.
    pub(super) fn rescale(&mut self, from: u64, to: u64) {
        for tier in &mut self.0 {
            let fractions = tier.level.fractions(from);
            let whole = fractions.div_euclid(from.into()) * i128::from(to);
            let part = fractions.rem_euclid(from.into()) * i128::from(to) / i128::from(from);
            tier.level = Level::from_fractions(whole + part, to);
        }
    }

    /// Keeps each tier's level at most at its share of the capacity.
    pub(super) fn cap(&mut self, size: &Size) {
        let scale = size.scale();
        for tier in &mut self.0 {
            let capped = tier.level.fractions(scale).min(tier.full(size));
            tier.level = Level::from_fractions(capped, scale);
        }
    }

    /// Milliseconds until a tier has `units`, if nobody draws; None if never.
    pub(super) fn wait_ms(&self, index: usize, units: u64, size: &Size) -> Option<u64> {
        if self.available(index, size) >= units {
            return Some(0);
        }
        if size.definition.refill == 0 {
            return None;
        }
        if self.0.len() == 1 {
            let missing = i128::from(units) * i128::from(size.scale()) - self.total(size.scale());
            let rate = u128::from(size.definition.refill) * 100;
            let wait_ms = u128::try_from(missing).unwrap_or(0).div_ceil(rate);
            return u64::try_from(wait_ms).ok().filter(|_| units <= size.definition.capacity);
        }
        let full_ms = self.full_ms(size);
        // What others lend grows, too, so the amount is no straight line; but it never falls.
        let has_after = |ms| match hit(Point::WaitsForOwnTier) {
            false => self.after(ms, size).available(index, size) >= units,
            true => u64::try_from(self.after(ms, size).0[index].level.units()).is_ok_and(|own| own >= units),
        };
        if !has_after(full_ms) {
            return None;
        }
        let (mut too_early, mut enough) = (0, full_ms);
        while enough - too_early > 1 {
            let middle = too_early + (enough - too_early) / 2;
            if has_after(middle) {
                enough = middle;
            } else {
                too_early = middle;
            }
        }
        Some(enough)
    }

    /// The same tiers after that time, if nobody draws.
    fn after(&self, ms: u64, size: &Size) -> Self {
        let mut later = self.clone();
        later.refill(size, ms, |_| 0, i128::MAX);
        later
    }

    /// Milliseconds until every tier is full, if nobody draws; at most [`COUNT_MAX`].
    fn full_ms(&self, size: &Size) -> u64 {
        let missing = |tier: &Tier| {
            let missing = tier.full(size) - tier.level.fractions(size.scale());
            let rate = u128::from(size.definition.refill) * u128::from(tier.percent);
            u64::try_from(u128::try_from(missing).unwrap_or(0).div_ceil(rate)).unwrap_or(COUNT_MAX)
        };
        self.0.iter().map(missing).max().unwrap_or(0).min(COUNT_MAX)
    }
}

/// The whole of a rate, in millionths.
pub(super) const PPM: u64 = 1_000_000;

impl Tier {
    fn full(&self, size: &Size) -> i128 {
        let definition = &size.definition;
        i128::from(definition.capacity) * i128::from(definition.period_ms) * i128::from(self.percent)
    }

    /// Whole units that others may have.
    fn lends(&self, size: &Size) -> i64 {
        let lends_all = self.name.is_empty() || hit(Point::TierLendsAll);
        let kept = if lends_all { 0 } else { self.full(size) / 2 };
        let lent = (self.level.fractions(size.scale()) - kept).max(0) / i128::from(size.scale());
        i64::try_from(lent).unwrap_or(i64::MAX)
    }

    fn draw(&mut self, units: i64, size: &Size) {
        let scale = size.scale();
        let left = self.level.fractions(scale) - i128::from(units) * i128::from(scale);
        self.level = Level::from_fractions(left, scale);
    }
}

/// `part` of `whole` of an amount, rounded down.
fn proportion(amount: i128, part: i128, whole: i128) -> i128 {
    // Otherwise in millionths of the whole: the product of two levels does not fit into 128 bits.
    if amount == whole {
        return part;
    }
    let ppm = part.saturating_mul(PPM.into()) / whole.max(1);
    if ppm >= i128::from(PPM) { amount.min(part) } else { amount / i128::from(PPM) * ppm }
}
