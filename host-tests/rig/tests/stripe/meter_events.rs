use crate::caller::{Caller, START_S, event};
use bytes::Bytes;
use http::Method;
use jiff::SignedDuration;
use weir_rig::stripe::{Account, MeterEventState};

const PATH: &str = "/v1/billing/meter_events";

#[test]
fn a_meter_event_is_taken_and_counts() {
    let mut caller = Caller::open();
    let answer = caller.report("25", "id-1");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["object"], "billing.meter_event");
    assert_eq!(answer.body["identifier"], "id-1");
    assert_eq!(answer.body["payload"]["value"], "25");
    assert_eq!(answer.body["timestamp"], START_S);
    assert_eq!(caller.total(), 25);
}

#[test]
fn a_body_that_is_no_form_is_refused() {
    let mut caller = Caller::open();
    let json = caller.request(Method::POST, PATH).header("content-type", "application/json");
    let answer = caller.send(&json.body(Bytes::from("{}")).unwrap());
    assert_eq!((answer.status, answer.error("type")), (400, "invalid_request_error"));
}

#[test]
fn event_name_and_payload_are_required() {
    let mut caller = Caller::open();
    assert_eq!(caller.post(PATH, &[("payload[value]", "1")]).error("param"), "event_name");
    assert_eq!(caller.post(PATH, &[("event_name", "tokens")]).error("param"), "payload");
}

#[test]
fn an_identifier_of_a_hundred_characters_is_the_longest() {
    let mut caller = Caller::open();
    assert_eq!(caller.report("1", &"x".repeat(100)).status, 200);
    assert_eq!(caller.report("1", &"x".repeat(101)).error("param"), "identifier");
}

#[test]
fn a_repeated_identifier_is_a_400_and_counts_once() {
    let mut caller = Caller::open();
    caller.report("25", "id-1");
    let again = caller.report("25", "id-1");
    assert_eq!((again.status, again.error("type")), (400, "invalid_request_error"));
    assert_eq!(again.error("message"), "An event already exists with identifier id-1.");
    assert_eq!(caller.total(), 25);
}

#[test]
fn an_identifier_is_forgotten_after_a_day() {
    let mut caller = Caller::open();
    caller.report("25", "id-1");
    caller.pass(SignedDuration::from_hours(24) - SignedDuration::from_secs(1));
    assert_eq!(caller.report("25", "id-1").status, 400);
    caller.pass(SignedDuration::from_secs(1));
    assert_eq!(caller.report("25", "id-1").status, 200);
    assert_eq!(caller.total(), 50);
}

#[test]
fn a_timestamp_may_be_35_days_old_and_5_minutes_ahead() {
    let mut caller = Caller::open();
    let mut at = |offset_s: i64| {
        let timestamp = (START_S + offset_s).to_string();
        let identifier = format!("at {timestamp}");
        let [name, customer, value, identifier] = event("1", &identifier);
        caller.post(PATH, &[name, customer, value, identifier, ("timestamp", &timestamp)]).error("code").to_owned()
    };
    assert_eq!(at(-35 * 86_400), "");
    assert_eq!(at(-35 * 86_400 - 1), "timestamp_too_far_in_past");
    assert_eq!(at(300), "");
    assert_eq!(at(301), "timestamp_in_future");
}

#[test]
fn what_is_wrong_with_value_or_customer_is_found_out_after_the_200() {
    for (customer, value, code) in [
        ("cus_acme", "1.5", "meter_event_invalid_value"),
        ("cus_acme", "many", "meter_event_invalid_value"),
        ("cus_acme", "1234567890123456", "meter_event_value_too_many_digits"),
        ("cus_other", "1", "meter_event_customer_not_found"),
    ] {
        let mut caller = Caller::open();
        let form = [("event_name", "tokens"), ("payload[stripe_customer_id]", customer), ("payload[value]", value)];
        assert_eq!(caller.post(PATH, &form).status, 200);
        assert_eq!(caller.stripe.meter_events()[0].state, MeterEventState::Refused(code));
        assert_eq!(caller.total(), 0);
    }
}

#[test]
fn fifteen_digits_and_negative_values_count() {
    let mut caller = Caller::open();
    caller.report("999999999999999", "big");
    caller.report("-999999999999998", "correction");
    assert_eq!(caller.total(), 1);
}

#[test]
fn an_event_without_a_meter_or_of_an_archived_one_is_taken_and_does_not_count() {
    let mut caller = Caller::open();
    caller
        .post(PATH, &[("event_name", "nothing"), ("payload[stripe_customer_id]", "cus_acme"), ("payload[value]", "1")]);
    assert_eq!(caller.stripe.meter_events()[0].state, MeterEventState::Refused("no_meter"));
    let meter = caller.get("/v1/billing/meters").body["data"][0]["id"].as_str().unwrap().to_owned();
    caller.post(&format!("/v1/billing/meters/{meter}/deactivate"), &[]);
    caller.report("1", "id-1");
    assert_eq!(caller.stripe.meter_events()[1].state, MeterEventState::Refused("archived_meter"));
}

#[test]
fn one_call_at_a_time_per_customer_and_meter() {
    let mut caller = Caller::open();
    caller.stripe.add_customer("cus_other");
    let first = caller.form(PATH, &event("1", "id-1"), None);
    let begun = caller.stripe.begin(caller.now, &first);
    let meanwhile = caller.report("1", "id-2");
    assert_eq!((meanwhile.status, meanwhile.error("code")), (429, "lock_timeout"));
    assert_eq!(meanwhile.header("stripe-should-retry"), Some("true"));
    let other = [("event_name", "tokens"), ("payload[stripe_customer_id]", "cus_other"), ("payload[value]", "1")];
    assert_eq!(caller.post(PATH, &other).status, 200);
    caller.stripe.finish(begun);
    assert_eq!(caller.report("1", "id-2").status, 200);
}

#[test]
fn a_sandbox_takes_25_calls_a_second() {
    let mut caller = Caller::empty(Account::sandbox());
    let statuses: Vec<u16> = (0..26).map(|_| caller.get("/v1/account").status).collect();
    assert_eq!((statuses[24], statuses[25]), (200, 429));
    caller.pass(SignedDuration::from_secs(1));
    assert_eq!(caller.get("/v1/account").status, 200);
}

#[test]
fn a_live_account_takes_1000_meter_events_a_second() {
    let mut caller = Caller::empty(Account::live());
    let answers: Vec<_> = (0..1001).map(|index| caller.report("1", &format!("id-{index}"))).collect();
    assert_eq!(answers[999].status, 200);
    assert_eq!((answers[1000].status, answers[1000].error("code")), (429, "rate_limit"));
}

#[test]
fn an_event_of_the_last_day_can_be_cancelled_whole() {
    let mut caller = Caller::open();
    let cancel = |identifier| [("type", "cancel"), ("event_name", "tokens"), ("cancel[identifier]", identifier)];
    caller.report("25", "id-1");
    caller.report("5", "id-2");
    let answer = caller.post("/v1/billing/meter_event_adjustments", &cancel("id-1"));
    assert_eq!((answer.status, answer.body["status"].as_str()), (200, Some("pending")));
    assert_eq!(caller.total(), 5);
    caller.pass(SignedDuration::from_hours(24));
    assert_eq!(caller.post("/v1/billing/meter_event_adjustments", &cancel("id-2")).status, 400);
    assert_eq!(caller.total(), 5);
}
