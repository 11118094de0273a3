//! Pairs a record of the log with the verdicts on its events, on their way to the ledger.
use crate::validate::ValidatedBatch;
use weir_event_log::Record;
use weir_event_log::writer::Synced;

/// What travels beside a record from the intake to the ledger: the body as it came, with the verdicts on its events.
#[derive(Clone, Debug)]
pub struct ValidatedBody {
    /// The body, uncompressed.
    pub body: Vec<u8>,
    /// The verdicts, made under the circumstances that the record names.
    pub batch: ValidatedBatch,
}

/// A synced record with the verdicts on its events: the ledger need not read it from the log then.
#[derive(Clone, Debug)]
pub struct LoggedBatch {
    /// As the log has it.
    pub record: Record,
    /// The verdicts on its events, made of the same bytes under the same circumstances.
    pub validated: ValidatedBatch,
}

impl From<Synced<ValidatedBody>> for LoggedBatch {
    fn from(synced: Synced<ValidatedBody>) -> Self {
        let Synced { position, follows, record, beside: ValidatedBody { body, batch } } = synced;
        LoggedBatch { record: record.into_record(position, follows, body), validated: batch }
    }
}
