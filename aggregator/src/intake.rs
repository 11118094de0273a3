//! From a body to its acknowledgement: what the server and the simulator have in common.
pub mod readings;
pub mod retry;

use tokio::sync::oneshot;
use weir_contract::Timestamp;
use weir_contract::batch::{BatchAnswer, RejectedEvent};

use crate::log::NewRecord;
use crate::log::writer::{Appended, LogWriter, SubmitError};
use crate::validate::verdicts::{EventHasher, ValidatedBatch};
use crate::validate::{self, Admission, BatchError, Format, Rejection};

/// A body on its way into the log.
#[derive(Debug)]
pub struct Taken {
    /// What it will be answered, once it is synced.
    pub answer: BatchAnswer,
    /// Why events of it were refused for good, as words.
    pub reasons: Vec<&'static str>,
    /// Says when it is synced, or that it will not be. Nothing may be acknowledged before.
    pub synced: oneshot::Receiver<Appended>,
}

/// Why a body was not taken. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// It is no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// No meter sums one of its readings.
    #[error("reading {index}: {problem}")]
    Unsummed {
        /// Its place in the body, from 0.
        index: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The token may not speak for the source of one of its events: a wrong name, here or at the gateway, which people mend. The
    /// gateway keeps the batch and sends it again.
    #[error("event {index}: {problem}")]
    Foreign {
        /// Its place in the body, from 0.
        index: usize,
        /// Whose token it is.
        problem: String,
    },
    /// The log takes nothing more at the moment.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// Judges the events of `body`, received now under a token that is bound to `gateway`, and hands it to the log. The ledger,
/// whose `hasher` it is, is handed the verdicts, and comes to the same ones when it reads the log.
pub fn take(
    log: &LogWriter,
    hasher: &EventHasher,
    now: Timestamp,
    gateway: Option<&str>,
    format: Format,
    body: Vec<u8>,
) -> Result<Taken, IntakeError> {
    let admission = Admission { received_at: now, gateway, forgotten_before: log.horizon().at(now) };
    let (mut answer, mut reasons) = (BatchAnswer::default(), Vec::new());
    let validated = ValidatedBatch::new(format, &body, admission, hasher)?;
    let mut latest = None;
    for (index, (_, verdict)) in validated.of(&body).enumerate() {
        match &verdict.outcome {
            Ok(fact) => {
                answer.accepted += 1;
                latest = latest.max(Some(validate::id_day(fact.id)));
            }
            Err(rejection @ Rejection::ForeignSource(_)) => {
                return Err(IntakeError::Foreign { index, problem: rejection.to_string() });
            }
            Err(rejection) => {
                reasons.push(rejection.code());
                answer.rejected.push(RejectedEvent { index, reason: rejection.to_string() });
            }
        }
    }
    if let Some(day) = latest {
        log.horizon().saw(day);
    }
    let record = NewRecord::new(admission, format, &body).with_batch(body, validated);
    Ok(Taken { answer, reasons, synced: log.submit(record)? })
}
