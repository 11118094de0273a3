//! The port to a billing provider: [`BillingSink`]. Stripe's meters are the first implementation, in a crate of their own.
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

/// Whose books the sums go into. Rows are frozen to one account and mode; a sink for another refuses to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// The provider's name of it; empty where only the key knows.
    pub id: String,
    /// Real money, or the provider's test mode.
    pub livemode: bool,
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = if self.id.is_empty() { "unnamed" } else { &self.id };
        write!(f, "account {id} ({} mode)", if self.livemode { "live" } else { "test" })
    }
}

/// One amount to be billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterEvent {
    /// The provider's name of the meter.
    pub event_name: String,
    /// The provider's name of the customer.
    pub customer: String,
    /// How much; negative in a correction.
    pub value: i64,
    /// Names this amount for ever: sent twice, it is taken once.
    pub identifier: String,
    /// When it was used, in seconds since 1970: within its window.
    pub timestamp: u64,
    /// Names this attempt: the provider answers the same key with the same answer.
    pub idempotency_key: String,
}

/// What the provider made of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is taken.
    Taken {
        /// The provider's name of the call.
        request_id: Option<String>,
    },
    /// Something with this identifier is there already.
    Duplicate(ProviderMessage),
    /// It will never be taken as it is.
    Refused(ProviderMessage),
    /// It was certainly not taken; try again.
    NotTaken {
        /// What was said.
        message: ProviderMessage,
        /// The provider's wish, if it has one.
        after: Option<Duration>,
    },
    /// It may have been taken; try again, the identifier protects.
    Unsure {
        /// What was said, or that nothing was.
        message: ProviderMessage,
        /// The provider's wish, if it has one.
        after: Option<Duration>,
        /// Whether the idempotency key would only bring the same answer again.
        key_used_up: bool,
    },
    /// No attempt can succeed before somebody acts: the key is wrong, say. Nothing was taken.
    Halt(ProviderMessage),
    /// Somebody answered, and nothing shows that it was the provider: a proxy's page, an empty success, a redirect. It may
    /// have been taken. No other attempt fares better before somebody acts.
    Unproven(ProviderMessage),
}

impl Answer {
    /// What was said; nothing is said of what was taken.
    pub fn message_mut(&mut self) -> Option<&mut ProviderMessage> {
        match self {
            Answer::Taken { .. } => None,
            Answer::Duplicate(message)
            | Answer::Refused(message)
            | Answer::NotTaken { message, .. }
            | Answer::Unsure { message, .. }
            | Answer::Halt(message)
            | Answer::Unproven(message) => Some(message),
        }
    }
}

/// What the provider said, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderMessage {
    /// Its words, shortened, without secrets.
    pub detail: String,
    /// The provider's name of the call.
    pub request_id: Option<String>,
}

/// What the provider says it has counted in one hour of a customer and meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The hour's start.
    pub hour: Timestamp,
    /// The sum, exact.
    pub value: i64,
}

/// Why the provider did not say what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nothing was said, or to come again later.
    #[error("no answer: {}", .0.detail)]
    Unavailable(ProviderMessage),
    /// The key may not ask this.
    #[error("{}", .0.detail)]
    Forbidden(ProviderMessage),
    /// It will not say, or says what cannot be used: a wrong key, an unknown meter, a sum that is no exact whole number.
    #[error("{}", .0.detail)]
    Refused(ProviderMessage),
}

/// A provider that bills amounts.
pub trait BillingSink: Send + Sync {
    /// Whose books it writes to, as far as configuration and key say.
    fn account(&self) -> &Account;

    /// Asks the provider whose books they are.
    fn identify(&self) -> impl Future<Output = Result<Account, AskError>> + Send;

    /// What the provider has counted for a customer and meter in each hour from `from` (inclusive) to `to` (exclusive), both
    /// whole hours, oldest first. Hours without anything may be left out. Late by minutes or more.
    fn summaries(
        &self,
        customer: &str,
        event_name: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Future<Output = Result<Vec<Summary>, AskError>> + Send;

    /// Sends one amount, once. Never waits for long: a call without an answer ends in [`Answer::Unsure`].
    fn send(&self, event: MeterEvent) -> impl Future<Output = Answer> + Send;
}
