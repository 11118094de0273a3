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
use crate::limit::{Charge, Limit, Limiter, Standing};
use crate::refusal::{LocalReply, Refusal};
use crate::store::Store;
use crate::worker::Worker;

impl Request {
    /// Whether it is held while weir serve is asked.
    pub fn is_asking(&self) -> bool {
        self.admitted().is_some_and(Admitted::asks_for_units)
    }

    /// The call that it is held for; None where it cannot be made, which [`Request::drew`] is to be told.
    pub fn ask(&self, renewals: &Renewals, store: &mut impl Store) -> Option<Ask> {
        let admitted = self.admitted()?;
        let center = admitted.policy.center.clone()?;
        let body = renewals.draw_call(store, &admitted.identity.tenant, admitted.asked())?;
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
        admitted.release_probe(limiter, now);
        let reply = admitted.reply(worker, refusal, now);
        self.end_if_refused(decided);
        Some((decided, Some(reply)))
    }

    /// Keeps a decision back until weir serve has answered, where it is asked.
    pub(super) fn hold_decision(&mut self, decided: &mut Decided) {
        if let Some(admitted) = self.admitted_mut().filter(|admitted| admitted.asks_for_units()) {
            admitted.undecided = Some(std::mem::replace(decided, Decided::Asking));
        }
    }
}

impl Admitted {
    /// Whether weir serve is asked for what its leases lack.
    fn asks_for_units(&self) -> bool {
        !self.reservation.asked.is_empty() || self.beside.iter().any(|beside| !beside.reservation.asked.is_empty())
    }

    /// What weir serve is asked for: of the plan's limits first, then what is drawn beside them, in its order.
    fn asked(&self) -> impl Iterator<Item = (&Limit, &Charge)> {
        let beside = self.beside.iter().map(|beside| (beside.limits(), &beside.reservation));
        let all = std::iter::once((&*self.identity.plan.limits, &self.reservation)).chain(beside);
        all.flat_map(|(limits, reservation)| {
            reservation.asked.iter().filter_map(|charge| Some((limits.get(charge.limit)?, charge)))
        })
    }

    fn draw_answer(&mut self, limiter: &mut impl Limiter, answer: &Fetched<'_>, now: Timestamp) -> Result<(), Refusal> {
        let all = self.asked().count();
        match draw::read(answer, all) {
            Drew::All(levels) => {
                self.granted(&levels);
                Ok(())
            }
            Drew::Short { at, wait_ms } => Err(self.denied(limiter, at, wait_ms, now)),
            Drew::Unanswered => self.unanswered(limiter, now),
        }
    }

    fn granted(&mut self, levels: &[u64]) {
        let (mut own, mut rest) = levels.split_at(self.reservation.asked.len().min(levels.len()));
        self.reservation.granted(own);
        for beside in &mut self.beside {
            (own, rest) = rest.split_at(beside.reservation.asked.len().min(rest.len()));
            beside.reservation.granted(own);
        }
    }

    fn denied(&mut self, limiter: &mut impl Limiter, at: usize, wait_ms: Option<u64>, now: Timestamp) -> Refusal {
        let Some(mut at) = at.checked_sub(self.reservation.asked.len()) else {
            return self.reservation.denied(limiter, self.identity.tenant.as_str(), at, wait_ms, now);
        };
        for beside in &mut self.beside {
            let asked = beside.reservation.asked.len();
            if at < asked {
                return beside.denied(limiter, at, wait_ms, now);
            }
            at -= asked;
        }
        Refusal::RateLimited(Standing::HIDDEN)
    }

    fn unanswered(&mut self, limiter: &mut impl Limiter, now: Timestamp) -> Result<(), Refusal> {
        let grants = grants(&self.identity, &self.policy);
        let center = self.policy.center.as_ref();
        self.reservation.unanswered(limiter, &grants, now)?;
        self.beside.iter_mut().try_for_each(|beside| beside.unanswered(limiter, center, now))
    }
}
