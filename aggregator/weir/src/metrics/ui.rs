//! Metrics of the dashboard.
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::OutcomeLabels;

/// How an attempt to sign in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignedIn {
    /// A session began.
    Done,
    /// The token is not known, or opens no page.
    Refused,
    /// The address had failed too often.
    Limited,
}

impl SignedIn {
    const ALL: [SignedIn; 3] = [SignedIn::Done, SignedIn::Refused, SignedIn::Limited];

    fn as_str(self) -> &'static str {
        match self {
            SignedIn::Done => "done",
            SignedIn::Refused => "refused",
            SignedIn::Limited => "limited",
        }
    }
}

/// The metrics of the dashboard.
#[derive(Debug, Default)]
pub(crate) struct UiMetrics {
    sign_ins: Family<OutcomeLabels, Counter>,
    sessions: Gauge<u64, AtomicU64>,
    viewers: Gauge<u64, AtomicU64>,
    answers: Gauge<u64, AtomicU64>,
}

impl UiMetrics {
    /// Registers them, and makes every series.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("ui_sign_ins", "Attempts to sign in to the dashboard, by result", self.sign_ins.clone());
        registry.register("ui_sessions", "Sessions of the dashboard that have not ended", self.sessions.clone());
        registry.register("ui_viewers", "Pages of the dashboard that follow live figures", self.viewers.clone());
        let help = "Figures of all tenants that the dashboard keeps and reads again in the background";
        registry.register("ui_answers", help, self.answers.clone());
        for outcome in SignedIn::ALL {
            drop(self.sign_ins.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }));
        }
    }

    /// Counts an attempt to sign in.
    pub(crate) fn signed_in(&self, outcome: SignedIn) {
        self.sign_ins.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    }

    /// Shows how many sessions, viewers and kept answers there are.
    pub(crate) fn show(&self, sessions: usize, viewers: usize, answers: usize) {
        self.sessions.set(sessions as u64);
        self.viewers.set(viewers as u64);
        self.answers.set(answers as u64);
    }
}
