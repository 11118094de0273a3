//! The model of the catalogue that serves a request: chosen once the body is known, told to the gateway by the name of a chain, and
//! to the upstream role of the filter by the state of the stream.
use std::collections::BTreeMap;

use weir_contract::event::Routed as InEvent;
use weir_contract::stage::Stage;
use weir_contract::{Outcome, Text, Timestamp};
use weir_llm_translate::Dialect;

use super::admitted::Admitted;
use super::chosen::Routed;
use super::{Edits, EndFacts, ResponseEdits};
use crate::body::Document;
use crate::enforce::{Body, OUTPUT_TOKENS_ASSUMED};
use crate::head::{Pair, is};
use crate::limit::{Attempts, Limiter};
use crate::metering::Metering;
use crate::refusal::Refusal;
use crate::routing::breaker::{self, Standing};
use crate::routing::told::Attempted;
use crate::routing::{Asked, CHAIN_HEADER, Catalogue, Choice, client_dialect, told};
use crate::worker::Worker;

/// The header in which the upstream role says who served.
const SERVED: &str = "x-weir-served";

/// The header that tells a client what was chosen.
const ROUTE: &str = "x-weir-route";

impl Admitted {
    /// Chooses the model for a request whose body was read, and puts its name in the place of the one asked for: plan and limits
    /// are about the model that is used.
    pub(super) fn choose_model(
        &mut self,
        body: &mut Body,
        bytes: &[u8],
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let policy = std::rc::Rc::clone(&self.policy);
        let Some(catalogue) = &policy.routing else { return Ok(()) };
        let (Some(dialect), Body::Read(document)) = (client_dialect(b"POST", &self.path), body) else { return Ok(()) };
        if document.ambiguous || document.is_form {
            return Ok(());
        }
        let Some(name) = document.model_name().map(str::to_owned) else { return Ok(()) };
        let standing =
            limiter.shared().map_or_else(Standing::default, |mut store| breaker::standing(&mut *store, catalogue, now));
        let choice = {
            let mut asked = self.asked(dialect, &name, document, bytes, standing);
            let choice = catalogue.choose(&asked, &mut worker.habits);
            let lost = lost_probes(&choice, catalogue, standing, limiter, now);
            asked.open |= lost;
            if lost == 0 { choice } else { catalogue.choose(&asked, &mut worker.habits) }
        };
        match choice {
            Choice::Unasked => Ok(()),
            Choice::NoneFits(_) => Err(Refusal::NoModelFits),
            Choice::Chosen(chosen) => {
                if let (Some(model), Some(first)) = (&mut document.model, chosen.models.first()) {
                    model.name = Some((**first).into());
                }
                let troubled = standing.troubled;
                self.routed = Some(Box::new(Routed { asked: name.into(), dialect, chosen, troubled, served: None }));
                Ok(())
            }
        }
    }

    fn asked<'a>(
        &'a self,
        dialect: Dialect,
        model: &'a str,
        document: &Document,
        body: &'a [u8],
        standing: Standing,
    ) -> Asked<'a> {
        let plan = &self.identity.plan;
        let output_cap = document.output_cap(|_| true).flatten();
        let bound = |tokens: u64| plan.output_tokens_max.map_or(tokens, |max| tokens.min(max));
        Asked {
            dialect,
            model,
            class: self.class,
            plan,
            stage: self.budget_stage().map_or(Stage::Ok, |budget| budget.stage),
            tenant: self.identity.tenant.as_str(),
            user: self.identity.user.as_deref(),
            input_tokens: document.input_estimate(),
            // Until the directory tells the usual output of a tenant and class: its cap, or an answer's usual length.
            output_tokens: bound(output_cap.unwrap_or(OUTPUT_TOKENS_ASSUMED)),
            output_cap: output_cap.map(bound),
            tools: document.tools,
            images: document.images > 0,
            body,
            open: standing.open,
        }
    }

    /// Refuses a request that only some providers may serve, where none of them was chosen: it would go anywhere.
    pub(super) fn check_bounds(&self) -> Result<(), Refusal> {
        let is_free = self.routed.is_some() || self.metering != Metering::Inference;
        if is_free || !self.identity.plan.is_bound() { Ok(()) } else { Err(Refusal::NoModelFits) }
    }

    /// Tells the gateway and the upstream role what was chosen.
    pub(super) fn lead(&self, edits: &mut Edits) {
        let Some(routed) = &self.routed else { return };
        edits.set.push((CHAIN_HEADER, routed.chosen.chain.clone().into()));
        edits.choice = Some(routed.chosen.told(routed.dialect));
    }

    /// Reads who served, and tells the client as far as the configuration says so.
    pub(super) fn tell_route(&mut self, pairs: &[Pair<'_>], edits: &mut ResponseEdits) {
        let (Some(routed), Some(catalogue)) = (&mut self.routed, &self.policy.routing) else { return };
        let served =
            pairs.iter().find(|(name, _)| is(name, SERVED)).and_then(|(_, value)| std::str::from_utf8(value).ok());
        let model = served.and_then(|served| served.split(';').nth(1));
        routed.served =
            model.filter(|model| routed.chosen.models.iter().any(|chosen| **chosen == **model)).map(Into::into);
        if !catalogue.tells_client {
            edits.remove.extend(served.map(|_| SERVED));
            return;
        }
        let chosen = routed.chosen.models.first().map(|model| &**model).unwrap_or_default();
        let reason = routed.chosen.why.as_str();
        edits.set.push((ROUTE, format!("asked={};chosen={chosen};reason={reason}", sendable(&routed.asked))));
    }

    /// Tells the breakers how the attempts went, and the event what was chosen. `attempts`: the state of the stream.
    pub(super) fn settle_route(
        &mut self,
        limiter: &mut impl Limiter,
        facts: &EndFacts<'_>,
        now: Timestamp,
    ) -> Option<InEvent<'static>> {
        let routed = self.routed.take()?;
        let text = facts.attempts.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        // The last attempt of a client that has left says nothing about its provider.
        let has_left = self.response.status == 0 || self.response.outcome(facts) == Outcome::ClientClosed;
        let attempts = told::attempts(text).filter(move |attempt| !(has_left && attempt.status.is_none()));
        let troubled = routed.troubled;
        let changes = limiter.shared().map(|mut store| breaker::learn(&mut *store, attempts.clone(), troubled, now));
        let changes = changes.unwrap_or_default();
        let count = |of: usize| u64::try_from(of).unwrap_or(u64::MAX);
        let made = count(told::attempts(text).count());
        let failed = count(attempts.filter(Attempted::is_failure).count());
        limiter.attempted(Attempts { made, failed, opened: changes.opened, closed: changes.closed });
        let Routed { asked, chosen, served, .. } = *routed;
        let first = chosen.models.first().map(|model| (**model).to_owned()).unwrap_or_default();
        self.model = Some(asked);
        self.served = served.clone();
        Some(InEvent {
            chosen: Text::from(first),
            reason: Text::from(chosen.why.as_str()),
            served: served.map(|served| Text::from(served.into_string())),
            attempts: made,
            dropped: chosen
                .dropped
                .iter()
                .map(|(model, why)| (model.to_string(), why.as_str().to_owned()))
                .collect::<BTreeMap<_, _>>(),
        })
    }
}

/// The providers of a chain whose probe another request has claimed, a bit each.
fn lost_probes(
    choice: &Choice,
    catalogue: &Catalogue,
    standing: Standing,
    limiter: &mut impl Limiter,
    now: Timestamp,
) -> u32 {
    let Choice::Chosen(chosen) = choice else { return 0 };
    if standing.due == 0 {
        return 0;
    }
    let mut lost = 0;
    for (at, provider) in catalogue.providers.iter().enumerate() {
        let bit = 1_u32.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0);
        let is_tried = || chosen.chain.split('.').any(|name| *name == *provider.name);
        if standing.due & bit != 0
            && is_tried()
            && let Some(mut store) = limiter.shared()
            && !breaker::claim(&mut *store, &provider.name, now)
        {
            lost |= bit;
        }
    }
    lost
}

/// A name as a header may have it.
fn sendable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_graphic() && letter != ';' { letter } else { '_' }).collect()
}
