//! Pairs a record of the log with the verdicts on its events, on their way to the ledger.
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
    fn from(synced: Synced<ValidatedBody>) -> Self {
        let Synced { position, follows, record, beside: ValidatedBody { body, batch } } = synced;
        LoggedBatch { record: record.into_record(position, follows, body), validated: batch }
    }
}
