//! Fault points: places in the aggregator where the simulator can make the code do the wrong thing, to prove that it would find
//! such a bug.
//!
//! Each place asks [`hit`] and does the right thing unless the answer is yes. Without the feature `inject` the answer is a
//! constant `false` and the compiler drops the question. With it (the simulator, and so every build of the whole workspace,
//! since Cargo unites features) the answer is yes only in a thread that has called [`plant`] for that very point: a build that
//! has the feature by accident does nothing wrong, it only asks.
#![forbid(unsafe_code)]

/// A place, named after the bug that can be planted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
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

/// Whether the bug of `point` is planted in this thread.
#[cfg(feature = "inject")]
pub fn hit(point: Point) -> bool {
    planted::POINT.get() == Some(point)
}

/// Whether the bug of `point` is planted in this thread: never, in a build without `inject`.
#[cfg(not(feature = "inject"))]
#[inline(always)]
pub const fn hit(_point: Point) -> bool {
    false
}

/// Plants a bug in this thread in place of the one before; none takes it out again.
#[cfg(feature = "inject")]
pub fn plant(point: Option<Point>) {
    planted::POINT.set(point);
}

#[cfg(feature = "inject")]
mod planted {
    use std::cell::Cell;

    use super::Point;

    thread_local! {
        pub(super) static POINT: Cell<Option<Point>> = const { Cell::new(None) };
    }
}

#[cfg(all(test, feature = "inject"))]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_planted_in_its_thread_only() {
        plant(Some(Point::EarlyLost));
        assert!(hit(Point::EarlyLost) && !hit(Point::QuarantineLost));
        assert!(!std::thread::spawn(|| hit(Point::EarlyLost)).join().expect("ended"));
        plant(None);
        assert!(!hit(Point::EarlyLost));
    }
}
