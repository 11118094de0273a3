//! The port to a billing provider: [`BillingSink`]. Stripe's meters are the first implementation, in a crate of their
//! own.
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

/// Whose books the sums go into. Rows are frozen to one account and mode; a sink for another refuses to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// The provider's name of the account; empty if only the key determines it.
    pub id: String,
    /// True for real money, false for the provider's test mode.
    pub livemode: bool,
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = if self.id.is_empty() { "unnamed" } else { &self.id };
        write!(f, "account {id} ({} mode)", if self.livemode { "live" } else { "test" })
    }
}

/// One amount to bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterEvent {
    /// The provider's name of the meter.
    pub event_name: String,
    /// The provider's name of the customer.
    pub customer: String,
    /// The amount; negative in a correction.
    pub value: i64,
    /// Identifies the amount for good: the provider counts it once, however often it is sent.
    pub identifier: String,
    /// When the usage took place, in seconds since 1970; within its window.
    pub timestamp: u64,
    /// Identifies the attempt: the provider gives the same key the same answer.
    pub idempotency_key: String,
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The provider accepted the amount.
    Taken {
        /// The provider's id of the call.
        request_id: Option<String>,
    },
    /// The provider already has an amount with this identifier.
    Duplicate(ProviderMessage),
    /// The provider will never accept the amount as it is.
    Refused(ProviderMessage),
    /// The provider certainly did not accept it; retry.
    NotTaken {
        /// The provider's message.
        message: ProviderMessage,
        /// The wait that the provider asks for, if any.
        after: Option<Duration>,
    },
    /// The provider may have accepted it; retry, the identifier prevents a second count.
    Unsure {
        /// The provider's message, or a note that there was none.
        message: ProviderMessage,
        /// The wait that the provider asks for, if any.
        after: Option<Duration>,
        /// True if the same idempotency key would only repeat this answer.
        key_used_up: bool,
    },
    /// No attempt can succeed before a person acts: for example, the key is wrong. Nothing was accepted.
    Halt(ProviderMessage),
    /// Another service than the provider may have answered: a proxy's page, an empty success, a redirect. It may
    /// have been taken. No other attempt fares better before somebody acts.
    Unproven(ProviderMessage),
}

impl Answer {
    /// The provider's message; none for an accepted event.
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

/// A message of the provider, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderMessage {
    /// The message, shortened and without secrets.
    pub detail: String,
    /// The provider's id of the call.
    pub request_id: Option<String>,
}

/// The provider's sum of one hour of a customer and meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The hour's start.
    pub hour: Timestamp,
    /// The exact sum.
    pub value: i64,
}

/// Why the provider did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No answer, or a request to retry later.
    #[error("no answer: {}", .0.detail)]
    Unavailable(ProviderMessage),
    /// The key has no right to ask this.
    #[error("{}", .0.detail)]
    Forbidden(ProviderMessage),
    /// A refusal, or an unusable answer: a wrong key, an unknown meter, a sum that is not an exact integer.
    #[error("{}", .0.detail)]
    Refused(ProviderMessage),
}

/// A provider that bills amounts.
pub trait BillingSink: Send + Sync {
    /// The account, as far as configuration and key determine it.
    fn account(&self) -> &Account;

    /// Asks the provider which account the key belongs to.
    fn identify(&self) -> impl Future<Output = Result<Account, RequestError>> + Send;

    /// The provider's sums of a customer and meter for each hour from `from` (inclusive) to `to` (exclusive), both
    /// whole hours, oldest first. Hours without an amount may be missing. Sums lag by minutes or more.
    fn summaries(
        &self,
        customer: &str,
        event_name: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Future<Output = Result<Vec<Summary>, RequestError>> + Send;

    /// Sends one amount, once. Bounded in time: a call without an answer ends in [`Answer::Unsure`].
    fn send(&self, event: MeterEvent) -> impl Future<Output = Answer> + Send;
}
