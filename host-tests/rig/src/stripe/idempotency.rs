//! `Idempotency-Key`: the first status and body of an executed call are given again, 5xx too.

use super::call::{Call, Params};
use super::error::ApiError;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};

/// The longest key, in characters.
const KEY_MAX: usize = 255;

/// Stripe keeps a key for at least this long, and here exactly so.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// The answer of an executed call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    pub(super) status: u16,
    pub(super) body: Value,
}

#[derive(Debug)]
struct Entry {
    path: String,
    params: Params,
    saved: Saved,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: HashMap<String, Entry>,
    /// Keys in the order in which they run out.
    expiring: VecDeque<(Timestamp, String)>,
    in_flight: HashSet<String>,
}

impl Keys {
    /// The key of a call; `None` if it has none or its method needs none.
    pub(super) fn of(call: &Call) -> Result<Option<String>, ApiError> {
        if call.method == http::Method::GET || !call.path.starts_with("/v1/") {
            return Ok(None);
        }
        let key = call.header("idempotency-key").map(str::to_owned);
        if key.as_ref().is_some_and(|key| key.chars().count() > KEY_MAX) {
            let message = format!("Idempotency key is too long; must be at most {KEY_MAX} characters.");
            return Err(ApiError::invalid(message).kind("idempotency_error"));
        }
        Ok(key)
    }

    /// The answer to replay, if this call was executed before.
    pub(super) fn find(&mut self, now: Timestamp, key: &str, call: &Call) -> Result<Option<Saved>, ApiError> {
        if self.in_flight.contains(key) {
            let message = format!("There is currently another in-progress request using this Idempotent Key {key}.");
            let error = ApiError::invalid(message).status(409).kind("idempotency_error").code("idempotency_key_in_use");
            return Err(error.retry());
        }
        self.forget(now);
        let Some(entry) = self.entries.get(key) else { return Ok(None) };
        if entry.path != call.path || entry.params != call.params {
            let message = format!(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
                 using a key other than '{key}' if you meant to execute a different request."
            );
            return Err(ApiError::invalid(message).kind("idempotency_error"));
        }
        Ok(Some(entry.saved.clone()))
    }

    pub(super) fn begin(&mut self, key: &str) {
        self.in_flight.insert(key.to_owned());
    }

    pub(super) fn end(&mut self, key: &str) {
        self.in_flight.remove(key);
    }

    pub(super) fn save(&mut self, now: Timestamp, key: &str, call: &Call, saved: Saved) {
        let entry = Entry { path: call.path.clone(), params: call.params.clone(), saved };
        self.entries.insert(key.to_owned(), entry);
        self.expiring.push_back((now, key.to_owned()));
    }

    fn forget(&mut self, now: Timestamp) {
        while self.expiring.front().is_some_and(|(at, _)| now.duration_since(*at) >= KEPT) {
            if let Some((_, key)) = self.expiring.pop_front() {
                self.entries.remove(&key);
            }
        }
    }
}
