use crate::caller::{Answer, Caller};
use bytes::Bytes;
use http::{Method, Request};
use jiff::SignedDuration;
use serde_json::{Value, json};

pub(crate) fn session(caller: &mut Caller) -> String {
    let request = caller.request(Method::POST, "/v2/billing/meter_event_session").header("stripe-version", "any");
    let answer = caller.send(&request.header("content-type", "application/json").body(Bytes::from("{}")).unwrap());
    answer.body["authentication_token"].as_str().unwrap().to_owned()
}

pub(crate) fn stream(caller: &mut Caller, token: &str, events: &[Value]) -> Answer {
    let request = Request::builder().method(Method::POST).uri("/v2/billing/meter_event_stream");
    let request = request.header("authorization", format!("Bearer {token}")).header("stripe-version", "any");
    let body = Bytes::from(json!({"events": events}).to_string());
    caller.send(&request.header("content-type", "application/json").body(body).unwrap())
}

fn event(identifier: &str, timestamp: &str) -> Value {
    json!({"event_name": "tokens", "identifier": identifier, "timestamp": timestamp,
        "payload": {"stripe_customer_id": "cus_acme", "value": "25"}})
}

const NOW: &str = "2026-11-21T03:00:00Z";

#[test]
fn a_stream_call_takes_a_hundred_events_and_no_more() {
    let mut caller = Caller::open();
    let token = session(&mut caller);
    let events: Vec<Value> = (0..101).map(|index| event(&format!("id-{index}"), NOW)).collect();
    assert_eq!(stream(&mut caller, &token, &events).status, 400);
    assert_eq!(stream(&mut caller, &token, &events[..100]).status, 200);
    assert_eq!(caller.total(), 2_500);
}

#[test]
fn a_token_lasts_a_quarter_of_an_hour() {
    let mut caller = Caller::open();
    let token = session(&mut caller);
    caller.pass(SignedDuration::from_mins(15) - SignedDuration::from_secs(1));
    assert_eq!(stream(&mut caller, &token, &[event("id-1", NOW)]).status, 200);
    caller.pass(SignedDuration::from_secs(1));
    let answer = stream(&mut caller, &token, &[event("id-2", NOW)]);
    assert_eq!(answer.error("code"), "billing_meter_event_session_expired");
    assert_eq!(answer.error("type"), "temporary_session_expired");
}

#[test]
fn a_token_can_be_taken_back_and_a_new_one_is_good() {
    let mut caller = Caller::open();
    let token = session(&mut caller);
    caller.stripe.revoke_sessions();
    let answer = stream(&mut caller, &token, &[event("id-1", NOW)]);
    assert_eq!((answer.status, answer.error("code")), (401, ""), "another error than that of an expired one");
    let token = session(&mut caller);
    assert_eq!(stream(&mut caller, &token, &[event("id-1", NOW)]).status, 200);
}

#[test]
fn the_secret_key_is_no_session_token() {
    let mut caller = Caller::open();
    assert_eq!(stream(&mut caller, "sk_test_rig", &[event("id-1", NOW)]).status, 401);
}

#[test]
fn the_version_is_required() {
    let mut caller = Caller::open();
    let request = caller.request(Method::POST, "/v2/billing/meter_event_session").body(Bytes::new()).unwrap();
    let answer = caller.send(&request);
    assert_eq!(answer.status, 400);
    assert!(answer.error("message").contains("Stripe-Version"));
}

#[test]
fn a_stream_is_checked_after_it_was_taken() {
    let mut caller = Caller::open();
    let token = session(&mut caller);
    let events = [event("id-1", "2026-01-01T00:00:00Z"), event("id-2", NOW), event("id-2", NOW)];
    assert_eq!(stream(&mut caller, &token, &events).status, 200);
    assert_eq!(caller.total(), 25);
}
