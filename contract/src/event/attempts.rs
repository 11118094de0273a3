//! Events about attempts at providers: how often a gateway tried each model of its catalogue, how that failed, and which breakers
//! it opened and closed.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::time::Timestamp;

/// The most models of one event. A gateway that tried more sends another event for the same minute.
pub const MODELS_MAX: usize = 64;
/// The most breakers of one event.
pub const BREAKERS_MAX: usize = 64;
/// The provider and model of attempts at more models than a gateway tells apart.
pub const OTHER: &str = "(other)";

/// `data` of `weir.attempts.v1`: the attempts at providers in one minute, as sums. A request that failed over made several.
/// Unbilled: what a request used is in its usage event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptsData {
    /// Each provider and model once; at most [`MODELS_MAX`].
    pub models: Vec<ModelAttempts>,
    /// Breakers that this worker opened or closed, each as it stood last; at most [`BREAKERS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub breakers: Vec<BreakerChange>,
}

/// The attempts at one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelAttempts {
    /// The provider, by its name in the catalogue.
    pub provider: String,
    /// The model, by its name in the catalogue.
    pub model: String,
    /// How many there were, failed ones included.
    pub made: u64,
    /// Those that failed, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub failed: BTreeMap<AttemptFailure, u64>,
    /// The tokens, by weir's estimate, of prompts that the provider took and never answered, so that it may charge them.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub unanswered_input_tokens: u64,
    /// How many were the last of their request because the gateway's budget of retries was used up.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub retries_refused: u64,
    /// The last one that failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_failure: Option<LastFailure>,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// When its request ended.
    pub at: Timestamp,
    /// Why.
    pub reason: AttemptFailure,
    /// The provider's status; absent where no answer came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
}

/// Why an attempt failed, in a way that speaks against the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptFailure {
    /// 429: the provider's own limit is used up.
    RateLimited,
    /// 503 or 529: the provider has too much to do.
    Overloaded,
    /// Any other 5xx.
    ServerError,
    /// No connection came about.
    Unreachable,
    /// The connection broke off before the first byte of the answer.
    Reset,
    /// The provider said nothing for as long as it may.
    Silent,
    /// The answer could not be read.
    Unreadable,
    /// The answer broke off after its first byte, so that no other provider was tried.
    CutOff,
    /// No answer came, and the gateway does not say why.
    Unanswered,
}

/// A breaker that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerChange {
    /// The provider.
    pub provider: String,
    /// When it changed.
    pub at: Timestamp,
    /// Until when no request goes there; absent: it is closed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub open_until: Option<Timestamp>,
}

impl AttemptFailure {
    /// All of them.
    pub const ALL: [AttemptFailure; 9] = [
        AttemptFailure::RateLimited,
        AttemptFailure::Overloaded,
        AttemptFailure::ServerError,
        AttemptFailure::Unreachable,
        AttemptFailure::Reset,
        AttemptFailure::Silent,
        AttemptFailure::Unreadable,
        AttemptFailure::CutOff,
        AttemptFailure::Unanswered,
    ];

    /// As JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AttemptFailure::RateLimited => "rate_limited",
            AttemptFailure::Overloaded => "overloaded",
            AttemptFailure::ServerError => "server_error",
            AttemptFailure::Unreachable => "unreachable",
            AttemptFailure::Reset => "reset",
            AttemptFailure::Silent => "silent",
            AttemptFailure::Unreadable => "unreadable",
            AttemptFailure::CutOff => "cut_off",
            AttemptFailure::Unanswered => "unanswered",
        }
    }

    /// Whether the provider had the prompt and may charge it although no answer came. What it used of an answer that was cut off
    /// is in the request's usage event.
    pub const fn may_be_charged(self) -> bool {
        match self {
            AttemptFailure::Reset
            | AttemptFailure::Silent
            | AttemptFailure::Unreadable
            | AttemptFailure::Unanswered => true,
            AttemptFailure::RateLimited
            | AttemptFailure::Overloaded
            | AttemptFailure::ServerError
            | AttemptFailure::Unreachable
            | AttemptFailure::CutOff => false,
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
