//! Fault points: places in the aggregator where the simulator plants a bug, to prove that it would find it.
//!
//! Each place asks [`hit`] and behaves correctly unless the answer is yes. Without the feature `inject` the answer is a
//! constant `false`, and the compiler removes the call. With it (in the simulator, and in every build of the whole
//! workspace, since Cargo unites features) the answer is yes only in a thread that has called [`plant`] for that very
//! point. So a build that has the feature by accident still behaves correctly.
#![forbid(unsafe_code)]

/// A fault point, named after its bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The log acknowledges before it has synced.
    AckBeforeSync,
    /// The writer acknowledges a record that found no room.
    FullAcknowledged,
    /// The writer acknowledges a record whose sync failed, and continues.
    FailedSyncAcknowledged,
    /// Ids are stored in a transaction before that of the sums.
    DedupeApart,
    /// The position is stored in a transaction before that of the sums.
    PositionApart,
    /// Costs are stored in a transaction after that of the sums.
    CostApart,
    /// Pricing again adds the new cost and leaves the old one.
    RepricedTwice,
    /// The in-memory state of sources survives a transaction that was rolled back.
    MemoryOutlivesRollback,
    /// The window of a late event is decided again when the event is counted.
    WindowFixedTwice,
    /// Events older than the oldest remembered day are counted.
    LateEventFoldedIn,
    /// A clock that jumps ahead makes the ledger forget ids.
    ForgottenByTheClock,
    /// An event with the id of another one is counted as well.
    ConflictCounts,
    /// Malformed events are not quarantined.
    QuarantineLost,
    /// Releasing one early event loses the others.
    EarlyLost,
    /// Records are pruned before they are counted.
    PrunedUncounted,
    /// Records are pruned before the ledger that counted them is on disk.
    PrunedUnsettled,
    /// Merging ranges of numbers swallows a missing one.
    RangesMerged,
    /// A transaction does not ask whether another process has taken the ledger over.
    EpochUnchecked,
    /// A process takes the ledger over while another one has the right to write it.
    TwoOwners,
    /// A writer of a shared log goes on after another one has taken the log over.
    LogFenceUnchecked,
    /// An entry that came too late for its place counts.
    StaleEntryCounts,
    /// The writer acknowledges before it appends.
    AckBeforeAppend,
    /// A group whose answer did not come counts as appended.
    AmbiguousIsDone,
    /// A group whose answer did not come is written anew, as another group.
    AmbiguousIsAnew,
    /// A log that lacks its end is taken as it is.
    OffsetReset,
    /// A commit whose answer did not come counts as done.
    CommitLostIsDone,
    /// A commit whose answer did not come counts as not done.
    CommitLostIsUndone,
    /// Whoever takes the ledger over forgets which ids were counted.
    IdsLostAtTakeOver,
    /// A follower acknowledges events before the owner does.
    FollowerAcknowledges,
    /// What budgets have used in memory survives a transaction that was rolled back.
    CountersOutliveRollback,
    /// Gateways are told of stages whose periods are over.
    StageSticks,
    /// A clock that is ahead takes a stage away for good.
    StageLostToTheClock,
    /// A raise holds until somebody takes it back.
    RaiseOutlivesItsDate,
    /// Changes are marked as told in a transaction before that of their messages.
    ToldApart,
    /// Messages are made in a transaction before that of the mark, each time under another id.
    NoticeUnderNewId,
    /// A message is sent while an earlier one of its topic waits.
    NoticeOvertakes,
    /// A row is sent before it is on disk.
    SentBeforeSynced,
    /// Rows are sent without a mark of the attempt.
    SentUnmarked,
    /// A retry uses a new identifier.
    FreshIdentifier,
    /// A duplicate counts as a failure.
    DuplicateIsFailure,
    /// Rows of unknown outcome are resent without verification.
    ResentUnverified,
    /// A new customer gets all earlier windows of its tenant.
    RemappedBackwards,
    /// Hours are not split where a billing period begins.
    AnchorIgnored,
    /// A correction reuses the revision of the row that it corrects.
    RevisionReused,
    /// Holds are not stored.
    HeldForgotten,
    /// Usage is sent after its invoice is final.
    CutOffIgnored,
    /// Corrections take periods below zero.
    BelowZeroSent,
    /// An hour that summaries cannot settle stays under verification for ever, and blocks its other rows.
    VerifiedForEver,
    /// A sender continues although another one has taken over.
    OldSenderGoesOn,
    /// After a restore rows are sent without verification.
    RestoredUnsettled,
    /// After a restore usage moves to the open period before its own hour is verified.
    RestoredMoved,
    /// An answer counts as billed though nothing shows that it is the provider's.
    UnprovenBilled,
    /// The center assumes that a lease is spent once its gateway wants more.
    BeliefLoweredUnreported,
    /// The center forgets a lease when it ends by the center's clock, without an allowance for the gateway's.
    ExpiredByOneClock,
    /// What a silent lease held goes back to the level.
    ExpiredReturned,
    /// A repeated call gives units back again.
    ReturnedTwice,
    /// What a report from before the center's memory of a lease gave back is where later ones count from.
    OldReturnCredited,
    /// A report that arrives late replaces a newer one.
    StaleReportBelieved,
    /// The level refills although gateways hold the rest.
    RefillIgnoresLeases,
    /// The largest capacity that a gateway has holds.
    LargestCapacityHolds,
    /// A request's own draw does not lower the level.
    DrawUnpaid,
    /// The refill goes on whole while a gateway spends its share.
    ShareNotSetAside,
    /// A center that lost its memory takes the first lease that it hears of for the only one.
    AdoptedOnce,
    /// A center that lost its memory starts with full buckets.
    ForgottenIsFull,
    /// A budget that is raised is full again.
    RaisedBudgetIsFull,
    /// A tier of a pool lends all of its share, also what its own requests need.
    TierLendsAll,
    /// A tier borrows before it takes from its own share.
    LentFirst,
    /// Borrowed units are not taken from the tier that lends them.
    LentUnpaid,
    /// A request waits for the refill of its own tier only, although others would lend it units earlier.
    WaitsForOwnTier,
}

/// Returns true if the bug of `point` is planted in this thread.
#[cfg(feature = "inject")]
pub fn hit(point: Point) -> bool {
    planted::POINT.get() == Some(point)
}

/// Always false: this build has no `inject`.
#[cfg(not(feature = "inject"))]
#[inline(always)]
pub const fn hit(_point: Point) -> bool {
    false
}

/// Plants a bug in this thread in place of the previous one; `None` removes it.
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
