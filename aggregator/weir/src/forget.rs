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
pub struct ForgetRequest {
    /// The user, as events name them: `hmac:` and hex digits.
    pub user: String,
}

/// What forgetting a user did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetView {
    /// Records of the event log that named the user.
    pub records: u64,
    /// Events in quarantine, or ahead of the clock, that did.
    pub events: u64,
}

/// The pause before a chore of the log is offered again: another one is under way.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// How often it is offered before that is an error: pruning takes a second at most.
const OFFERS_MAX: u32 = 50;

/// Why a user was not forgotten, or not wholly: doing it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// It is no user.
    #[error("a user is written as in events: hmac: and at least 16 hex digits")]
    NoUser,
    /// The log is busy or closed.
    #[error("the event log is busy; try again")]
    Busy,
    /// The log.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Takes `user` out of the log, the quarantine and the events that wait.
pub async fn forget(store: &Store, user: &str) -> Result<ForgetView, ForgetError> {
    if !is_user(user) {
        return Err(ForgetError::NoUser);
    }
    // What is still to be counted is counted with its own bytes.
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
