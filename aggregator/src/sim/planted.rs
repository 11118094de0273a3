//! Bugs planted on purpose. Nothing of this exists outside of this crate's unit tests.
use std::cell::Cell;

use rusqlite::Connection;
use weir_contract::Timestamp;

use crate::ledger::LedgerError;
use crate::log::Position;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The log answers before it has synced.
    AckBeforeSync,
    /// The writer answers that a record is there though there was no room for it.
    FullAcknowledged,
    /// The writer answers that a record is there though its sync failed, and goes on.
    FailedSyncAcknowledged,
    /// Ids are remembered in a transaction before that of the sums.
    DedupeApart,
    /// The position is saved in a transaction before that of the sums.
    PositionApart,
    /// What memory knows of sources survives a transaction that does not.
    MemoryOutlivesRollback,
    /// Of late events the window is fixed again when they are counted.
    WindowFixedTwice,
    /// Events older than the oldest remembered day are counted.
    LateEventFoldedIn,
    /// A clock that jumps ahead makes the ledger forget.
    ForgottenByTheClock,
    /// An event with the id of another is counted as well.
    ConflictCounts,
    /// Bytes that are no event are not kept.
    QuarantineLost,
    /// Releasing one early event forgets the others.
    EarlyLost,
    /// Records are dropped from the log whether they are counted or not.
    PrunedUncounted,
    /// Records are dropped though the ledger that counted them is not on the disk.
    PrunedUnsettled,
    /// A range of numbers swallows a missing one.
    RangesMerged,
    /// What is reported is not on the disk before it is sent.
    SentBeforeSynced,
    /// Rows are sent without a mark that they were.
    SentUnmarked,
    /// A retry has an identifier of its own.
    FreshIdentifier,
    /// A duplicate is a failure.
    DuplicateIsFailure,
    /// Rows of unknown outcome are sent again whenever.
    ResentUnverified,
    /// A new customer gets all windows of its tenant.
    RemappedBackwards,
    /// Hours are not split where a billing period begins.
    AnchorIgnored,
    /// A correction has the revision of what it corrects.
    RevisionReused,
    /// What is held is not kept.
    HeldForgotten,
    /// Usage is sent after its invoice is final.
    CutOffIgnored,
    /// Corrections take periods below zero.
    BelowZeroSent,
    /// What summaries leave open is looked at for ever, and whatever else is of that hour waits.
    VerifiedForEver,
    /// A sender goes on though another one has taken over.
    OldSenderGoesOn,
    /// After a restoring rows are sent without a look.
    RestoredUnsettled,
    /// After a restoring usage is moved to the open period before its own hour was looked at.
    RestoredMoved,
    /// An answer counts as billed though nothing shows that it is the provider's.
    UnprovenBilled,
}

impl Bug {
    /// Every bug of accepting and counting.
    pub(crate) const ALL: [Bug; 15] = [
        Bug::AckBeforeSync,
        Bug::FullAcknowledged,
        Bug::FailedSyncAcknowledged,
        Bug::DedupeApart,
        Bug::PositionApart,
        Bug::MemoryOutlivesRollback,
        Bug::WindowFixedTwice,
        Bug::LateEventFoldedIn,
        Bug::ForgottenByTheClock,
        Bug::ConflictCounts,
        Bug::QuarantineLost,
        Bug::EarlyLost,
        Bug::PrunedUncounted,
        Bug::PrunedUnsettled,
        Bug::RangesMerged,
    ];

    /// Every bug of the reporting.
    pub(crate) const BILLING: [Bug; 16] = [
        Bug::SentBeforeSynced,
        Bug::SentUnmarked,
        Bug::FreshIdentifier,
        Bug::DuplicateIsFailure,
        Bug::ResentUnverified,
        Bug::RemappedBackwards,
        Bug::AnchorIgnored,
        Bug::RevisionReused,
        Bug::HeldForgotten,
        Bug::CutOffIgnored,
        Bug::BelowZeroSent,
        Bug::VerifiedForEver,
        Bug::OldSenderGoesOn,
        Bug::RestoredUnsettled,
        Bug::RestoredMoved,
        Bug::UnprovenBilled,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in this thread.
pub(super) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether `bug` is planted in this thread.
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// [`Bug::PositionApart`].
pub(crate) fn position_first(tx: &Connection, position: Position) -> Result<(), LedgerError> {
    if planted(Bug::PositionApart) {
        tx.execute_batch(&format!("UPDATE ledger SET position = {position}; COMMIT; BEGIN IMMEDIATE"))?;
    }
    Ok(())
}

/// [`Bug::DedupeApart`].
pub(crate) fn dedupe_first(tx: &Connection) -> Result<(), LedgerError> {
    if planted(Bug::DedupeApart) {
        tx.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
    }
    Ok(())
}

/// [`Bug::WindowFixedTwice`].
pub(crate) fn moved_window(time: Timestamp, received_at: Timestamp) -> Timestamp {
    let late = received_at.millis_since(time) > 24 * 3_600_000;
    if planted(Bug::WindowFixedTwice) && late { received_at } else { time }
}

/// [`Bug::RangesMerged`].
pub(crate) fn merges_over_gap(after: usize, ranges: &[(u64, u64)], number: u64) -> bool {
    let one_missing = after > 0 && ranges.get(after - 1).is_some_and(|range| range.1 + 2 == number);
    planted(Bug::RangesMerged) && one_missing
}
