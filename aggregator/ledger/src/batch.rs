//! A batch on its way to the ledger: a record of the log with the verdicts on its events.
use crate::validate::ValidatedBatch;
use weir_event_log::Record;
use weir_event_log::writer::Synced;

/// The body as received and the verdicts on its events. It travels beside the record from intake to ledger.
#[derive(Clone, Debug)]
pub struct ValidatedBody {
    /// The body, uncompressed.
    pub body: Vec<u8>,
    /// The verdicts, based on the circumstances that the record stores.
    pub batch: ValidatedBatch,
}

/// A synced record with the verdicts on its events, so that the ledger need not read it from the log.
#[derive(Clone, Debug)]
pub struct LoggedBatch {
    /// The record as stored in the log.
    pub record: Record,
    /// The verdicts on its events, based on the same bytes and circumstances.
    pub validated: ValidatedBatch,
}

impl From<Synced<ValidatedBody>> for LoggedBatch {
    fn from((position, record, ValidatedBody { body, batch }): Synced<ValidatedBody>) -> Self {
        LoggedBatch { record: record.into_record(position, body), validated: batch }
    }
}
