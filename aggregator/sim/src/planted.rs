//! The bugs that the simulators must find.
pub(crate) use weir_fault::Point as Bug;
pub(super) use weir_fault::plant;

/// The bugs of accepting and counting.
pub(crate) const COUNTING_BUGS: [Bug; 17] = [
    Bug::AckBeforeSync,
    Bug::FullAcknowledged,
    Bug::FailedSyncAcknowledged,
    Bug::DedupeApart,
    Bug::PositionApart,
    Bug::CostApart,
    Bug::RepricedTwice,
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

/// The bugs of budgets and of what is told about them.
pub(crate) const STEERING_BUGS: [Bug; 7] = [
    Bug::CountersOutliveRollback,
    Bug::StageSticks,
    Bug::StageLostToTheClock,
    Bug::RaiseOutlivesItsDate,
    Bug::ToldApart,
    Bug::NoticeUnderNewId,
    Bug::NoticeOvertakes,
];

/// The bugs of several nodes over one log and one ledger.
pub(crate) const NODES_BUGS: [Bug; 17] = [
    Bug::TwoOwners,
    Bug::EpochUnchecked,
    Bug::LogFenceUnchecked,
    Bug::StaleEntryCounts,
    Bug::AckBeforeAppend,
    Bug::FullAcknowledged,
    Bug::FailedSyncAcknowledged,
    Bug::AmbiguousIsDone,
    Bug::AmbiguousIsAnew,
    Bug::OffsetReset,
    Bug::CommitLostIsDone,
    Bug::CommitLostIsUndone,
    Bug::IdsLostAtTakeOver,
    Bug::FollowerAcknowledges,
    Bug::PositionApart,
    Bug::DedupeApart,
    Bug::PrunedUncounted,
];

/// Every bug of the reporting.
pub(crate) const BILLING_BUGS: [Bug; 16] = [
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
