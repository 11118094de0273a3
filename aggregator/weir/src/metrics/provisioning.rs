//! Metrics of tenants that come and go.
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use weir_provisioning::{Phase, Saga};

use super::OutcomeLabels;

/// The metrics of tenants that come and go.
#[derive(Debug, Default)]
pub(crate) struct ProvisioningMetrics {
    open: Gauge<u64, AtomicU64>,
    ended: Family<OutcomeLabels, Counter>,
}

impl ProvisioningMetrics {
    /// Registers them, and makes every series.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Tenants on their way in or out; those that have left count until they are archived";
        registry.register("provisionings_open", help, self.open.clone());
        registry.register("provisionings", "Tenants that came or went, by how it ended", self.ended.clone());
        for outcome in ["done", "undone", "stopped"] {
            drop(self.ended.get_or_create(&OutcomeLabels { outcome }));
        }
    }

    /// Shows how many are on their way.
    pub(crate) fn show_open(&self, open: u64) {
        self.open.set(open);
    }

    /// Counts a saga that has ended.
    pub(crate) fn ended(&self, saga: &Saga) {
        let outcome = match saga.phase() {
            Phase::Done => "done",
            Phase::Undone { .. } => "undone",
            Phase::Stopped { .. } => "stopped",
            Phase::Forward | Phase::Backward { .. } => return,
        };
        self.ended.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}
