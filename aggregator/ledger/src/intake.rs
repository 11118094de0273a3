//! Takes a body in: validates it and hands it to the log, which says when it is synced.
pub mod readings;

use std::sync::Arc;

use tokio::sync::oneshot;
use weir_contract::Timestamp;
use weir_contract::batch::{BatchAnswer, RejectedEvent};

use crate::ValidatedBody;
use crate::validate::horizon::Horizon;
use crate::validate::{self, Admission, BatchError, EventHasher, Format, ValidatedBatch};
use weir_event_log::NewRecord;
use weir_event_log::writer::{Appended, LogWriter, SubmitError};

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
    /// The log takes nothing more at the moment.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// The way in for batches: validates a body and hands it to the log. The ledger, whose hasher it is, is handed the verdicts,
/// and comes to the same ones when it reads the log.
#[derive(Clone, Debug)]
pub struct Intake {
    log: LogWriter<ValidatedBody>,
    horizon: Arc<Horizon>,
    hasher: EventHasher,
}

impl Intake {
    /// The way into `log`, whose last record says that ids of days before `forgotten_before` are forgotten.
    pub fn new(log: LogWriter<ValidatedBody>, forgotten_before: u64, hasher: EventHasher) -> Self {
        Intake { log, horizon: Arc::new(Horizon::resume(forgotten_before)), hasher }
    }

    /// Validates the events of `body`, received now under a token that is bound to `gateway`, and hands it to the log.
    pub fn take(
        &self,
        now: Timestamp,
        gateway: Option<&str>,
        format: Format,
        body: Vec<u8>,
    ) -> Result<Taken, IntakeError> {
        let admission = Admission { received_at: now, gateway, forgotten_before: self.horizon.at(now) };
        let (mut answer, mut reasons) = (BatchAnswer::default(), Vec::new());
        let batch = ValidatedBatch::new(format, &body, admission, &self.hasher)?;
        let mut latest = None;
        for (index, (_, verdict)) in batch.of(&body).enumerate() {
            match &verdict.outcome {
                Ok(fact) => {
                    answer.accepted += 1;
                    latest = latest.max(Some(validate::id_day(fact.id)));
                }
                Err(rejection) => {
                    reasons.push(rejection.code());
                    answer.rejected.push(RejectedEvent { index, reason: rejection.to_string() });
                }
            }
        }
        Ok(Taken { answer, reasons, synced: self.submit(admission, format, latest, ValidatedBody { body, batch })? })
    }

    /// Hands a body to the log; the latest of its accepted items is of day `latest`.
    fn submit(
        &self,
        admission: Admission<'_>,
        format: Format,
        latest: Option<u64>,
        validated: ValidatedBody,
    ) -> Result<oneshot::Receiver<Appended>, IntakeError> {
        if let Some(day) = latest {
            self.horizon.saw(day);
        }
        let record = NewRecord::new(admission, format, &validated.body);
        Ok(self.log.submit(record, Some(validated))?)
    }
}
