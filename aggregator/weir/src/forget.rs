//! `weir user forget`: removes a user from everything that is kept of single events. Sums stay.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::Store;
use weir_event_log::AppendError;
use weir_event_log::redact::is_user;
use weir_ledger::LedgerError;

/// Body of `POST /v1/users/forget`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgetRequest {
    /// The user's name in events: `hmac:` and hex digits.
    pub user: String,
}

/// The result of forgetting a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetView {
    /// Records of the event log that named the user.
    pub records: u64,
    /// Events in quarantine, or ahead of the clock, that named the user.
    pub events: u64,
}

/// The pause before a retry while the log is busy with another chore.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// The most attempts; pruning, the longest chore, takes a second at most.
const OFFERS_MAX: u32 = 50;

/// Why a user was not forgotten, or only in part. A repeat continues the work.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The name does not have the form of a user.
    #[error("a user is written as in events: hmac: and at least 16 hex digits")]
    NoUser,
    /// The log is busy or closed.
    #[error("the event log is busy; try again")]
    Busy,
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Removes `user` from the log, the quarantine and the waiting events.
pub async fn forget(store: &Store, user: &str) -> Result<ForgetView, ForgetError> {
    if !is_user(user) {
        return Err(ForgetError::NoUser);
    }
    // Events still to be counted are deduplicated by their original bytes.
    store.catch_up().await?;
    let mut view = ForgetView::default();
    let mut after = Some(0);
    while let Some(position) = after {
        let redacted = redact(store, position, user).await?;
        view.records += redacted.records;
        after = redacted.through;
    }
    let user = user.to_owned();
    view.events = store.ledger.call(move |ledger| ledger.forget_user(&user)).await?;
    Ok(view)
}

async fn redact(store: &Store, after: u64, user: &str) -> Result<weir_event_log::redact::Redacted, ForgetError> {
    for _ in 0..OFFERS_MAX {
        if let Some(redacted) = store.log.redact(after, user).await {
            return Ok(redacted?);
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
    Err(ForgetError::Busy)
}
