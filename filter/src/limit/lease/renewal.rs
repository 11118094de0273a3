//! What a lease tells the center, and what it takes from its answers.
use weir_contract::Timestamp;
use weir_contract::lease::{ANSWER_MAX_MS, COUNT_MAX, Grant, LeaseState, TTL_MS};

use super::terms::{State, Terms};
use super::{DEMAND_SHIFT, Lease};

/// How often a lease in use is reported, in milliseconds. One whose balance is low is reported at each tick.
pub(crate) const REPORT_EVERY_MS: u64 = 1_000;

/// How long before its end a lease is renewed.
const RENEW_BEFORE_MS: u64 = TTL_MS / 2;

/// A report keeps the largest draw in mind; each answer takes a 64th from it, so that half is forgotten in a minute.
const LARGEST_DECAY_SHIFT: u32 = 6;

/// What a report needs to know beside the lease.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What the bucket holds at most.
    pub capacity: u64,
    /// The largest draw that was asked for.
    pub largest: u64,
    /// When a request last asked.
    pub at: Timestamp,
    /// After so long without a request the lease is given up, in milliseconds.
    pub idle_ms: u64,
    /// A number that this process never used for a lease of this limit.
    pub fresh_number: u64,
}

/// The totals of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The lease's number.
    pub number: u64,
    /// The epoch of `granted`.
    pub epoch: u64,
    /// Units granted in all.
    pub granted: u64,
    /// Units drawn in all.
    pub spent: u64,
    /// Units given back in all.
    pub returned: u64,
    /// How many units are wanted.
    pub want: u64,
    /// The largest draw of late.
    pub largest: u64,
    /// The center's time of the last answer.
    pub heard: u64,
}

/// What to do about a lease at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this report. The record that remembers it has to be written first.
    Report(Totals),
    /// Look again then.
    Wait(Timestamp),
    /// Nothing more: there is no demand, and the center knows everything.
    Rest,
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is too old, or about another lease.
    Ignored,
    /// These many units more may be spent.
    Granted(u64),
    /// The center does not know the lease: another begins.
    Lapsed,
    /// The center has no place for this limit.
    Refused,
}

/// An answer of the center.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Its part about this lease.
    pub grant: &'a Grant,
    /// The center's memory.
    pub epoch: u64,
    /// The center's time.
    pub at_ms: u64,
    /// How long the lease lasts from `sent`.
    pub ttl_ms: u64,
    /// When the call was sent.
    pub sent: Timestamp,
}

impl Lease {
    /// Ends a lease whose time is over. Returns the units that nobody has spent, where it ended just now.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Option<u64> {
        let is_over = self.until > Timestamp::default() && !self.is_live(now);
        is_over.then(|| self.end(now >= self.until))
    }

    /// Ends the lease: its balance is gone. A debt that no call has told of stays. Returns the units nobody has spent.
    pub(crate) fn end(&mut self, is_expired: bool) -> u64 {
        let unspent = u64::try_from(self.balance()).unwrap_or(0);
        let debt = self.spent.saturating_sub(self.granted).min(self.spent.saturating_sub(self.reported));
        let Terms { sharers, heard, called, state, share_from, share, .. } = self.terms();
        let had_grant = self.until > Timestamp::default();
        let (share_from, share) = match (had_grant, is_expired) {
            (true, true) if share.at >= self.until => (self.until, share),
            (true, true) => (self.until, super::Level::default()),
            (true, false) => Default::default(),
            (false, _) => (share_from, share),
        };
        let state = if state == State::Away { state } else { State::Held };
        let terms = Terms { sharers, heard, called, state, share_from, share, ..Terms::default() };
        *self = Lease { spent: debt, largest: self.largest, seen: self.seen, ..Lease::new(self.id) };
        self.set_terms(&terms);
        unspent
    }

    /// What to do about the lease now.
    pub(crate) fn step(&mut self, wanted: &Wanted, now: Timestamp) -> Step {
        let mut terms = self.terms();
        let answer_due = terms.called.plus_millis(ANSWER_MAX_MS);
        if terms.is_asked && terms.called <= now && now < answer_due {
            return Step::Wait(answer_due);
        }
        let is_idle = now.millis_since(self.seen.max(wanted.at)) >= wanted.idle_ms;
        if is_idle && !self.is_told(&terms) {
            self.give_up(&mut terms, 0);
        } else if is_idle {
            return Step::Rest;
        } else if let Some(later) = self.next_call(&terms, now) {
            return Step::Wait(later);
        }
        if terms.number == 0 {
            terms.number = wanted.fresh_number.clamp(1, COUNT_MAX);
        }
        self.largest = self.largest.max(wanted.largest);
        self.reported = self.spent;
        (terms.called, terms.is_asked, terms.is_owing) = (now, true, false);
        self.set_terms(&terms);
        let half = wanted.capacity / 2;
        Step::Report(Totals {
            number: terms.number,
            epoch: terms.epoch,
            granted: self.granted,
            spent: self.spent,
            returned: terms.returned,
            want: if is_idle { 0 } else { half.max(self.largest).min(wanted.capacity) },
            largest: self.largest,
            heard: terms.heard,
        })
    }

    /// Whether the center knows all that there is: nothing is held, owed or spent since the last report.
    fn is_told(&self, terms: &Terms) -> bool {
        self.balance() <= 0 && !terms.is_owing && self.spent == self.reported && !terms.is_asked
    }

    /// When the next call is due; None: now.
    fn next_call(&self, terms: &Terms, now: Timestamp) -> Option<Timestamp> {
        let due = if terms.state != State::Held {
            terms.called.plus_millis(REPORT_EVERY_MS)
        } else if self.balance() < self.low.max(1).cast_signed() {
            // There is no more to be had before that, and yet the center is to know of this gateway's wanted.
            terms.dry_until.min(terms.called.plus_millis(REPORT_EVERY_MS))
        } else if self.spent != self.reported || terms.is_owing || self.until.millis_since(now) <= RENEW_BEFORE_MS {
            terms.called.plus_millis(REPORT_EVERY_MS)
        } else {
            self.until
        };
        (due > now && terms.called <= now).then_some(due.min(now.plus_millis(REPORT_EVERY_MS)))
    }

    /// Gives back all but `kept` units.
    fn give_up(&mut self, terms: &mut Terms, kept: u64) {
        let excess = u64::try_from(self.balance()).unwrap_or(0).saturating_sub(kept);
        if excess > 0 {
            self.spent = self.spent.saturating_add(excess);
            terms.returned = terms.returned.saturating_add(excess);
            terms.is_owing = true;
        }
    }

    /// Takes in an answer.
    pub(crate) fn apply(&mut self, arrived: &Arrived<'_>, now: Timestamp) -> Applied {
        let mut terms = self.terms();
        let Arrived { grant, epoch, sent, .. } = *arrived;
        let is_late = now < sent || now.millis_since(sent) > ANSWER_MAX_MS;
        let is_over = self.until > Timestamp::default() && !self.is_live(now);
        if is_late || is_over || grant.lease != terms.number || terms.number == 0 || epoch < terms.epoch {
            return Applied::Ignored;
        }
        if terms.called == sent {
            terms.is_asked = false;
        }
        match grant.state {
            LeaseState::Lapsed => {
                self.set_terms(&Terms { state: State::Held, ..terms });
                self.end(false);
                Applied::Lapsed
            }
            LeaseState::Refused => {
                self.set_terms(&Terms { state: State::Away, ..terms });
                Applied::Refused
            }
            LeaseState::Held | LeaseState::Draw => Applied::Granted(self.hold(arrived, terms, now)),
        }
    }

    fn hold(&mut self, arrived: &Arrived<'_>, mut terms: Terms, now: Timestamp) -> u64 {
        let Arrived { grant, epoch, at_ms, ttl_ms, sent } = *arrived;
        let (before, until) = (self.granted, sent.plus_millis(ttl_ms));
        if epoch > terms.epoch {
            (self.granted, self.until) = (grant.granted, until);
        } else {
            (self.granted, self.until) = (self.granted.max(grant.granted), self.until.max(until));
        }
        self.level = grant.level;
        self.low = grant.target / 2;
        terms.state = if grant.state == LeaseState::Draw { State::Draw } else { State::Held };
        // The latest answer promises, whatever arrives after it.
        if epoch > terms.epoch || at_ms >= terms.heard {
            (terms.heard, terms.sharers) = (at_ms, grant.sharers);
        }
        terms.epoch = epoch;
        let wait_ms = grant.wait_ms.min(u64::from(u32::MAX));
        (terms.dry_until, terms.dry_cost) = (now.plus_millis(wait_ms), self.largest);
        self.largest = (self.largest - (self.largest >> LARGEST_DECAY_SHIFT)).max(1);
        (terms.share_from, terms.share) = Default::default();
        if terms.state == State::Held {
            self.give_up(&mut terms, grant.target);
        }
        self.set_terms(&terms);
        self.granted.saturating_sub(before)
    }

    /// The clock has jumped, so that nobody knows when the lease ended: there is no share until the next answer. Returns
    /// true if there was one.
    pub(crate) fn forgo_share(&mut self) -> bool {
        let mut terms = self.terms();
        let had = terms.sharers > 0;
        terms.sharers = 0;
        self.set_terms(&terms);
        had
    }

    /// The center did not answer a call.
    pub(crate) fn unanswered(&mut self, sent: Timestamp) -> bool {
        let mut terms = self.terms();
        let is_it = terms.is_asked && terms.called == sent;
        if is_it {
            (terms.is_asked, terms.state) = (false, State::Away);
            self.set_terms(&terms);
        }
        is_it
    }

    /// The center refused a draw of one request, or did not answer it (None).
    pub(crate) fn drew_nothing(&mut self, cost: u64, wait_ms: Option<u64>, now: Timestamp) {
        let mut terms = self.terms();
        match wait_ms {
            // Others may bring units back before that: asked again in a while.
            Some(wait_ms) => {
                terms.dry_until = now.plus_millis(wait_ms.min(1 << DEMAND_SHIFT));
                terms.dry_cost = cost;
            }
            None => terms.state = State::Away,
        }
        self.set_terms(&terms);
    }
}
