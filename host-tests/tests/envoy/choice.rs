//! Models of a catalogue behind a generated Envoy: chosen by the filter, tried one after the other, each in its own dialect.
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::load::{Call, Client, Reply};
use weir_rig::workspace;

use crate::edge::tenant;
use crate::provider::{INPUT_TOKENS, Mood, OUTPUT_TOKENS, Provider};
use crate::receiver::Receiver;

/// How many requests the clients of `choice.py` make.
const OF_CLIENTS: usize = 10;

struct Stack {
    envoy: Envoy,
    client: Client,
    receiver: Receiver,
    /// The cheap one: Anthropic's dialect.
    first: Provider,
    /// OpenAI's.
    second: Provider,
}

fn model(name: &str, provider: &str, price: u64) -> Value {
    json!({"name": name, "provider": provider, "upstream": format!("{name}-upstream"), "context_max_tokens": 10_000_000,
           "output_max_tokens": 8_000, "quality": {"chat": 80}, "price": {"input": price, "output": price}})
}

fn gateway(weir: SocketAddr, first: SocketAddr, second: SocketAddr) -> Value {
    let key = |header: &str, prefix: &str| json!({"env": format!("{}_KEY", header.replace('-', "_")), "header": header, "prefix": prefix});
    json!({
        "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "weir": weir.to_string(),
        "wasm": workspace::weir_wasm().expect("the built module"),
        "providers": {
            "first": {"address": first.to_string(), "tls": false, "key": key("x-api-key", "")},
            "second": {"address": second.to_string(), "tls": false, "key": key("authorization", "Bearer ")},
        },
        "filter": {
            "version": 1,
            "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}, {"api_key": {"header": "x-api-key", "prefix": "sk_weir_"}}]},
            "tenants": [tenant("acme", "p"), tenant("globex", "eu")],
            "plans": {"p": {}, "eu": {"region": "eu"}},
            "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
            "providers": [{"name": "first", "dialect": "anthropic", "authority": "first.example.com"},
                          {"name": "second", "dialect": "openai", "region": "eu", "path": "/deep/v1/chat/completions"}],
            "models": [model("haiku", "first", 1), model("mini", "second", 2)],
            "routing": {"rules": [{"model": "auto", "candidates": ["mini", "haiku"]}], "tell_client": true},
        },
    })
}

impl Stack {
    fn start() -> Self {
        let (first, second) = (Provider::start(), Provider::start());
        let at = first.address();
        Self::with(first, second, at)
    }

    /// `at`: where the gateway believes the first provider to be.
    fn with(first: Provider, second: Provider, at: SocketAddr) -> Self {
        Self::edited(first, second, at, |_| {})
    }

    /// With other routing.
    fn routed(edit: fn(&mut Value)) -> Self {
        let (first, second) = (Provider::start(), Provider::start());
        let at = first.address();
        Self::edited(first, second, at, edit)
    }

    fn edited(first: Provider, second: Provider, at: SocketAddr, edit: fn(&mut Value)) -> Self {
        let receiver = Receiver::start();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.yaml");
        let mut gateway = gateway(receiver.address(), at, second.address());
        edit(&mut gateway["filter"]);
        if gateway["filter"]["providers"][0]["dialect"] == "bedrock_anthropic" {
            gateway["providers"]["first"]["key"] = gateway["providers"]["second"]["key"].clone();
        }
        std::fs::write(&file, gateway.to_string()).expect("written");
        let run = workspace::run_weir(&["gateway".as_ref(), "generate".as_ref(), file.as_os_str()]).expect("weir");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let bootstrap = Bootstrap::from_yaml(&String::from_utf8_lossy(&run.stdout)).expect("JSON");
        let keys = [("x_api_key_KEY", "key-of-the-first"), ("authorization_KEY", "key-of-the-second")];
        let mut options = Options { concurrency: 2, ..Options::default() };
        options.env.extend(keys.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let envoy = Envoy::start(&bootstrap, &options).expect("Envoy");
        Stack { envoy, client: Client::new(), receiver, first, second }
    }

    fn call(&self, path: &str, body: &Value) -> Call {
        Call::post(format!("{}{path}", self.envoy.url()), body).header("authorization", "Bearer sk_weir_acme")
    }

    async fn stream(&self, path: &str) -> Reply {
        let body = json!({"model": "auto", "stream": true, "max_tokens": 50,
                          "messages": [{"role": "user", "content": "How are you?"}]});
        self.client.send(self.call(path, &body)).await
    }

    fn counted(&self, metric: &str) -> u64 {
        self.envoy.stats(metric).expect("stats").values().sum()
    }

    async fn chat(&self, model: &str) -> Reply {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "How are you?"}]});
        self.client.send(self.call("/v1/chat/completions", &body)).await
    }

    fn run_clients(&self) {
        let root = workspace::root();
        let run = Command::new("python3")
            .arg(root.join("host-tests/tests/envoy/choice.py"))
            .arg(self.envoy.url())
            .env("PYTHONPATH", root.join(".tools/clients"))
            .output()
            .expect("python3");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "`make setup` brings the clients. {said}\n{}", self.envoy.log());
    }

    /// The events of the clients, each with the tokens that the provider said.
    async fn events_of_clients(&self) -> Vec<Value> {
        let events = self.receiver.usage(OF_CLIENTS).await;
        assert_eq!(events.len(), OF_CLIENTS, "{events:?}");
        for event in &events {
            let usage = &event["data"]["usage"];
            assert_eq!(usage["status"], "complete", "{event}");
            assert_eq!(
                (&usage["input_tokens"], &usage["output_tokens"]),
                (&json!(INPUT_TOKENS), &json!(OUTPUT_TOKENS)),
                "{event}"
            );
            assert_eq!(event["data"]["request_model"], "auto", "{event}");
        }
        events
    }
}

/// A port that refuses connections.
fn nowhere() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_official_clients_are_served_by_a_provider_of_the_other_dialect() {
    let stack = Stack::start();
    stack.run_clients();
    for event in stack.events_of_clients().await {
        let data = &event["data"];
        assert_eq!((&data["routed"]["served"], &data["routed"]["attempts"]), (&json!("haiku"), &json!(1)), "{event}");
        assert_eq!(
            (&data["provider"], &data["response_model"]),
            (&json!("anthropic"), &json!("haiku-upstream")),
            "{event}"
        );
    }
    assert!(stack.second.saw().is_empty());
    for saw in stack.first.saw() {
        assert_eq!((saw.path.as_str(), saw.header("host")), ("/v1/messages", Some("first.example.com")));
        assert_eq!((saw.header("x-api-key"), saw.header("authorization")), (Some("key-of-the-first"), None));
        let ours = saw
            .headers
            .iter()
            .find(|(name, _)| name.starts_with("x-tenant") || name.starts_with("x-weir") || name == "x-model");
        assert_eq!(ours, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_the_first_provider_the_clients_do_not_notice() {
    for mood in [Mood::Fails(500), Mood::Fails(529), Mood::Fails(429), Mood::Resets] {
        let stack = Stack::start();
        stack.first.feels(mood);
        stack.run_clients();
        let events = stack.events_of_clients().await;
        for event in &events {
            let data = &event["data"];
            assert_eq!(
                (&data["routed"]["served"], &data["provider"]),
                (&json!("mini"), &json!("openai")),
                "{mood:?} {event}"
            );
        }
        let attempts: u64 = events.iter().filter_map(|event| event["data"]["routed"]["attempts"].as_u64()).sum();
        let (first, second) = (stack.first.saw(), stack.second.saw());
        assert_eq!((attempts, second.len()), ((first.len() + second.len()) as u64, OF_CLIENTS), "{mood:?}");
        for saw in second {
            assert_eq!(saw.path, "/deep/v1/chat/completions");
            assert_eq!(
                (saw.header("authorization"), saw.header("x-api-key")),
                (Some("Bearer key-of-the-second"), None)
            );
            assert_eq!(saw.body["model"], "mini-upstream");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_connections_costs_no_answer() {
    let stack = Stack::with(Provider::start(), Provider::start(), nowhere());
    stack.run_clients();
    let events = stack.events_of_clients().await;
    assert!(events.iter().all(|event| event["data"]["routed"]["served"] == "mini"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_left_alone_until_a_probe_succeeds() {
    let stack = Stack::start();
    stack.first.feels(Mood::Fails(503));
    for _ in 0..20 {
        assert_eq!(stack.chat("auto").await.status, 200);
    }
    let tried = stack.first.saw().len();
    assert!((5..=7).contains(&tried), "five failures open the breaker, and a worker may be a little behind: {tried}");
    assert_eq!((stack.counted("weir_breakers_opened"), stack.counted("weir_attempts_failed")), (1, tried as u64));
    stack.first.feels(Mood::Serves);
    tokio::time::sleep(std::time::Duration::from_millis(5_200)).await;
    let reply = stack.chat("auto").await;
    assert_eq!(reply.header("x-weir-served"), Some("first;haiku;1"));
    assert_eq!(stack.chat("auto").await.header("x-weir-route"), Some("asked=auto;chosen=haiku;reason=cheapest"));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_opens_the_breaker_at_once() {
    let stack = Stack::start();
    stack.first.feels(Mood::Limits(30));
    for _ in 0..6 {
        assert_eq!(stack.chat("auto").await.status, 200);
    }
    assert_eq!(stack.first.saw().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_provider_fails_the_client_gets_its_own_dialects_error() {
    let stack = Stack::start();
    stack.first.feels(Mood::Fails(529));
    stack.second.feels(Mood::Fails(500));
    for _ in 0..8 {
        let reply = stack.chat("auto").await;
        assert!(matches!(reply.status, 500 | 503), "{}", reply.status);
        assert!(reply.json()["error"]["message"].is_string(), "{}", reply.text());
    }
    let events = stack.receiver.usage(8).await;
    assert!(events.iter().any(|event| event["data"]["routed"]["reason"] == "last_resort"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_with_an_error_in_the_clients_dialect_and_is_sent_to_nobody_else() {
    let stack = Stack::start();
    stack.first.feels(Mood::Cuts);
    let body = json!({"model": "auto", "stream": true, "messages": [{"role": "user", "content": "How are you?"}]});
    let reply = stack.client.send(stack.call("/v1/chat/completions", &body)).await;
    assert_eq!(reply.status, 200);
    let events = reply.events();
    assert!(events.last().is_some_and(|event| event["error"]["message"].is_string()), "{}", reply.text());
    assert!(stack.second.saw().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_translated_is_another_providers_turn() {
    let stack = Stack::start();
    stack.first.feels(Mood::Garbles);
    let reply = stack.chat("auto").await;
    assert_eq!((reply.status, reply.header("x-weir-served")), (200, Some("second;mini;2")), "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_a_region_is_served_there_or_not_at_all() {
    let stack = Stack::start();
    let ask = |model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "How are you?"}]});
        let url = format!("{}/v1/chat/completions", stack.envoy.url());
        stack.client.send(Call::post(url, &body).header("authorization", "Bearer sk_weir_globex"))
    };
    let reply = ask("auto").await;
    assert_eq!((reply.status, reply.header("x-weir-served")), (200, Some("second;mini;1")));
    stack.second.feels(Mood::Fails(500));
    assert_eq!(ask("auto").await.status, 500);
    for elsewhere in ["haiku", "unheard-of"] {
        let reply = ask(elsewhere).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("no_model_fits")), "{elsewhere}");
    }
    assert!(stack.first.saw().is_empty());
}

fn at_bedrock() -> Stack {
    Stack::routed(|filter| {
        filter["providers"][0] =
            json!({"name": "first", "dialect": "bedrock_anthropic", "authority": "bedrock.example.com"});
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_at_bedrock_fails_at_is_another_providers_turn_and_other_errors_are_told_in_the_clients_dialect() {
    let stack = at_bedrock();
    let body = json!({"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "How are you?"}]});
    for (status, name) in
        [(408, "ModelTimeoutException"), (424, "ModelErrorException"), (400, "ServiceQuotaExceededException")]
    {
        stack.first.feels(Mood::FailsAtBedrock(status, name));
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let reply = stack.client.send(stack.call(path, &body)).await;
            assert_eq!((reply.status, reply.header("x-weir-served")), (200, Some("second;mini;2")), "{name} {path}");
        }
        stack.first.feels(Mood::Serves);
        assert_eq!(stack.chat("haiku").await.status, 200, "one that serves closes no open breaker");
    }
    assert_eq!(stack.counted("weir_attempts_failed"), 6);
    stack.first.feels(Mood::FailsAtBedrock(400, "ValidationException"));
    let chat = stack.chat("auto").await;
    assert_eq!((chat.status, &chat.json()["error"]["type"]), (400, &json!("invalid_request_error")), "{}", chat.text());
    let message = stack.client.send(stack.call("/v1/messages", &body)).await;
    let expected = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "That went wrong."}});
    assert_eq!((message.status, message.json()), (400, expected));
    assert_eq!(stack.counted("weir_attempts_failed"), 6, "that is the client's fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bedrock_does_not_know_goes_to_the_next_provider_and_what_it_knows_into_the_body() {
    let stack = at_bedrock();
    let image = |source: Value| json!([{"type": "image", "source": source}]);
    for (beta, content, served) in [
        ("context-1m-2025-08-07, prompt-caching-2024-07-31", json!("Hi"), "first;haiku;1"),
        ("files-api-2025-04-14", json!("Hi"), "second;mini;1"),
        ("", image(json!({"type": "url", "url": "https://a.example/b.png"})), "second;mini;1"),
        ("", image(json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="})), "first;haiku;1"),
    ] {
        let messages = json!([{"role": "user", "content": content}]);
        let call = stack.call("/v1/messages", &json!({"model": "auto", "max_tokens": 50, "messages": messages}));
        let call = if beta.is_empty() { call } else { call.header("anthropic-beta", beta) };
        let reply = stack.client.send(call).await;
        assert_eq!((reply.status, reply.header("x-weir-served")), (200, Some(served)), "{beta} {}", reply.text());
    }
    let saw = &stack.first.saw()[0];
    assert_eq!(
        (&saw.path[..], &saw.body["anthropic_beta"]),
        ("/model/haiku-upstream/invoke", &json!(["context-1m-2025-08-07"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_pick_a_chain() {
    let stack = Stack::start();
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": "How are you?"}]});
    let call = stack.call("/v1/chat/completions", &body).header("x-weir-chain", "second");
    assert_eq!(stack.client.send(call).await.header("x-weir-served"), Some("first;haiku;1"));
    let unknown =
        stack.call("/v1/chat/completions", &json!({"model": "x", "messages": []})).header("x-weir-chain", "second");
    assert_eq!(stack.client.send(unknown).await.status, 404);
    assert!(stack.second.saw().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_of_several_megabytes_is_translated_and_sent_again() {
    let stack = Stack::start();
    stack.first.feels(Mood::Fails(500));
    let text = "word ".repeat(600_000);
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": text}]});
    let reply = stack.client.send(stack.call("/v1/chat/completions", &body)).await;
    assert_eq!((reply.status, reply.header("x-weir-served")), (200, Some("second;mini;2")), "{}", reply.text());
    assert_eq!(stack.second.saw()[0].body["messages"][0]["content"], text);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_budget_of_retries_a_request_gets_the_answer_of_its_attempt() {
    let stack = Stack::routed(|filter| filter["routing"]["retry_budget"] = json!({"percent": 0, "floor": 0}));
    for (mood, status) in [(Mood::Fails(500), 500), (Mood::Fails(429), 429), (Mood::Garbles, 502), (Mood::Resets, 503)]
    {
        stack.first.feels(mood);
        let reply = stack.chat("auto").await;
        assert_eq!(reply.status, status, "{mood:?} {}", reply.text());
        assert!(reply.json()["error"]["message"].is_string(), "{mood:?} {}", reply.text());
        assert_eq!(reply.header("x-envoy-ratelimited"), None, "that is between the filter and Envoy");
    }
    assert_eq!((stack.first.saw().len(), stack.second.saw().len()), (4, 0));
    assert_eq!((stack.counted("weir_retries_refused"), stack.counted("weir_attempts_failed")), (4, 4));
    let events = stack.receiver.usage(4).await;
    for routed in events.iter().map(|event| &event["data"]["routed"]) {
        assert_eq!((&routed["attempts"], &routed["retry_refused"]), (&json!(1), &json!(true)), "{routed}");
    }
    stack.first.feels(Mood::Serves);
    assert_eq!(stack.chat("auto").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_of_the_budget_is_granted_whatever_the_traffic() {
    let stack = Stack::routed(|filter| filter["routing"]["retry_budget"] = json!({"percent": 0, "floor": 100}));
    for mood in [Mood::Fails(503), Mood::Resets, Mood::Garbles] {
        stack.first.feels(mood);
        let reply = stack.chat("auto").await;
        assert_eq!((reply.status, reply.header("x-weir-served")), (200, Some("second;mini;2")), "{mood:?}");
    }
    assert_eq!(stack.counted("weir_retries_refused"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_sends_no_token_in_time_is_left_whether_its_head_came_or_not() {
    let stack = Stack::routed(|filter| {
        filter["routing"]["first_token_ms_max"] = json!(60_000);
        for provider in filter["providers"].as_array_mut().into_iter().flatten() {
            provider["first_token_ms_max"] = json!(700);
        }
    });
    // Over both dialects: what is held is translated, or it is not.
    for (mood, path) in [
        (Mood::Silent, "/v1/chat/completions"),
        (Mood::OnlyHead, "/v1/chat/completions"),
        (Mood::Silent, "/v1/messages"),
        (Mood::OnlyHead, "/v1/messages"),
    ] {
        stack.first.feels(mood);
        let reply = stack.stream(path).await;
        assert_eq!((reply.status, reply.header("x-weir-served")), (200, Some("second;mini;2")), "{mood:?} {path}");
        assert!(reply.error.is_none(), "{mood:?} {path}: {}", reply.text());
    }
    assert_eq!((stack.first.saw().len(), stack.second.saw().len()), (4, 4));
    assert_eq!(stack.counted("weir_attempts_failed"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_connection_breaks_is_reset_for_the_client_and_counted_so_far() {
    let stack = Stack::start();
    for path in ["/v1/chat/completions", "/v1/messages"] {
        stack.first.feels(Mood::Breaks);
        let reply = stack.stream(path).await;
        assert!(reply.status == 200 && reply.error.is_some(), "Envoy lets no filter end it: {}", reply.text());
        assert!(!reply.events().is_empty(), "its first words went on");
    }
    assert!(stack.second.saw().is_empty(), "never behind the first byte");
    for event in stack.receiver.usage(2).await {
        let data = &event["data"];
        assert_eq!((&data["outcome"], &data["routed"]["attempts"]), (&json!("upstream_reset"), &json!(1)), "{event}");
        assert_eq!(data["usage"]["status"], "estimated", "{event}");
        assert!(data["usage"]["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{event}");
    }
}
