//! The shipped Envoy files beyond `sidecar.yaml`, as they stand: only addresses, secrets and tenants are put in.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::{Behaviour, Llm};
use weir_rig::load::{Call, Client, Reply};
use weir_rig::workspace;

use crate::receiver::Receiver;

const KEY: &str = "sk_weir_acme";

fn shipped(file: &str) -> Bootstrap {
    let bootstrap = Bootstrap::from_file(&workspace::root().join(file)).expect("the shipped file");
    bootstrap.on_free_ports().code(&workspace::weir_wasm().expect("the built module")).expect("a filter")
}

/// The file's own configuration with acme in it, on `plan`, and events that leave soon.
fn with_acme(bootstrap: Bootstrap, plan: &str) -> Bootstrap {
    let key = json!({"id": "key_1", "sha256": KeyHash::of(KEY.as_bytes())});
    let acme = json!([{"id": "acme", "plan": plan, "keys": [key]}]);
    let edit = |config: &mut Value| {
        config["configuration"]["value"]["tenants"] = acme.clone();
        config["configuration"]["value"]["events"]["flush"] = json!("200ms");
    };
    bootstrap.each_wasm_filter(edit).expect("a filter")
}

/// Takes the TLS away from a cluster after seeing that it was there and says whom to believe.
fn in_clear(config: &mut Value, cluster: &str) {
    let clusters = config["static_resources"]["clusters"].as_array_mut().expect("clusters");
    let found = clusters.iter_mut().find(|found| found["name"] == cluster).expect("the cluster");
    let tls = found.as_object_mut().expect("fields").remove("transport_socket").expect("TLS to the provider");
    let tls = &tls["typed_config"];
    assert!(tls["sni"].is_string() && tls["auto_sni_san_validation"] == true, "{cluster}: {tls}");
    assert!(tls["common_tls_context"]["validation_context"]["trusted_ca"].is_object(), "{cluster}: {tls}");
}

fn names(llm: &Llm) -> Vec<String> {
    llm.seen().iter().map(|seen| seen.path.clone()).collect()
}

/// `by-class.yaml` with a stand-in behind every cluster.
struct Gateway {
    envoy: Envoy,
    client: Client,
    receiver: Receiver,
    openai: Llm,
    backup: Llm,
    anthropic: Llm,
    own: Llm,
    app: Llm,
}

impl Gateway {
    fn start() -> Self {
        let [openai, backup, anthropic, own, app] = [(); 5].map(|()| Llm::start().expect("a stand-in"));
        let receiver = Receiver::start();
        let mut bootstrap = with_acme(shipped("envoy/by-class.yaml"), "enterprise").edit(|config| {
            ["openai-api", "openai-backup-api", "anthropic"].into_iter().for_each(|cluster| in_clear(config, cluster));
            for secret in config["static_resources"]["secrets"].as_array_mut().expect("secrets") {
                let value = format!("the key of {}", secret["name"].as_str().expect("a name"));
                assert!(secret["generic_secret"]["secret"]["environment_variable"].is_string());
                secret["generic_secret"] = json!({"secret": {"inline_string": value}});
            }
        });
        let clusters = [
            ("openai-api", openai.address()),
            ("openai-backup-api", backup.address()),
            ("anthropic", anthropic.address()),
            ("embeddings", own.address()),
            ("app", app.address()),
            ("weir", receiver.address()),
        ];
        for (name, address) in clusters {
            bootstrap = bootstrap.cluster(name, address).expect("the cluster");
        }
        let envoy = Envoy::start(&bootstrap, &Options::default()).expect("Envoy");
        Gateway { envoy, client: Client::new(), receiver, openai, backup, anthropic, own, app }
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        let call =
            Call::post(format!("{}{path}", self.envoy.url()), body).header("authorization", &format!("Bearer {KEY}"));
        self.client.send(call).await
    }
}

fn chat(model: &str) -> Value {
    json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "How are you?"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_go_by_what_weir_found_out_and_the_gateway_puts_the_keys_in() {
    let gateway = Gateway::start();
    let calls = [
        ("/v1/chat/completions", chat("gpt-4o-mini")),
        ("/v1/chat/completions", chat("llama-3.3-70b")),
        ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": "How are you?"})),
        ("/v1/messages", chat("claude-haiku-4-5")),
        ("/orders", json!({"model": "gpt-4o-mini"})),
    ];
    for (path, body) in &calls {
        assert_eq!(gateway.post(path, body).await.status, 200, "{path} {}", gateway.envoy.log());
    }
    assert_eq!(names(&gateway.openai), ["/v1/chat/completions"]);
    assert_eq!(names(&gateway.own), ["/v1/chat/completions", "/v1/embeddings"]);
    assert_eq!(names(&gateway.anthropic), ["/v1/messages"]);
    assert_eq!(names(&gateway.app), ["/orders"]);
    let credential = |llm: &Llm, header| llm.seen()[0].header(header).map(str::to_owned);
    assert_eq!(credential(&gateway.openai, "authorization").as_deref(), Some("the key of openai"));
    assert_eq!(credential(&gateway.anthropic, "x-api-key").as_deref(), Some("the key of anthropic"));
    assert_eq!(credential(&gateway.own, "authorization"), None, "the tenant's key stays at the gateway");
    assert_eq!(gateway.receiver.usage(5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_class_or_model_chooses_no_route() {
    let gateway = Gateway::start();
    let url = format!("{}/v1/chat/completions", gateway.envoy.url());
    let forged = Call::post(url, &chat("gpt-4o-mini")).header("authorization", &format!("Bearer {KEY}"));
    let forged = forged.header("x-request-class", "embedding").header("x-model", "llama-3");
    assert_eq!(gateway.client.send(forged).await.status, 200);
    assert_eq!((names(&gateway.openai).len(), names(&gateway.own).len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_replaced_by_the_next_and_counted_once() {
    let gateway = Gateway::start();
    gateway.openai.behave(Behaviour { status: Some(503), ..Behaviour::default() });
    for _ in 0..3 {
        assert_eq!(gateway.post("/v1/chat/completions", &chat("gpt-4o-mini")).await.status, 200);
    }
    assert_eq!(names(&gateway.backup).len(), 3);
    let seen = gateway.backup.seen();
    assert_eq!(seen[0].header("authorization"), Some("the key of openai-backup"));
    let events = gateway.receiver.usage(3).await;
    let output: u64 = events.iter().filter_map(|event| event["data"]["usage"]["output_tokens"].as_u64()).sum();
    assert_eq!((events.len(), output), (3, gateway.backup.tally().tenant("acme").output));
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_have_rules_of_their_own() {
    let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
    let bootstrap = with_acme(shipped("envoy/per-route.yaml"), "enterprise");
    let bootstrap = bootstrap.cluster("upstream", llm.address()).expect("upstream");
    let bootstrap = bootstrap.cluster("weir", receiver.address()).expect("weir");
    let (envoy, client) = (Envoy::start(&bootstrap, &Options::default()).expect("Envoy"), Client::new());
    let get = |path: &str| Call::get(format!("{}{path}", envoy.url()));
    assert_eq!(client.send(get("/v1/models")).await.status, 401);
    assert_ne!(client.send(get("/favicon.ico")).await.status, 401, "weir is off there");
    assert_eq!(client.send(get("/favicon.ico/x")).await.status, 401);
    let search = Call::post(format!("{}/v2/search/tides", envoy.url()), &json!({"query": "tides"}));
    assert_eq!(client.send(search.header("authorization", &format!("Bearer {KEY}"))).await.status, 200);
    let event = &receiver.usage(1).await[0]["data"];
    assert_eq!(
        (&event["class"], &event["feature"], &event["route"]),
        (&json!("rag"), &json!("search"), &json!("search"))
    );
}
