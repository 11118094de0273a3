//! What goes wrong with events on their way into the ledger: told once when it begins and once when it is over, so that a log
//! shows changes and is not filled by what lasts. `weir ledger` and the metrics show how things stand meanwhile.
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::ApiError;
use weir_ledger::view::LedgerView;

/// A fault that has not been seen for this long is over.
const QUIET: Duration = Duration::from_secs(60);
/// How often the ledger is looked at. Numbers that are still missing at the next look were not merely overtaken.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A fault of calls that bring events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// They come without a token, or with one that is not known.
    UnknownToken,
    /// Their token does not open the scope `ingest`.
    Scope,
    /// Their token is bound to another gateway.
    Gateway,
    /// Their bodies are no batches.
    Malformed,
    /// Single events of them are refused for good.
    Events,
}

impl Fault {
    fn of(error: &ApiError) -> Option<Self> {
        match error {
            ApiError::Unauthorized => Some(Fault::UnknownToken),
            ApiError::Forbidden(_) => Some(Fault::Scope),
            ApiError::ForeignGateway(_) => Some(Fault::Gateway),
            ApiError::Batch(_) | ApiError::MediaType | ApiError::Request(_) | ApiError::TooLarge(_) => {
                Some(Fault::Malformed)
            }
            _ => None,
        }
    }

    /// What it means and what to do.
    const fn meaning(self) -> &'static str {
        match self {
            Fault::UnknownToken => {
                "events come with an unknown token, or none, and are not counted: compare the gateway's `events.token` with `tokens`"
            }
            Fault::Scope => "events come with a token that lacks the scope `ingest`, and are not counted",
            Fault::Gateway => {
                "events come with a token that is bound to another gateway, and are not counted: compare the gateway's name with the token's `gateway`"
            }
            Fault::Malformed => "bodies come to /v1/events that are no batches of events; nothing of them is counted",
            Fault::Events => "events are refused for good and kept: see `weir quarantine list`",
        }
    }
}

/// What lasts at the moment.
#[derive(Debug, Default)]
pub(super) struct Conditions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When each fault was seen last, in elapsed time.
    faults: BTreeMap<Fault, Duration>,
    missing: Growing,
    unbooked: Growing,
}

/// A number that should be 0. It is told again only when it has doubled.
#[derive(Clone, Copy, Debug, Default)]
struct Growing {
    before: u64,
    told: u64,
}

/// What there is to say of a [`Growing`] number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Worse(u64),
    Over,
    Nothing,
}

impl Growing {
    fn look(&mut self, now: u64) -> Change {
        // What is there at two looks in succession.
        let lasting = now.min(std::mem::replace(&mut self.before, now));
        if lasting > 0 && lasting >= self.told.saturating_mul(2) {
            self.told = lasting;
            return Change::Worse(lasting);
        }
        if now == 0 && std::mem::take(&mut self.told) > 0 { Change::Over } else { Change::Nothing }
    }
}

impl Conditions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that brought events was answered by `error`.
    pub(super) fn answered(&self, error: &ApiError, now: Duration) {
        if let Some(fault) = Fault::of(error) {
            self.seen(fault, now, &error.to_string());
        }
    }

    /// Events that came under the token of this name were refused for good.
    pub(super) fn refused(&self, token: &str, reason: &str, now: Duration) {
        self.seen(Fault::Events, now, &format!("token {token:?}: {reason}"));
    }

    fn seen(&self, fault: Fault, now: Duration, first: &str) {
        if self.lock().faults.insert(fault, now).is_none() {
            tracing::warn!(fault = ?fault, first, "{}", fault.meaning());
        }
    }

    /// Looks at the ledger, and tells what is over.
    pub(super) fn look(&self, view: &LedgerView, now: Duration) {
        let mut state = self.lock();
        state.faults.retain(|fault, last| {
            let lasts = now.saturating_sub(*last) < QUIET;
            if !lasts {
                tracing::info!(fault = ?fault, "over: not seen for a minute");
            }
            lasts
        });
        match state.missing.look(view.totals.missing) {
            Change::Worse(missing) => tracing::warn!(
                missing,
                "events are missing: gateways numbered them, and they never came; replay the gateways' logs (weir replay), see weir ledger"
            ),
            Change::Over => tracing::info!("no event is missing any more"),
            Change::Nothing => {}
        }
        if let Change::Worse(events) = state.unbooked.look(view.events_unbooked) {
            tracing::warn!(events, "events are counted whose sources are not tracked: there are too many sources");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_only_overtaken_is_not_told_and_what_lasts_is_told_as_it_doubles() {
        let mut missing = Growing::default();
        let changes = [0, 5, 0, 3, 3, 4, 5, 7, 9, 0].map(|now| missing.look(now));
        let nothing = Change::Nothing;
        assert_eq!(changes[..5], [nothing, nothing, nothing, nothing, Change::Worse(3)]);
        assert_eq!(changes[5..], [nothing, nothing, nothing, Change::Worse(7), Change::Over]);
    }
}
