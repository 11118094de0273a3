//! What Stripe tells later: thin events, signed, and the whole events that are fetched for them.
//!
//! A report lists only samples of what went wrong, with a count of all.

use super::Account;
use super::meter_events::LateError;
use super::meters::Meters;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::BTreeMap;

/// How many sample errors a report lists per code. Stripe does not say how many it lists.
const SAMPLES_MAX: usize = 5;

/// One webhook call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The raw body.
    pub body: String,
    /// The header `Stripe-Signature`.
    pub signature: String,
}

/// The value of `Stripe-Signature` for `body` sent at `now`.
#[must_use]
pub fn sign(secret: &str, now: Timestamp, body: &str) -> String {
    let t = now.as_second();
    let signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(format!("{t}.{body}").as_bytes());
            hex::encode(mac.finalize().into_bytes())
        },
    );
    format!("t={t},v1={signature}")
}

/// The whole events, by id.
#[derive(Debug, Default)]
pub(super) struct CoreEvents {
    events: BTreeMap<String, Value>,
    replaced: Option<Value>,
}

impl CoreEvents {
    pub(super) fn get(&self, id: &str) -> Option<&Value> {
        self.replaced.as_ref().or_else(|| self.events.get(id))
    }

    pub(super) fn replace(&mut self, body: Option<Value>) {
        self.replaced = body;
    }

    /// Makes one event per meter of `errors` and returns the thin form of each.
    pub(super) fn report(
        &mut self,
        account: &Account,
        now: Timestamp,
        errors: &[LateError],
        meters: &Meters,
    ) -> Vec<Delivery> {
        let mut by_name: BTreeMap<&str, Vec<&LateError>> = BTreeMap::new();
        for error in errors {
            by_name.entry(&error.event_name).or_default().push(error);
        }
        let mut deliveries = Vec::new();
        for (event_name, errors) in by_name {
            let id = format!("evt_rig{:08}", self.events.len() + 1);
            let thin = thin(account, &id, now, meters.named(event_name).map(|meter| meter.id.as_str()));
            let mut whole = thin.clone();
            whole["data"] = data(now, &errors);
            self.events.insert(id, whole);
            let body = thin.to_string();
            deliveries.push(Delivery { signature: sign(&account.webhook_secret, now, &body), body });
        }
        deliveries
    }
}

fn thin(account: &Account, id: &str, now: Timestamp, meter: Option<&str>) -> Value {
    let kind = match meter {
        Some(_) => "v1.billing.meter.error_report_triggered",
        None => "v1.billing.meter.no_meter_found",
    };
    let mut event = json!({"id": id, "object": "v2.core.event", "type": kind, "livemode": account.livemode,
        "created": now.to_string()});
    if let Some(meter) = meter {
        event["related_object"] =
            json!({"id": meter, "type": "billing.meter", "url": format!("/v1/billing/meters/{meter}")});
    }
    event
}

fn data(now: Timestamp, errors: &[&LateError]) -> Value {
    let mut by_code: BTreeMap<&str, Vec<&LateError>> = BTreeMap::new();
    for error in errors {
        by_code.entry(error.code).or_default().push(error);
    }
    let types: Vec<Value> = by_code
        .iter()
        .map(|(code, errors)| {
            let samples: Vec<Value> = errors
                .iter()
                .take(SAMPLES_MAX)
                .map(|error| json!({"error_message": code, "request": {"identifier": error.identifier}}))
                .collect();
            json!({"code": code, "error_count": errors.len(), "sample_errors": samples})
        })
        .collect();
    json!({
        "developer_message_summary": format!("There are {} invalid events", errors.len()),
        "reason": {"error_count": errors.len(), "error_types": types},
        "validation_start": now.to_string(),
        "validation_end": now.to_string(),
    })
}
