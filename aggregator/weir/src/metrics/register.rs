//! Registers every metric with its name and help, and makes the series that alerts wait for.
use prometheus_client::registry::Registry;
use weir_contract::{AttemptFailure, SecurityKind};

use weir_ledger::cost::Kind;
use weir_ledger::quarantine::REASONS;
use weir_stripe::webhook::Outcome;

use super::{
    BatchAnswered, BatchLabels, CodeLabels, KindLabels, LeaseMetrics, Metrics, OutcomeLabels, ReasonLabels,
    STRIPE_CODES, StateLabels, finding_labels,
};

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("batches", "Batches by how they were answered", self.batches.clone());
        registry.register("events", "Events in batches that are synced in the event log", self.events.clone());
        registry.register("events_rejected", "Events refused for good, by reason", self.rejected.clone());
        registry.register("readings", "Readings by what became of them when they came in", self.readings.clone());
        registry.register("batch_seconds", "Time from a batch's last byte to its answer", self.batch_seconds.clone());
        registry.register("quarantine_events", "Refused events that are kept, by reason", self.quarantine.clone());
        let help = "Refused events that are kept no longer, since there were too many";
        registry.register("quarantine_dropped", help, self.quarantine_dropped.clone());
        let help =
            "Sources that were silent for as long as the event log keeps bodies, missed nothing, and are forgotten";
        registry.register("sources_dropped", help, self.sources_dropped.clone());
        let help = "Events that were counted though no books are kept of their sources, since there were too many";
        registry.register("events_unbooked", help, self.events_unbooked.clone());
        registry.register("early_events", "Events ahead of the clock, waiting for their time", self.early.clone());
        registry.register("log_position", "The last record of the event log", self.log_position.clone());
        registry.register("ledger_position", "The last record that is counted", self.ledger_position.clone());
        let help = "Events of all sources, by what became of their numbers";
        registry.register("source_events", help, self.sources.clone());
        registry.register("meter_amount", "Amounts of each meter, by what became of them", self.meters.clone());
        registry.register("outbox_rows", "Rows of the outbox by state", self.outbox.clone());
        registry.register(
            "outbox_held_rows",
            "Rows of the outbox that wait for a person, by reason",
            self.held.clone(),
        );
        let help =
            "Age of the oldest window that is over and the billing provider has not taken; held rows do not count";
        registry.register("report_lag_seconds", help, self.report_lag_seconds.clone());
        let help = "How long acknowledged events have been waiting to be evaluated against budgets";
        registry.register("budget_lag_seconds", help, self.budget_lag_seconds.clone());
        let help = "The position of the event log up to which budgets are evaluated";
        registry.register("budget_evaluated_through", help, self.budget_evaluated_through.clone());
        let help = "Changes of stages that gateways were told since the start";
        registry.register("budget_changes", help, self.budget_changes.clone());
        let help = "Times that what an end user had used was not counted, since too many users are counted already";
        registry.register("budget_users_left_out", help, self.budget_users_left_out.clone());
        let help = "Stages of budgets that gateways are not told of, since a tenant has too many";
        registry.register("budget_stages_untold", help, self.budget_stages_untold.clone());
        let help = "Requests that the used amounts of budgets of cost lack, since they have no price or one in another currency";
        registry.register("budget_unpriced_requests", help, self.budget_unpriced_requests.clone());
        let help =
            "1 while the configuration on disk is not used, since it is not good: what was read last stays in force";
        registry.register("config_refused", help, self.config_refused.clone());
        self.node.register(registry);
        self.alerts.register(registry);
        self.ui.register(registry);
        self.reads.register(registry);
        self.provisioning.register(registry);
        self.register_answers(registry);
        self.register_connections(registry);
        self.register_money(registry);
        self.register_audit(registry);
        self.register_exports(registry);
        self.register_leases(registry);
    }

    /// Makes the series that alerts wait for.
    pub(super) fn seed(&self) {
        for answer in BatchAnswered::ALL {
            drop(self.batches.get_or_create(&BatchLabels { answer }));
        }
        for reason in REASONS {
            drop(self.rejected.get_or_create(&ReasonLabels { reason: reason.to_owned() }));
        }
        for outcome in Outcome::ALL {
            drop(self.webhooks.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }));
        }
        for code in STRIPE_CODES {
            drop(self.provider_errors.get_or_create(&CodeLabels { code: code.to_owned() }));
        }
        for kind in Kind::ALL {
            drop(self.unpriced.get_or_create(&KindLabels { kind: kind.as_str() }));
        }
        for kind in SecurityKind::ALL {
            drop(self.findings.get_or_create(&finding_labels(kind)));
        }
        for failure in AttemptFailure::ALL {
            drop(self.attempts_failed.get_or_create(&ReasonLabels { reason: failure.as_str().to_owned() }));
        }
        for state in ["accepted", "rejected", "duplicate", "conflict"] {
            drop(self.readings.get_or_create(&StateLabels { state }));
        }
    }

    fn register_answers(&self, registry: &mut Registry) {
        let help = "Pending rows of the outbox whose call is under way, or brought no answer";
        registry.register("outbox_in_flight", help, self.in_flight.clone());
        let help = "Hours of a customer's meter that differed from Stripe's in the last reconciliation, by cause";
        registry.register("reconciliation_differences", help, self.differences.clone());
        let help = "When everything was last compared with Stripe, in seconds since 1970; 0 is never";
        registry.register("reconciliation_timestamp_seconds", help, self.reconciled_at.clone());
        let help = "Meter events that Stripe found wrong after it had taken them, by its code";
        registry.register("stripe_errors", help, self.provider_errors.clone());
        let help = "Meter events that Stripe found wrong after it had taken them, and nobody has acknowledged";
        registry.register("stripe_errors_unseen", help, self.errors_unseen.clone());
        let help = "Events that Stripe told by webhook, and that could not be read so far";
        registry.register("stripe_reports_unread", help, self.reports_unread.clone());
        let help = "Tenants whose billing periods do not follow from their customers' subscriptions";
        registry.register("stripe_periods_undecided", help, self.periods_undecided.clone());
        let help = "When billing periods were last read from Stripe's subscriptions, in seconds since 1970; 0 is never";
        registry.register("stripe_periods_timestamp_seconds", help, self.periods_read_at.clone());
        let help = "1 while the last attempt to read billing periods from Stripe's subscriptions failed";
        registry.register("stripe_periods_failing", help, self.periods_failing.clone());
        registry.register("stripe_webhooks", "Webhook calls by what became of them", self.webhooks.clone());
    }

    fn register_exports(&self, registry: &mut Registry) {
        let help = "Records of the event log that an export has not handed on yet";
        registry.register("export_behind_records", help, self.exports.behind.clone());
        let help = "Events that an export has handed on; those after a failure are sent, and counted, again";
        registry.register("export_events", help, self.exports.events.clone());
        registry.register("export_failures", "Attempts of an export that failed", self.exports.failures.clone());
        let help = "Records that the event log dropped before an export had handed them on";
        registry.register("export_lost_records", help, self.exports.lost.clone());
    }

    fn register_audit(&self, registry: &mut Registry) {
        let help = "What concerned the borders between tenants: records taken out of answers, refused attempts";
        registry.register("security_findings", help, self.findings.clone());
        let help = "Findings and searches that are kept no longer, since there were too many";
        registry.register("audit_rows_dropped", help, self.audit_dropped.clone());
        let help = "Attempts of gateways at providers of models";
        registry.register("provider_attempts", help, self.attempts.clone());
        let help = "Attempts of gateways at providers of models that failed, by reason";
        registry.register("provider_attempts_failed", help, self.attempts_failed.clone());
        let help = "Attempts of gateways at further providers that their budgets of retries refused";
        registry.register("provider_retries_refused", help, self.retries_refused.clone());
        let help = "Breakers that keep a gateway's requests away from a provider";
        registry.register("provider_breakers_open", help, self.breakers_open.clone());
        let help = "Requests in no live figure of a model, since too many models were asked for in a minute";
        registry.register("figures_left_out", help, self.figures_left_out.clone());
    }

    fn register_connections(&self, registry: &mut Registry) {
        self.node.register_connections(registry);
        let help = "Calls of gateways that wait for the next change of tenants";
        registry.register("directory_waiting", help, self.directory_waiting.clone());
        let help = "Calls that asked to wait for a change of tenants and were answered at once, since too many wait";
        registry.register("directory_waits_refused", help, self.directory_waits_refused.clone());
        let help = "When events were last accepted, in seconds since 1970; 0 is not since the start";
        registry.register("events_accepted_timestamp_seconds", help, self.accepted_at.clone());
    }

    fn register_money(&self, registry: &mut Registry) {
        let help = "Tokens and other units that no cost includes, since they have no price, by kind";
        registry.register("unpriced_units", help, self.unpriced.clone());
        let help = "1 while the prices cannot be read; the last good ones stay in force";
        registry.register("prices_failing", help, self.prices_failing.clone());
    }

    fn register_leases(&self, registry: &mut Registry) {
        let LeaseMetrics { limits, outstanding, units, failed, reports, draws, lost, units_lost } = &self.leases;
        let help = "Fleet-wide limits in use, by what is left of them: empty, low (less than half), high";
        registry.register("lease_limits", help, limits.clone());
        registry.register("leases_outstanding", "Leases of gateways on fleet-wide limits", outstanding.clone());
        registry.register("lease_units_outstanding", "Units that those leases may still spend", units.clone());
        registry.register("lease_calls_unanswered", "Calls that the leases' Redis gave no answer to", failed.clone());
        registry.register("lease_reports", "Reports of leases by how they were answered", reports.clone());
        registry.register("lease_draws", "Requests that asked the center for units, by what it had", draws.clone());
        let help = "Leases that ended with units unspent, since their gateway reported no more";
        registry.register("leases_lost", help, lost.clone());
        registry.register(
            "lease_units_lost",
            "What those leases still held, which counts as spent",
            units_lost.clone(),
        );
    }
}
