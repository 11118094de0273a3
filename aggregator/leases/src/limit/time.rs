//! What time does to a limit, and what holds at every moment.
use weir_contract::lease::Definition;
use weir_fault::{Point, hit};

use super::size::Heard;
use super::tiers::{PPM, Tiers};
use super::{Limit, Size};

impl Limit {
    /// Moves the limit to `now`: refills, and forgets leases and shares that are over. Time never goes backwards.
    ///
    /// Refill and expiries happen in their order: the room of a lease that expires fills from that moment on.
    pub(super) fn advance(&mut self, now: u64) {
        while self.at_ms < now {
            let ends = self.leases.iter().map(|lease| lease.expires_ms);
            let ends = ends.chain(self.shares.iter().map(|share| share.ends_ms));
            let ends = ends.chain([self.unknown_until_ms, self.unknown_shares_until_ms]);
            let next = ends.filter(|end| *end > self.at_ms).min().unwrap_or(now).min(now);
            self.refill(next);
            self.forget();
        }
        self.assert_bound();
    }

    /// Credits the refill until `to`, as far as there is room.
    fn refill(&mut self, to: u64) {
        let by = to - self.at_ms;
        let from = self.at_ms;
        let unknown_ppm = if self.unknown_shares_until_ms > from { PPM } else { 0 };
        let used_ppm = |tier| {
            let shares = self.shares.iter().filter(|share| share.tier == tier);
            let used =
                shares.map(|share| (u128::from(share.ppm()) * u128::from(share.used_ms(from, to))).div_ceil(by.into()));
            u64::try_from(used.sum::<u128>()).unwrap_or(PPM).max(unknown_ppm)
        };
        let room = if hit(Point::RefillIgnoresLeases) { i128::MAX } else { self.room() };
        self.tiers.refill(&self.size, by, used_ppm, room);
        self.at_ms = to;
    }

    /// Forgets what is over. What a silent lease still held counts as spent.
    fn forget(&mut self) {
        let now = self.at_ms;
        let over: Vec<_> = self.leases.extract_if(.., |lease| lease.expires_ms <= now).collect();
        for lease in over.iter().filter(|lease| lease.belief() > 0) {
            self.lost.leases += 1;
            self.lost.units += lease.belief();
            if hit(Point::ExpiredReturned) {
                self.put_back(lease.tier, lease.belief());
            }
        }
        self.shares.retain(|share| share.ends_ms > now);
        if self.unknown_until_ms <= now {
            // All buckets of shares together are half of the capacity.
            let shares = self.size.definition.capacity.div_ceil(2);
            self.unknown = if self.unknown_shares_until_ms > now { self.unknown.min(shares) } else { 0 };
        }
    }

    /// Takes a gateway's definition into account. False: live gateways have other tiers.
    pub(super) fn hear_definition(&mut self, heard: &Definition) -> bool {
        let live_since = self.at_ms.saturating_sub(self.timing.outlived_ms());
        let scale = self.size.scale();
        let total = self.total();
        let before = self.size.definition.clone();
        if heard.tiers != self.size.definition.tiers && !self.shares.is_empty() {
            return false;
        }
        match self.size.hear(heard, self.at_ms, live_since) {
            Heard::Same => return true,
            Heard::Conflict => return false,
            Heard::Changed => {
                self.tiers.rescale(scale, self.size.scale());
                self.keep_used(&before);
            }
            Heard::OtherTiers => self.reshape(total / i128::from(scale)),
        }
        self.tiers.cap(&self.size);
        self.make_room();
        true
    }

    /// Keeps what has been used of a budget that is raised or lowered: what is left changes by as much as the budget. A limit
    /// that refills forgets what was used anyway.
    fn keep_used(&mut self, before: &Definition) {
        let now = &self.size.definition;
        if before.refill == 0 && now.refill == 0 && !hit(Point::RaisedBudgetIsFull) {
            let more = i128::from(now.capacity) - i128::from(before.capacity);
            self.tiers.shift(more, &self.size);
        }
        if hit(Point::RaisedBudgetIsFull) && before.refill == 0 {
            let capacity = now.capacity;
            self.put_back(0, capacity);
        }
    }

    /// Divides `units` among other tiers. Leases and shares of the old ones are over by then.
    fn reshape(&mut self, units: i128) {
        self.tiers = Tiers::empty(&self.size.definition);
        self.leases.clear();
        self.shares.clear();
        let units = u64::try_from(units).unwrap_or(0);
        for tier in 0..self.tiers.len() {
            let part = self.tiers.share(tier, units);
            self.put_back(tier, part);
        }
    }

    /// Puts units back, as far as there is room.
    pub(super) fn put_back(&mut self, tier: usize, units: u64) {
        let room = self.room();
        self.tiers.put(tier, units, &self.size, room);
    }

    /// Lowers levels where leases and a smaller capacity leave them no room.
    pub(super) fn make_room(&mut self) {
        let excess = -self.room();
        if excess > 0 {
            self.tiers.cut(excess, self.size.scale());
        }
    }

    /// The sum of all levels, in fractions.
    pub(super) fn total(&self) -> i128 {
        self.tiers.total(self.size.scale())
    }

    /// What may be added to levels, in fractions; below 0 if gateways hold more than a lowered capacity.
    pub(super) fn room(&self) -> i128 {
        let capacity = i128::from(self.size.definition.capacity) * i128::from(self.size.scale());
        capacity - self.outstanding() - self.total()
    }

    /// What gateways may still spend, in fractions.
    fn outstanding(&self) -> i128 {
        let leases: u64 = self.leases.iter().map(super::Lease::belief).sum();
        let shares: u64 = self.shares.iter().map(|share| share.bucket).sum();
        (i128::from(leases) + i128::from(shares) + i128::from(self.unknown)) * i128::from(self.size.scale())
    }

    /// The invariant: levels and what is outstanding are at most the capacity. After a capacity was lowered, gateways
    /// may hold more for as long as a lease lasts; then no level is above 0.
    pub(super) fn assert_bound(&self) {
        let Size { definition, .. } = &self.size;
        assert!(
            self.room() >= 0 || self.total() <= 0,
            "the levels and leases of a limit of {} units exceed it: {self:?}",
            definition.capacity,
        );
    }
}
