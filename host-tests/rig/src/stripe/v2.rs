//! v2: sessions, and the stream that takes up to a hundred events a call and checks them later.
//!
//! Undocumented and chosen here: an expired or unknown token is a 401, a stream call that was taken answers `{}`.

use super::call::Call;
use super::error::ApiError;
use super::meter_events::{Draft, IDENTIFIER_MAX};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// A session's token is valid for this long.
const TOKEN_VALID: SignedDuration = SignedDuration::from_mins(15);

/// A call to the stream carries at most this many events.
const BATCH_MAX: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    expiry: HashMap<String, Timestamp>,
}

impl Sessions {
    pub(super) fn create(&mut self, now: Timestamp, livemode: bool) -> Value {
        let serial = self.expiry.len() + 1;
        let token = format!("token_rig{serial:08}");
        let expires_at = now.saturating_add(TOKEN_VALID).unwrap_or(Timestamp::MAX);
        self.expiry.insert(token.clone(), expires_at);
        json!({"object": "v2.billing.meter_event_session", "id": format!("bmes_rig{serial:08}"), "livemode": livemode,
            "authentication_token": token, "created": now.to_string(), "expires_at": expires_at.to_string()})
    }

    /// No token of before is good any more; later ones get other names.
    pub(super) fn revoke(&mut self) {
        self.expiry.values_mut().for_each(|expires_at| *expires_at = Timestamp::MIN);
    }

    pub(super) fn check(&self, now: Timestamp, call: &Call) -> Result<(), ApiError> {
        let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let expiry = token.and_then(|token| self.expiry.get(token));
        let expiry = expiry.ok_or_else(|| ApiError::unauthorized("The session token is not valid.".to_owned()))?;
        if now < *expiry {
            return Ok(());
        }
        if *expiry == Timestamp::MIN {
            return Err(ApiError::unauthorized("The session token was revoked.".to_owned()));
        }
        let error =
            ApiError::unauthorized("The session token has expired. Create a new meter event session.".to_owned());
        Err(error.kind("temporary_session_expired").code("billing_meter_event_session_expired"))
    }
}

/// Every v2 call names its version.
pub(super) fn check_version(call: &Call) -> Result<(), ApiError> {
    match call.header("stripe-version") {
        Some(_) => Ok(()),
        None => Err(ApiError::invalid("A v2 request needs the header Stripe-Version.")),
    }
}

/// The events of a stream call. `unnamed` numbers those that come without an identifier.
pub(super) fn drafts(call: &Call, now: Timestamp, unnamed: &mut u64) -> Result<Vec<Draft>, ApiError> {
    let body = call.json()?;
    let events = body["events"].as_array().ok_or_else(|| ApiError::missing("events"))?;
    if events.is_empty() || events.len() > BATCH_MAX {
        let message = format!("events must hold between 1 and {BATCH_MAX} events");
        return Err(ApiError::invalid(message).param("events"));
    }
    events.iter().map(|event| draft(event, now, unnamed)).collect()
}

fn draft(event: &Value, now: Timestamp, unnamed: &mut u64) -> Result<Draft, ApiError> {
    let event_name = event["event_name"].as_str().ok_or_else(|| ApiError::missing("events[event_name]"))?;
    let payload = event["payload"].as_object().ok_or_else(|| ApiError::missing("events[payload]"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pairs: Option<BTreeMap<String, String>> =
        payload.iter().map(|(key, value)| Some((key.clone(), text(value)?))).collect();
    let payload = pairs.ok_or_else(|| ApiError::invalid("payload values must be strings").param("events[payload]"))?;
    let identifier = match event["identifier"].as_str() {
        Some(identifier) if identifier.chars().count() > IDENTIFIER_MAX => {
            return Err(ApiError::invalid("identifier must be at most 100 characters").param("events[identifier]"));
        }
        Some(identifier) => identifier.to_owned(),
        None => generated(unnamed),
    };
    let timestamp_s = match event["timestamp"].as_str() {
        None => now.as_second(),
        Some(text) => {
            let wrong = |_| ApiError::invalid("timestamp must be RFC 3339").param("events[timestamp]");
            text.parse::<Timestamp>().map_err(wrong)?.as_second()
        }
    };
    Ok(Draft { identifier, event_name: event_name.to_owned(), payload, timestamp_s })
}

/// The identifier of an event that came without one.
pub(super) fn generated(unnamed: &mut u64) -> String {
    *unnamed += 1;
    format!("generated-{unnamed}")
}
