//! Live figures of models, as gateways get them: latencies alone make a new version, since gateways choose by nothing else.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use weir_contract::Timestamp;
use weir_contract::catalogue::{FIGURES_MAX, ModelFigures};
use weir_event_log::LogError;
use weir_ledger::recent::Recent;
use weir_ledger::validate::EventHasher;

use crate::config::catalogue::Catalogue;
use crate::store::DataDir;

/// How long figures are handed out before they are computed again.
const FRESH: Duration = Duration::from_secs(15);

/// The figures of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// A hash of the latencies.
    pub version: String,
    /// The figures in JSON, as gateways get them.
    pub json: String,
}

/// The last figures, and when they were computed, in elapsed time.
#[derive(Debug, Default)]
pub(crate) struct LastMeasured(Mutex<Option<(Duration, Arc<Measured>)>>);

impl LastMeasured {
    /// The figures, computed again where they are no longer fresh.
    pub(crate) fn get(&self, elapsed: Duration, measure: impl FnOnce() -> Measured) -> Arc<Measured> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, measured)) = &*last
            && elapsed.saturating_sub(*at) < FRESH
        {
            return Arc::clone(measured);
        }
        let measured = Arc::new(measure());
        *last = Some((elapsed, Arc::clone(&measured)));
        measured
    }
}

impl Measured {
    /// The figures with latencies, of the catalogue's models where there is a catalogue.
    pub(crate) fn of(recent: &Recent, catalogue: Option<&Catalogue>, now: Timestamp) -> Self {
        let mut rows = recent.figures(now);
        let is_listed = |row: &ModelFigures| catalogue.is_none_or(|catalogue| catalogue.model(&row.model).is_some());
        rows.retain(|row| row.p99_ms.is_some() && is_listed(row));
        rows.truncate(FIGURES_MAX);
        rows.sort_by(|a, b| (&a.model, a.class).cmp(&(&b.model, b.class)));
        let mut hash = Sha256::new();
        for row in &rows {
            let latencies = [row.p50_ms, row.p99_ms, row.first_token_p50_ms, row.first_token_p99_ms];
            hash.update(format!("{} {} {latencies:?};", row.model, row.class.as_str()));
        }
        // Texts and numbers always serialize.
        let json = serde_json::to_string(&rows).unwrap_or_else(|_| "[]".to_owned());
        Measured { version: hex::encode(&hash.finalize()[..8]), json }
    }
}

/// Reads the requests of the last minutes before the start from the log again.
pub(crate) fn reread(home: &DataDir, recent: &Recent, hasher: &EventHasher, now: Timestamp) -> Result<(), LogError> {
    let mut log = home.log_place().reader()?;
    recent.reread(log.as_mut(), now, hasher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_computed_again_once_they_are_no_longer_fresh() {
        let last = LastMeasured::default();
        let measured = |version: &str| Measured { version: version.to_owned(), json: "[]".to_owned() };
        let at = |secs| Duration::from_secs(secs);
        assert_eq!(last.get(at(1), || measured("a")).version, "a");
        assert_eq!(last.get(at(15), || measured("b")).version, "a");
        assert_eq!(last.get(at(16), || measured("b")).version, "b");
    }
}
