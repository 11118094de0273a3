//! Each event arrives or leaves a trace, and the aggregator's troubles do not reach clients.
use crate::common::{SIGNING_KEY, answer, chat, config_with, unlimited, usage_events};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use weir_contract::signed::SigningKey;
use weir_host_tests::host::LogLevel;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, get, ok, secs, status};

const ACCEPTED: &str = r#"{"accepted":1,"rejected":[]}"#;

fn unlimited_with(field: &str, value: Value) -> Value {
    let mut config = unlimited();
    config["events"][field] = value;
    config
}

fn chat_through(gateway: &Gateway, worker: usize) {
    gateway.worker(worker).send(chat()).upstream(ok().json(&answer())).assert_status(200);
}

on_both_gateways! {
    fn a_dead_aggregator_changes_no_answer_and_no_event_is_lost(gateway) {
        let gateway = gateway.config(unlimited()).start();
        for _ in 0..5 {
            chat_through(&gateway, 0);
            gateway.run_for(secs(3));
            gateway.calls().into_iter().for_each(|call| call.time_out());
        }
        let mut arrived = BTreeSet::new();
        for _ in 0..20 {
            gateway.run_for(secs(10));
            for call in gateway.calls() {
                arrived.extend(usage_events(&call).iter().filter_map(|event| Some(event["sequence"].as_str()?.to_owned())));
                call.answer(202, ACCEPTED);
            }
        }
        assert_eq!(arrived.len(), 5, "{arrived:?}");
        assert_eq!(gateway.metric("weir_events.state.acknowledged"), 5);
        assert_eq!(gateway.metric("weir_events.state.lost"), 0);
    }

    fn at_the_bound_an_event_leaves_as_a_signed_line(gateway) {
        let gateway = gateway.config(unlimited_with("queue_max_events", json!(2))).start();
        (0..3).for_each(|_| chat_through(&gateway, 0));
        let lines = gateway.logs_at(LogLevel::Warn);
        let word = lines.iter().find_map(|line| line.split_whitespace().find(|word| word.starts_with("weir1.")));
        let key = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key");
        let event = key.open(word.expect("a signed line")).expect("signed by us");
        let event: Value = serde_json::from_slice(&event).expect("json");
        assert_eq!((&event["subject"], &event["data"]["usage"]["output_tokens"]), (&json!("acme"), &json!(30)));
    }

    fn every_worker_is_a_source_of_its_own(gateway) {
        let gateway = gateway.config(unlimited()).workers(2).start();
        [0, 1, 0].into_iter().for_each(|worker| chat_through(&gateway, worker));
        gateway.run_for(secs(2));
        let mut seen: Vec<(Value, Value)> = Vec::new();
        for call in gateway.calls() {
            seen.extend(usage_events(&call).into_iter().map(|event| (event["source"].clone(), event["sequence"].clone())));
            call.answer(202, ACCEPTED);
        }
        let sources: BTreeSet<String> = seen.iter().map(|(source, _)| source.to_string()).collect();
        assert_eq!((seen.len(), sources.len()), (3, 2), "{seen:?}");
    }

    fn refusals_are_counted_by_the_minute_and_not_told_one_by_one(gateway) {
        let gateway = gateway.config(config_with("/plans/starter/requests", json!({"rate": "1/d"}))).start();
        chat_through(&gateway, 0);
        (0..4).for_each(|_| { gateway.send(chat()).reply().assert_status(429); });
        gateway.send(get("/v1/models").bearer("sk_weir_forged")).reply().assert_status(401);
        let mut refused = Vec::new();
        for _ in 0..4 {
            gateway.run_for(secs(20));
            for call in gateway.calls() {
                refused.extend(call.json().as_array().cloned().unwrap_or_default().into_iter().filter(|event| event["type"] == "weir.refused.v1"));
                call.answer(202, ACCEPTED);
            }
        }
        let counts = |subject: Value| {
            let of = refused.iter().find(|event| event["subject"] == subject);
            of.map(|event| event["data"]["counts"].clone())
        };
        assert_eq!(counts(json!("acme")), Some(json!({"rate_limited": 4})), "{refused:?}");
        assert_eq!(counts(Value::Null), Some(json!({"invalid_credential": 1})));
    }

    fn what_a_suspended_tenant_is_refused_is_counted_for_it(gateway) {
        let gateway = gateway.config(config_with("/tenants/0/state", json!("suspended"))).start();
        (0..3).for_each(|_| { gateway.send(chat()).reply().assert_status(403); });
        gateway.send(get("/v1/models").bearer("sk_weir_forged")).reply().assert_status(401);
        let mut refused = Vec::new();
        for _ in 0..4 {
            gateway.run_for(secs(20));
            for call in gateway.calls() {
                let events = call.json().as_array().cloned().unwrap_or_default();
                refused.extend(events.into_iter().filter(|event| event["type"] == "weir.refused.v1"));
                call.answer(202, ACCEPTED);
            }
        }
        let of = |subject: Value| refused.iter().filter(|event| event["subject"] == subject).collect::<Vec<_>>();
        let (acme, nobody) = (of(json!("acme")), of(Value::Null));
        assert_eq!((acme.len(), nobody.len()), (1, 1), "{refused:?}");
        assert_eq!(acme[0]["data"]["counts"], json!({"suspended_tenant": 3}));
        assert_eq!(nobody[0]["data"]["counts"], json!({"invalid_credential": 1}));
    }

    fn a_refused_event_is_logged_whole_and_never_sent_again(gateway) {
        let gateway = gateway.config(unlimited()).start();
        chat_through(&gateway, 0);
        gateway.run_for(secs(2));
        let answer = json!({"accepted": 0, "rejected": [{"index": 0, "reason": "older than the oldest window"}]});
        gateway.next_call("weir").answer(202, answer.to_string());
        gateway.assert_logged(LogLevel::Error, "older than the oldest window");
        // Signed, so that `weir replay` can bring it in once its fault is mended.
        let lines = gateway.logs_at(LogLevel::Error);
        let word = lines.iter().find_map(|line| line.split_whitespace().find(|word| word.starts_with("weir1.")));
        let key = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key");
        let event = key.open(word.expect("a signed word")).expect("signed by the configured key");
        assert!(String::from_utf8_lossy(&event).contains("chatcmpl-1"), "the whole event");
        gateway.run_for(secs(20));
        gateway.assert_no_calls();
    }

    fn no_secret_is_ever_logged(gateway) {
        let gateway = gateway.config(unlimited()).start();
        chat_through(&gateway, 0);
        gateway.run_for(secs(2));
        gateway.next_call("weir").answer(500, "oops");
        gateway.send(get("/v1/models").bearer("sk_weir_forged")).reply().assert_status(401);
        for secret in [crate::common::ACME, "sk_weir_forged", "gateway-token-0123456789", SIGNING_KEY] {
            gateway.assert_never_logged(secret);
        }
    }
}

#[test]
fn a_vm_that_died_comes_back_as_a_new_source() {
    let gateway = Gateway::envoy().config(unlimited()).start();
    let source = || {
        chat_through(&gateway, 0);
        gateway.run_for(secs(2));
        let call = gateway.next_call("weir");
        let event = usage_events(&call).remove(0);
        call.answer(202, ACCEPTED);
        (event["source"].clone(), event["sequence"].clone())
    };
    let first = source();
    gateway.worker(0).kill();
    gateway.worker(0).restart();
    let second = source();
    assert_ne!(first.0, second.0);
    assert_eq!(first.1, second.1, "each counts from 1");
}

#[test]
fn a_reload_loses_nothing_that_was_queued() {
    let gateway = Gateway::envoy().config(unlimited()).start();
    chat_through(&gateway, 0);
    gateway.reload(unlimited_with("flush", json!("2s"))).expect("a good configuration");
    gateway.drain();
    gateway.run_for(secs(3));
    let arrived: usize = gateway
        .calls()
        .into_iter()
        .map(|call| {
            let n = usage_events(&call).len();
            call.answer(202, ACCEPTED);
            n
        })
        .sum();
    assert_eq!(arrived, 1);
    gateway.send(get("/healthz")).upstream(status(204)).assert_status(204);
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_stays() {
    let gateway = Gateway::envoy().config(unlimited()).start();
    assert!(gateway.reload(unlimited_with("cluster", json!(7))).is_err());
    gateway.assert_logged(LogLevel::Error, "events.cluster");
    chat_through(&gateway, 0);
}
