//! Finds the readings of some windows in the event log.
use std::collections::{BTreeMap, HashSet};

use weir_database::Connection;

use super::search::{EventLine, Search};
use super::{ExplainError, decimal};
use weir_event_log::Record;
use weir_ledger::LedgerError;
use weir_ledger::meters::Measure;
use weir_ledger::query::{LedgerReader, LogRef};
use weir_ledger::reading::Reading;
use weir_ledger::validate::{EventHasher, ValidatedBatch};

impl Search<'_> {
    /// Collects the readings of one record.
    pub(super) fn readings(&mut self, record: &Record, ledger: &LedgerReader) -> Result<(), ExplainError> {
        // The hash identifies repeats, which play no role here.
        let validated =
            ValidatedBatch::new(record.format, &record.body, record.admission(), &EventHasher::new(&[0; 16]));
        let validated = validated.map_err(|error| {
            LedgerError::Inconsistent(format!("record {} of the event log: {error}", record.position))
        })?;
        for (item, (_, verdict)) in validated.readings(&record.body).enumerate() {
            let Ok(reading) = &verdict.outcome else { continue };
            let windows = self.windows_at(reading.tenant.as_str(), reading.time);
            let log_ref = LogRef { position: record.position, item };
            if windows.is_empty() || !self.counted_reading(&reading.id, log_ref, ledger)? {
                continue;
            }
            let measures: BTreeMap<usize, Measure> =
                self.meters.measure_reading(reading.time.hour(), reading).collect();
            for at in windows {
                self.count(at, &measures, |window, nano| EventLine {
                    window: window.from,
                    time: reading.time,
                    id: reading.id.to_string(),
                    tenant: window.tenant.clone(),
                    meter: window.meter.clone(),
                    reading: Some(reading.name.to_string()),
                    amount: decimal(nano),
                    ..EventLine::default()
                })?;
            }
        }
        Ok(())
    }

    /// Returns true if the ledger counted the reading at this log position.
    fn counted_reading(&mut self, id: &str, log_ref: LogRef, ledger: &LedgerReader) -> Result<bool, ExplainError> {
        if self.waiting_readings.contains(id) || self.counted.is_quarantined(log_ref) {
            return Ok(false);
        }
        Ok(match ledger.find_reading(id)? {
            Some((first, _)) => first == log_ref,
            None => self.forgotten_readings.insert(id.to_owned()),
        })
    }
}

/// Ids of readings that wait because they are ahead of the clock.
pub(super) fn waiting(db: &Connection) -> Result<HashSet<String>, LedgerError> {
    let mut select = db.prepare("SELECT body FROM early WHERE reading = 1")?;
    let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let mut ids = HashSet::new();
    for body in bodies {
        if let Ok(reading) = Reading::parse(&body?) {
            ids.insert(reading.id.into());
        }
    }
    Ok(ids)
}
