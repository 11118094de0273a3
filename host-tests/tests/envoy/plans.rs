//! Plans in the real Envoy: held bodies, edits, reservations.
use bytes::Bytes;
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client, Reply};
use weir_rig::workspace;

struct Gateway {
    envoy: Envoy,
    llm: Llm,
    client: Client,
}

impl Gateway {
    /// The shipped configuration of Envoy with acme on `plan`, and this many workers.
    fn start(plan: &Value, workers: u32) -> Self {
        let hash = KeyHash::of(b"sk_weir_acme");
        let config = json!({
            "version": 1,
            "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
            "tenants": [{"id": "acme", "plan": "p", "keys": [{"id": "key_1", "sha256": hash}]}],
            "plans": {"p": plan},
        });
        let llm = Llm::start().expect("a provider");
        let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
            .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
            .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
            .and_then(|shipped| shipped.configuration(&config))
            .expect("the shipped configuration");
        let options = Options { concurrency: workers, ..Options::default() };
        Gateway { envoy: Envoy::start(&bootstrap, &options).expect("Envoy"), llm, client: Client::new() }
    }

    fn chat(&self, body: &Value) -> Call {
        let url = format!("{}/v1/chat/completions", self.envoy.url());
        Call::post(url, body).header("authorization", "Bearer sk_weir_acme")
    }

    async fn send(&self, body: &Value) -> Reply {
        self.client.send(self.chat(body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_model_arrives_with_the_right_length() {
    let models = json!({"allow": ["mini"], "otherwise": {"replace": "mini"}});
    let gateway = Gateway::start(&json!({"models": models, "output_tokens_max": 9}), 2);
    let text = "x".repeat(200_000);
    let body = json!({"model": "a-large-model", "messages": [{"role": "user", "content": text}]});
    assert_eq!(gateway.send(&body).await.status, 200);
    let seen = gateway.llm.seen().pop().expect("a request");
    assert_eq!((seen.header("x-model"), seen.header("x-request-class")), (Some("mini"), Some("chat")));
    let length: usize = seen.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
    let grown = "\"max_tokens\":9,".len() + "mini".len() - "a-large-model".len();
    assert_eq!(length, body.to_string().len() + grown);
    assert!(seen.body.starts_with(b"{\"max_tokens\":9,\"messages\":"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_outside_the_plan_never_reaches_the_provider() {
    let gateway = Gateway::start(&json!({"models": {"allow": ["mini"]}}), 2);
    let refused = gateway.send(&json!({"model": "large", "messages": []})).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("model_not_allowed")));
    let padded = format!("{{\"model\":\"large\",\"x\":\"{}\"}}", "x".repeat(11_000_000));
    let padded = Call { body: Bytes::from(padded), ..gateway.chat(&json!({})) };
    let refused = gateway.client.send(padded).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (413, &json!("body_too_large")));
    assert!(gateway.llm.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_without_a_rule_passes_whole() {
    let gateway = Gateway::start(&json!({"requests": {"rate": "100/s"}}), 2);
    let body = format!("{{\"model\":\"m\",\"messages\":[],\"x\":\"{}\"}}", "x".repeat(11_000_000));
    let call = Call { body: Bytes::from(body), ..gateway.chat(&json!({})) };
    assert_eq!(gateway.client.send(call).await.status, 200);
    assert_eq!(gateway.llm.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_no_event_that_the_client_did_not_ask_for() {
    let gateway = Gateway::start(&json!({}), 2);
    let reply = gateway.send(&json!({"model": "gpt-4o", "stream": true, "messages": [{"content": "hi"}]})).await;
    let seen: Value = serde_json::from_slice(&gateway.llm.seen().pop().expect("a request").body).expect("JSON");
    assert_eq!(seen["stream_options"]["include_usage"], true);
    assert!(reply.events().iter().all(|event| event["choices"] != json!([])), "{}", reply.text());
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_reserve_no_more_tokens_than_there_are() {
    let gateway = Gateway::start(&json!({"tokens": {"rate": "1/d", "capacity": 4_000}}), 4);
    let body = json!({"model": "m", "messages": [{"content": "hi"}], "max_tokens": 100});
    let calls = (0..200).map(|_| gateway.chat(&body).header("x-rig-behaviour", "output_tokens=100, delay_ms=300"));
    let replies = gateway.client.send_all(calls.collect::<Vec<_>>(), 100).await;
    let admitted = replies.iter().filter(|reply| reply.status == 200).count() as u64;
    let used = gateway.llm.tally().tenant("acme");
    assert!(used.input + used.output <= 4_000, "{used:?}");
    assert!(admitted >= 4_000 / 130, "it reaches what there is: {admitted}");
    let limited = replies.iter().filter(|reply| reply.status == 429).all(|reply| reply.header("retry-after").is_some());
    assert!(limited, "a refusal says how long");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_admit_exactly_the_capacity_though_bodies_are_held() {
    let gateway = Gateway::start(&json!({"requests": {"rate": "1/d", "capacity": 50}}), 4);
    let body = json!({"model": "m", "messages": []});
    let calls: Vec<_> = (0..200).map(|_| gateway.chat(&body)).collect();
    let replies = gateway.client.send_all(calls, 16).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 50);
    assert_eq!(gateway.llm.seen().len(), 50);
}
