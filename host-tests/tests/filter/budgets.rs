//! While a budget is in a stage, its plan's rules for that stage hold.
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, get, ok, post};

use crate::common::{ACME, answer, chat, config_with, usage_event};

/// A stage that no test outlives.
fn stage(stage: &str, scope: Value) -> Value {
    json!({"budget": "monthly", "stage": stage, "scope": scope, "used_permille": 910, "ends": "2100-01-01T00:00:00.000Z"})
}

/// acme on a plan with rules for every stage, with these stages.
fn config(stages: Value) -> Value {
    let plan = json!({"stages": {
        "degrade": {"models": {"allow": ["gpt-4o-mini"], "otherwise": {"replace": "gpt-4o-mini"}}, "output_tokens_max": 50},
        "contain": {"refuse": {"status": 429, "features": ["search"]}},
        "exceeded": {"refuse": {"status": 402}},
    }});
    let mut config = config_with("/plans/starter", plan);
    config["tenants"][0]["stages"] = stages;
    config["routes"] =
        json!([{"name": "rag", "match": {"path_prefix": "/v1/rag"}, "class": "rag", "feature": "search"}]);
    config["limit_headers"] = json!({"budget": true});
    config
}

fn upstream_body(gateway: &Gateway) -> Value {
    gateway.send(chat()).seen_upstream().expect("sent on").json()
}

on_both_gateways! {
    fn with_room_the_model_asked_for_serves_and_nothing_is_told(gateway) {
        let gateway = gateway.config(config(json!([]))).start();
        assert_eq!(upstream_body(&gateway)["model"], "gpt-4o");
        let reply = gateway.send(chat()).upstream(ok().json(&answer()));
        assert_eq!(reply.header("x-weir-budget"), None);
    }

    fn from_degrade_on_a_cheaper_model_serves_and_the_event_says_what_was_asked_and_why(gateway) {
        let gateway = gateway.config(config(json!([stage("degrade", json!("tenant"))]))).start();
        let sent = gateway.send(chat());
        let body = sent.seen_upstream().expect("sent on").json();
        assert_eq!((&body["model"], body.to_string().contains("50")), (&json!("gpt-4o-mini"), true), "{body}");
        let mut served = answer();
        served["model"] = json!("gpt-4o-mini-2024");
        let reply = sent.upstream(ok().json(&served));
        assert_eq!(reply.header("x-weir-budget").as_deref(), Some("monthly;stage=degrade;used=0.91;resets=@4102444800"));
        let event = usage_event(&gateway);
        let data = &event["data"];
        assert_eq!((&data["request_model"], &data["response_model"]), (&json!("gpt-4o"), &json!("gpt-4o-mini-2024")));
        assert_eq!((&data["budget"], &data["budget_stage"]), (&json!("monthly"), &json!("degrade")));
    }

    fn what_is_exceeded_is_refused_in_the_shape_of_each_api(gateway) {
        let gateway = gateway.config(config(json!([stage("exceeded", json!("tenant"))]))).start();
        let reply = gateway.send(chat()).reply();
        assert_eq!((reply.status(), &reply.json()["error"]["code"]), (402, &json!("insufficient_quota")));
        assert!(reply.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait > 0)));
        let body = json!({"model": "claude-haiku-4", "max_tokens": 9, "messages": []});
        let reply = gateway.send(post("/v1/messages").bearer(ACME).json(&body)).reply();
        assert_eq!((reply.status(), &reply.json()["error"]["type"]), (402, &json!("billing_error")));
        assert_eq!(gateway.metric("weir_requests.result.budget_exceeded"), 2);
    }

    fn a_contained_feature_is_refused_and_another_passes(gateway) {
        let gateway = gateway.config(config(json!([stage("contain", json!("tenant"))]))).start();
        assert_eq!(gateway.send(get("/v1/rag/documents").bearer(ACME)).reply().status(), 429);
        assert!(gateway.send(get("/v1/models").bearer(ACME)).seen_upstream().is_some());
    }

    fn a_budget_of_another_key_changes_nothing(gateway) {
        let gateway = gateway.config(config(json!([stage("exceeded", json!({"key": "key_globex"}))]))).start();
        assert_eq!(upstream_body(&gateway)["model"], "gpt-4o");
    }
}
