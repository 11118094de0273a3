//! Phase 4: settles a request and makes its one event.
use weir_config::shape::RouteUsage;
use weir_contract::event::Routed;
use weir_contract::{
    Class, Decision, EstimateMethod, PaidBy, SecurityKind, Text, Timestamp, Usage, UsageData, UsageStatus,
};
use weir_llm_usage::{Ending, InputEstimate, Provider, Reading, estimate};

use super::EndFacts;
use super::admitted::Admitted;
use super::judge::grants;
use super::reservation::Used;
use crate::emit::EmittedEvent;
use crate::limit::Limiter;
use crate::metering::Metering;
use crate::worker::Worker;

/// The operation of findings about answers that were searched for identifiers.
const REDACT: &str = "answer.redact";

impl Admitted {
    /// Settles what the request drew, and says what it was and used.
    pub(super) fn end(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        facts: &EndFacts<'_>,
        now: Timestamp,
    ) -> Option<EmittedEvent> {
        let reading = self.response.finish();
        self.weigh_up();
        let usage = self.usage(reading.as_ref(), facts);
        self.note_last_payer(facts.attempts);
        self.settle(limiter, reading.as_ref(), &usage, now);
        if self.learns && self.response.refuses_stream_options() {
            worker.refusers.learn(self.route.as_deref(), self.sent_model.as_deref().or(self.model.as_deref()));
        }
        let routed = self.settle_route((worker, limiter), facts, now);
        self.tell_borders(worker, now);
        self.tell_redaction(worker, now);
        self.tell_own_key(worker, now);
        let emitter = worker.emitter()?;
        let destination = self.policy.events.as_ref()?;
        let data = self.data(reading.as_ref(), usage, routed, facts, now);
        let mut emitted = emitter.usage(destination, &self.identity.tenant, now, &data);
        emitted.search = self.audit_search(emitter, destination, now);
        Some(emitted)
    }

    /// Says what was found in an answer that was searched for identifiers.
    fn tell_redaction(&mut self, worker: &mut Worker, now: Timestamp) {
        let Some(redaction) = self.redaction.take() else { return };
        let (replaced, owners) = redaction.found();
        if replaced > 0 {
            self.find(worker, SecurityKind::ForeignIdentifier, REDACT, replaced, &owners, now);
        }
        if redaction.is_unchecked() {
            self.find(worker, SecurityKind::UncheckedAnswer, REDACT, 1, &[], now);
        }
    }

    /// Takes what was weighed of a body that passed by.
    fn weigh_up(&mut self) {
        let Some(weigher) = self.weigher.take() else { return };
        self.input_estimate = self.input_estimate.or(weigher.input_estimate());
        self.model = self.model.take().or_else(|| weigher.model().map(Into::into));
    }

    /// The provider's numbers; where a model gave none, what can be estimated; for anything else nothing.
    fn usage(&self, reading: Option<&Reading>, facts: &EndFacts<'_>) -> Usage {
        if let Some(usage) = self.guarded_usage() {
            return usage;
        }
        match self.metering {
            Metering::Off | Metering::Undeclared => Usage::default(),
            // An answer that is read again counts only where nothing has counted it before, and then by its own numbers.
            Metering::Kept => reading
                .filter(|reading| reading.is_kept && reading.usage.status == UsageStatus::Complete)
                .map_or_else(Usage::default, |reading| reading.usage.clone()),
            Metering::Inference => self.usage_of_inference(reading, self.response.ending(facts)),
        }
    }

    fn usage_of_inference(&self, reading: Option<&Reading>, ending: Ending) -> Usage {
        let estimate = match self.input_estimate {
            Some(tokens) => InputEstimate { tokens, method: EstimateMethod::RequestText },
            None => InputEstimate { tokens: estimate::OVERHEAD_TOKENS, method: EstimateMethod::RequestUnread },
        };
        match reading {
            Some(reading) if self.is_estimated() => reading.settle(estimate, ending),
            Some(reading) => match reading.known() {
                known if known == Usage::default() && ending == Ending::Left && self.input_estimate.is_some() => {
                    reading.without_words().settle(estimate, ending)
                }
                known => known,
            },
            // The client left before the answer's head, and the model had its prompt.
            None if (self.is_estimated() || self.input_estimate.is_some())
                && ending == Ending::Left
                && !self.awaits_body =>
            {
                Reading::unread(0).settle(estimate, ending)
            }
            None => Usage::default(),
        }
    }

    /// Whether missing numbers are estimated. A search of the operator's own, an image or a sound is not counted in tokens
    /// by everybody.
    fn is_estimated(&self) -> bool {
        let read = self.route.as_ref().is_some_and(|route| route.usage == Some(RouteUsage::Read));
        let by_class = self.classes.any(|class| matches!(class, Class::Chat | Class::Completion | Class::Embedding));
        by_class || (read && matches!(self.class, Class::Rag | Class::Other))
    }

    /// Settles what was drawn. What works in the background keeps what it has drawn: who reads its answer draws nothing.
    fn settle(&self, limiter: &mut impl Limiter, reading: Option<&Reading>, usage: &Usage, now: Timestamp) {
        if reading.is_some_and(|reading| reading.is_underway) && self.metering == Metering::Inference {
            return;
        }
        let used = if self.metering == Metering::Kept { Used::default() } else { self.used(usage) };
        self.reservation.settle(limiter, &grants(&self.identity, &self.policy), used, now);
        for beside in &self.beside {
            beside.settle(limiter, self.policy.center.as_ref(), used, now);
        }
    }

    /// What limits and budgets count of a usage.
    fn used(&self, usage: &Usage) -> Used {
        let tokens = usage.input_tokens.unwrap_or(0).saturating_add(usage.output_tokens.unwrap_or(0));
        let cost = self.routed.as_deref().filter(|_| self.counts_cost()).and_then(|routed| {
            let model = routed.served.as_deref().or_else(|| routed.chosen.models.first().map(|model| &**model))?;
            routed.catalogue.cost_of(model, usage.into())
        });
        Used { tokens, cost: cost.unwrap_or(0) }
    }

    /// The class of an answer that is read again is that of the work behind it.
    fn reported_class(&self, usage: &Usage) -> Class {
        let counts = self.metering == Metering::Kept && usage.status != UsageStatus::None;
        match self.class {
            Class::Other if counts && self.path.split(|byte| *byte == b'/').any(|part| part == b"batches") => {
                Class::Batch
            }
            Class::Other if counts => Class::Chat,
            class => class,
        }
    }

    /// Who answered: the provider that served, where the request was routed; else by the answer's shape.
    fn answerer(&self, reading: Option<&Reading>) -> Option<Provider> {
        self.served_by.or_else(|| reading?.provider)
    }

    fn data<'a>(
        &'a self,
        reading: Option<&'a Reading>,
        usage: Usage,
        routed: Option<Routed<'a>>,
        facts: &EndFacts<'_>,
        now: Timestamp,
    ) -> UsageData<'a> {
        let route = self.route.as_deref();
        let budget = self.budget_stage();
        let tenant = &self.identity.tenant;
        let user = self.identity.user.as_deref().and_then(|user| self.policy.labels.user(tenant, user));
        let environment = self.identity.environment.as_deref();
        let response = &self.response;
        UsageData {
            request_id: Text::from(&*self.request_id),
            response_id: reading.and_then(|r| r.response_id.as_deref()).map(Text::from),
            trace_id: self.labels.trace.as_ref().map(|trace| Text::from(trace.trace_id())),
            span_id: self.labels.trace.as_ref().map(|trace| Text::from(trace.span_id())),
            credential_id: Some(Text::from(&*self.identity.credential_id)),
            plan: Text::from(&*self.identity.plan.name),
            class: self.reported_class(&usage),
            route: route.and_then(|route| route.name.as_deref()).map(Text::from),
            feature: self.feature().map(Text::from),
            prompt_version: self.labels.prompt_version.as_deref().map(Text::from),
            idempotency_key_hash: self.labels.idempotency_key_hash.as_deref().map(Text::from),
            user: user.map(Text::from),
            environment: environment.or(route.and_then(|route| route.environment.as_deref())).map(Text::from),
            provider: self.answerer(reading).map(|provider| Text::from(provider.as_str())),
            request_model: self.model.as_deref().map(Text::from),
            // A cloud bills by its own name of a model; where a provider names none, it is the one that the plan put in place of the
            // client's.
            response_model: reading
                .and_then(|r| {
                    self.billed_model.as_deref().or(r.response_model.as_deref()).or(self.sent_model.as_deref())
                })
                .map(Text::from),
            service_tier: reading.and_then(|r| r.service_tier.as_deref()).map(Text::from),
            stream: reading.is_some_and(|reading| reading.is_stream),
            status: response.status,
            outcome: response.outcome(facts),
            decision: if self.observed.is_some() { Decision::Observed } else { Decision::Admitted },
            budget: budget.map(|budget| Text::from(&*budget.budget)),
            budget_stage: budget.map(|budget| budget.stage),
            flags: self.flags.as_ref().and_then(|flags| flags.dictionary()).map(Text::from),
            paid_by: if self.own_key.is_some() { PaidBy::Tenant } else { PaidBy::House },
            config_version: Text::from(&*self.policy.version),
            kept: usage.status != UsageStatus::None && reading.is_some_and(|reading| reading.is_kept),
            usage,
            duration_ms: now.millis_since(self.started),
            time_to_first_token_ms: response.first_byte.map(|at| at.millis_since(self.started)),
            request_bytes: self.request_bytes,
            response_bytes: response.bytes,
            routed,
        }
    }
}
