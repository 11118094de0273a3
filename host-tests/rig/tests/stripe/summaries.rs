use crate::caller::{Caller, START_S, event};
use jiff::SignedDuration;
use serde_json::Value;

const HOUR_S: i64 = 3600;

/// Reports `value` as used `offset_s` after the start.
fn used(caller: &mut Caller, value: &str, offset_s: i64) {
    let identifier = format!("{value} at {offset_s}");
    let [name, customer, value, identifier] = event(value, &identifier);
    let timestamp = (START_S + offset_s).to_string();
    let form = [name, customer, value, identifier, ("timestamp", &timestamp)];
    assert_eq!(caller.post("/v1/billing/meter_events", &form).status, 200);
}

fn path(caller: &mut Caller, start_s: i64, end_s: i64, more: &str) -> String {
    let meter = caller.get("/v1/billing/meters").body["data"][0]["id"].as_str().unwrap().to_owned();
    let (start, end) = (START_S + start_s, START_S + end_s);
    format!("/v1/billing/meters/{meter}/event_summaries?customer=cus_acme&start_time={start}&end_time={end}{more}")
}

fn summaries(caller: &mut Caller, start_s: i64, end_s: i64, more: &str) -> Vec<Value> {
    let path = path(caller, start_s, end_s, more);
    caller.get(&path).body["data"].as_array().unwrap().clone()
}

#[test]
fn a_summary_is_a_float_over_the_time_asked_for() {
    let mut caller = Caller::open();
    used(&mut caller, "25", -60);
    used(&mut caller, "-5", -120);
    let summaries = summaries(&mut caller, -HOUR_S, 0, "");
    assert_eq!(summaries.len(), 1);
    assert!(summaries[0]["aggregated_value"].is_f64());
    assert_eq!(summaries[0]["aggregated_value"], 20.0);
}

#[test]
fn the_start_is_inclusive_and_the_end_exclusive() {
    let mut caller = Caller::open();
    used(&mut caller, "1", -HOUR_S);
    used(&mut caller, "10", 0);
    assert_eq!(summaries(&mut caller, -HOUR_S, 0, "")[0]["aggregated_value"], 1.0);
}

#[test]
fn usage_is_grouped_by_hour_and_paged() {
    let mut caller = Caller::open();
    for hour in 1..=3 {
        used(&mut caller, &hour.to_string(), -hour * HOUR_S);
    }
    let path = path(&mut caller, -4 * HOUR_S, 0, "&value_grouping_window=hour&limit=2");
    let first = caller.get(&path).body;
    assert_eq!((first["data"][0]["aggregated_value"].as_f64(), first["has_more"].as_bool()), (Some(1.0), Some(true)));
    let last = first["data"][1]["id"].as_str().unwrap();
    let second = caller.get(&format!("{path}&starting_after={last}")).body;
    assert_eq!(
        (second["data"][0]["aggregated_value"].as_f64(), second["has_more"].as_bool()),
        (Some(3.0), Some(false))
    );
    assert_eq!(second["data"][0]["end_time"], START_S - 2 * HOUR_S);
}

#[test]
fn bounds_are_whole_minutes_and_whole_windows_when_grouped() {
    let mut caller = Caller::open();
    for (start_s, more) in [(-90, ""), (-60, "&value_grouping_window=hour"), (-HOUR_S, "&value_grouping_window=day")] {
        let path = path(&mut caller, start_s, 0, more);
        let answer = caller.get(&path);
        assert_eq!((answer.status, answer.error("param")), (400, "start_time"), "{start_s} {more}");
    }
}

#[test]
fn a_page_holds_at_most_a_hundred() {
    let mut caller = Caller::open();
    let path = path(&mut caller, -HOUR_S, 0, "&limit=101");
    assert_eq!(caller.get(&path).error("param"), "limit");
}

#[test]
fn summaries_lag_behind() {
    let mut caller = Caller::open();
    caller.stripe.set_summary_lag(SignedDuration::from_mins(15));
    used(&mut caller, "25", -60);
    assert!(summaries(&mut caller, -HOUR_S, 0, "").is_empty());
    caller.pass(SignedDuration::from_mins(15));
    assert_eq!(summaries(&mut caller, -HOUR_S, 0, "")[0]["aggregated_value"], 25.0);
}

#[test]
fn a_newer_event_overwrites_that_of_its_window_where_the_meter_has_one() {
    for (window, left) in [("hour", 7.0), ("day", 5.0)] {
        let mut caller = Caller::open();
        let meter = caller.get("/v1/billing/meters").body["data"][0].clone();
        let id = meter["id"].as_str().unwrap();
        assert_eq!(caller.post(&format!("/v1/billing/meters/{id}/deactivate"), &[]).status, 200);
        let form = [
            ("display_name", "x"),
            ("event_name", meter["event_name"].as_str().unwrap()),
            ("default_aggregation[formula]", "sum"),
            ("event_time_window", window),
        ];
        assert_eq!(caller.post("/v1/billing/meters", &form).body["event_time_window"], window);
        // Two in one hour, the later one a correction; one in the hour before it.
        for (value, offset_s) in [("25", -60), ("2", -HOUR_S - 60), ("5", -120)] {
            used(&mut caller, value, offset_s);
        }
        assert_eq!(summaries(&mut caller, -2 * HOUR_S, 0, "")[0]["aggregated_value"], left, "{window}");
    }
}
