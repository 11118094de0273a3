//! Takes a body in: validates it and hands it to the log, which says when it is synced.
pub mod readings;

use std::sync::Arc;

use tokio::sync::oneshot;
use weir_contract::Timestamp;
use weir_contract::batch::{BatchAnswer, RejectedEvent};

use crate::ValidatedBody;
use crate::validate::horizon::Horizon;
use crate::validate::{
    self, Admission, BatchError, Configured, EventHasher, FactPayload, Format, Last, Rejection, ValidatedBatch,
};
use weir_event_log::NewRecord;
use weir_event_log::writer::{Appended, LogWriter, SubmitError};

/// A body on its way into the log.
#[derive(Debug)]
pub struct Taken {
    /// The answer to send once the body is synced.
    pub answer: BatchAnswer,
    /// Reason codes of the events that were refused for good.
    pub reasons: Vec<&'static str>,
    /// What its usage events say of the configurations of gateways.
    pub configured: Vec<Configured>,
    /// Resolves once the body is synced, or will not be. Nothing may be acknowledged before.
    pub synced: oneshot::Receiver<Appended>,
}

/// Why a body was not accepted. Nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The body is not a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// No meter sums one of its readings.
    #[error("reading {index}: {problem}")]
    Unsummed {
        /// Index of the reading in the body, from 0.
        index: usize,
        /// The problem and its remedy.
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

/// The entry for batches: validates a body and hands it to the log. The hasher is the ledger's, so that the ledger
/// reaches the same verdicts when it reads the log.
#[derive(Clone, Debug)]
pub struct Intake {
    log: LogWriter<ValidatedBody>,
    horizon: Arc<Horizon>,
    hasher: EventHasher,
}

impl Intake {
    /// An intake into `log`, whose last record declares ids of days before `forgotten_before` forgotten.
    pub fn new(log: LogWriter<ValidatedBody>, forgotten_before: u64, hasher: EventHasher) -> Self {
        Intake { log, horizon: Arc::new(Horizon::resume(forgotten_before)), hasher }
    }

    /// Validates the events of `body`, received now under a token bound to `gateway`, and hands the body to the log.
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
        let (mut latest, mut last) = (None, Last::default());
        for (index, (event, verdict)) in batch.of(&body).enumerate() {
            match &verdict.outcome {
                Ok(fact) => {
                    answer.accepted += 1;
                    if matches!(fact.payload, FactPayload::Usage(_)) {
                        last.is(&fact.source, event);
                    }
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
        let configured = last.configured();
        let synced = self.submit(admission, format, latest, ValidatedBody { body, batch })?;
        Ok(Taken { answer, reasons, configured, synced })
    }

    /// Whether an event would be accepted at `now` if no gateway bound its token.
    pub fn accepts(&self, raw: &[u8], now: Timestamp) -> bool {
        let admission = Admission { received_at: now, gateway: None, forgotten_before: self.horizon.at(now) };
        validate::validate(raw, admission).is_ok()
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
