//! The same for readings, with one more word in the answer: what the ledger made of them. Whoever imports a file has to know
//! whether it holds other amounts than were taken before.
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use weir_contract::Timestamp;
use weir_contract::batch::RejectedEvent;

use super::{Intake, IntakeError};
use crate::LedgerError;
use crate::ValidatedBody;
use crate::meters::Meters;
use crate::query::LedgerReader;
use crate::thread::LedgerHandle;
use crate::validate::{Admission, Format, ValidatedBatch, day};
use weir_event_log::Position;
use weir_event_log::writer::Appended;

/// How long an answer waits for the ledger. It counts within a fraction of a second, unless it is far behind.
const LEDGER_PATIENCE: Duration = Duration::from_secs(10);

/// Answer to readings. Everything not listed in `rejected` is durably in the event log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingsAnswer {
    /// How many were taken: new ones, and ones that were there already.
    pub accepted: u64,
    /// Those that never will be, however often they are sent: too old, or too far ahead. They are kept in quarantine.
    pub rejected: Vec<RejectedEvent>,
    /// What the ledger made of those that were taken; absent where it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Made>,
}

/// What the ledger made of readings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Counted by this very body, now or, where they are ahead of the clock, when their time has come.
    pub new: u64,
    /// Counted before.
    pub duplicates: u64,
    /// Their ids were taken before with other contents, which stand. They are kept in quarantine.
    pub conflicts: Vec<RejectedEvent>,
}

/// Readings on their way into the log.
#[derive(Debug)]
pub struct Taken {
    /// What they will be answered, once they are synced.
    pub answer: ReadingsAnswer,
    /// Says when they are synced, or that they will not be. Nothing may be acknowledged before.
    pub synced: oneshot::Receiver<Appended>,
    /// What to ask the ledger about.
    pub asked: Vec<Asked>,
}

/// A reading that was taken.
#[derive(Clone, Debug)]
pub struct Asked {
    index: usize,
    id: Box<str>,
    hash: i64,
}

impl Intake {
    /// Validates the readings of `body`, received now, and hands it to the log. Where one cannot be read, or would count for
    /// nothing under `meters`, nothing of it is taken.
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

/// What the ledger, whose file is at `path`, made of `asked`, which stand in the record at `position`. None if it has not counted that far soon.
pub async fn made(
    ledger: &LedgerHandle,
    path: PathBuf,
    position: Position,
    asked: Vec<Asked>,
) -> Result<Option<Made>, LedgerError> {
    match tokio::time::timeout(LEDGER_PATIENCE, ledger.reach(position)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "readings are in the event log, and not counted yet");
            return Ok(None);
        }
        Err(_) => return Ok(None),
    }
    let looking = tokio::task::spawn_blocking(move || look(&LedgerReader::open(&path)?, position, &asked));
    looking.await.map_err(|_| LedgerError::Closed)?.map(Some)
}

fn look(ledger: &LedgerReader, position: Position, asked: &[Asked]) -> Result<Made, LedgerError> {
    let mut made = Made::default();
    for Asked { index, id, hash } in asked {
        match ledger.find_reading(id)? {
            Some((log_ref, known)) if known == *hash && log_ref.position == position && log_ref.item == *index => {
                made.new += 1;
            }
            Some((_, known)) if known != *hash => {
                let reason = format!("id: {id:?} was taken before with another content, which stands");
                made.conflicts.push(RejectedEvent { index: *index, reason });
            }
            // Also one whose day was forgotten just now.
            _ => made.duplicates += 1,
        }
    }
    Ok(made)
}
