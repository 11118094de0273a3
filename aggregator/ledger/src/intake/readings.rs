//! The entry for readings. Its answer also says what the ledger counted, because an importer must know whether a file
//! repeats earlier amounts or contradicts them.
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use weir_contract::Timestamp;
use weir_contract::batch::RejectedEvent;
use weir_database::Place;

use super::{Intake, IntakeError};
use crate::LedgerError;
use crate::ValidatedBody;
use crate::meters::Meters;
use crate::query::LedgerReader;
use crate::thread::LedgerHandle;
use crate::validate::{Admission, Format, ValidatedBatch, day};
use weir_event_log::Position;
use weir_event_log::writer::Appended;

/// The longest wait for the ledger, which usually counts within a fraction of a second.
const LEDGER_PATIENCE: Duration = Duration::from_secs(10);

/// Answer to readings. All readings that `rejected` does not list are durably in the event log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingsAnswer {
    /// Readings accepted, new or repeated.
    pub accepted: u64,
    /// Readings refused for good, because they are too old or too far ahead. They are quarantined.
    pub rejected: Vec<RejectedEvent>,
    /// What the ledger counted of them; absent if it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<CountedReadings>,
}

/// The ledger's result for some readings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedReadings {
    /// Counted from this very body, now or, if ahead of the clock, once they are due.
    pub new: u64,
    /// Counted before.
    pub duplicates: u64,
    /// Ids known with other contents; the earlier contents stand. The new ones are quarantined.
    pub conflicts: Vec<RejectedEvent>,
}

/// Readings on their way into the log.
#[derive(Debug)]
pub struct Taken {
    /// The answer to send once they are synced.
    pub answer: ReadingsAnswer,
    /// Resolves once they are synced, or will not be. Nothing may be acknowledged before.
    pub synced: oneshot::Receiver<Appended>,
    /// Readings to ask the ledger about.
    pub asked: Vec<Asked>,
}

/// A reading that was accepted.
#[derive(Clone, Debug)]
pub struct Asked {
    index: usize,
    id: Box<str>,
    hash: i64,
}

impl Intake {
    /// Validates the readings of `body`, received now, and hands the body to the log. If one reading is malformed, or
    /// counts for nothing under `meters`, refuses the whole body.
    pub fn take_readings(
        &self,
        meters: &Meters,
        now: Timestamp,
        format: Format,
        body: Vec<u8>,
    ) -> Result<Taken, IntakeError> {
        let admission = Admission { received_at: now, gateway: None, forgotten_before: self.horizon.at(now) };
        let batch = ValidatedBatch::new(format, &body, admission, &self.hasher)?;
        let (mut answer, mut asked, mut latest) = (ReadingsAnswer::default(), Vec::new(), None);
        for (index, (_, verdict)) in batch.readings(&body).enumerate() {
            match &verdict.outcome {
                Ok(reading) => {
                    meters.check_reading(reading).map_err(|problem| IntakeError::Unsummed { index, problem })?;
                    answer.accepted += 1;
                    latest = latest.max(Some(day(reading.time)));
                    asked.push(Asked { index, id: reading.id.clone(), hash: verdict.hash });
                }
                Err(rejection) => answer.rejected.push(RejectedEvent { index, reason: rejection.to_string() }),
            }
        }
        Ok(Taken { answer, synced: self.submit(admission, format, latest, ValidatedBody { body, batch })?, asked })
    }
}

/// The result for `asked`, which stand in the record at `position`, from the ledger at `path`. None if the ledger does
/// not get that far in time.
pub async fn counted(
    ledger: &LedgerHandle,
    place: Place,
    position: Position,
    asked: Vec<Asked>,
) -> Result<Option<CountedReadings>, LedgerError> {
    match tokio::time::timeout(LEDGER_PATIENCE, ledger.reach(position)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "readings are in the event log, and not counted yet");
            return Ok(None);
        }
        Err(_) => return Ok(None),
    }
    let compared = tokio::task::spawn_blocking(move || compare(&LedgerReader::open(&place)?, position, &asked));
    compared.await.map_err(|_| LedgerError::Closed)?.map(Some)
}

fn compare(ledger: &LedgerReader, position: Position, asked: &[Asked]) -> Result<CountedReadings, LedgerError> {
    let mut counted = CountedReadings::default();
    for Asked { index, id, hash } in asked {
        match ledger.find_reading(id)? {
            Some((log_ref, known)) if known == *hash && log_ref.position == position && log_ref.item == *index => {
                counted.new += 1;
            }
            Some((_, known)) if known != *hash => {
                let reason = format!("id: {id:?} was taken before with another content, which stands");
                counted.conflicts.push(RejectedEvent { index: *index, reason });
            }
            // Includes a reading whose day was forgotten in the meantime.
            _ => counted.duplicates += 1,
        }
    }
    Ok(counted)
}
