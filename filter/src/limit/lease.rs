//! A lease: units of a limit of the fleet that only this process may spend.
//!
//! [`weir_contract::lease`] states the protocol. A lease is part of its tenant's record ([`super::record`]), so that all
//! workers of the process spend it under the compare-and-swap that buckets have too. Its counters only grow, and each
//! message carries their totals: a call that is lost or sent twice changes nothing.
//!
//! What a draw needs is decoded at every request. What only calls need stays in bytes ([`terms`]).
pub mod renewal;
mod terms;

use weir_config::plans::Unreachable;
use weir_contract::Timestamp;
use weir_contract::lease::ANSWER_MAX_MS;

use super::bucket::{Bucket, Level};
use super::{Charge, DrawnFrom, Standing};
pub(super) use terms::TERMS_BYTES;
use terms::{State, Terms};

/// How far the clock may run backwards before the lease is over: its end would come too late.
pub(crate) const CLOCK_BACK_MAX_MS: u64 = 1_000;

/// The first draw in each span of 2^10 milliseconds has the drawing worker see to the lease's renewal: the worker that
/// did so before may be gone.
const DEMAND_SHIFT: u32 = 10;

/// How long ago the last call may be for a share to be spent: a call, the wait for its answer and that for the next one.
const SHARE_CALLED_MAX_MS: u64 = ANSWER_MAX_MS + renewal::REPORT_EVERY_MS + 200;

/// A lease in its tenant's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The bucket among the tenant's buckets.
    pub(super) id: u64,
    /// Units granted in all.
    pub(super) granted: u64,
    /// Units drawn in all; more than `granted` is a debt.
    pub(super) spent: u64,
    /// `spent` as the last call reports it.
    pub(super) reported: u64,
    /// Until when its balance may be spent; 0 before the first grant.
    pub(super) until: Timestamp,
    /// The latest moment of a draw.
    pub(super) seen: Timestamp,
    /// The balance below which more is asked for at once.
    pub(super) low: u64,
    /// The largest draw of late.
    pub(super) largest: u64,
    /// What the center had left when it last answered.
    pub(super) level: u64,
    /// [`Terms`], encoded.
    pub(super) terms: [u8; TERMS_BYTES],
}

/// The outcome of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Drawn; `due`: the worker is to see to the lease's renewal.
    Drawn { from: DrawnFrom, due: bool },
    /// The fleet's bucket has too little for so many milliseconds.
    Empty(u64),
    /// The lease has too little, and the center may have more.
    Short,
    /// The center does not answer, and the limit does not go on without it.
    Unreachable,
}

impl Lease {
    /// A lease of which nothing is held yet.
    pub(crate) fn new(id: u64) -> Self {
        Lease {
            id,
            granted: 0,
            spent: 0,
            reported: 0,
            until: Timestamp::default(),
            seen: Timestamp::default(),
            low: 0,
            largest: 1,
            level: 0,
            terms: [0; TERMS_BYTES],
        }
    }

    /// Units that may be spent while the lease is live; below 0, a debt.
    pub(crate) fn balance(&self) -> i64 {
        self.granted.cast_signed().saturating_sub(self.spent.cast_signed())
    }

    /// Whether its balance may be spent.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        now < self.until && !self.clock_went_back(now)
    }

    /// Whether the record loses nothing without it: nothing may be spent, nothing is owed, and nobody draws from it.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        let is_over = !self.is_live(now) && self.share_start(now).is_none();
        is_over && self.balance() >= 0 && !self.terms().is_owing && now.millis_since(self.seen) > 1 << DEMAND_SHIFT
    }

    fn clock_went_back(&self, now: Timestamp) -> bool {
        self.seen.millis_since(now) > CLOCK_BACK_MAX_MS
    }

    /// Draws a charge.
    pub(super) fn take(&mut self, charge: &Charge, now: Timestamp) -> Taken {
        let before = self.balance();
        let after = before.saturating_sub(charge.cost.cast_signed());
        if after < 0 || !self.is_live(now) {
            return self.take_without(charge, now);
        }
        self.spent += charge.cost;
        self.largest = self.largest.max(charge.cost);
        let low = self.low.cast_signed();
        let is_first = self.seen.as_millis() >> DEMAND_SHIFT != now.as_millis() >> DEMAND_SHIFT;
        self.seen = self.seen.max(now);
        Taken::Drawn { from: DrawnFrom::Lease, due: is_first || (after < low && low <= before) }
    }

    /// What becomes of a draw that the lease has too little for.
    #[cold]
    fn take_without(&mut self, charge: &Charge, now: Timestamp) -> Taken {
        let terms = self.terms();
        match (terms.state, charge.fleet) {
            (State::Away, Some(Unreachable::Open)) => Taken::Drawn { from: DrawnFrom::Nothing, due: true },
            (State::Away, Some(Unreachable::Share)) if self.take_share(charge, terms, now) => {
                Taken::Drawn { from: DrawnFrom::Share, due: true }
            }
            (State::Away, _) => Taken::Unreachable,
            (State::Held | State::Draw, _) => match terms.dry_ms(charge.cost, now) {
                0 => Taken::Short,
                wait_ms => Taken::Empty(wait_ms),
            },
        }
    }

    /// Draws from the share that the center has set aside, once the lease is over.
    fn take_share(&mut self, charge: &Charge, mut terms: Terms, now: Timestamp) -> bool {
        // Calls are tried again all the time. Where the last one seems long ago, the clock may have jumped since the last
        // tick, which will notice.
        if now.millis_since(terms.called) > SHARE_CALLED_MAX_MS {
            return false;
        }
        let Some((_, level)) = self.share(charge.bucket, &terms, now) else { return false };
        if !Bucket::has(level, charge.cost) {
            return false;
        }
        terms.share = Bucket::drawn(level, charge.cost);
        self.set_terms(&terms);
        self.seen = self.seen.max(now);
        true
    }

    /// The bucket of the share, and its level.
    fn share(&self, whole: Bucket, terms: &Terms, now: Timestamp) -> Option<(Bucket, Level)> {
        let from = self.share_start(now)?;
        let refill = whole.refill().checked_div(terms.sharers)?;
        let capacity = whole.capacity().checked_div(terms.sharers.checked_mul(2)?)?;
        let bucket = Bucket::new(capacity, refill, whole.period_ms()).ok()?;
        let level = if terms.share.at < from { Level { nano: 0, at: from } } else { terms.share };
        Some((bucket, bucket.refilled(level, now)))
    }

    /// When the share began; None while there is none.
    fn share_start(&self, now: Timestamp) -> Option<Timestamp> {
        let terms = self.terms();
        let from = if self.until == Timestamp::default() { terms.share_from } else { self.until };
        let is_on = terms.sharers > 0 && from > Timestamp::default() && now >= from && !self.clock_went_back(now);
        (is_on && now.millis_since(from) < weir_contract::lease::SHARE_MAX_MS).then_some(from)
    }

    /// Settles a charge: what was not used comes back, and what was used beyond it is drawn too.
    pub(super) fn settle(&mut self, reserved: &Charge, used: u64, now: Timestamp) {
        let unused = reserved.cost.saturating_sub(used);
        self.spent = self.spent.saturating_add(used.saturating_sub(reserved.cost));
        match reserved.from {
            DrawnFrom::Share => self.settle_share(reserved.bucket, unused, now),
            DrawnFrom::Lease | DrawnFrom::Center => self.come_back(unused),
            DrawnFrom::Bucket | DrawnFrom::Nothing => {}
        }
    }

    /// Units that the center believes to be spent go back to it: only the others may be spent here again.
    fn come_back(&mut self, units: u64) {
        let here = units.min(self.spent.saturating_sub(self.reported));
        self.spent -= here;
        if here < units {
            let mut terms = self.terms();
            terms.returned = terms.returned.saturating_add(units - here);
            terms.is_owing = true;
            self.set_terms(&terms);
        }
    }

    fn settle_share(&mut self, whole: Bucket, unused: u64, now: Timestamp) {
        let mut terms = self.terms();
        if let Some((bucket, level)) = self.share(whole, &terms, now) {
            terms.share = bucket.returned(level, unused);
            self.set_terms(&terms);
        }
    }

    /// How the fleet's limit stands, as far as it is known here.
    pub(super) fn standing(&self, charge: &Charge, from: DrawnFrom, due: bool) -> Standing {
        let Charge { limit, unit, bucket, bucket_id, .. } = *charge;
        let held = u64::try_from(self.balance()).unwrap_or(0);
        let remaining = held.saturating_add(self.level).min(bucket.capacity());
        let wait_ms = bucket.wait_ms(Level::of_units(remaining), bucket.capacity());
        Standing { limit, unit, bucket_id, capacity: bucket.capacity(), remaining, wait_ms, from, due }
    }

    pub(super) fn terms(&self) -> Terms {
        Terms::decode(&self.terms)
    }

    pub(super) fn set_terms(&mut self, terms: &Terms) {
        self.terms = terms.encode();
    }
}
