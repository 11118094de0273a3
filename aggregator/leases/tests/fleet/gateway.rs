//! A gateway as the protocol asks it to be, with one lease, and the bugs that it could have.
use weir_contract::lease::{
    ANSWER_MAX_MS, Answer, CLOCK_ERROR_MS, Definition, Grant, Key, LeaseState, Report, SHARE_MAX_MS,
};

/// A mistake of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayBug {
    /// A lease lasts from the arrival of the answer, not from the call.
    ExpiryFromTheAnswer,
    /// A grant is added to the balance, so a repeated answer counts twice.
    GrantAdded,
    /// Unused units go back into the lease although they were reported as drawn.
    GivenBackBelowTheReport,
    /// A wiped store begins with the same lease number, and counters that start again.
    NumberUsedAgain,
    /// A clock that goes back keeps the lease.
    ClockBackIgnored,
    /// A share starts while the lease is still alive.
    ShareAtOnce,
    /// The balance outlives the lease.
    NeverExpires,
}

/// The most that a clock goes back unnoticed.
const SKEW_MS: u64 = 1_000;

/// What a gateway decides about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted,
    /// Too little, and it may ask for this request.
    Ask,
    Refused,
}

/// One gateway process with one lease.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) definition: Definition,
    pub(crate) key: Key,
    pub(crate) tier: Option<String>,
    pub(crate) draws: bool,
    pub(crate) wants_share: bool,
    pub(crate) idle_ms: u64,
    /// What requests did not use and the center gets back: a part of `returned` of all leases.
    pub(crate) unused: u64,
    bug: Option<GatewayBug>,
    lease: u64,
    numbers: u64,
    epoch: u64,
    granted: u64,
    spent: u64,
    reported: u64,
    returned: u64,
    target: u64,
    state: LeaseState,
    expires_ms: u64,
    heard_ms: u64,
    seen_ms: u64,
    calling_until_ms: u64,
    largest: u64,
    demand_ms: u64,
    /// Units asked for in this second and in the one before.
    demand: (u64, u64, u64),
    /// Until when the center has too little, as far as is known.
    empty_until_ms: u64,
    sharers: u64,
    /// When the share began, and the share's bucket: units and the time until which it is filled.
    share: Option<(u64, u64, u64)>,
}

impl Gateway {
    pub(crate) fn new(
        name: String,
        key: Key,
        definition: Definition,
        tier: Option<String>,
        bug: Option<GatewayBug>,
    ) -> Self {
        Gateway {
            name,
            definition,
            key,
            tier,
            draws: true,
            wants_share: false,
            idle_ms: 0,
            unused: 0,
            bug,
            lease: 1,
            numbers: 1,
            epoch: 0,
            granted: 0,
            spent: 0,
            reported: 0,
            returned: 0,
            target: 0,
            state: LeaseState::Held,
            expires_ms: 0,
            heard_ms: 0,
            seen_ms: 0,
            calling_until_ms: 0,
            largest: 1,
            demand_ms: 0,
            demand: (0, 0, 0),
            empty_until_ms: 0,
            sharers: 0,
            share: None,
        }
    }

    fn has(&self, bug: GatewayBug) -> bool {
        self.bug == Some(bug)
    }

    /// Takes the time into account.
    fn see(&mut self, now: u64) {
        if now + SKEW_MS < self.seen_ms {
            if !self.has(GatewayBug::ClockBackIgnored) {
                self.begin_anew();
                self.share = None;
                self.sharers = 0;
            }
            self.seen_ms = now;
            self.calling_until_ms = 0;
            self.demand_ms = now;
        }
        if now > self.seen_ms + CLOCK_ERROR_MS {
            // It slept, or its clock was set: nobody knows when the lease ended.
            (self.share, self.sharers) = (None, 0);
        }
        self.seen_ms = self.seen_ms.max(now);
        if self.epoch > 0 && self.expires_ms <= now && !self.has(GatewayBug::NeverExpires) {
            if self.sharers > 0 && self.share.is_none() {
                self.share = Some((self.expires_ms, 0, self.expires_ms));
            }
            self.begin_anew();
        }
    }

    /// Begins a lease under a number that this gateway never used.
    fn begin_anew(&mut self) {
        self.numbers += 1;
        self.lease = self.numbers;
        (self.epoch, self.granted, self.spent, self.reported, self.returned) = (0, 0, 0, 0, 0);
        (self.target, self.state, self.expires_ms) = (0, LeaseState::Held, 0);
    }

    /// The store is wiped; the process lives on.
    pub(crate) fn wipe(&mut self) {
        let number = self.lease;
        self.begin_anew();
        if self.has(GatewayBug::NumberUsedAgain) {
            self.lease = number;
        }
        (self.share, self.sharers, self.heard_ms) = (None, 0, 0);
        self.calling_until_ms = 0;
    }

    pub(crate) fn balance(&self) -> u64 {
        self.granted.saturating_sub(self.spent)
    }

    /// Decides about a request, and draws for it.
    pub(crate) fn request(&mut self, cost: u64, now: u64) -> Verdict {
        self.see(now);
        self.demand_ms = now;
        self.largest = self.largest.max(cost);
        self.count_demand(cost, now);
        if self.balance() >= cost {
            self.spent += cost;
            return Verdict::Admitted;
        }
        if self.draw_share(cost, now) {
            return Verdict::Admitted;
        }
        if self.draws && now >= self.empty_until_ms { Verdict::Ask } else { Verdict::Refused }
    }

    fn count_demand(&mut self, cost: u64, now: u64) {
        let second = now / 1_000;
        let (at, this, before) = self.demand;
        self.demand = match second.checked_sub(at) {
            Some(0) => (at, this + cost, before),
            Some(1) => (second, cost, this),
            _ => (second, cost, 0),
        };
    }

    /// What it wants to hold: some seconds of its own demand.
    fn want(&self) -> u64 {
        let (_, this, before) = self.demand;
        (4 * (this + before) + self.largest).min(self.definition.capacity)
    }

    /// The center said that it has too little for a request until then.
    pub(crate) fn learn(&mut self, wait_ms: u64, now: u64) {
        self.empty_until_ms = now + wait_ms.min(1_000);
    }

    fn draw_share(&mut self, cost: u64, now: u64) -> bool {
        let at_once = self.has(GatewayBug::ShareAtOnce) && self.sharers > 0 && self.share.is_none();
        if at_once {
            self.share = Some((now.saturating_sub(1_000), 0, now.saturating_sub(1_000)));
        }
        let Some((began_ms, units, filled_ms)) = self.share else { return false };
        if now >= began_ms + SHARE_MAX_MS || self.sharers == 0 {
            return false;
        }
        let Definition { capacity, refill, period_ms, .. } = self.definition;
        let per = period_ms * self.sharers;
        let gained = now.saturating_sub(filled_ms) * refill / per;
        // Only the time of whole units is used up.
        let filled_ms = filled_ms + (gained * per).div_ceil(refill.max(1));
        let units = (units + gained).min(capacity / (2 * self.sharers));
        let enough = units >= cost;
        self.share = Some((began_ms, if enough { units - cost } else { units }, filled_ms));
        enough
    }

    /// A request used less than it drew, or more. Returns what is back in the lease.
    pub(crate) fn settle(&mut self, drawn: u64, used: u64) -> u64 {
        let unused = drawn.saturating_sub(used);
        self.spent += used.saturating_sub(drawn);
        let floor = if self.has(GatewayBug::GivenBackBelowTheReport) { 0 } else { self.reported };
        let back = unused.min(self.spent.saturating_sub(floor));
        self.spent -= back;
        self.returned += unused - back;
        self.unused += unused - back;
        back
    }

    /// Whether it should call the center now. `tick` says that a tick does ask.
    pub(crate) fn should_call(&mut self, tick: bool, now: u64) -> bool {
        self.see(now);
        let idle = now.saturating_sub(self.demand_ms) > self.idle_ms;
        let low = !idle
            && self.balance() < self.target.min(self.want()).div_ceil(2).max(1)
            && self.state == LeaseState::Held
            && now >= self.empty_until_ms;
        let has_news = !idle || self.balance() > 0 || self.reported < self.spent;
        now >= self.calling_until_ms && (low || (tick && has_news))
    }

    /// The report of a call that leaves now.
    pub(crate) fn report(&mut self, now: u64) -> Report {
        self.calling_until_ms = now + ANSWER_MAX_MS;
        let idle = now.saturating_sub(self.demand_ms) > self.idle_ms;
        let kept = if idle { 0 } else { self.target.min(2 * self.want()).max(1) };
        let surplus = self.balance().saturating_sub(kept);
        self.spent += surplus;
        self.returned += surplus;
        self.reported = self.spent;
        Report {
            key: self.key.clone(),
            definition: self.definition.clone(),
            tier: self.tier.clone(),
            lease: self.lease,
            epoch: self.epoch,
            granted: self.granted,
            spent: self.spent,
            returned: self.returned,
            want: if idle { 0 } else { self.want() },
            largest: self.largest,
            share: self.wants_share,
            heard_ms: self.heard_ms,
        }
    }

    /// Applies an answer that arrives now.
    pub(crate) fn apply(&mut self, answer: &Answer, grant: Grant, now: u64) {
        self.see(now);
        self.calling_until_ms = 0;
        let late = now > answer.sent_ms + ANSWER_MAX_MS || now + SKEW_MS < answer.sent_ms;
        if late {
            return;
        }
        let older = answer.epoch < self.epoch;
        if grant.lease != self.lease || older {
            return;
        }
        match grant.state {
            LeaseState::Lapsed => return self.begin_anew(),
            LeaseState::Refused => return,
            LeaseState::Held | LeaseState::Draw => {}
        }
        let newer = answer.epoch > self.epoch && self.epoch != 0;
        self.granted = if self.has(GatewayBug::GrantAdded) {
            self.granted + grant.granted
        } else if newer {
            grant.granted
        } else {
            self.granted.max(grant.granted)
        };
        let from = if self.has(GatewayBug::ExpiryFromTheAnswer) { now } else { answer.sent_ms };
        self.expires_ms = if newer { from + answer.ttl_ms } else { self.expires_ms.max(from + answer.ttl_ms) };
        self.epoch = answer.epoch;
        self.learn(grant.wait_ms, now);
        if answer.at_ms >= self.heard_ms {
            self.heard_ms = answer.at_ms;
            (self.target, self.state, self.sharers) = (grant.target, grant.state, grant.sharers);
        }
        self.share = None;
    }
}
