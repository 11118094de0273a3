//! What a request draws beside its plan's limits: the pool of its route.
//!
//! It is drawn after the plan's limits, and what was drawn before is given back where it refuses: a request draws from all or
//! from none. A saturated pool refuses before anything of the request goes on, so another candidate of the route, with a pool of
//! its own, could be tried in its place.
use std::rc::Rc;

use weir_contract::{Timestamp, Usage};

use super::admitted::Admitted;
use super::reservation::{Draw, Grants, Reservation};
use crate::limit::account::LimitSet;
use crate::limit::{Center, Limit, Limiter, Standing, Unit};
use crate::plan::Plan;
use crate::policy::Route;
use crate::refusal::Refusal;

/// Limits in a record of their own, and what the request has drawn from them.
#[derive(Debug)]
pub(super) struct Beside {
    set: Rc<LimitSet>,
    pub(super) reservation: Reservation,
}

impl Beside {
    /// What a request of this route draws beside its plan.
    pub(super) fn of(route: Option<&Route>, plan: &Plan) -> Vec<Self> {
        let pool = route.and_then(|route| route.pool.as_deref()).and_then(|pool| pool.set_of(plan));
        pool.map(|set| Beside { set: Rc::clone(set), reservation: Reservation::default() }).into_iter().collect()
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
        let draw = Draw { grants: grants(&self.set, draw.grants.center), ..*draw };
        self.reservation.draw(limiter, &draw, of_stage, now).map_err(refusal)
    }

    /// Gives back all that was drawn.
    pub(super) fn give_back(&mut self, limiter: &mut impl Limiter, now: Timestamp) {
        self.reservation.give_back(limiter, &self.set.record, now);
    }

    /// Settles what was drawn for tokens against what was used.
    pub(super) fn settle(
        &self,
        limiter: &mut impl Limiter,
        center: Option<&Rc<Center>>,
        usage: &Usage,
        now: Timestamp,
    ) {
        self.reservation.settle(limiter, &grants(&self.set, center), usage, now);
    }

    /// weir serve has too little of one charge: the refusal.
    pub(super) fn denied(
        &mut self,
        limiter: &mut impl Limiter,
        at: usize,
        wait_ms: Option<u64>,
        now: Timestamp,
    ) -> Refusal {
        refusal(self.reservation.denied(limiter, &self.set.record, at, wait_ms, now))
    }

    /// weir serve did not answer: each limit goes on as it says.
    pub(super) fn unanswered(
        &mut self,
        limiter: &mut impl Limiter,
        center: Option<&Rc<Center>>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.reservation.unanswered(limiter, &grants(&self.set, center), now).map_err(refusal)
    }
}

impl Admitted {
    /// Whether what is drawn beside the plan depends on the body.
    pub(super) fn draws_tokens_beside(&self) -> bool {
        self.beside.iter().flat_map(Beside::limits).any(|limit| limit.unit == Unit::Tokens)
    }
}

fn grants<'a>(set: &'a LimitSet, center: Option<&'a Rc<Center>>) -> Grants<'a> {
    Grants { tenant: &set.record, limits: &set.limits, center }
}

/// The limits' own refusal, as the pool's. Clients are not told how large the operator's quota is.
fn refusal(of_limits: Refusal) -> Refusal {
    let hidden = |Standing { unit, wait_ms, .. }: Standing| Standing { unit, wait_ms, ..Standing::HIDDEN };
    match of_limits {
        Refusal::RateLimited(standing) => Refusal::PoolSaturated(hidden(standing)),
        Refusal::LimitUnreachable(standing) => Refusal::LimitUnreachable(hidden(standing)),
        other => other,
    }
}
