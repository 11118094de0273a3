//! However a request ends in the real Envoy, it makes exactly one event.
use std::time::Duration;

use serde_json::{Value, json};

use crate::spine::{Stack, chat_body};

/// What is asked of the provider, when the client leaves in milliseconds, and what the event may say: outcomes, and how
/// usage is known.
type Ending = (&'static str, Option<u64>, &'static [&'static str], &'static [&'static str]);

const ENDINGS: [Ending; 8] = [
    ("pieces=4", None, &["ok"], &["complete"]),
    ("no_usage", None, &["ok"], &["estimated"]),
    ("status=500", None, &["upstream_error"], &["none"]),
    ("status=429", None, &["client_error"], &["none"]),
    ("reset", None, &["upstream_error", "upstream_reset"], &["none"]),
    ("pieces=20, cut_after=5", None, &["upstream_reset"], &["estimated"]),
    ("pieces=40, chunk_delay_ms=200", Some(1_500), &["client_closed"], &["estimated"]),
    ("delay_ms=20000", Some(1_000), &["client_closed"], &["none"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_ending_makes_one_event_that_claims_no_more_than_was_seen() {
    let stack = Stack::start(&json!({}));
    for (at, (behaviour, leaves_after_ms, outcomes, statuses)) in ENDINGS.iter().enumerate() {
        let call = stack.chat(&chat_body(true)).header("x-rig-behaviour", behaviour);
        match leaves_after_ms {
            None => drop(stack.client.send(call).await),
            Some(ms) => {
                let left = tokio::time::timeout(Duration::from_millis(*ms), stack.client.send(call)).await;
                assert!(left.is_err(), "{behaviour}: the answer was there before the client left");
            }
        }
        let events = stack.receiver.usage(at + 1).await;
        let newest = events.iter().max_by_key(|event| event["time"].as_str().map(str::to_owned)).expect("an event");
        let (outcome, status) = (&newest["data"]["outcome"], &newest["data"]["usage"]["status"]);
        let one_of = |allowed: &[&str], said: &Value| said.as_str().is_some_and(|said| allowed.contains(&said));
        assert!(one_of(outcomes, outcome) && one_of(statuses, status), "{behaviour}: {newest}");
    }
    // Each event had time to come twice: there are as many as there were requests.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stack.receiver.usage(0).await.len(), ENDINGS.len());
}
