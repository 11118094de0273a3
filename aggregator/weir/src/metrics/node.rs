//! Metrics of a node: whether it owns, and what it passes on.
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{ConnectionMetrics, OutcomeLabels, StateLabels, UnsignedGauge};

/// What became of a request that a node was to pass on to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The owner answered.
    Answered,
    /// It could not be reached, or its answer did not come.
    Failed,
    /// No node owned, or the owner changed meanwhile.
    Ownerless,
    /// Too many were under way.
    Crowded,
    /// Another node had passed it on already.
    Looped,
}

impl Passed {
    const ALL: [Passed; 5] = [Passed::Answered, Passed::Failed, Passed::Ownerless, Passed::Crowded, Passed::Looped];

    fn as_str(self) -> &'static str {
        match self {
            Passed::Answered => "answered",
            Passed::Failed => "failed",
            Passed::Ownerless => "no_owner",
            Passed::Crowded => "crowded",
            Passed::Looped => "looped",
        }
    }
}

/// The metrics of a node, which last while its role changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeMetrics {
    /// 1 while it owns.
    pub(crate) owner: UnsignedGauge,
    /// 1 while nothing is known that keeps it from owning.
    pub(crate) able: UnsignedGauge,
    /// Times that it became the owner.
    pub(crate) takeovers: Counter,
    passed: Family<OutcomeLabels, Counter>,
    /// Requests under way to the owner.
    pub(crate) passing: UnsignedGauge,
    /// Calls among them that wait for something to change.
    pub(crate) waiting: UnsignedGauge,
    nodes: Family<StateLabels, UnsignedGauge>,
    pub(crate) connections: ConnectionMetrics,
}

impl NodeMetrics {
    /// Registers them, and makes every series.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "1 while this server owns the event log and the ledger; 0 while it passes requests on to the node that does";
        registry.register("node_owner", help, self.owner.clone());
        let help = "1 while this server could own the event log and the ledger, as far as it has looked; 0 while it says why not";
        registry.register("node_able", help, self.able.clone());
        registry.register(
            "node_takeovers",
            "Times that this node became the owner since its start",
            self.takeovers.clone(),
        );
        let help = "Requests that this node was to pass on to the owner, by what became of them";
        registry.register("node_passed", help, self.passed.clone());
        registry.register("node_passing", "Requests under way to the owner", self.passing.clone());
        let help = "Calls under way to the owner that wait until something changes";
        registry.register("node_waiting", help, self.waiting.clone());
        registry.register("nodes", "Nodes of the fleet, by whether they were seen lately", self.nodes.clone());
        for passed in Passed::ALL {
            drop(self.passed.get_or_create(&OutcomeLabels { outcome: passed.as_str() }));
        }
        self.show_nodes(0, 0);
    }

    /// Registers the metrics of connections.
    pub(crate) fn register_connections(&self, registry: &mut Registry) {
        registry.register("connections", "Connections that are open", self.connections.open.clone());
        let help = "Connections closed at once, since their address had too many";
        registry.register("connections_refused", help, self.connections.refused.clone());
    }

    /// Counts a request that was to be passed on.
    pub(crate) fn passed(&self, passed: Passed) {
        self.passed.get_or_create(&OutcomeLabels { outcome: passed.as_str() }).inc();
    }

    /// Shows how many nodes there are.
    pub(crate) fn show_nodes(&self, seen: usize, missing: usize) {
        self.nodes.get_or_create(&StateLabels { state: "seen" }).set(seen as u64);
        self.nodes.get_or_create(&StateLabels { state: "missing" }).set(missing as u64);
    }
}
