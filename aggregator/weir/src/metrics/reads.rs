//! Metrics of reads that callers ask for.
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::UnsignedGauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    of: &'static str,
}

/// The metrics of reads, by what is read: `ledger` or `log`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadMetrics {
    running: Family<SourceLabels, UnsignedGauge>,
    waiting: Family<SourceLabels, UnsignedGauge>,
    refused: Family<SourceLabels, Counter>,
}

/// Those of one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceMetrics {
    /// Reads under way.
    pub(crate) running: UnsignedGauge,
    /// Reads that wait for their turn.
    pub(crate) waiting: UnsignedGauge,
    /// Reads that were answered 503.
    pub(crate) refused: Counter,
}

impl ReadMetrics {
    /// Registers them, and makes every series.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("reads_running", "Reads of callers and pages that are under way", self.running.clone());
        registry.register("reads_waiting", "Reads of callers and pages that wait for their turn", self.waiting.clone());
        let help =
            "Reads of callers and pages that were answered 503, since too many waited or their turn did not come";
        registry.register("reads_refused", help, self.refused.clone());
        drop(["ledger", "log"].map(|of| self.of(of)));
    }

    /// Those of one source.
    pub(crate) fn of(&self, of: &'static str) -> SourceMetrics {
        let labels = SourceLabels { of };
        SourceMetrics {
            running: self.running.get_or_create(&labels).clone(),
            waiting: self.waiting.get_or_create(&labels).clone(),
            refused: self.refused.get_or_create(&labels).clone(),
        }
    }
}
