use crate::caller::Caller;
use hmac::{Hmac, Mac};
use http::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use weir_rig::stripe::Account;

const PATH: &str = "/v1/billing/meter_events";

fn fetch(caller: &mut Caller, id: &Value) -> Value {
    let path = format!("/v2/core/events/{}", id.as_str().unwrap());
    let request = caller.request(Method::GET, &path).header("stripe-version", "any");
    caller.send(&request.body(bytes::Bytes::new()).unwrap()).body
}

#[test]
fn a_refused_value_is_reported_by_a_thin_event() {
    let mut caller = Caller::open();
    caller.report("1.5", "id-1");
    let deliveries = caller.stripe.webhooks(caller.now);
    let thin: Value = serde_json::from_str(&deliveries[0].body).unwrap();
    assert_eq!(thin["type"], "v1.billing.meter.error_report_triggered");
    assert_eq!(thin["related_object"]["type"], "billing.meter");
    assert_eq!(thin.get("data"), None);
    let reason = fetch(&mut caller, &thin["id"])["data"]["reason"].clone();
    assert_eq!(reason["error_types"][0]["code"], "meter_event_invalid_value");
    assert_eq!(reason["error_types"][0]["sample_errors"][0]["request"]["identifier"], "id-1");
}

#[test]
fn a_report_lists_samples_and_counts_all() {
    let mut caller = Caller::open();
    for index in 0..12 {
        caller.report("x", &format!("id-{index}"));
    }
    let deliveries = caller.stripe.webhooks(caller.now);
    assert_eq!(deliveries.len(), 1);
    let thin: Value = serde_json::from_str(&deliveries[0].body).unwrap();
    let reason = fetch(&mut caller, &thin["id"])["data"]["reason"].clone();
    assert_eq!(reason["error_count"], 12);
    assert!(reason["error_types"][0]["sample_errors"].as_array().unwrap().len() < 12);
}

#[test]
fn usage_of_no_meter_has_an_event_of_its_own() {
    let mut caller = Caller::open();
    caller
        .post(PATH, &[("event_name", "nothing"), ("payload[stripe_customer_id]", "cus_acme"), ("payload[value]", "1")]);
    let thin: Value = serde_json::from_str(&caller.stripe.webhooks(caller.now)[0].body).unwrap();
    assert_eq!(thin["type"], "v1.billing.meter.no_meter_found");
    assert_eq!(thin["related_object"], json!(null));
}

#[test]
fn an_error_is_reported_once() {
    let mut caller = Caller::open();
    caller.report("x", "id-1");
    assert_eq!(caller.stripe.webhooks(caller.now).len(), 1);
    assert!(caller.stripe.webhooks(caller.now).is_empty());
}

#[test]
fn a_delivery_is_signed_over_its_time_and_raw_body() {
    let mut caller = Caller::open();
    caller.report("x", "id-1");
    let delivery = caller.stripe.webhooks(caller.now).remove(0);
    let (time, signature) = delivery.signature.split_once(",v1=").unwrap();
    let t = time.strip_prefix("t=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(Account::sandbox().webhook_secret.as_bytes()).unwrap();
    mac.update(format!("{t}.{}", delivery.body).as_bytes());
    assert_eq!(signature, hex::encode(mac.finalize().into_bytes()));
    assert_eq!(t, caller.now.as_second().to_string());
}
