//! The metrics of `GET /metrics`, in Prometheus's text format.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use weir_billing::outbox::Hold;
use weir_billing::reconcile::compare::Cause;
use weir_ledger::intake::readings::ReadingsAnswer;
use weir_ledger::view::LedgerView;
use weir_stripe::status::StatusView;
use weir_stripe::webhook::Outcome;

/// How a batch was answered; the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the labels")]
pub enum BatchAnswered {
    /// 202: its events are in the log.
    accepted,
    /// 400, 413 or 415: the body is not a batch.
    malformed,
    /// 401 or 403.
    unauthorized,
    /// 503: the client should retry.
    busy,
    /// 503: the log accepts no more records.
    stopped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BatchLabels {
    answer: BatchAnswered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MeterLabels {
    meter: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabels {
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

type UnsignedGauge = Gauge<u64, AtomicU64>;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    batches: Family<BatchLabels, Counter>,
    events: Counter,
    rejected: Family<ReasonLabels, Counter>,
    readings: Family<StateLabels, Counter>,
    batch_seconds: Histogram,
    quarantine: Family<ReasonLabels, UnsignedGauge>,
    quarantine_dropped: UnsignedGauge,
    sources_dropped: UnsignedGauge,
    events_unbooked: UnsignedGauge,
    early: UnsignedGauge,
    log_position: UnsignedGauge,
    ledger_position: UnsignedGauge,
    sources: Family<StateLabels, UnsignedGauge>,
    meters: Family<MeterLabels, Gauge>,
    outbox: Family<StateLabels, UnsignedGauge>,
    held: Family<ReasonLabels, UnsignedGauge>,
    report_lag_seconds: UnsignedGauge,
    in_flight: UnsignedGauge,
    differences: Family<WhyLabels, UnsignedGauge>,
    reconciled_at: UnsignedGauge,
    provider_errors: Family<CodeLabels, UnsignedGauge>,
    webhooks: Family<OutcomeLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("weir");
        let metrics = Metrics {
            batches: Family::default(),
            events: Counter::default(),
            rejected: Family::default(),
            readings: Family::default(),
            // 1 ms to 16 s; a sync takes milliseconds on a good disk.
            batch_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            quarantine: Family::default(),
            quarantine_dropped: Gauge::default(),
            sources_dropped: Gauge::default(),
            events_unbooked: Gauge::default(),
            early: Gauge::default(),
            log_position: Gauge::default(),
            ledger_position: Gauge::default(),
            sources: Family::default(),
            meters: Family::default(),
            outbox: Family::default(),
            held: Family::default(),
            report_lag_seconds: Gauge::default(),
            in_flight: Gauge::default(),
            differences: Family::default(),
            reconciled_at: Gauge::default(),
            provider_errors: Family::default(),
            webhooks: Family::default(),
            registry: Mutex::new(Registry::default()),
        };
        metrics.register(&mut registry);
        Metrics { registry: Mutex::new(registry), ..metrics }
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
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
        self.register_answers(registry);
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
        registry.register("stripe_webhooks", "Webhook calls by what became of them", self.webhooks.clone());
    }

    /// Counts a webhook call by its outcome.
    pub fn webhook(&self, outcome: Outcome) {
        self.webhooks.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    }

    /// Counts a batch by its answer.
    pub fn batch(&self, answer: BatchAnswered) {
        self.batches.get_or_create(&BatchLabels { answer }).inc();
    }

    /// Counts the events of an accepted batch.
    pub fn events(&self, count: u64, seconds: f64) {
        self.events.inc_by(count);
        self.batch_seconds.observe(seconds);
    }

    /// Counts an event that was refused for good.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabels { reason: reason.to_owned() }).inc();
    }

    /// Counts readings by their result.
    pub fn readings(&self, answer: &ReadingsAnswer) {
        let count = |state, readings: u64| {
            self.readings.get_or_create(&StateLabels { state }).inc_by(readings);
        };
        count("accepted", answer.accepted);
        count("rejected", answer.rejected.len() as u64);
        let made = answer.ledger.as_ref();
        count("duplicate", made.map_or(0, |made| made.duplicates));
        count("conflict", made.map_or(0, |made| made.conflicts.len() as u64));
    }

    /// Sets the metrics of the ledger.
    pub fn show_ledger(&self, view: &LedgerView) {
        self.log_position.set(view.log_position);
        self.ledger_position.set(view.position);
        self.early.set(view.early);
        self.quarantine_dropped.set(view.quarantine_dropped);
        self.sources_dropped.set(view.sources_dropped);
        self.events_unbooked.set(view.events_unbooked);
        for (reason, count) in &view.quarantine {
            self.quarantine.get_or_create(&ReasonLabels { reason: reason.clone() }).set(*count);
        }
        let totals = &view.totals;
        let states = [
            ("accepted", totals.accepted),
            ("quarantined", totals.quarantined),
            ("missing", totals.missing),
            ("duplicate", totals.duplicates),
            ("conflict", totals.conflicts),
            ("spilled", totals.spilled),
        ];
        for (state, value) in states {
            self.sources.get_or_create(&StateLabels { state }).set(value);
        }
        for meter in &view.meters {
            let amounts = [
                ("accepted", i64::try_from(meter.accepted).unwrap_or(i64::MAX)),
                ("billable", i64::try_from(meter.billable).unwrap_or(i64::MAX)),
                ("reported", meter.reported),
                ("pending", meter.pending),
                ("held", meter.held),
            ];
            for (state, value) in amounts {
                self.meters.get_or_create(&MeterLabels { meter: meter.meter.clone(), state }).set(value);
            }
        }
    }

    /// Sets the metrics of reporting.
    pub fn show_billing(&self, status: &StatusView) {
        let billing = &status.billing;
        for (state, rows) in [("reported", billing.reported), ("pending", billing.pending), ("held", billing.held)] {
            self.outbox.get_or_create(&StateLabels { state }).set(rows);
        }
        self.report_lag_seconds.set(status.lag_seconds);
        self.in_flight.set(status.in_flight);
        let last = status.reconciliation.as_ref();
        self.reconciled_at.set(last.map_or(0, |last| last.at.as_secs()));
        for why in Cause::ALL {
            let hours = last.and_then(|last| last.by_cause.get(&why)).copied().unwrap_or(0);
            self.differences.get_or_create(&WhyLabels { why: why.as_str() }).set(hours);
        }
        let mut errors: BTreeMap<&str, u64> = BTreeMap::new();
        for error in &status.errors {
            *errors.entry(&error.code).or_default() += error.errors;
        }
        for (code, count) in errors {
            self.provider_errors.get_or_create(&CodeLabels { code: code.to_owned() }).set(count);
        }
        for hold in Hold::ALL {
            let rows = billing.held_by_reason.get(hold.as_str()).copied().unwrap_or(0);
            self.held.get_or_create(&ReasonLabels { reason: hold.as_str().to_owned() }).set(rows);
        }
    }

    /// Encodes all metrics as text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(out)
    }
}
