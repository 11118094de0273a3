//! What a routed request tells at its end: the breakers and the aggregator how its attempts went, its event what was chosen.
use std::collections::BTreeMap;

use weir_contract::event::Routed as InEvent;
use weir_contract::{AttemptFailure, Outcome, Text, Timestamp};

use super::super::EndFacts;
use super::super::admitted::Admitted;
use super::super::chosen::Routed;
use super::super::paid::Paid;
use crate::emit::Tried;
use crate::limit::{Attempts, Limiter};
use crate::routing::breaker::{self, Changes};
use crate::routing::told::{self, Attempted};
use crate::store::Store;
use crate::worker::Worker;

impl Admitted {
    /// Tells the breakers how the attempts went, and the event what was chosen. `attempts`: the state of the stream.
    pub(in crate::request) fn settle_route(
        &mut self,
        (worker, limiter): (&mut Worker, &mut impl Limiter),
        facts: &EndFacts<'_>,
        now: Timestamp,
    ) -> Option<InEvent<'static>> {
        self.routed.as_ref()?;
        let own = self.own_attempt();
        let told = facts.attempts.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        let text = own.as_deref().unwrap_or(told);
        let made = count(told::attempts(text).count());
        let attempts = self.judged_attempts(text, facts);
        self.release_unused_probe(&attempts, limiter, now);
        let Routed { asked, catalogue, chosen, served, paid, troubled, is_downgraded, .. } = *self.routed.take()?;
        let paid = paid.as_ref();
        let own_limited = self.learn_accounts(worker, &attempts, paid, now);
        let learn = |mut store: Box<dyn Store + '_>| {
            let told = attempts.iter().map(|attempt| (attempt.clone(), Paid::account(paid, attempt.provider)));
            breaker::learn(&mut *store, told, troubled, now)
        };
        let changes = limiter.shared().map(learn).unwrap_or_default();
        let failed = count(attempts.iter().filter(|attempt| attempt.is_failure()).count());
        let Changes { opened, closed, .. } = changes;
        limiter.attempted(Attempts { made, failed, own_limited, opened, closed });
        let retry_refused = told::is_retry_refused(text);
        // One of a client that has left counts, and says nothing.
        let left = told::attempts(text).skip(attempts.len());
        self.sum_attempts(worker, (&attempts, left, retry_refused), (paid, &changes), now);
        let first = chosen.models.first().map(|model| (**model).to_owned()).unwrap_or_default();
        self.model = Some(asked);
        self.served_by = served.as_deref().and_then(|model| catalogue.answerer(model));
        self.billed_model = served.as_deref().and_then(|model| catalogue.billed_name(model)).map(Into::into);
        Some(InEvent {
            chosen: Text::from(first),
            reason: Text::from(chosen.why.as_str()),
            served: served.map(|served| Text::from(served.into_string())),
            attempts: made,
            retry_refused,
            downgraded: is_downgraded,
            dropped: chosen
                .dropped
                .iter()
                .map(|(model, why)| (model.to_string(), why.as_str().to_owned()))
                .collect::<BTreeMap<_, _>>(),
        })
    }

    /// Gives the probe back where no attempt has told anything of its provider.
    fn release_unused_probe(&mut self, attempts: &[Attempted<'_>], limiter: &mut impl Limiter, now: Timestamp) {
        let Some(routed) = self.routed.as_ref() else { return };
        let Some(probe) = routed.probe.as_ref() else { return };
        if !attempts.iter().any(|attempt| *attempt.provider == *probe.provider) {
            self.release_probe(limiter, now);
        }
    }

    /// Remembers which of the tenant's own accounts are to be left alone. Returns how many attempts ran into the limit of one.
    fn learn_accounts(
        &self,
        worker: &mut Worker,
        attempts: &[Attempted<'_>],
        paid: Option<&Paid>,
        now: Timestamp,
    ) -> u64 {
        let Some(paid) = paid else { return 0 };
        let mut limited = 0_u64;
        for attempt in attempts.iter().filter(|attempt| paid.pays(attempt.provider)) {
            worker.own_accounts.learn(self.identity.tenant.as_str(), attempt, now);
            limited = limited.saturating_add(u64::from(attempt.is_about_account() && attempt.is_failure()));
        }
        limited
    }

    /// The one attempt of a request where no upstream role lists any.
    fn own_attempt(&self) -> Option<String> {
        let Routed { catalogue, chosen, .. } = &**self.routed.as_ref().filter(|_| self.writes_model)?;
        let model = chosen.models.first()?;
        let (_, provider) = catalogue.provider_of(model)?;
        let status = Some(self.response.status).filter(|status| *status != 0);
        let mut text = String::new();
        Attempted { provider: &provider, model, status, retry_after_secs: None, failure: None }.write(&mut text);
        Some(text)
    }

    /// The attempts that say something about their providers. The last one of a client that has left does not; how it failed where
    /// the client did not leave, the gateway knows better than the attempt itself.
    fn judged_attempts<'a>(&self, text: &'a str, facts: &EndFacts<'_>) -> Vec<Attempted<'a>> {
        let outcome = self.response.outcome(facts);
        let has_left = self.response.status == 0 || outcome == Outcome::ClientClosed;
        let mut attempts: Vec<Attempted<'_>> =
            told::attempts(text).filter(|attempt| !(has_left && attempt.status.is_none())).collect();
        if let Some(last) = attempts.last_mut()
            && last.failure.is_none()
        {
            last.failure = match last.status {
                None => facts.details.and_then(told::failure_of_details),
                Some(..400) if self.response.is_cut() => Some(AttemptFailure::CutOff),
                Some(..400) if matches!(outcome, Outcome::UpstreamReset | Outcome::Timeout) => {
                    Some(AttemptFailure::CutOff)
                }
                Some(_) => None,
            };
        }
        attempts
    }

    /// Adds the attempts to the sums that the aggregator is told. `left`: those without a result. `retry_refused`: behind the last one.
    fn sum_attempts<'a>(
        &self,
        worker: &mut Worker,
        (judged, left, retry_refused): (&[Attempted<'a>], impl Iterator<Item = Attempted<'a>>, bool),
        (paid, changes): (Option<&Paid>, &Changes),
        now: Timestamp,
    ) {
        let Some(emitter) = worker.emitter() else { return };
        let input_tokens = self.input_estimate.unwrap_or(0);
        emitter.attempts(self.policy.events.as_ref(), |sums| {
            let last = judged.last();
            let judged = judged.iter().map(|attempt| (attempt.clone(), attempt.failure()));
            for (Attempted { provider, model, status, .. }, failure) in
                judged.chain(left.map(|attempt| (attempt, None)))
            {
                // A prompt that the tenant's own account paid cannot have cost the operator anything.
                let is_own = paid.is_some_and(|paid| paid.pays(provider));
                let input_tokens = if is_own { 0 } else { input_tokens };
                sums.add(&Tried { provider, model, failure, status, input_tokens }, now);
            }
            if let Some(last) = last.filter(|_| retry_refused) {
                sums.retry_refused(last.provider, last.model, now);
            }
            for (provider, open_until) in &changes.breakers {
                sums.breaker(provider, *open_until, now);
            }
        });
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
