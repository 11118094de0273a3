//! The main job in the real Envoy.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::clock;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::workspace;

use crate::receiver::Receiver;

const ACME: &str = "Bearer sk_weir_acme";

pub(crate) struct Stack {
    envoy: Envoy,
    pub(crate) llm: Llm,
    pub(crate) receiver: Receiver,
    pub(crate) client: Client,
}

impl Stack {
    /// The shipped configuration of Envoy, with acme on `plan` and events leaving after 200 ms.
    pub(crate) fn start(plan: &Value) -> Self {
        let receiver = Receiver::start();
        let address = receiver.address();
        Stack { receiver, ..Self::start_reporting_to(plan, address) }
    }

    /// The same with events going elsewhere; its own receiver gets none.
    pub(crate) fn start_reporting_to(plan: &Value, aggregator: SocketAddr) -> Self {
        let hash = KeyHash::of(b"sk_weir_acme");
        let config = json!({
            "version": 1, "gateway": "test",
            "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
            "tenants": [{"id": "acme", "plan": "p", "keys": [{"id": "key_1", "sha256": hash}]}],
            "plans": {"p": plan},
            "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
        });
        let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
        let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
            .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
            .and_then(|config| config.cluster("weir", aggregator))
            .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
            .and_then(|shipped| shipped.configuration(&config))
            .expect("the shipped configuration");
        let envoy = Envoy::start(&bootstrap, &Options::default()).expect("Envoy");
        Stack { envoy, llm, receiver, client: Client::new() }
    }

    /// Where the gateway listens.
    pub(crate) fn gateway(&self) -> SocketAddr {
        self.envoy.listener("edge").expect("the listener of the shipped configuration")
    }

    pub(crate) fn chat(&self, body: &Value) -> Call {
        Call::post(format!("{}/v1/chat/completions", self.envoy.url()), body).header("authorization", ACME)
    }

    fn metric(&self, name: &str) -> u64 {
        self.envoy.stats(name).expect("stats").values().sum()
    }
}

pub(crate) fn chat_body(stream: bool) -> Value {
    json!({"model": "gpt-4o", "stream": stream, "stream_options": {"include_usage": true},
           "messages": [{"role": "user", "content": "How are you?"}]})
}

fn sum(events: &[Value], field: &str) -> u64 {
    events.iter().filter_map(|event| event["data"]["usage"][field].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_admit_exactly_the_capacity_of_one_bucket() {
    let stack = Stack::start(&json!({"requests": {"rate": "1/d", "capacity": 60}}));
    let calls = (0..200).map(|_| Call { body: Default::default(), ..stack.chat(&json!({})) }).collect::<Vec<_>>();
    let replies = stack.client.send_all(calls, 8).await;
    let mut by_status: BTreeMap<u16, usize> = BTreeMap::new();
    replies.iter().for_each(|reply| *by_status.entry(reply.status).or_default() += 1);
    assert_eq!(by_status.get(&429), Some(&140), "{by_status:?}");
    assert_eq!(stack.metric("weir_requests.result.rate_limited"), 140);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_learns_the_tenant_and_neither_the_key_nor_a_forged_header() {
    let stack = Stack::start(&json!({}));
    let forged = stack.chat(&chat_body(false)).header("x-tenant-id", "globex").header("x-tenant-plan", "gold");
    assert_eq!(stack.client.send(forged).await.status, 200);
    let seen = stack.llm.seen();
    let seen = seen.last().expect("a request");
    assert_eq!((seen.tenant(), seen.header("x-tenant-plan"), seen.header("authorization")), ("acme", Some("p"), None));
    assert_eq!(seen.header("x-request-class"), Some("chat"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_served_is_what_the_events_say() {
    let stack = Stack::start(&json!({}));
    let calls: Vec<Call> = (0..60).map(|n| stack.chat(&chat_body(n % 2 == 0))).collect();
    assert!(stack.client.send_all(calls, 6).await.iter().all(|reply| reply.status == 200));
    let events = stack.receiver.usage(60).await;
    let served = stack.llm.tally().tenant("acme");
    assert_eq!(
        (events.len() as u64, sum(&events, "input_tokens"), sum(&events, "output_tokens")),
        (served.requests, served.input, served.output)
    );
    assert!(events.iter().all(|event| event["data"]["usage"]["status"] == "complete"));
    let sources: BTreeSet<&str> = events.iter().filter_map(|event| event["source"].as_str()).collect();
    assert!(sources.len() <= 2, "a source is a worker: {sources:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_fails_changes_no_answer_and_loses_no_event() {
    let stack = Stack::start(&json!({}));
    stack.receiver.fail(true);
    let calls: Vec<Call> = (0..40).map(|_| stack.chat(&chat_body(false))).collect();
    assert!(stack.client.send_all(calls, 4).await.iter().all(|reply| reply.status == 200));
    let begun = clock::instant();
    while stack.receiver.calls() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never tried");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stack.receiver.fail(false);
    assert_eq!(stack.receiver.usage(40).await.len(), 40);
    assert_eq!(stack.metric("weir_events.state.lost"), 0);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Prints the measurements side by side. Asserts that no request was refused or failed.
#[tokio::test(flavor = "multi_thread")]
async fn requests_take_as_long_beside_a_failing_aggregator() {
    let stack = Stack::start(&json!({}));
    let mut times: BTreeMap<bool, Vec<Duration>> = BTreeMap::new();
    for round in 0..20 {
        let failing = round % 2 == 1;
        stack.receiver.fail(failing);
        let calls: Vec<Call> = (0..50).map(|_| stack.chat(&chat_body(false))).collect();
        let replies = stack.client.send_all(calls, 2).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
        times.entry(failing).or_default().extend(replies.iter().map(|reply| reply.duration));
    }
    stack.receiver.fail(false);
    assert_eq!(stack.receiver.usage(1_000).await.len(), 1_000);
    let [well, failing] = [false, true].map(|failing| median(times.remove(&failing).unwrap_or_default()));
    println!(
        "median of 500 requests beside an aggregator that answers: {well:?}; beside one that answers 503: {failing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_stream_makes_one_event() {
    let stack = Stack::start(&json!({}));
    let slow = stack.chat(&chat_body(true)).header("x-rig-behaviour", "pieces=50, chunk_delay_ms=100");
    let leaving = tokio::time::timeout(Duration::from_millis(700), stack.client.send(slow)).await;
    assert!(leaving.is_err(), "the stream was still going on");
    let events = stack.receiver.usage(1).await;
    let data = &events[0]["data"];
    assert_eq!((&data["outcome"], &data["usage"]["status"]), (&json!("client_closed"), &json!("estimated")));
}
