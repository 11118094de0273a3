//! `weir user forget`: removes users from everything that is kept of single events, and remembers them. Sums stay.
//!
//! A name can come back: with a restored backup, with events that `weir replay` reads from a gateway's log, or with a batch that a
//! gateway sends late. So the names stay in a file of the data directory ([`forgotten`](crate::forgotten)), and [`apply`] removes them again.
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;
use weir_contract::user::UserKey;
use weir_contract::{TenantId, Timestamp};

use crate::forgotten::{Forgotten, ForgottenError};
use crate::store::Store;
use weir_event_log::redact::{Redacted, Users, is_user};
use weir_event_log::{AppendError, Position};
use weir_ledger::LedgerError;

/// Body of `POST /v1/users/forget`: `user`, or `name` and `tenant`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgetRequest {
    /// The user's name in events: `hmac:` and hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user as requests name them; needs `user_keys` in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tenant whose user this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
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
    /// The request names nobody.
    #[error("{0}")]
    NoUser(&'static str),
    /// It names a user by a name, and there is no key to know it by.
    #[error(
        "there are no `user_keys` in the configuration: weir finds a user's events only with the gateways' `events.user_key`"
    )]
    NoKeys,
    /// The log is busy or closed.
    #[error("the event log is busy; try again")]
    Busy,
    /// The list of forgotten users cannot be written.
    #[error(transparent)]
    List(#[from] ForgottenError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

const FORM: &str = "a user is written as in events (hmac: and at least 16 hex digits), or as requests name them, with the tenant: \
                    --user NAME --tenant TENANT";
impl ForgetRequest {
    /// The names in events: one for each of `keys`, or the one given.
    fn names(&self, keys: &[UserKey]) -> Result<Vec<String>, ForgetError> {
        match (&self.user, &self.name, &self.tenant) {
            (Some(user), None, None) if is_user(user) => Ok(vec![user.to_ascii_lowercase()]),
            (None, Some(name), Some(tenant)) if !name.is_empty() => {
                let tenant = TenantId::new(tenant).map_err(|_| ForgetError::NoUser("this is no tenant's id"))?;
                match keys {
                    [] => Err(ForgetError::NoKeys),
                    keys => Ok(keys.iter().map(|key| key.name(&tenant, name)).collect()),
                }
            }
            _ => Err(ForgetError::NoUser(FORM)),
        }
    }
}

/// Removes a user from the log, the quarantine and the waiting events, and remembers to do so again.
pub(crate) async fn forget(
    store: &Store,
    keys: &[UserKey],
    request: &ForgetRequest,
    now: Timestamp,
) -> Result<ForgetView, ForgetError> {
    let names = request.names(keys)?;
    let mut list = store.forgotten.lock().await;
    // Remembered before anything is removed: the work then goes on after a crash.
    let before = list.begin(&store.home.forgotten(), &names, now)?;
    let end = counted_end(store).await?;
    let users = Users::new(names.iter().map(String::as_str));
    let view = remove(store, 0, end, &users, now).await?;
    list.finish(&store.home.forgotten(), before.unwrap_or(end).min(end))?;
    Ok(view)
}

/// Removes every remembered user from the records that came since this was done last. Returns what was found, or None if there
/// was nothing to look at.
pub(crate) async fn apply(store: &Store, now: Timestamp) -> Result<Option<ForgetView>, ForgetError> {
    let mut list: MutexGuard<'_, Forgotten> = store.forgotten.lock().await;
    let users = list.users();
    if users.is_empty() || list.through() >= store.log_end() {
        return Ok(None);
    }
    let end = counted_end(store).await?;
    let view = remove(store, list.through(), end, &users, now).await?;
    list.finish(&store.home.forgotten(), end)?;
    Ok(Some(view))
}

/// The last record of the log, once it is counted: a repeat of an event is known by its original bytes.
async fn counted_end(store: &Store) -> Result<Position, ForgetError> {
    let end = store.log_end();
    store.ledger.reach(end).await?;
    Ok(end)
}

async fn remove(
    store: &Store,
    after: Position,
    end: Position,
    users: &Users,
    now: Timestamp,
) -> Result<ForgetView, ForgetError> {
    let mut view = ForgetView::default();
    let mut after = Some(after);
    while let Some(position) = after {
        let redacted = redact(store, position, end, users).await?;
        view.records += redacted.records;
        after = redacted.through;
    }
    let users = users.clone();
    view.events = store
        .ledger
        .call(move |ledger| {
            let events = ledger.forget_users(&users)?;
            if ledger.durably(|db| weir_steer::forget::users(db, &users))? {
                // What is known of them in memory goes as well.
                ledger.review_steering(now, false)?;
            }
            Ok::<_, LedgerError>(events)
        })
        .await?;
    Ok(view)
}

async fn redact(store: &Store, after: Position, end: Position, users: &Users) -> Result<Redacted, ForgetError> {
    for _ in 0..OFFERS_MAX {
        if let Some(redacted) = store.log.redact(after, end, users).await {
            return Ok(redacted?);
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
    Err(ForgetError::Busy)
}
