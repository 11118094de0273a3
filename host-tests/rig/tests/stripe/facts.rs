//! Points of Stripe's documentation that no other file here is about.

use crate::caller::{Answer, Caller, START_S, event};
use crate::v2::{session, stream};
use jiff::SignedDuration;
use serde_json::json;
use std::collections::BTreeSet;
use weir_rig::stripe::{Account, MeterEventState};

/// The sums of a day, of a meter that makes `formula` of 3, 5 and 4, sent in this order for this time of the day.
fn summary(formula: &str, window: &str) -> Vec<f64> {
    let mut caller = Caller::empty(Account::live());
    caller.stripe.add_customer("cus_acme");
    let meter = [("display_name", "T"), ("event_name", "tokens"), ("default_aggregation[formula]", formula)];
    let meter = caller.post("/v1/billing/meters", &meter).body["id"].as_str().unwrap().to_owned();
    // 2026-11-20, which is over at the caller's three in the morning.
    let day = START_S - 27 * 3_600;
    for (value, hour) in [("3", 1), ("5", 20), ("4", 10)] {
        let timestamp = (day + hour * 3_600).to_string();
        let [name, customer, value, identifier] = event(value, value);
        caller.post("/v1/billing/meter_events", &[name, customer, value, identifier, ("timestamp", &timestamp)]);
    }
    let (start, end) = (day, day + 24 * 3_600);
    let path = format!(
        "/v1/billing/meters/{meter}/event_summaries?customer=cus_acme&start_time={start}&end_time={end}\
         &value_grouping_window={window}"
    );
    let answer: Answer = caller.get(&path);
    answer.body["data"].as_array().unwrap().iter().map(|sum| sum["aggregated_value"].as_f64().unwrap()).collect()
}

#[test]
fn a_meter_sums_counts_or_takes_the_last() {
    assert_eq!(summary("sum", "day"), [12.0]);
    assert_eq!(summary("count", "day"), [3.0]);
    assert_eq!(summary("last", "day"), [5.0], "the last by its own time");
    assert_eq!(summary("sum", "hour"), [5.0, 4.0, 3.0], "hours without events are left out, the newest comes first");
}

#[test]
fn a_live_account_takes_10000_stream_calls_a_second() {
    let mut caller = Caller::empty(Account::live());
    let token = session(&mut caller);
    let event = |n: usize| {
        json!({"event_name": "tokens", "identifier": format!("id-{n}"),
               "payload": {"stripe_customer_id": "cus_acme", "value": "1"}})
    };
    let statuses: Vec<u16> = (0..10_001).map(|n| stream(&mut caller, &token, &[event(n)]).status).collect();
    assert_eq!((statuses[9_999], statuses[10_000]), (200, 429));
    caller.pass(SignedDuration::from_secs(1));
    assert_eq!(stream(&mut caller, &token, &[event(0)]).status, 200);
}

#[test]
fn a_stream_finds_every_documented_error_after_its_200() {
    let mut caller = Caller::open();
    let meter = [("display_name", "Old"), ("event_name", "archived"), ("default_aggregation[formula]", "sum")];
    let meter = caller.post("/v1/billing/meters", &meter).body["id"].as_str().unwrap().to_owned();
    caller.post(&format!("/v1/billing/meters/{meter}/deactivate"), &[]);
    let token = session(&mut caller);
    let good = || json!({"event_name": "tokens", "payload": {"stripe_customer_id": "cus_acme", "value": "1"}});
    let change = |field: &str, value: serde_json::Value| {
        let mut event = good();
        *event.pointer_mut(field).unwrap() = value;
        event
    };
    let at = |time: &str| {
        let mut event = good();
        event["timestamp"] = json!(time);
        event
    };
    let events = [
        change("/event_name", json!("archived")),
        change("/event_name", json!("nothing")),
        change("/payload", json!({"stripe_customer_id": "cus_nobody", "value": "1"})),
        change("/payload", json!({"value": "1"})),
        change("/payload/value", json!("1.5")),
        change("/payload/value", json!("1234567890123456")),
        at("2026-11-21T04:00:00Z"),
        at("2026-01-01T00:00:00Z"),
    ];
    assert_eq!(stream(&mut caller, &token, &events).status, 200);
    let codes: BTreeSet<&str> = caller
        .stripe
        .meter_events()
        .iter()
        .map(|event| match event.state {
            MeterEventState::Refused(code) => code,
            other => panic!("{other:?}"),
        })
        .collect();
    let documented = [
        "archived_meter",
        "meter_event_customer_not_found",
        "meter_event_invalid_value",
        "meter_event_no_customer_defined",
        "meter_event_value_too_many_digits",
        "no_meter",
        "timestamp_in_future",
        "timestamp_too_far_in_past",
    ];
    assert_eq!(codes, documented.into());
}
