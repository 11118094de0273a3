//! Limits of the whole fleet: the leases of this gateway.
use weir_filter::fleet::Tally;
use weir_filter::limit::{DrawnFrom, Standing};

use crate::gateway::is_kong;
use crate::host::{self, Metric, MetricKind};

/// Counters of a VM.
#[derive(Debug)]
pub(crate) struct LeaseMetrics {
    /// Calls that renewed leases, and calls that did not.
    calls: [Metric; 2],
    /// Units granted, and units of leases that ended unspent.
    units: [Metric; 2],
    /// Leases that ended in use; that weir serve had no place for; that nobody sees to.
    leases: [Metric; 3],
    /// Requests that asked weir serve: let through, short, unanswered.
    draws: [Metric; 3],
    /// Requests admitted without weir serve: from the share, and from nothing.
    without: [Metric; 2],
    /// How many leases this gateway's workers see to.
    held: Metric,
    reported: (Tally, usize),
}

impl LeaseMetrics {
    pub(super) fn define() -> Self {
        let counter = |name: &str| host::define(MetricKind::Counter, name);
        LeaseMetrics {
            calls: ["answered", "failed"].map(|name| counter(&format!("weir_lease_calls.result.{name}"))),
            units: ["granted", "lapsed"].map(|name| counter(&format!("weir_lease_units.result.{name}"))),
            leases: ["late", "refused", "unseen"].map(|name| counter(&format!("weir_lease_troubles.result.{name}"))),
            draws: ["passed", "short", "unanswered"].map(|name| counter(&format!("weir_lease_draws.result.{name}"))),
            without: ["share", "open"].map(|name| counter(&format!("weir_lease_without_server.result.{name}"))),
            held: host::define(MetricKind::Gauge, "weir_leases"),
            reported: (Tally::default(), 0),
        }
    }

    /// Counts draws that no lease covers.
    pub(crate) fn taken(&self, standings: &[Standing]) {
        let [share, open] = self.without;
        for standing in standings {
            match standing.from {
                DrawnFrom::Share => share.add(1),
                DrawnFrom::Nothing => open.add(1),
                DrawnFrom::Bucket | DrawnFrom::Lease | DrawnFrom::Center => {}
            }
        }
    }

    /// A request was let through for which weir serve was asked.
    pub(crate) fn drawn(&self) {
        let [passed, ..] = self.draws;
        passed.add(1);
    }

    /// Weir serve refused a request for which it was asked, or did not answer.
    pub(crate) fn refused(&self, wait_ms: Option<u64>) {
        let [_, short, unanswered] = self.draws;
        if wait_ms.is_some() { short } else { unanswered }.add(1);
    }

    /// Adds what happened since the last call.
    pub(crate) fn tallied(&mut self, tally: Tally, held: usize) {
        if self.reported == (tally, held) {
            return;
        }
        let (before, held_before) = std::mem::replace(&mut self.reported, (tally, held));
        let fields = |t: Tally| [t.answered, t.failed, t.granted, t.lapsed, t.late, t.refused, t.unseen];
        let metrics = self.calls.iter().chain(&self.units).chain(&self.leases);
        for ((metric, now), before) in metrics.zip(fields(tally)).zip(fields(before)) {
            if now != before {
                metric.add(i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX));
            }
        }
        if is_kong() {
            // Kong ends a VM that increments a gauge.
            return self.held.set(held as u64);
        }
        let change = i64::try_from(held).unwrap_or(i64::MAX) - i64::try_from(held_before).unwrap_or(i64::MAX);
        if change != 0 {
            self.held.add(change);
        }
    }
}
