//! Alerts in `weir status`: what fires, whom nothing reaches, and what names nobody.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;
use weir_steer::alert::file::Severity;
use weir_steer::alert::{silence, state};

use crate::alerts::{ReceiverView, receivers};
use crate::config::alerts::Alerts;

/// Alerts, and the receivers that do not get them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertsStatus {
    /// Critical alerts of rules that fire.
    pub critical: u64,
    /// Warnings that fire.
    pub warning: u64,
    /// Those of both that nobody has acknowledged, and no silence covers.
    pub unacknowledged: u64,
    /// Who is told, and since when who is not reached.
    pub receivers: Vec<ReceiverView>,
    /// What in `alerts` cannot be used, or names nobody who is known.
    pub doubts: Vec<String>,
}

impl AlertsStatus {
    pub(crate) fn read(
        reader: &mut LedgerReader,
        of: &Alerts,
        doubts: Vec<String>,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        let (alerts, silences) = (state::list(reader.db())?, silence::active(reader.db(), now)?);
        let firing = || alerts.iter().filter(|alert| alert.fires());
        let of_severity = |severity| firing().filter(|alert| alert.severity == severity).count() as u64;
        Ok(AlertsStatus {
            critical: of_severity(Severity::Critical),
            warning: of_severity(Severity::Warning),
            unacknowledged: alerts.iter().filter(|alert| alert.is_open(&silences)).count() as u64,
            receivers: receivers(reader, of)?,
            doubts,
        })
    }

    /// What needs a person.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.doubts.clone();
        if self.unacknowledged > 0 {
            let (critical, warning) = (self.critical, self.warning);
            problems.push(format!(
                "alerts fire, {critical} critical and {warning} warning, and {} of them nobody has acknowledged: see `weir alerts list`",
                self.unacknowledged
            ));
        }
        problems.extend(self.receivers.iter().filter_map(unreached));
        problems
    }
}

/// A receiver that does not take what it is sent.
fn unreached(receiver: &ReceiverView) -> Option<String> {
    let ReceiverView { name, form, waiting, failing } = receiver;
    let failing = failing.as_ref()?;
    Some(format!(
        "alerts do not reach the receiver {name} ({form}) since {}: {}; messages waiting: {waiting}; see `weir alerts test {name}`",
        failing.since, failing.error
    ))
}
