//! Counts refused events after the cause of the refusal is fixed: a token's gateway, a clock, an older version.
use weir_contract::Timestamp;
use weir_contract::batch::{BATCH_MAX_BYTES, BATCH_MAX_EVENTS, join};

use weir_event_log::AppendError;
use weir_ledger::LedgerError;
use weir_ledger::intake::IntakeError;
use weir_ledger::validate::Format;
use weir_ledger::view::{QuarantineQuery, RetryView};

use crate::store::Store;

/// Why a retry of refused events stopped early. Another retry continues with the rest.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The body was not taken.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The log.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log's thread is gone.
    #[error("the event log is closed")]
    Closed,
}

/// Judges the refused events again that `query` names, and hands those that are good now to the log, like any batch. The
/// ledger lets go of a refused event when its very bytes are accepted. An administrator asks, so no gateway binds them.
pub async fn retry(store: &Store, query: &QuarantineQuery, now: Timestamp) -> Result<RetryView, RetryError> {
    store.catch_up().await?;
    let mut view = RetryView::default();
    let (mut events, mut bytes) = (Vec::new(), 0);
    let mut after = None;
    while let Some((place, body)) = store.reader()?.quarantined_after(query, after)? {
        after = Some(place);
        // Readings are not retried: import their file again.
        if !store.intake.accepts(&body, now) {
            view.refused += 1;
            continue;
        }
        if events.len() == BATCH_MAX_EVENTS || bytes + body.len() > BATCH_MAX_BYTES / 2 {
            view.accepted += hand_over(store, std::mem::take(&mut events), now).await?;
            bytes = 0;
        }
        bytes += body.len();
        events.push(body);
    }
    view.accepted += hand_over(store, events, now).await?;
    Ok(view)
}

async fn hand_over(store: &Store, events: Vec<Vec<u8>>, now: Timestamp) -> Result<u64, RetryError> {
    if events.is_empty() {
        return Ok(0);
    }
    let body = join(events.iter().map(Vec::as_slice));
    let taken = store.intake.take(now, None, Format::Batch, body)?;
    taken.synced.await.map_err(|_| RetryError::Closed)??;
    store.catch_up().await?;
    Ok(taken.answer.accepted)
}
