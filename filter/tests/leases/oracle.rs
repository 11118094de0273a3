//! The one bucket that the fleet must not exceed.

/// A token bucket at true time. It allows at least what any window of `capacity + refill × time` allows.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    capacity: i128,
    refill: i128,
    /// Units times a thousand; the refill is per second.
    level: i128,
    /// What requests did not use: it may come back with any later report, since the center learns of it by reports.
    unused: i128,
    at_ms: u64,
    /// The seed of the run, so that it can be repeated.
    seed: u64,
    pub(crate) admitted: u64,
}

impl Oracle {
    pub(crate) fn new(seed: u64, capacity: u64, refill: u64) -> Self {
        let capacity = i128::from(capacity) * 1_000;
        Oracle { capacity, refill: i128::from(refill), level: capacity, unused: 0, at_ms: 0, seed, admitted: 0 }
    }

    fn advance(&mut self, at_ms: u64) {
        let passed = i128::from(at_ms - self.at_ms);
        self.level = (self.level + passed * self.refill).min(self.capacity);
        self.at_ms = at_ms;
    }

    /// The fleet has admitted a request.
    pub(crate) fn admit(&mut self, cost: u64, at_ms: u64) {
        self.advance(at_ms);
        self.level -= i128::from(cost) * 1_000;
        let returned = self.unused.min(-self.level.min(0));
        (self.level, self.unused) = (self.level + returned, self.unused - returned);
        self.admitted += cost;
        assert!(self.level >= 0, "seed {}: {} thousandths too many after {at_ms} ms", self.seed, -self.level);
    }

    /// A request has used less than it reserved. What it used beyond that is the overshoot, which the bound adds.
    pub(crate) fn settle(&mut self, reserved: u64, used: u64, at_ms: u64) {
        self.advance(at_ms);
        self.unused += i128::from(reserved.saturating_sub(used)) * 1_000;
    }
}
