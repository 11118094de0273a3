use crate::caller::Caller;
use serde_json::json;
use weir_rig::stripe::{Account, Subscription, SubscriptionItem};

const METER: [(&str, &str); 3] =
    [("display_name", "Requests"), ("event_name", "requests"), ("default_aggregation[formula]", "count")];

#[test]
fn a_meter_is_created_with_the_documented_defaults() {
    let meter = Caller::open().post("/v1/billing/meters", &METER).body;
    assert_eq!(meter["object"], "billing.meter");
    assert_eq!(meter["status"], "active");
    assert_eq!(meter["customer_mapping"], json!({"event_payload_key": "stripe_customer_id", "type": "by_id"}));
    assert_eq!(meter["value_settings"], json!({"event_payload_key": "value"}));
    assert_eq!(meter["event_time_window"], json!(null));
}

#[test]
fn a_required_field_that_is_missing_is_named() {
    for (index, name) in ["display_name", "event_name", "default_aggregation[formula]"].iter().enumerate() {
        let rest: Vec<_> = METER.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, pair)| *pair).collect();
        let answer = Caller::open().post("/v1/billing/meters", &rest);
        assert_eq!((answer.status, answer.error("code")), (400, "parameter_missing"));
        assert_eq!(answer.error("param"), *name);
    }
}

#[test]
fn a_formula_that_does_not_exist_is_refused() {
    let mut form = METER;
    form[2].1 = "median";
    let answer = Caller::open().post("/v1/billing/meters", &form);
    assert_eq!((answer.status, answer.error("param")), (400, "default_aggregation[formula]"));
}

#[test]
fn texts_are_held_to_their_lengths() {
    for (name, max) in [("display_name", 250), ("event_name", 100)] {
        let (fits, too_long) = ("x".repeat(max), "x".repeat(max + 1));
        let with = |value| METER.map(|(key, old)| if key == name { (key, value) } else { (key, old) });
        assert_eq!(Caller::open().post("/v1/billing/meters", &with(&fits)).status, 200);
        assert_eq!(Caller::open().post("/v1/billing/meters", &with(&too_long)).error("param"), name);
    }
}

#[test]
fn an_unknown_parameter_is_refused() {
    let answer = Caller::open().post("/v1/billing/meters", &[METER[0], METER[1], METER[2], ("colour", "red")]);
    assert_eq!((answer.error("code"), answer.error("param")), ("parameter_unknown", "colour"));
}

#[test]
fn two_active_meters_cannot_share_an_event_name() {
    let mut caller = Caller::open();
    let first = caller.post("/v1/billing/meters", &METER);
    assert_eq!(caller.post("/v1/billing/meters", &METER).status, 400);
    let id = first.body["id"].as_str().unwrap();
    assert_eq!(caller.post(&format!("/v1/billing/meters/{id}/deactivate"), &[]).body["status"], "inactive");
    assert_eq!(caller.post("/v1/billing/meters", &METER).status, 200);
}

#[test]
fn only_the_display_name_can_change_later() {
    let mut caller = Caller::open();
    let id = caller.post("/v1/billing/meters", &METER).body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/billing/meters/{id}");
    assert_eq!(caller.post(&path, &[("display_name", "Calls")]).body["display_name"], "Calls");
    assert_eq!(caller.post(&path, &[("event_name", "calls")]).error("code"), "parameter_unknown");
}

#[test]
fn meters_are_listed_in_pages_newest_first() {
    let mut caller = Caller::open();
    for index in 0..3 {
        let name = format!("meter_{index}");
        caller.post("/v1/billing/meters", &[METER[0], ("event_name", &name), METER[2]]);
    }
    let first = caller.get("/v1/billing/meters?limit=3").body;
    assert_eq!((first["data"][0]["event_name"].as_str(), first["has_more"].as_bool()), (Some("meter_2"), Some(true)));
    let last_id = first["data"][2]["id"].as_str().unwrap();
    let second = caller.get(&format!("/v1/billing/meters?limit=3&starting_after={last_id}")).body;
    assert_eq!((second["data"][0]["event_name"].as_str(), second["has_more"].as_bool()), (Some("tokens"), Some(false)));
}

#[test]
fn a_meter_that_is_not_there_is_a_404() {
    let answer = Caller::open().get("/v1/billing/meters/mtr_none");
    assert_eq!((answer.status, answer.error("code")), (404, "resource_missing"));
}

#[test]
fn the_account_says_who_it_is() {
    assert_eq!(Caller::open().get("/v1/account").body["id"], "acct_rig");
}

#[test]
fn a_wrong_key_is_a_401() {
    let mut caller = Caller::empty(Account { secret_key: "sk_test_other".to_owned(), ..Account::sandbox() });
    caller.stripe = weir_rig::stripe::Stripe::new(Account::sandbox());
    let answer = caller.get("/v1/account");
    assert_eq!((answer.status, answer.error("type")), (401, "invalid_request_error"));
}

#[test]
fn every_answer_has_a_request_id() {
    let mut caller = Caller::open();
    let ids: Vec<String> = (0..2).map(|_| caller.get("/v1/account").header("request-id").unwrap().to_owned()).collect();
    assert!(ids[0].starts_with("req_"));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn subscriptions_tell_their_billing_anchor() {
    let mut caller = Caller::open();
    caller.stripe.add_subscription("cus_acme", 1_795_231_234);
    let list = caller.get("/v1/subscriptions?customer=cus_acme&limit=100").body;
    assert_eq!(list["data"][0]["billing_cycle_anchor"], 1_795_231_234);
}

fn subscriptions(caller: &mut Caller, query: &str) -> Vec<String> {
    let list = caller.get(&format!("/v1/subscriptions?limit=100{query}")).body;
    let data = list["data"].as_array().unwrap().clone();
    data.iter().map(|subscription| subscription["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn subscriptions_are_listed_unless_they_are_canceled() {
    let mut caller = Caller::open();
    for status in ["active", "past_due", "canceled"] {
        caller.stripe.subscribe(Subscription::new("cus_acme", status, 0, Vec::new()));
    }
    assert_eq!(subscriptions(&mut caller, ""), ["past_due", "active"]);
    assert_eq!(subscriptions(&mut caller, "&status=canceled"), ["canceled"]);
    assert_eq!(subscriptions(&mut caller, "&status=all").len(), 3);
    caller.stripe.end_subscriptions("cus_acme");
    assert_eq!(subscriptions(&mut caller, ""), [""; 0]);
}

#[test]
fn items_name_the_meter_of_their_price_and_many_are_a_list_of_their_own() {
    let mut caller = Caller::open();
    let mut items = vec![SubscriptionItem::monthly(None); 11];
    let week = SubscriptionItem {
        interval: "week",
        current_period_end_s: Some(7),
        ..SubscriptionItem::monthly(Some("tokens"))
    };
    items.push(week);
    caller.stripe.subscribe(Subscription::new("cus_acme", "active", 0, items));
    let first = caller.get("/v1/subscriptions?limit=1").body["data"][0].clone();
    assert_eq!(
        (&first["items"]["has_more"], &first["items"]["data"][0]["price"]["recurring"]["meter"]),
        (&true.into(), &().into())
    );
    let path = format!("/v1/subscription_items?limit=100&subscription={}", first["id"].as_str().unwrap());
    let all = caller.get(&path).body["data"].as_array().unwrap().clone();
    let last = &all[11];
    assert_eq!(last["price"]["recurring"]["interval"], "week");
    assert!(last["price"]["recurring"]["meter"].as_str().is_some_and(|id| id.starts_with("mtr_")));
    assert_eq!(last["current_period_end"], 7);
}
