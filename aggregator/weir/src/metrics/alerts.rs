//! Metrics of alerts.
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use weir_steer::alert::file::Severity;

use super::OutcomeLabels;

/// How severe an alert is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeverityLabels {
    severity: &'static str,
}

/// The metrics of alerts.
#[derive(Debug, Default)]
pub(crate) struct AlertMetrics {
    attempts: Family<OutcomeLabels, Counter>,
    firing: Family<SeverityLabels, Gauge<u64, AtomicU64>>,
    evaluations: Family<OutcomeLabels, Counter>,
    left_out: Gauge<u64, AtomicU64>,
    deploys: Gauge<u64, AtomicU64>,
    waiting: Gauge<u64, AtomicU64>,
    failing: Gauge<u64, AtomicU64>,
}

impl AlertMetrics {
    /// Registers them, and makes every series.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("alert_attempts", "Attempts to deliver an alert, by result", self.attempts.clone());
        registry.register("alerts_firing", "Alerts of rules that fire, by severity", self.firing.clone());
        let help = "Comparisons of the rules of alerts with what was measured, by result";
        registry.register("alert_evaluations", help, self.evaluations.clone());
        let help = "Subjects that the last comparison left out because a rule found more than it may hold";
        registry.register("alerts_left_out", help, self.left_out.clone());
        let help = "Marks of deploys that are kept, at most 20 for each of 500 different features and prompt versions";
        registry.register("deploys_kept", help, self.deploys.clone());
        let help = "Messages that wait for their receivers; from 10,000 on changes wait in the ledger";
        registry.register("alert_messages_waiting", help, self.waiting.clone());
        let help = "Receivers of alerts that did not take the last message";
        registry.register("alert_receivers_failing", help, self.failing.clone());
        for outcome in ["delivered", "failed"] {
            drop(self.attempts.get_or_create(&OutcomeLabels { outcome }));
        }
        for outcome in ["done", "failed"] {
            drop(self.evaluations.get_or_create(&OutcomeLabels { outcome }));
        }
        for severity in [Severity::Warning, Severity::Critical] {
            self.show_firing(severity, 0);
        }
    }

    /// Counts an attempt to deliver an alert.
    pub(crate) fn attempted(&self, delivered: bool) {
        let outcome = if delivered { "delivered" } else { "failed" };
        self.attempts.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a comparison, and shows how many subjects it left out; None: it failed.
    pub(crate) fn evaluated(&self, left_out: Option<u64>) {
        let outcome = if left_out.is_some() { "done" } else { "failed" };
        self.evaluations.get_or_create(&OutcomeLabels { outcome }).inc();
        if let Some(left_out) = left_out {
            self.left_out.set(left_out);
        }
    }

    /// Shows how many marks of deploys are kept.
    pub(crate) fn show_deploys(&self, kept: u64) {
        self.deploys.set(kept);
    }

    /// Shows how many messages wait, and how many receivers fail.
    pub(crate) fn show_outbox(&self, waiting: u64, failing: u64) {
        self.waiting.set(waiting);
        self.failing.set(failing);
    }

    /// Shows how many alerts fire.
    pub(crate) fn show_firing(&self, severity: Severity, firing: u64) {
        self.firing.get_or_create(&SeverityLabels { severity: severity.as_str() }).set(firing);
    }
}
