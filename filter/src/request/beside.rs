//! What a request draws beside its plan's limits: the tenant's hard budgets, and the pools of its route and of the provider that was
//! chosen for it.
//!
//! They are drawn after the plan's limits, and what was drawn before is given back where one refuses: a request draws from all
//! or from none. The pool of a provider is drawn when the provider is chosen, so that another one is chosen where it is saturated.
use std::rc::Rc;

use weir_contract::Timestamp;
use weir_contract::stage::Stage;

use super::reservation::{Draw, Grants, Reservation, Used};
use crate::identity::Identity;
use crate::limit::hard::is_current;
use crate::limit::set::{LimitSet, budget_record};
use crate::limit::{Center, Limit, Limiter, Standing, Unit};
use crate::plan::staged::RefusalStatus;
use crate::policy::Route;
use crate::refusal::{OverBudget, Refusal};

/// Limits in a record of their own, and what the request has drawn from them.
#[derive(Debug)]
pub(super) struct Beside {
    set: LimitSet,
    refuses: Refuses,
    /// It was drawn when the provider was chosen.
    is_drawn: bool,
    /// It came after the limits that the head decides about were drawn: all its limits are drawn together.
    is_late: bool,
    pub(super) reservation: Reservation,
}

/// How a request is refused that finds too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refuses {
    /// 429 for the pool.
    Pool,
    /// With the status of the plan's stage `exceeded`.
    Budget(RefusalStatus),
}

impl Beside {
    /// What a request of this route draws beside its plan, in its order.
    pub(super) fn of(route: Option<&Route>, identity: &Identity, center: Option<&Rc<Center>>) -> Vec<Self> {
        let pool = route.and_then(|route| route.pool.as_deref()).and_then(|pool| pool.set_of(&identity.plan));
        let pool = pool.map(|set| Self::new(set.clone(), Refuses::Pool));
        let budgets = identity.hard_budgets.as_ref().map(|limits| {
            let exceeded = identity.plan.staged.at(Stage::Exceeded).and_then(|staged| staged.refuses.as_ref());
            let status = exceeded.map_or(RefusalStatus::PaymentRequired, |refuses| refuses.status);
            let record = budget_record(identity.tenant.as_str(), center.map_or(0, |center| center.salt));
            Self::new(LimitSet { record, limits: Rc::clone(limits) }, Refuses::Budget(status))
        });
        budgets.into_iter().chain(pool).collect()
    }

    fn new(set: LimitSet, refuses: Refuses) -> Self {
        let reservation = Reservation::that_refills(refuses == Refuses::Pool);
        Beside { set, refuses, is_drawn: false, is_late: false, reservation }
    }

    /// What a request of a provider draws from its pool. `may_ask`: it can be held while weir serve is asked.
    pub(super) fn of_provider(set: &LimitSet, may_ask: bool) -> Self {
        let mut beside = Self::new(set.clone(), Refuses::Pool);
        (beside.reservation.may_ask, beside.is_late) = (may_ask, true);
        beside
    }

    /// Whether these are the limits of that set.
    pub(super) fn is_of(&self, set: &LimitSet) -> bool {
        self.set.record == set.record
    }

    /// Draws from all its limits at once.
    pub(super) fn draw_now(
        &mut self,
        limiter: &mut impl Limiter,
        draw: &Draw<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let drawn = self.draw(limiter, draw, |_| true, now);
        match drawn {
            Ok(()) => self.is_drawn = true,
            Err(_) => self.give_back(limiter, now),
        }
        drawn
    }

    /// Whether they are those of the route's pool.
    pub(super) fn is_of_pool(&self) -> bool {
        self.refuses == Refuses::Pool
    }

    /// Its limits.
    pub(super) fn limits(&self) -> &[Limit] {
        &self.set.limits
    }

    /// Draws from those limits of one stage that cover the request.
    pub(super) fn draw(
        &mut self,
        limiter: &mut impl Limiter,
        draw: &Draw<'_>,
        of_stage: impl Fn(&Limit) -> bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.is_drawn {
            return Ok(());
        }
        let draw = Draw { grants: grants(&self.set, draw.grants.center), ..*draw };
        let all = &self.set.limits;
        let is_late = self.is_late;
        let drawn_on = |limit: &Limit| (is_late || of_stage(limit)) && is_current(limit, all, now);
        let is_over = |limit: &&Limit| limit.term().and_then(|term| term.ends).is_some_and(|ends| ends <= now);
        if all.iter().filter(|limit| drawn_on(limit) && limit.covers(&draw.traits)).any(|limit| is_over(&limit)) {
            // Nobody has told of the period that holds now.
            return Err(Refusal::LimitUnreachable(Standing::HIDDEN));
        }
        let drawn = self.reservation.draw(limiter, &draw, drawn_on, now);
        drawn.map_err(|refusal| self.refusal(refusal, now))
    }

    /// The limits' own refusal, as that of the pool or the budget. Clients are not told how large the operator's quota is.
    fn refusal(&self, of_limits: Refusal, now: Timestamp) -> Refusal {
        let hidden = |Standing { unit, wait_ms, .. }: Standing| Standing { unit, wait_ms, ..Standing::HIDDEN };
        match (of_limits, self.refuses) {
            (Refusal::RateLimited(standing), Refuses::Pool) => Refusal::PoolSaturated(hidden(standing)),
            (Refusal::RateLimited(standing), Refuses::Budget(status)) => {
                let ends = self.set.limits.get(standing.limit).and_then(Limit::term).and_then(|term| term.ends);
                Refusal::Budget(OverBudget { status, wait_ms: ends.map(|ends| ends.millis_since(now)) })
            }
            (Refusal::LimitUnreachable(standing), _) => Refusal::LimitUnreachable(hidden(standing)),
            (other, _) => other,
        }
    }

    /// How the tenant's own budgets stand. Of a pool clients are told nothing.
    pub(super) fn told(&self, now: Timestamp) -> impl Iterator<Item = (&Limit, Standing)> {
        let standings = self.reservation.standings.iter().filter(|_| self.refuses != Refuses::Pool);
        standings.filter_map(move |standing| {
            // Millionths of money are no number that a client's library should take for requests or tokens.
            let limit = self.set.limits.get(standing.limit).filter(|limit| limit.unit != Unit::Cost)?;
            let ends = limit.term().and_then(|term| term.ends);
            Some((limit, Standing { wait_ms: ends.map_or(0, |ends| ends.millis_since(now)), ..*standing }))
        })
    }

    /// Gives back all that was drawn.
    pub(super) fn give_back(&mut self, limiter: &mut impl Limiter, now: Timestamp) {
        self.reservation.give_back(limiter, &self.set.record, now);
    }

    /// Settles what was drawn against what was used.
    pub(super) fn settle(&self, limiter: &mut impl Limiter, center: Option<&Rc<Center>>, used: Used, now: Timestamp) {
        self.reservation.settle(limiter, &grants(&self.set, center), used, now);
    }

    /// weir serve has too little of one charge: the refusal.
    pub(super) fn denied(
        &mut self,
        limiter: &mut impl Limiter,
        at: usize,
        wait_ms: Option<u64>,
        now: Timestamp,
    ) -> Refusal {
        let refusal = self.reservation.denied(limiter, &self.set.record, at, wait_ms, now);
        self.refusal(refusal, now)
    }

    /// weir serve did not answer: each limit goes on as it says.
    pub(super) fn unanswered(
        &mut self,
        limiter: &mut impl Limiter,
        center: Option<&Rc<Center>>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let went_on = self.reservation.unanswered(limiter, &grants(&self.set, center), now);
        went_on.map_err(|refusal| self.refusal(refusal, now))
    }
}

fn grants<'a>(set: &'a LimitSet, center: Option<&'a Rc<Center>>) -> Grants<'a> {
    Grants { tenant: &set.record, limits: &set.limits, center }
}
