//! Phase 4: settles a request and makes its one event.
use weir_contract::{Class, Decision, Text, Timestamp, Usage, UsageData, UsageStatus};
use weir_llm_usage::{Reading, estimate};

use super::EndFacts;
use super::admitted::Admitted;
use crate::emit::EmittedEvent;
use crate::limit::Limiter;
use crate::worker::Worker;

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
        let usage = reading.as_ref().map_or_else(Usage::default, |reading| self.usage(reading));
        self.reservation.settle(limiter, self.identity.tenant.as_str(), &usage, now);
        let emitter = worker.emitter()?;
        let destination = self.policy.events.as_ref()?;
        let data = self.data(reading.as_ref(), usage, facts, now);
        Some(emitter.usage(destination, &self.identity.tenant, now, &data))
    }

    /// The provider's numbers; where a model gave none, what can be estimated; for anything else nothing.
    fn usage(&self, reading: &Reading) -> Usage {
        let silent = reading.usage.status == UsageStatus::None && reading.text.is_empty();
        if silent && !self.classes.any(costs_tokens) {
            return Usage::default();
        }
        let estimate = self.input_estimate.unwrap_or_else(|| estimate::input_tokens_of_bytes(self.request_bytes));
        reading.settle(estimate)
    }

    fn data<'a>(
        &'a self,
        reading: Option<&'a Reading>,
        usage: Usage,
        facts: &EndFacts<'_>,
        now: Timestamp,
    ) -> UsageData<'a> {
        let route = self.route.as_deref();
        let feature = self.identity.feature.as_deref().or(route.and_then(|route| route.feature.as_deref()));
        let tenant = &self.identity.tenant;
        let user = self.identity.user.as_deref().and_then(|user| self.policy.labels.user(tenant, user));
        let environment = self.identity.environment.as_deref();
        let response = &self.response;
        UsageData {
            request_id: Text::from(&*self.request_id),
            response_id: reading.and_then(|r| r.response_id.as_deref()).map(Text::from),
            credential_id: Some(Text::from(&*self.identity.credential_id)),
            plan: Text::from(&*self.identity.plan.name),
            class: self.class,
            route: route.and_then(|route| route.name.as_deref()).map(Text::from),
            feature: feature.or(self.labels.feature.as_deref()).map(Text::from),
            prompt_version: self.labels.prompt_version.as_deref().map(Text::from),
            idempotency_key_hash: self.labels.idempotency_key_hash.as_deref().map(Text::from),
            user: user.map(Text::from),
            environment: environment.or(route.and_then(|route| route.environment.as_deref())).map(Text::from),
            provider: reading.and_then(|r| r.provider).map(|provider| Text::from(provider.as_str())),
            request_model: self.model.as_deref().map(Text::from),
            response_model: reading.and_then(|r| r.response_model.as_deref()).map(Text::from),
            service_tier: reading.and_then(|r| r.service_tier.as_deref()).map(Text::from),
            stream: reading.is_some_and(|reading| reading.is_stream),
            status: response.status,
            outcome: response.outcome(facts),
            decision: if self.observed.is_some() { Decision::Observed } else { Decision::Admitted },
            config_version: Text::from(&*self.policy.version),
            usage,
            duration_ms: now.millis_since(self.started),
            time_to_first_token_ms: response.first_byte.map(|at| at.millis_since(self.started)),
            request_bytes: self.request_bytes,
            response_bytes: response.bytes,
        }
    }
}

/// Whether an answer without any numbers has used tokens all the same. A search of the operator's own, an image, a list
/// of models say none because they used none, or are not counted in tokens.
const fn costs_tokens(class: Class) -> bool {
    matches!(class, Class::Chat | Class::Completion | Class::Embedding)
}
