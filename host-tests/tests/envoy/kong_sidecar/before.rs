//! Weir before Kong.
use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_rig::envoy::{Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Client, Reply};
use weir_rig::probe::Port;
use weir_rig::server::Server;

use super::kong::{self, Settings};
use super::{KEY, chat, counted, forged, shipped, values};
use crate::receiver::Receiver;

/// Clients, Envoy with weir, Kong, a provider.
struct Before {
    envoy: Envoy,
    _kong: Server,
    llm: Llm,
    receiver: Receiver,
    client: Client,
}

impl Before {
    fn start(plan: &Value) -> Self {
        let llm = Llm::start().expect("a provider");
        let address = llm.address();
        Self::start_with(plan, llm, address)
    }

    fn start_with(plan: &Value, llm: Llm, service: SocketAddr) -> Self {
        let receiver = Receiver::start();
        let settings = Settings {
            trusts_caller: true,
            clears_first: false,
            adds_authorization: Some("Bearer the provider's key".to_owned()),
            ..Settings::to(service)
        };
        let kong = kong::start(settings);
        let bootstrap = shipped("envoy-before-kong.yaml", plan, receiver.address());
        let bootstrap = bootstrap.cluster("kong", kong.address()).expect("the cluster");
        let envoy = Envoy::start(&bootstrap, &Options::default()).expect("Envoy");
        Before { envoy, _kong: kong, llm, receiver, client: Client::new() }
    }

    async fn chat(&self, stream: bool) -> Reply {
        self.client.send(chat(&self.envoy.url(), stream).header("authorization", KEY)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kong_learns_the_tenant_and_neither_the_key_nor_what_a_client_forges() {
    let before = Before::start(&json!({}));
    let call = forged(chat(&before.envoy.url(), false).header("authorization", KEY));
    assert_eq!(before.client.send(call).await.status, 200, "{}", before.envoy.log());
    let seen = &before.llm.seen()[0];
    assert_eq!(values(seen, "x-tenant-id"), ["acme"]);
    assert_eq!((values(seen, "x-tenant-plan"), values(seen, "x-request-class")), (vec!["p"], vec!["chat"]));
    assert_eq!(
        values(seen, "authorization"),
        ["Bearer the provider's key"],
        "Kong puts it where weir took the tenant's out"
    );
    for name in ["x-consumer-custom-id", "x-consumer-username", "x-credential-identifier"] {
        assert_eq!(values(seen, name), Vec::<&str>::new(), "{name}");
    }
    let gateway = before.envoy.url().replacen("http://", "", 1);
    assert_eq!(values(seen, "x-forwarded-host"), [gateway.as_str()], "Kong's own");
    assert_eq!(values(seen, "x-real-ip"), ["127.0.0.1"]);
    let events = before.receiver.usage(1).await;
    assert_eq!(counted(&events), [("acme", before.llm.tally().tenant("acme").output)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kong_sees_only_what_weir_admits_and_the_client_only_what_kong_answers() {
    let before = Before::start(&json!({"requests": {"rate": "1/d", "capacity": 2}}));
    let nobody = before.client.send(forged(chat(&before.envoy.url(), false))).await;
    assert_eq!(nobody.status, 401, "Kong's headers are no credential here");
    let replies = [before.chat(false).await, before.chat(false).await, before.chat(false).await];
    assert_eq!(replies.each_ref().map(|reply| reply.status), [200, 200, 429]);
    assert_eq!(before.llm.seen().len(), 2);
    assert_eq!(replies[0].header("via"), Some("1.1 kong/3.11.0"));
    assert_eq!(
        (replies[0].header("x-kong-proxy-latency"), replies[2].header("x-kong-proxy-latency")),
        (Some("1"), None)
    );
    assert!(replies[2].header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_through_kong_and_the_usage_that_weir_asked_for_stays_out_of_it() {
    let before = Before::start(&json!({}));
    let reply = before.chat(true).await;
    assert_eq!((reply.status, reply.error.as_deref()), (200, None), "{}", before.envoy.log());
    assert!(reply.events().iter().all(|event| event["usage"].is_null()), "{}", reply.text());
    let asked: Value = serde_json::from_slice(&before.llm.seen()[0].body).expect("JSON");
    assert_eq!(asked["stream_options"]["include_usage"], true, "the longer body came whole");
    let events = before.receiver.usage(1).await;
    assert_eq!(events[0]["data"]["usage"]["status"], "complete");
    assert_eq!(counted(&events), [("acme", before.llm.tally().tenant("acme").output)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_service_behind_kong_is_one_event_without_usage_and_holds_no_tokens() {
    let gone = Port::reserve().expect("a port that nobody listens on");
    let plan = json!({"tokens": {"rate": "1/d", "capacity": 5000}});
    let before = Before::start_with(&plan, Llm::start().expect("a provider"), gone.address());
    for _ in 0..20 {
        let reply = before.chat(false).await;
        assert_eq!(
            (reply.status, &reply.json()["message"]),
            (502, &json!("An invalid response was received from the upstream server"))
        );
    }
    let events = before.receiver.usage(20).await;
    assert_eq!(events.len(), 20);
    for event in &events {
        assert_eq!(
            (&event["data"]["outcome"], &event["data"]["usage"]["status"]),
            (&json!("upstream_error"), &json!("none"))
        );
    }
}
