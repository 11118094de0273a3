//! Metrics of the gateway. Their names are few and fixed: no tenant, no path, nothing that a client can choose.
//!
//! Envoy prefixes names with `wasmcustom.`; the `stats_tags` of the ready configurations turn the last part into
//! labels.
use weir_contract::SecurityKind;
use weir_filter::directory::poll::Update;
use weir_filter::emit::EventCounters;
use weir_filter::identity::keyring::Renewal;
use weir_filter::limit::{Attempts, Fault};
use weir_filter::refusal::{Refusal, Unread};
use weir_filter::request::{Decided, Kept};
use weir_filter::worker::{CatalogueUpdate, FetchOutcome};

use crate::gateway::is_kong;
use crate::host::{self, Metric, MetricKind};

mod leases;
mod plan;
mod slots;

use leases::LeaseMetrics;
use plan::PlanMetrics;
pub(crate) use slots::SlotGauges;

/// The metrics of a VM.
#[derive(Debug)]
pub(crate) struct Metrics {
    admitted: Metric,
    bypassed: Metric,
    preflight: Metric,
    observed: Metric,
    refused: Vec<(&'static str, Metric)>,
    /// Admitted without a look at the body, by reason.
    unseen: [(Unread, Metric); 5],
    faults: [Metric; 3],
    events: [Metric; 6],
    /// Dead sources announced; times that the registry had no free slot.
    sources: [Metric; 2],
    unspooled: Metric,
    pending: Metric,
    internal: Metric,
    undeclared: Metric,
    /// Attempts at providers, failed ones, those that ran into the limit of a tenant's own account; breakers opened, closed.
    attempts: [Metric; 5],
    /// Attempts that were not made, since nothing was left of the budget of retries.
    retries_refused: Metric,
    /// Held answers: as they were, changed, replaced, refused.
    kept: [Metric; 4],
    stopped: Metric,
    directory: [Metric; 7],
    keys: [Metric; 3],
    /// Catalogues of the directory: taken, refused.
    catalogues: [Metric; 2],
    tenants: Metric,
    tenants_age: Metric,
    identifiers_left_out: Metric,
    /// Findings about the borders between tenants, by kind, and how many were counted so far.
    findings: [(Metric, u64); SecurityKind::ALL.len()],
    reported: (EventCounters, usize),
    /// What plans made of requests.
    pub(crate) plan: PlanMetrics,
    /// The leases of this gateway.
    pub(crate) leases: LeaseMetrics,
}

impl Metrics {
    /// Defines all metrics, so that each exists from the start, at 0.
    pub(crate) fn define() -> Self {
        let counter = |name: &str| host::define(MetricKind::Counter, name);
        Metrics {
            admitted: counter("weir_requests.result.admitted"),
            bypassed: counter("weir_requests.result.bypassed"),
            preflight: counter("weir_requests.result.preflight"),
            observed: counter("weir_requests.result.observed"),
            refused: Refusal::one_of_each_code()
                .map(|refusal| (refusal.code(), counter(&format!("weir_requests.result.{}", refusal.code()))))
                .into(),
            unseen: Unread::ALL.map(|unread| (unread, counter(&format!("weir_bodies_unseen.why.{}", unread.code())))),
            faults: ["store", "contended", "aliased"].map(|name| counter(&format!("weir_limit_faults.fault.{name}"))),
            events: ["numbered", "acknowledged", "refused", "spilled", "lost", "retried"]
                .map(|name| counter(&format!("weir_events.state.{name}"))),
            sources: ["dead_announced", "unlisted"].map(|name| counter(&format!("weir_sources.state.{name}"))),
            unspooled: counter("weir_events_unspooled"),
            pending: host::define(MetricKind::Gauge, "weir_events_pending"),
            internal: counter("weir_internal_faults"),
            undeclared: counter("weir_usage_undeclared"),
            retries_refused: counter("weir_retries_refused"),
            attempts: [
                "weir_attempts",
                "weir_attempts_failed",
                "weir_attempts_own_limited",
                "weir_breakers_opened",
                "weir_breakers_closed",
            ]
            .map(counter),
            kept: ["same", "changed", "replaced", "refused"]
                .map(|result| counter(&format!("weir_answers_held.result.{result}"))),
            stopped: counter("weir_answers_stopped"),
            directory: ["confirmed", "staged", "replaced", "changed", "unfit", "failed", "refused"]
                .map(|name| counter(&format!("weir_directory.result.{name}"))),
            keys: ["same", "changed", "failed"].map(|name| counter(&format!("weir_jwks.result.{name}"))),
            catalogues: ["taken", "refused"].map(|name| counter(&format!("weir_catalogues.result.{name}"))),
            tenants: host::define(MetricKind::Gauge, "weir_directory_tenants"),
            tenants_age: host::define(MetricKind::Gauge, "weir_directory_age_seconds"),
            identifiers_left_out: host::define(MetricKind::Gauge, "weir_identifiers_left_out"),
            findings: SecurityKind::ALL.map(|kind| (counter(&format!("weir_security.kind.{}", kind.as_str())), 0)),
            reported: (EventCounters::default(), 0),
            plan: PlanMetrics::define(),
            leases: LeaseMetrics::define(),
        }
    }

    /// Counts a decision about a request.
    pub(crate) fn decided(&self, decided: Decided) {
        let metric = match decided {
            Decided::Admitted => self.admitted,
            Decided::Awaited | Decided::Asking => return,
            Decided::Unseen(unread) => {
                let found = self.unseen.iter().find(|(known, _)| *known == unread);
                found.iter().for_each(|(_, metric)| metric.add(1));
                self.admitted
            }
            Decided::Bypassed => self.bypassed,
            Decided::Preflight => self.preflight,
            Decided::Observed(refusal) => {
                self.plan.observed(refusal);
                self.observed
            }
            Decided::Refused(refusal) => {
                if let Refusal::RateLimited(standing) = refusal {
                    self.plan.limited(standing);
                }
                let found = self.refused.iter().find(|(code, _)| *code == refusal.code());
                found.map_or(self.internal, |(_, metric)| *metric)
            }
        };
        metric.add(1);
    }

    /// Counts a request that passed because the limits could not be asked.
    pub(crate) fn limit_fault(&self, fault: Fault) {
        let [store, contended, aliased] = self.faults;
        match fault {
            Fault::Store => store.add(1),
            Fault::Contended => contended.add(1),
            Fault::Aliased => aliased.add(1),
        }
    }

    /// Counts a request that was refused because of a fault in the plugin or the gateway.
    pub(crate) fn internal_fault(&self) {
        self.internal.add(1);
    }

    /// A provider answered on an undeclared route, so weir did not read the usage.
    pub(crate) fn undeclared(&self) {
        self.undeclared.add(1);
    }

    /// Counts an attempt that was not made, since nothing was left of the budget of retries.
    pub(crate) fn retry_refused(&self) {
        self.retries_refused.add(1);
    }

    /// Counts the attempts of a request at providers.
    pub(crate) fn attempted(&self, tally: Attempts) {
        let counts = [tally.made, tally.failed, tally.own_limited, tally.opened, tally.closed];
        for (metric, count) in self.attempts.iter().zip(counts).filter(|(_, count)| *count > 0) {
            metric.add(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts a held answer.
    pub(crate) fn kept(&self, kept: Kept) {
        let [same, changed, replaced, refused] = self.kept;
        match kept {
            Kept::Same => same,
            Kept::Changed => changed,
            Kept::Replaced => replaced,
            Kept::Refused => refused,
        }
        .add(1);
    }

    /// Counts an answer that was ended because the gateway did not show or change it.
    pub(crate) fn answer_stopped(&self) {
        self.stopped.add(1);
    }

    /// Counts the outcome of a fetch.
    pub(crate) fn fetched(&self, outcome: &FetchOutcome) {
        let [confirmed, staged, replaced, changed_in_place, unfit, failed, refused] = self.directory;
        let [same, changed, no_keys] = self.keys;
        let [taken, unusable] = self.catalogues;
        match outcome {
            FetchOutcome::Tenants(Update::Confirmed) => confirmed,
            FetchOutcome::Tenants(Update::Staged) => staged,
            FetchOutcome::Tenants(Update::Replaced) => replaced,
            FetchOutcome::Tenants(Update::Changed) => changed_in_place,
            FetchOutcome::Tenants(Update::Unfit(_)) => unfit,
            FetchOutcome::Tenants(Update::Failed(_)) => failed,
            FetchOutcome::Tenants(Update::Refused(_)) => refused,
            FetchOutcome::Keys(Renewal::Same) => same,
            FetchOutcome::Keys(Renewal::Changed) => changed,
            FetchOutcome::Keys(Renewal::Failed(_)) => no_keys,
            FetchOutcome::Catalogue(CatalogueUpdate::Taken(_)) => taken,
            FetchOutcome::Catalogue(CatalogueUpdate::Refused(_)) => unusable,
        }
        .add(1);
    }

    /// Counts an event that could not be left for the access log.
    pub(crate) fn unspooled(&self) {
        self.unspooled.add(1);
    }

    /// Sets the number of tenants, the time since they were last confirmed, and how many of their identifiers no answer is searched
    /// for.
    pub(crate) fn tenants(&self, count: usize, age_ms: u64, left_out: usize) {
        self.identifiers_left_out.set(left_out as u64);
        self.tenants.set(count as u64);
        self.tenants_age.set(age_ms / 1000);
    }

    /// Adds what was found since the last call.
    pub(crate) fn findings(&mut self, found: [u64; SecurityKind::ALL.len()]) {
        for ((metric, before), now) in self.findings.iter_mut().zip(found) {
            let change = now.saturating_sub(std::mem::replace(before, now));
            if change > 0 {
                metric.add(i64::try_from(change).unwrap_or(i64::MAX));
            }
        }
    }

    /// Adds the changes of the event counters since the last call.
    pub(crate) fn events(&mut self, counters: EventCounters, pending: usize) {
        let (reported, reported_pending) = std::mem::replace(&mut self.reported, (counters, pending));
        let fields = |t: EventCounters| {
            [t.numbered, t.acknowledged, t.refused, t.spilled, t.lost, t.retried, t.dead_announced, t.unlisted]
        };
        let metrics = self.events.iter().chain(&self.sources);
        for ((metric, now), before) in metrics.zip(fields(counters)).zip(fields(reported)) {
            if now != before {
                metric.add(i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX));
            }
        }
        if is_kong() {
            // Kong ends a VM that increments a gauge: there it shows the queue of the worker that spoke last.
            return self.pending.set(pending as u64);
        }
        // Every VM adds its own part to one gauge, so that the sum is the gateway's.
        let change = i64::try_from(pending).unwrap_or(i64::MAX) - i64::try_from(reported_pending).unwrap_or(i64::MAX);
        if change != 0 {
            self.pending.add(change);
        }
    }
}
