//! What plans made of requests, beyond whether they passed.
use weir_filter::enforce::Changes;
use weir_filter::limit::{Settlement, Standing, Unit};
use weir_filter::refusal::Refusal;

use crate::host::{self, Metric, MetricKind};

/// Counters of a VM.
#[derive(Debug)]
pub(crate) struct PlanMetrics {
    /// What would have been refused, by why.
    observed: Vec<(&'static str, Metric)>,
    /// 429s for requests, and for tokens.
    limited: [Metric; 3],
    /// Model, output, answers, usage.
    changes: [Metric; 4],
    /// Tokens used beyond their reservation.
    overshot: Metric,
}

impl PlanMetrics {
    pub(super) fn define() -> Self {
        let counter = |name: &str| host::define(MetricKind::Counter, name);
        PlanMetrics {
            observed: Refusal::of_plans()
                .map(|why| (why.code(), counter(&format!("weir_observed.would.{}", why.code()))))
                .into(),
            limited: [Unit::Requests, Unit::Tokens, Unit::Cost]
                .map(|unit| counter(&format!("weir_limited.unit.{}", unit.as_str()))),
            changes: ["model", "output", "answers", "usage"].map(|what| counter(&format!("weir_changes.what.{what}"))),
            overshot: counter("weir_tokens_overshot"),
        }
    }

    /// A request passed that would have been refused.
    pub(super) fn observed(&self, refusal: Refusal) {
        let found = self.observed.iter().find(|(code, _)| *code == refusal.code());
        found.iter().for_each(|(_, metric)| metric.add(1));
    }

    /// A request was refused for a limit.
    pub(super) fn limited(&self, standing: Standing) {
        let [requests, tokens, cost] = self.limited;
        match standing.unit {
            Unit::Requests => requests.add(1),
            Unit::Tokens => tokens.add(1),
            Unit::Cost => cost.add(1),
        }
    }

    /// A changed request passes.
    pub(crate) fn changed(&self, changes: Changes) {
        let Changes { model, output, answers, usage } = changes;
        let changed = self.changes.iter().zip([model, output, answers, usage]).filter(|(_, changed)| *changed);
        changed.for_each(|(metric, _)| metric.add(1));
    }

    /// A request's reservations were settled: counts what it used beyond the smallest of them.
    pub(crate) fn settled(&self, settlements: &[Settlement]) {
        let beyond = settlements.iter().map(|settled| settled.used.saturating_sub(settled.reserved.cost)).max();
        if let Some(beyond) = beyond.filter(|beyond| *beyond > 0) {
            self.overshot.add(i64::try_from(beyond).unwrap_or(i64::MAX));
        }
    }
}
