//! Weir behind Kong.
use std::io::Read;
use std::net::Ipv4Addr;

use axum::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};
use weir_rig::envoy::{Envoy, Options};
use weir_rig::llm::{BEHAVIOUR_HEADER, Llm};
use weir_rig::load::{Call, Client, Reply};
use weir_rig::server::Server;

use super::kong::{self, Settings};
use super::{KEY, chat, counted, forged, shipped, values};
use crate::receiver::Receiver;
use crate::wire;

/// Clients, Kong, Envoy with weir, a provider.
struct Behind {
    kong: Server,
    envoy: Envoy,
    llm: Llm,
    receiver: Receiver,
    client: Client,
}

impl Behind {
    /// Kong knows acme by its key.
    fn start(plan: &Value) -> Self {
        Self::start_with(plan, |settings| settings.consumers(&[("acme's key", "acme")]), |_| {})
    }

    fn start_with(plan: &Value, kong: impl FnOnce(Settings) -> Settings, edit: impl FnOnce(&mut Value)) -> Self {
        let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
        let bootstrap = shipped("envoy-behind-kong.yaml", plan, receiver.address());
        let bootstrap = bootstrap.cluster("upstream", llm.address()).expect("the cluster").edit(edit);
        let envoy = Envoy::start(&bootstrap, &Options::default()).expect("Envoy");
        let kong = kong::start(kong(Settings::to(envoy.listener("edge").expect("the listener"))));
        Behind { kong, envoy, llm, receiver, client: Client::new() }
    }

    async fn send(&self, call: Call) -> Reply {
        self.client.send(call).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kongs_consumer_is_the_tenant_whatever_a_client_forges() {
    let behind = Behind::start(&json!({}));
    let call = forged(chat(&behind.kong.url(), false)).header("apikey", "acme's key");
    let reply = behind.send(call).await;
    assert_eq!(reply.status, 200, "{} {}", reply.text(), behind.envoy.log());
    let seen = &behind.llm.seen()[0];
    assert_eq!((values(seen, "x-tenant-id"), values(seen, "x-tenant-plan")), (vec!["acme"], vec!["p"]));
    assert_eq!(values(seen, "x-consumer-custom-id"), Vec::<&str>::new(), "it was for weir");
    assert_eq!(values(seen, "host"), ["upstream.example.com"]);
    let events = behind.receiver.usage(1).await;
    assert_eq!(counted(&events), [("acme", behind.llm.tally().tenant("acme").output)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_that_kong_does_not_know_gets_past_either_of_them() {
    let known = Behind::start(&json!({}));
    let reply = known.send(forged(chat(&known.kong.url(), false))).await;
    assert_eq!((reply.status, &reply.json()["message"]), (401, &json!("No API key found in request")), "Kong's");
    let open = Behind::start_with(&json!({}), |settings| settings, |_| {});
    let reply = open.send(forged(chat(&open.kong.url(), false))).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (401, &json!("invalid_api_key")),
        "weir's, through Kong"
    );
    assert_eq!((known.llm.seen().len(), open.llm.seen().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kong_that_authenticates_and_clears_nothing_still_lets_nobody_be_two() {
    let settings = |settings: Settings| Settings { clears_first: false, ..settings };
    let behind = Behind::start_with(&json!({}), settings, |_| {});
    let twice =
        chat(&behind.kong.url(), false).header("x-consumer-custom-id", "acme").header("x-consumer-custom-id", "globex");
    assert!([400, 401].contains(&behind.send(twice).await.status), "{}", behind.envoy.log());
    let underscores = chat(&behind.kong.url(), false).header("x_consumer_custom_id", "acme");
    assert_eq!(behind.send(underscores).await.status, 400);
    assert_eq!(behind.llm.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_this_machine_speaks_for_kong() {
    let behind = Behind::start(&json!({}));
    let address = behind.envoy.listener("edge").expect("the listener");
    assert!(address.ip().is_loopback(), "the shipped listener: {address}");
    // Linux takes all of 127.0.0.0/8 for this machine: one of them that the file does not name stands for another one.
    let from =
        |last: u8| reqwest::Client::builder().no_proxy().local_address(Some(Ipv4Addr::new(127, 0, 0, last).into()));
    for (last, expected) in [(1, 200), (2, 401)] {
        let client = from(last).build().expect("a client");
        let call = client.request(Method::GET, format!("http://{address}/v1/models"));
        let call = call.header("X-Consumer-Custom-ID", "acme").header("x-forwarded-for", "127.0.0.1");
        assert_eq!(call.send().await.expect("an answer").status().as_u16(), expected, "127.0.0.{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_headers_for_envoy_decide_nothing_behind_kong() {
    let behind = Behind::start(&json!({}));
    let call = chat(&behind.kong.url(), false).header("apikey", "acme's key").header(BEHAVIOUR_HEADER, "status=503");
    let call = call.header("x-envoy-retry-on", "5xx").header("x-envoy-max-retries", "3");
    assert_eq!(behind.send(call).await.status, 503);
    assert_eq!(behind.llm.seen().len(), 1, "one request, one attempt");
    let slow = chat(&behind.kong.url(), false).header("apikey", "acme's key").header(BEHAVIOUR_HEADER, "delay_ms=300");
    assert_eq!(behind.send(slow.header("x-envoy-upstream-rq-timeout-ms", "1")).await.status, 200);
    assert_eq!(behind.receiver.usage(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn weir_refuses_through_kong_as_without_it() {
    let behind = Behind::start(&json!({"requests": {"rate": "1/d", "capacity": 1}}));
    let call = || chat(&behind.kong.url(), false).header("apikey", "acme's key");
    let replies = [behind.send(call()).await, behind.send(call()).await];
    assert_eq!(replies.each_ref().map(|reply| reply.status), [200, 429]);
    assert!(replies[1].header("retry-after").is_some() && replies[1].json()["error"].is_object());
    assert_eq!(behind.llm.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_behind_kong_is_counted_and_one_that_breaks_off_too() {
    let behind = Behind::start(&json!({}));
    let whole = behind.send(chat(&behind.kong.url(), true).header("apikey", "acme's key")).await;
    assert_eq!((whole.status, whole.error.as_deref()), (200, None));
    assert!(whole.events().iter().all(|event| event["usage"].is_null()), "{}", whole.text());
    let call = chat(&behind.kong.url(), true).header("apikey", "acme's key");
    let cut = behind.send(call.header(BEHAVIOUR_HEADER, "pieces=20, cut_after=5")).await;
    assert!(cut.error.is_some(), "Kong hands the break on");
    let mut events = behind.receiver.usage(2).await;
    events.sort_by_key(|event| event["data"]["outcome"].to_string());
    let statuses = events.iter().map(|event| (&event["data"]["outcome"], &event["data"]["usage"]["status"]));
    assert_eq!(
        statuses.collect::<Vec<_>>(),
        [(&json!("ok"), &json!("complete")), (&json!("upstream_reset"), &json!("estimated"))]
    );
}

/// Sends the tenants' keys through Kong instead of Kong's word, as the comment in the shipped file has it.
fn by_key(config: &mut Value) {
    let filters = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
    filters[0]["typed_config"]["config"]["configuration"]["value"]["identity"]["sources"] =
        json!([{"api_key": {"header": "authorization", "prefix": "sk_weir_"}}]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_keys_pass_through_kong_and_end_at_weir() {
    let behind = Behind::start_with(&json!({}), |settings| settings, by_key);
    let named = chat(&behind.kong.url(), false).header("x-consumer-custom-id", "acme");
    assert_eq!(behind.send(named).await.status, 401, "Kong's word counts no longer");
    assert_eq!(behind.send(forged(chat(&behind.kong.url(), false).header("authorization", KEY))).await.status, 200);
    let seen = &behind.llm.seen()[0];
    assert_eq!((values(seen, "x-tenant-id"), values(seen, "authorization")), (vec!["acme"], Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_key_that_kong_adds_passes_weir_and_a_clients_own_is_not_weirs_business() {
    let with_key = |settings: Settings| Settings {
        adds_authorization: Some("Bearer the provider's key".to_owned()),
        ..settings.consumers(&[("acme's key", "acme")])
    };
    let behind = Behind::start_with(&json!({}), with_key, |_| {});
    assert_eq!(behind.send(chat(&behind.kong.url(), false).header("apikey", "acme's key")).await.status, 200);
    assert_eq!(values(&behind.llm.seen()[0], "authorization"), ["Bearer the provider's key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_capitals_and_a_large_body_pass_behind_kong() {
    let behind = Behind::start(&json!({}));
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "tides ".repeat(100_000)}]});
    let call = Call { body: Bytes::from(body.to_string()), ..chat(&behind.kong.url(), false) };
    assert_eq!(behind.send(call.header("apikey", "acme's key")).await.status, 200, "{}", behind.envoy.log());
    assert_eq!(behind.receiver.usage(1).await[0]["subject"], "acme");
    let headers = "X-Consumer-Custom-ID: acme\r\nVIA: 1.1 kong/3.11.0\r\nconnection: close\r\n";
    let (mut stream, first) = wire::open(&behind.envoy, "GET /v1/models", headers);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the rest");
    assert!(first.contains(" 200 "), "{first}");
    assert_eq!(values(&behind.llm.seen()[1], "x-tenant-id"), ["acme"]);
}
