//! The queue's bounds and a failing aggregator: clients of the gateway notice neither.
use serde_json::{Value, json};
use weir_contract::signed::SigningKey;
use weir_host_tests::host::LogLevel;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Call, Gateway, ok, secs, status};

use crate::common::{SIGNING_KEY, answer, chat, config_with, unlimited, usage_events};

const ACCEPTED: &str = r#"{"accepted":1,"rejected":[]}"#;

fn with(fields: &[(&str, Value)]) -> Value {
    let mut config = unlimited();
    fields.iter().for_each(|(field, value)| config["events"][*field] = value.clone());
    config
}

fn chats(gateway: &Gateway, count: usize) {
    for _ in 0..count {
        let reply = gateway.send(chat()).upstream(ok().json(&answer()));
        assert_eq!((reply.status(), reply.json()), (200, answer()));
        reply.forget();
    }
}

fn numbers(call: &Call<'_>) -> Vec<u64> {
    usage_events(call).iter().filter_map(|event| event["sequence"].as_str()?.parse().ok()).collect()
}

/// The numbers of the events that left as signed lines.
fn spilled(gateway: &Gateway) -> Vec<u64> {
    let key = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key");
    let lines = gateway.logs_at(LogLevel::Warn);
    let words = lines.iter().flat_map(|line| line.split_whitespace()).filter(|word| word.starts_with("weir1."));
    let events = words.map(|word| serde_json::from_slice::<Value>(&key.open(word).expect("ours")).expect("an event"));
    events.filter_map(|event| event["sequence"].as_str()?.parse().ok()).collect()
}

on_both_gateways! {
    fn the_queue_is_bounded_by_count(gateway) {
        let gateway = gateway.config(with(&[("queue_max_events", json!(3))])).start();
        chats(&gateway, 5);
        assert_eq!(spilled(&gateway), [4, 5]);
        assert_eq!((gateway.metric("weir_events.state.spilled"), gateway.metric("weir_events.state.lost")), (0, 0), "told on the tick");
        gateway.run_for(secs(2));
        assert_eq!((gateway.metric("weir_events.state.spilled"), gateway.metric("weir_events.state.lost")), (2, 0));
    }

    fn the_queue_is_bounded_by_bytes(gateway) {
        let gateway = gateway.config(with(&[("queue_max_bytes", json!(1500))])).start();
        chats(&gateway, 4);
        assert_eq!(spilled(&gateway), [3, 4], "an event has some 700 bytes");
    }

    fn the_queue_is_bounded_by_age(gateway) {
        let gateway = gateway.config(with(&[("queue_max_age", json!("10s"))])).start();
        chats(&gateway, 2);
        gateway.run_for(secs(9));
        gateway.calls().into_iter().for_each(|call| call.answer(503, ""));
        assert_eq!(spilled(&gateway), Vec::<u64>::new());
        gateway.run_for(secs(60));
        gateway.calls().into_iter().for_each(|call| call.answer(503, ""));
        gateway.run_for(secs(1));
        let mut left = spilled(&gateway);
        left.sort_unstable();
        assert_eq!(left, [1, 2]);
        assert_eq!(gateway.metric("weir_events_pending"), 0);
    }

    fn several_batches_are_under_way_and_each_is_acknowledged_for_itself(gateway) {
        let gateway = gateway.config(with(&[("flush", json!("100ms"))])).start();
        for _ in 0..6 {
            chats(&gateway, 1);
            gateway.run_for(secs(1));
        }
        let calls = gateway.calls();
        assert_eq!(calls.iter().map(numbers).collect::<Vec<_>>(), [[1], [2], [3], [4]], "four at once, the rest waits");
        for (at, call) in calls.into_iter().enumerate() {
            if at == 1 { call.answer(500, "") } else { call.answer(202, ACCEPTED) }
        }
        let mut later = Vec::new();
        for _ in 0..5 {
            gateway.run_for(secs(1));
            for call in gateway.calls() {
                later.extend(numbers(&call));
                call.answer(202, ACCEPTED);
            }
        }
        later.sort_unstable();
        assert_eq!(later, [2, 5, 6], "only what was not acknowledged is sent again");
        gateway.run_for(secs(1));
        assert_eq!(gateway.metric("weir_events.state.acknowledged"), 6);
    }

    fn retry_after_is_honoured(gateway) {
        let gateway = gateway.config(unlimited()).start();
        chats(&gateway, 1);
        gateway.run_for(secs(2));
        gateway.next_call("weir").answer_with(status(503).header("retry-after", "20"));
        gateway.run_for(secs(19));
        gateway.assert_no_calls();
        gateway.run_for(secs(2));
        assert_eq!(numbers(&gateway.next_call("weir")), [1]);
    }

    fn without_a_hint_retries_back_off(gateway) {
        let gateway = gateway.config(unlimited()).start();
        chats(&gateway, 1);
        let mut attempts = 0;
        for _ in 0..120 {
            gateway.run_for(secs(1));
            for call in gateway.calls() {
                attempts += usize::from(numbers(&call) == [1]);
                call.answer(500, "");
            }
        }
        assert!((6..=14).contains(&attempts), "{attempts} in two minutes");
    }

    fn one_bad_event_does_not_hold_up_the_others_of_its_batch(gateway) {
        let gateway = gateway.config(unlimited()).start();
        chats(&gateway, 7);
        let (mut taken, mut calls) = (Vec::new(), 0);
        for _ in 0..20 {
            gateway.run_for(secs(1));
            for call in gateway.calls() {
                calls += 1;
                let found = numbers(&call);
                // As a proxy with a limit of its own, or an aggregator that cannot read the batch.
                if found.contains(&4) {
                    call.answer(413, "");
                } else {
                    taken.extend(found);
                    call.answer(202, ACCEPTED);
                }
            }
        }
        taken.sort_unstable();
        assert_eq!((taken, gateway.metric("weir_events.state.refused")), (vec![1, 2, 3, 5, 6, 7], 1));
        assert!(calls < 15, "{calls}");
        gateway.assert_logged(LogLevel::Error, "refused an event for good: the aggregator answered 413: weir1.");
    }

    fn an_aggregator_that_lies_changes_no_answer_and_traps_nothing(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let rejects = |index: u64| json!({"accepted": 0, "rejected": [{"index": index, "reason": "no"}]}).to_string();
        let lies = [
            String::new(), "<html>it works</html>".to_owned(), "{\"accepted\":".to_owned(), "[]".to_owned(), "\u{0}".repeat(300_000),
            json!({"accepted": u64::MAX, "rejected": []}).to_string(), json!({"accepted": -1}).to_string(),
            rejects(0), rejects(7), rejects(u64::MAX),
            json!({"accepted": 0, "rejected": vec![json!({"index": 0, "reason": "no"}); 3_000]}).to_string(),
        ];
        for lie in &lies {
            chats(&gateway, 1);
            gateway.run_for(secs(2));
            gateway.calls().into_iter().for_each(|call| call.answer(202, lie));
        }
        for code in [100, 204, 301, 401, 404, 418, 599] {
            chats(&gateway, 1);
            gateway.run_for(secs(40));
            gateway.calls().into_iter().for_each(|call| call.answer(code, "?"));
        }
        chats(&gateway, 1);
    }

    fn a_dead_aggregator_costs_no_memory_beyond_the_bound(gateway) {
        let gateway = gateway.config(with(&[("queue_max_events", json!(200))])).start();
        let flood = || {
            for _ in 0..10 {
                chats(&gateway, 100);
                gateway.run_for(secs(1));
                gateway.calls().into_iter().for_each(|call| call.time_out());
            }
        };
        flood();
        let before = gateway.worker(0).memory_bytes();
        (0..3).for_each(|_| flood());
        let grown = gateway.worker(0).memory_bytes() - before;
        assert!(grown <= 128 * 1024, "{grown} bytes after 3,000 further events that nobody took");
        assert!(gateway.metric("weir_events_pending") <= 200);
    }
}

#[test]
fn a_drain_takes_the_refusals_of_the_minute_so_far_along() {
    let gateway = Gateway::envoy().config(config_with("/plans/starter/requests", json!({"rate": "1/d"}))).start();
    chats(&gateway, 1);
    (0..3).for_each(|_| {
        gateway.send(chat()).reply().assert_status(429);
    });
    gateway.reload(unlimited()).expect("a good configuration");
    gateway.drain();
    let refused = |call: &Call<'_>| {
        let events = call.json().as_array().cloned().unwrap_or_default();
        events.into_iter().find(|event| event["type"] == "weir.refused.v1").map(|event| event["data"]["counts"].clone())
    };
    let told: Vec<Value> = gateway.calls().iter().filter_map(refused).collect();
    assert_eq!(told, [json!({"rate_limited": 3})], "without waiting for the minute to end");
}
