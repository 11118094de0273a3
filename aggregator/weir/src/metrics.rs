//! What `GET /metrics` shows, as OpenMetrics or in Prometheus's plain text.
//!
//! Every series that an alert watches exists from the start, as 0. Prometheus sees no increase in a series that first appears
//! as 1.
mod alerts;
mod described;
mod format;
pub(crate) mod node;
mod provisioning;
pub(crate) mod reads;
mod register;
pub(crate) mod ui;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use weir_contract::{AttemptFailure, SecurityKind, Timestamp};

use crate::export::ExportStatus;
use crate::leases::LeaseTotals;
use alerts::AlertMetrics;
pub use described::{Described, described};
pub use format::TextFormat;
use format::plain;
use node::NodeMetrics;
use provisioning::ProvisioningMetrics;
use reads::ReadMetrics;
use ui::UiMetrics;
use weir_billing::outbox::Hold;
use weir_billing::reconcile::compare::Cause;
use weir_ledger::attempts::RETRY_REFUSED;
use weir_ledger::cost::Kind;
use weir_ledger::intake::readings::ReadingsAnswer;
use weir_ledger::quarantine::REASONS;
use weir_ledger::view::LedgerView;
use weir_stripe::status::StatusView;
use weir_stripe::webhook::Outcome;

/// The codes by which Stripe says what is wrong with a meter event, as its documentation lists them.
const STRIPE_CODES: [&str; 9] = [
    "archived_meter",
    "meter_event_customer_not_found",
    "meter_event_dimension_count_too_high",
    "meter_event_invalid_value",
    "meter_event_no_customer_defined",
    "meter_event_value_not_found",
    "no_meter",
    "timestamp_in_future",
    "timestamp_too_far_in_past",
];

/// How a batch was answered.
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

impl BatchAnswered {
    const ALL: [BatchAnswered; 5] = [
        BatchAnswered::accepted,
        BatchAnswered::malformed,
        BatchAnswered::unauthorized,
        BatchAnswered::busy,
        BatchAnswered::stopped,
    ];
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
struct LevelLabels {
    level: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MeterLabels {
    meter: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
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
struct FindingLabels {
    kind: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExportLabels {
    export: String,
}

/// How exports stand.
#[derive(Clone, Debug, Default)]
struct ExportMetrics {
    behind: Family<ExportLabels, UnsignedGauge>,
    events: Family<ExportLabels, Counter>,
    failures: Family<ExportLabels, Counter>,
    lost: Family<ExportLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

/// A gauge of a count.
pub type UnsignedGauge = Gauge<u64, AtomicU64>;
/// A gauge with fractions.
type FloatGauge = Gauge<f64, AtomicU64>;

/// How connections stand.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    /// Open now.
    pub open: UnsignedGauge,
    /// Closed at once, since their address had too many.
    pub refused: Counter,
}

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
    quarantine_dropped: Counter,
    sources_dropped: Counter,
    events_unbooked: Counter,
    findings: Family<FindingLabels, Counter>,
    audit_dropped: Counter,
    attempts: Counter,
    attempts_failed: Family<ReasonLabels, Counter>,
    retries_refused: Counter,
    breakers_open: UnsignedGauge,
    figures_left_out: Counter,
    early: UnsignedGauge,
    log_position: UnsignedGauge,
    ledger_position: UnsignedGauge,
    sources: Family<StateLabels, UnsignedGauge>,
    meters: Family<MeterLabels, Gauge>,
    outbox: Family<StateLabels, UnsignedGauge>,
    held: Family<ReasonLabels, UnsignedGauge>,
    report_lag_seconds: UnsignedGauge,
    budget_lag_seconds: FloatGauge,
    budget_evaluated_through: UnsignedGauge,
    budget_changes: Counter,
    budget_users_left_out: Counter,
    budget_stages_untold: UnsignedGauge,
    budget_unpriced_requests: Counter,
    config_refused: UnsignedGauge,
    /// Alerts.
    pub(crate) alerts: AlertMetrics,
    pub(crate) ui: UiMetrics,
    /// Reads of callers and pages.
    pub(crate) reads: ReadMetrics,
    /// Tenants that come and go.
    pub(crate) provisioning: ProvisioningMetrics,
    in_flight: UnsignedGauge,
    differences: Family<WhyLabels, UnsignedGauge>,
    reconciled_at: UnsignedGauge,
    provider_errors: Family<CodeLabels, Counter>,
    errors_unseen: UnsignedGauge,
    reports_unread: UnsignedGauge,
    periods_undecided: UnsignedGauge,
    periods_read_at: UnsignedGauge,
    periods_failing: UnsignedGauge,
    webhooks: Family<OutcomeLabels, Counter>,
    connections: ConnectionMetrics,
    directory_waiting: UnsignedGauge,
    directory_waits_refused: Counter,
    accepted_at: UnsignedGauge,
    unpriced: Family<KindLabels, UnsignedGauge>,
    prices_failing: UnsignedGauge,
    exports: ExportMetrics,
    leases: LeaseMetrics,
    pub(crate) node: NodeMetrics,
}

/// How fleet-wide limits stand.
#[derive(Clone, Debug, Default)]
struct LeaseMetrics {
    limits: Family<LevelLabels, UnsignedGauge>,
    outstanding: UnsignedGauge,
    units: UnsignedGauge,
    failed: Counter,
    reports: Family<StateLabels, Counter>,
    draws: Family<StateLabels, Counter>,
    lost: Counter,
    units_lost: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(NodeMetrics::default())
    }
}

impl Metrics {
    /// The metrics of a server, with those of the node that it is.
    pub(crate) fn new(node: NodeMetrics) -> Self {
        let mut registry = Registry::with_prefix("weir");
        let metrics = Metrics {
            batches: Family::default(),
            events: Counter::default(),
            rejected: Family::default(),
            readings: Family::default(),
            // 1 ms to 16 s; a sync takes milliseconds on a good disk.
            batch_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            quarantine: Family::default(),
            quarantine_dropped: Counter::default(),
            sources_dropped: Counter::default(),
            events_unbooked: Counter::default(),
            findings: Family::default(),
            audit_dropped: Counter::default(),
            attempts: Counter::default(),
            attempts_failed: Family::default(),
            retries_refused: Counter::default(),
            breakers_open: UnsignedGauge::default(),
            figures_left_out: Counter::default(),
            early: Gauge::default(),
            log_position: Gauge::default(),
            ledger_position: Gauge::default(),
            sources: Family::default(),
            meters: Family::default(),
            outbox: Family::default(),
            held: Family::default(),
            report_lag_seconds: Gauge::default(),
            budget_lag_seconds: Gauge::default(),
            budget_evaluated_through: Gauge::default(),
            budget_changes: Counter::default(),
            budget_users_left_out: Counter::default(),
            budget_stages_untold: Gauge::default(),
            budget_unpriced_requests: Counter::default(),
            config_refused: Gauge::default(),
            alerts: AlertMetrics::default(),
            ui: UiMetrics::default(),
            reads: ReadMetrics::default(),
            provisioning: ProvisioningMetrics::default(),
            in_flight: Gauge::default(),
            differences: Family::default(),
            reconciled_at: Gauge::default(),
            provider_errors: Family::default(),
            errors_unseen: Gauge::default(),
            reports_unread: Gauge::default(),
            periods_undecided: Gauge::default(),
            periods_read_at: Gauge::default(),
            periods_failing: Gauge::default(),
            webhooks: Family::default(),
            connections: node.connections.clone(),
            directory_waiting: Gauge::default(),
            directory_waits_refused: Counter::default(),
            accepted_at: Gauge::default(),
            unpriced: Family::default(),
            prices_failing: Gauge::default(),
            exports: ExportMetrics::default(),
            leases: LeaseMetrics::default(),
            node,
            registry: Mutex::new(Registry::default()),
        };
        metrics.register(&mut registry);
        metrics.seed();
        Metrics { registry: Mutex::new(registry), ..metrics }
    }
}

impl Metrics {
    /// Shows how fleet-wide limits stand.
    pub(crate) fn show_leases(&self, totals: &LeaseTotals) {
        let LeaseTotals { counts, levels, failed } = *totals;
        let store = |counter: &Counter, value| counter.inner().store(value, Ordering::Relaxed);
        let report = |state, value| store(&self.leases.reports.get_or_create(&StateLabels { state }), value);
        let draw = |state, value| store(&self.leases.draws.get_or_create(&StateLabels { state }), value);
        for (state, limits) in [("empty", levels.empty), ("low", levels.low), ("high", levels.high)] {
            self.leases.limits.get_or_create(&LevelLabels { level: state }).set(limits);
        }
        self.leases.outstanding.set(levels.leases);
        self.leases.units.set(levels.units);
        store(&self.leases.failed, failed);
        report("held", counts.held);
        report("draw", counts.draw);
        report("lapsed", counts.lapsed);
        report("refused", counts.refused);
        draw("drawn", counts.drawn);
        draw("short", counts.short);
        store(&self.leases.lost, counts.lost_leases);
        store(&self.leases.units_lost, counts.lost_units);
    }

    /// Shows whether prices could be read.
    pub(crate) fn prices_read(&self, good: bool) {
        self.prices_failing.set(u64::from(!good));
    }

    /// The number of calls that wait for a change of tenants.
    pub(crate) fn directory_waiting(&self) -> UnsignedGauge {
        self.directory_waiting.clone()
    }

    /// A call could not wait, since too many do.
    pub(crate) fn directory_wait_refused(&self) {
        self.directory_waits_refused.inc();
    }

    /// What the listeners count with.
    pub fn connections(&self) -> ConnectionMetrics {
        self.connections.clone()
    }

    /// Shows that billing periods were read, and of how many tenants they are not known; or, without a number, that they could
    /// not be read.
    pub(crate) fn billing_periods(&self, undecided: Option<u64>, now: Timestamp) {
        self.periods_failing.set(u64::from(undecided.is_none()));
        if let Some(undecided) = undecided {
            self.periods_undecided.set(undecided);
            self.periods_read_at.set(now.as_secs());
        }
    }

    /// Tenants whose billing periods are undecided, as last read.
    pub fn periods_undecided(&self) -> u64 {
        self.periods_undecided.get()
    }

    /// Counts a webhook call.
    pub fn webhook(&self, outcome: Outcome) {
        self.webhooks.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    }

    /// Counts a batch by its answer.
    pub fn batch(&self, answer: BatchAnswered) {
        self.batches.get_or_create(&BatchLabels { answer }).inc();
    }

    /// Counts the events of an accepted batch.
    pub fn events(&self, count: u64, seconds: f64, now: Timestamp) {
        self.events.inc_by(count);
        if count > 0 {
            self.accepted_at.set(now.as_secs());
        }
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

    /// Sets how many breakers of gateways are open, and how many requests are in no live figure of a model.
    pub(crate) fn show_models(&self, open: u64, left_out: u64) {
        self.breakers_open.set(open);
        show(&self.figures_left_out, left_out);
    }

    /// Sets the metrics of the ledger.
    pub fn show_ledger(&self, view: &LedgerView) {
        self.log_position.set(view.log_position);
        self.ledger_position.set(view.position);
        self.early.set(view.early);
        show(&self.quarantine_dropped, view.quarantine_dropped);
        show(&self.sources_dropped, view.sources_dropped);
        show(&self.events_unbooked, view.events_unbooked);
        show(&self.audit_dropped, view.audit_dropped.values().sum());
        show(&self.attempts, view.attempts.get("made").copied().unwrap_or(0));
        show(&self.retries_refused, view.attempts.get(RETRY_REFUSED).copied().unwrap_or(0));
        for failure in AttemptFailure::ALL {
            let count = view.attempts.get(failure.as_str()).copied().unwrap_or(0);
            show(&self.attempts_failed.get_or_create(&ReasonLabels { reason: failure.as_str().to_owned() }), count);
        }
        for kind in SecurityKind::ALL {
            let count = view.security.get(kind.as_str()).copied().unwrap_or(0);
            show(&self.findings.get_or_create(&finding_labels(kind)), count);
        }
        // A reason of which nothing is kept any more is shown as 0.
        for reason in REASONS {
            let kept = view.quarantine.get(reason).copied().unwrap_or(0);
            self.quarantine.get_or_create(&ReasonLabels { reason: reason.to_owned() }).set(kept);
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
        for kind in Kind::ALL {
            let units = view.unpriced.get(kind.as_str()).copied().unwrap_or(0);
            self.unpriced.get_or_create(&KindLabels { kind: kind.as_str() }).set(units);
        }
        for meter in &view.meters {
            let amounts = [
                ("accepted", i64::try_from(meter.accepted).unwrap_or(i64::MAX)),
                ("billable", i64::try_from(meter.billable).unwrap_or(i64::MAX)),
                ("reported", meter.reported),
                ("pending", meter.pending),
                ("held", meter.held),
                ("settled", meter.settled),
            ];
            for (state, value) in amounts {
                self.meters.get_or_create(&MeterLabels { meter: meter.meter.clone(), state }).set(value);
            }
        }
    }

    /// Sets the metrics of exports.
    pub(crate) fn show_exports(&self, exports: &[ExportStatus]) {
        for status in exports {
            let labels = ExportLabels { export: status.name.clone() };
            self.exports.behind.get_or_create(&labels).set(status.behind_records);
            show(&self.exports.events.get_or_create(&labels), status.events);
            show(&self.exports.failures.get_or_create(&labels), status.failures);
            show(&self.exports.lost.get_or_create(&labels), status.lost_records);
        }
    }

    /// Sets the metrics of budgets.
    pub(crate) fn show_budgets(&self, lag_ms: u64, evaluated_through: u64, changes: u64) {
        self.budget_lag_seconds.set(Duration::from_millis(lag_ms).as_secs_f64());
        self.budget_evaluated_through.set(evaluated_through);
        show(&self.budget_changes, changes);
    }

    /// Shows how many requests the amounts of budgets of cost lack.
    pub(crate) fn show_unpriced_of_budgets(&self, requests: u64) {
        show(&self.budget_unpriced_requests, requests);
    }

    /// Shows whether the configuration on disk is used.
    pub(crate) fn config_read(&self, good: bool) {
        self.config_refused.set(u64::from(!good));
    }

    /// Sets the metrics of what budgets have no room for.
    pub(crate) fn show_left_out_of_budgets(&self, users: u64, stages: u64) {
        show(&self.budget_users_left_out, users);
        self.budget_stages_untold.set(stages);
    }

    /// Sets the metrics of reporting.
    pub fn show_billing(&self, status: &StatusView) {
        let billing = &status.billing;
        let states = [
            ("reported", billing.reported),
            ("pending", billing.pending),
            ("held", billing.held),
            ("settled", billing.settled),
        ];
        for (state, rows) in states {
            self.outbox.get_or_create(&StateLabels { state }).set(rows);
        }
        self.report_lag_seconds.set(status.lag_seconds);
        self.in_flight.set(status.in_flight);
        self.errors_unseen.set(status.unseen_errors());
        self.reports_unread.set(status.unread_reports.len() as u64);
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
            show(&self.provider_errors.get_or_create(&CodeLabels { code: code.to_owned() }), count);
        }
        for hold in Hold::ALL {
            let rows = billing.held_by_reason.get(hold.as_str()).copied().unwrap_or(0);
            self.held.get_or_create(&ReasonLabels { reason: hold.as_str().to_owned() }).set(rows);
        }
    }

    /// Writes all metrics, as OpenMetrics or in plain text.
    pub fn encode(&self, format: TextFormat) -> Result<String, std::fmt::Error> {
        encode(&self.registry.lock().unwrap_or_else(PoisonError::into_inner), format)
    }
}

/// Writes all metrics of a registry, as OpenMetrics or in plain text.
pub(crate) fn encode(registry: &Registry, format: TextFormat) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(match format {
        TextFormat::OpenMetrics => out,
        TextFormat::Plain => plain(&out),
    })
}

fn finding_labels(kind: SecurityKind) -> FindingLabels {
    FindingLabels { kind: kind.as_str(), severity: kind.severity().as_str() }
}

/// Shows a count that is kept elsewhere.
fn show(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}
