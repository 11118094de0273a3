//! What the whole fleet may admit: one bucket, with every draw, and every unused unit when it is back in a lease
//! or at the center.
//!
//! A bucket that never goes below 0 admits at most `C + R × t` in every window, wherever the window begins.

/// The one bucket, in thousandths of a unit.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    capacity: i128,
    refill: i128,
    period_ms: i128,
    /// Thousandths of a unit, times the period.
    left: i128,
    at: u64,
    /// Units that may be drawn beyond the bucket: overdrawn reservations, grants that a fail-over lost.
    allowance: i128,
    /// Units admitted.
    pub(crate) admitted: u64,
    /// The most units beyond the bucket at any time.
    pub(crate) over: u64,
}

impl Oracle {
    pub(crate) fn new(capacity: u64, refill: u64, period_ms: u64) -> Self {
        let (capacity, refill, period_ms) = (i128::from(capacity), i128::from(refill), i128::from(period_ms));
        Oracle { capacity, refill, period_ms, left: capacity * period_ms, at: 0, allowance: 0, admitted: 0, over: 0 }
    }

    fn advance(&mut self, now: u64) {
        let gain = i128::from(now.saturating_sub(self.at)) * self.refill;
        self.left = (self.left + gain).min(self.capacity * self.period_ms);
        self.at = self.at.max(now);
    }

    /// Whether `cost` units are there.
    pub(crate) fn has(&mut self, cost: u64, now: u64) -> bool {
        self.advance(now);
        self.left >= i128::from(cost) * self.period_ms
    }

    /// A request was admitted at `now`.
    pub(crate) fn draw(&mut self, cost: u64, now: u64) -> Result<(), String> {
        self.advance(now);
        self.left -= i128::from(cost) * self.period_ms;
        self.admitted += cost;
        let beyond = (-self.left).max(0) + self.period_ms - 1;
        self.over = self.over.max(u64::try_from(beyond / self.period_ms).unwrap_or(u64::MAX));
        let over = -self.left - self.allowance * self.period_ms;
        if over > 0 {
            let units = (over + self.period_ms - 1) / self.period_ms;
            return Err(format!("at {now} ms the fleet admits {units} units more than capacity and refill allow"));
        }
        Ok(())
    }

    /// A request used less than it drew, or more. `seen` says whether the oracle counted the draw.
    pub(crate) fn settle(&mut self, drawn: u64, used: u64, seen: bool, now: u64) {
        self.advance(now);
        let more = used.saturating_sub(drawn);
        self.left -= i128::from(more) * self.period_ms;
        self.allow(more);
        if seen {
            self.admitted = self.admitted + used - drawn;
        }
    }

    /// Unused units are back in a lease or at the center.
    pub(crate) fn give_back(&mut self, units: u64, now: u64) {
        self.advance(now);
        self.left = (self.left + i128::from(units) * self.period_ms).min(self.capacity * self.period_ms);
    }

    /// Lets the fleet draw that much more.
    pub(crate) fn allow(&mut self, units: u64) {
        self.allowance += i128::from(units);
    }

    /// Nothing is left.
    pub(crate) fn empty(&mut self, now: u64) {
        self.advance(now);
        self.left = 0;
    }

    /// Starts over with a full bucket.
    pub(crate) fn restart(&mut self, now: u64) {
        self.advance(now);
        self.left = self.capacity * self.period_ms;
    }
}
