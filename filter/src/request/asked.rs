//! A request that is held while weir serve is asked for what leases lack.
//!
//! Everything else has been decided by then, and the request's changes are made: only the answer is missing. Envoy
//! alone can hold a request for it.
use weir_contract::Timestamp;

use super::admitted::Admitted;
use super::judge::grants;
use super::{Ask, Decided, Request};
use crate::fetch::Fetched;
use crate::fleet::Renewals;
use crate::fleet::draw::{self, Drew};
use crate::limit::Limiter;
use crate::refusal::{LocalReply, Refusal};
use crate::store::Store;
use crate::worker::Worker;

impl Request {
    /// Whether it is held while weir serve is asked.
    pub fn is_asking(&self) -> bool {
        self.admitted().is_some_and(|admitted| !admitted.reservation.asked.is_empty())
    }

    /// The call that it is held for; None where it cannot be made, which [`Request::drew`] is to be told.
    pub fn ask(&self, renewals: &Renewals, store: &mut impl Store) -> Option<Ask> {
        let admitted = self.admitted()?;
        let center = admitted.policy.center.clone()?;
        let (identity, asked) = (&admitted.identity, &admitted.reservation.asked);
        let body = renewals.draw_call(store, &identity.tenant, &identity.plan.limits, asked)?;
        Some(Ask { center, body })
    }

    /// Takes in the answer. Returns what was decided, and the reply of a request that goes no further.
    pub fn drew(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        answer: &Fetched<'_>,
        now: Timestamp,
    ) -> Option<(Decided, Option<LocalReply>)> {
        let admitted = self.admitted_mut()?;
        let otherwise = admitted.undecided.take().unwrap_or(Decided::Admitted);
        let refusal = admitted.draw_answer(limiter, answer, now).err();
        if refusal.is_some() {
            admitted.give_back(limiter, now);
        }
        let decided = admitted.outcome(refusal, otherwise);
        let Decided::Refused(refusal) = decided else { return Some((decided, None)) };
        let reply = admitted.reply(worker, refusal, now);
        self.end_if_refused(decided);
        Some((decided, Some(reply)))
    }

    /// Keeps a decision back until weir serve has answered, where it is asked.
    pub(super) fn hold_decision(&mut self, decided: &mut Decided) {
        if let Some(admitted) = self.admitted_mut().filter(|admitted| !admitted.reservation.asked.is_empty()) {
            admitted.undecided = Some(std::mem::replace(decided, Decided::Asking));
        }
    }
}

impl Admitted {
    fn draw_answer(&mut self, limiter: &mut impl Limiter, answer: &Fetched<'_>, now: Timestamp) -> Result<(), Refusal> {
        let grants = grants(&self.identity, &self.policy);
        let reservation = &mut self.reservation;
        match draw::read(answer, reservation.asked.len()) {
            Drew::All(levels) => {
                reservation.granted(&levels);
                Ok(())
            }
            Drew::Short { at, wait_ms } => Err(reservation.denied(limiter, grants.tenant, at, wait_ms, now)),
            Drew::Unanswered => reservation.unanswered(limiter, &grants, now),
        }
    }
}
