//! Tenants' own keys at providers from end to end: the real Envoy, the real `weir serve`, a provider that remembers which key came.
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Behaviour;
use weir_rig::load::{Call, Client, Reply};
use weir_rig::workspace;

use crate::edge::{Edge, Setup, tenant};
use crate::provider::{Mood, Provider};

const GATEWAY: &str = "gateway-token-5f2c8e91d07b";
const WITHOUT: &str = "gateway-token-9b1e44d0c27a";
const OPERATOR: &str = "operator-token-1c7e02ab93";
/// Key-encryption keys.
const KEK: &str = "4f1c93a0b4e84dd2a5d6c1e9b7a4835a1c44f1c93a0b4e84dd2a5d6c1e9b7a48";
const HOUSE: &str = "sk-house-66cc0f6d5b9e4a8c";
const SECRETS: [(&str, &str); 2] =
    [("acme", "sk-proj-acme-7d1f3b5c9a2e4608"), ("globex", "sk-proj-globex-0e8a6c4b2d193f57")];
/// A change is in force within a second; a busy machine takes longer.
const SOON: Duration = Duration::from_secs(20);

/// What is written of a key: its beginning would be enough to find it.
fn beginnings() -> Vec<String> {
    [KEK, HOUSE].iter().chain(SECRETS.iter().map(|(_, secret)| secret)).map(|text| text[..20].to_owned()).collect()
}

fn serve() -> Aggregator {
    let token = |name: &str, scopes: Value, text: &str| json!({"name": name, "scopes": scopes, "sha256": KeyHash::of(text.as_bytes())});
    let config = json!({
        "data": "data", "tenants_database": true, "vault": {"key": {"env": "WEIR_TEST_KEK"}},
        "tokens": [
            token("gateways", json!(["ingest", "directory", "byok"]), GATEWAY),
            token("without", json!(["ingest", "directory"]), WITHOUT),
            token("ann", json!(["admin"]), OPERATOR),
        ],
        "meters": [{"name": "requests", "sum": "requests"}, {"name": "fee", "sum": "requests", "where": {"paid_by": ["tenant"]}}],
    });
    let tenants: Vec<Value> = ["acme", "globex", "initech"].map(|id| tenant(id, "p")).into();
    let file = json!({ "tenants": tenants }).to_string();
    let mut weir =
        Aggregator::start(&config, &[("tenants.yaml", &file)], &[("WEIR_TEST_KEK", KEK)]).expect("weir serve");
    // The keys that tests use are known by their hashes, which only an import takes.
    weir.kill().expect("killed");
    let import = weir.command(&["tenants", "import", &weir.folder().join("tenants.yaml").display().to_string()]);
    assert!(import.expect("imported").status.success());
    weir.restart().expect("weir serve");
    weir
}

async fn store(weir: &Aggregator, method: &str, path: &str, body: &Value) -> (u16, String) {
    let request = Call::post(format!("{}/v1/tenants/{path}", weir.url()), body);
    let mut request = request.header("authorization", &format!("Bearer {OPERATOR}"));
    request.method = method.parse().expect("a method");
    let reply = Client::new().send(request).await;
    (reply.status, reply.text())
}

async fn put(weir: &Aggregator, tenant: &str, secret: &str) {
    let (status, told) =
        store(weir, "PUT", &format!("{tenant}/provider-keys/openai"), &json!({ "secret": secret })).await;
    assert!(status == 200 && !told.contains(secret), "{told}");
}

fn edge(weir: &Aggregator, token: &str) -> Edge {
    let filter = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "directory": {"cluster": "aggregator", "token": token, "refresh": "1s"},
        "plans": {"p": {}},
        "routes": [
            {"name": "elsewhere", "match": {"path_prefix": "/other"}, "tenant_key": {"provider": "openai", "clusters": ["another"]}},
            {"name": "openai", "match": {"path_prefix": "/v1"}, "tenant_key": {"provider": "openai", "clusters": ["upstream"]}},
        ],
        "events": {"cluster": "aggregator", "token": token, "flush": "100ms"},
    });
    let mut setup = Setup {
        options: Options { component_log_level: "wasm:debug".to_owned(), ..Options::default() },
        ..Setup::default()
    };
    setup.clusters = vec![("aggregator", weir.address())];
    // The operator's own key, for requests that come without one; and an access log.
    setup.edit = |config| {
        let http = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        http["route_config"]["virtual_hosts"][0]["routes"][0]["request_headers_to_add"] = json!([{
            "header": {"key": "authorization", "value": format!("Bearer {HOUSE}")},
            "append_action": "ADD_IF_ABSENT",
        }]);
        http["access_log"] = json!([{"name": "envoy.access_loggers.stderr", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog"}}]);
    };
    setup.start(&filter)
}

async fn chat(edge: &Edge, tenant: &str, path: &str) -> Reply {
    let body = json!({"model": "gpt-x", "messages": [{"role": "user", "content": "How are you?"}]});
    let call = Call::post(format!("{}{path}", edge.envoy.url()), &body);
    Client::new().send(call.header("authorization", &format!("Bearer sk_weir_{tenant}"))).await
}

const CHAT: &str = "/v1/chat/completions";

/// The key that the provider saw last.
fn arrived(edge: &Edge) -> String {
    let seen = edge.llm.seen().pop().expect("a request");
    let keys: Vec<&str> =
        seen.headers.iter().filter(|(name, _)| name == "authorization").map(|(_, value)| value.as_str()).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].trim_start_matches("Bearer ").to_owned()
}

fn code(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// Asks until the answer is as expected.
async fn until(edge: &Edge, tenant: &str, expected: (u16, &str)) {
    let begun = clock::instant();
    loop {
        let reply = chat(edge, tenant, CHAT).await;
        let found = code(&reply);
        if (found.0, found.1.as_str()) == expected {
            return;
        }
        assert!(begun.elapsed() < SOON, "{found:?} instead of {expected:?}: {}", edge.envoy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Fails if anything that Envoy or weir serve writes or answers holds a key.
fn assert_unseen(edge: &Edge, weir: &Aggregator) {
    let ask = |path: &str| edge.envoy.ask(path).expect("an answer").body;
    let get = |path: &str| weir.get(path, OPERATOR).expect("an answer").body;
    let mut told: Vec<(String, Vec<u8>)> = vec![
        ("Envoy's log and access log".to_owned(), edge.envoy.log().into_bytes()),
        ("weir serve's log".to_owned(), weir.log().into_bytes()),
    ];
    for path in ["/stats", "/clusters", "/config_dump"] {
        // The operator's own key stands in the configuration: that is where this test put it.
        told.push((path.to_owned(), ask(path).replace(HOUSE, "").into_bytes()));
    }
    for path in [
        "/v1/tenants",
        "/v1/tenants/acme/history",
        "/v1/tenants/acme/provider-keys",
        "/v1/audit",
        "/v1/audit/security",
        "/v1/events",
        "/v1/usage",
        "/v1/status",
        "/v1/tokens",
        "/metrics",
    ] {
        told.push((path.to_owned(), get(path).into_bytes()));
    }
    for path in files(weir.folder()) {
        told.push((path.display().to_string(), std::fs::read(&path).expect("read")));
    }
    for (place, bytes) in told {
        for beginning in beginnings() {
            let found = bytes.windows(beginning.len()).any(|window| window == beginning.as_bytes());
            assert!(!found, "{beginning} is in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenants_key_reaches_its_provider_the_house_pays_where_it_says_so_and_no_key_shows_up_anywhere() {
    let weir = serve();
    let edge = edge(&weir, GATEWAY);
    until(&edge, "acme", (403, "provider_key_missing")).await;
    for (tenant, secret) in SECRETS {
        put(&weir, tenant, secret).await;
        until(&edge, tenant, (200, "")).await;
        assert_eq!(arrived(&edge), secret);
    }
    // Another tenant has none, until its record says that the operator pays.
    until(&edge, "initech", (403, "provider_key_missing")).await;
    store(&weir, "PATCH", "initech/provider-keys", &json!({"fallback": "house"})).await;
    until(&edge, "initech", (200, "")).await;
    assert_eq!(arrived(&edge), HOUSE);
    // A route to another cluster.
    let before = edge.llm.seen().len();
    assert_eq!(chat(&edge, "acme", "/other").await.status, 403);
    assert_eq!(edge.llm.seen().len(), before, "nothing went there");
    // A new key, and one that the provider refuses.
    let second = "sk-proj-acme-7d1f3b5c9a2e4608-second";
    put(&weir, "acme", second).await;
    let begun = clock::instant();
    while arrived(&edge) != second {
        assert!(begun.elapsed() < SOON, "{}", edge.envoy.log());
        assert_eq!(chat(&edge, "acme", CHAT).await.status, 200, "no request fails meanwhile");
    }
    edge.llm.behave(Behaviour { status: Some(401), ..Behaviour::default() });
    until(&edge, "acme", (403, "provider_key_refused")).await;
    assert_eq!(chat(&edge, "initech", CHAT).await.status, 401, "the operator's own key: the operator's own trouble");
    edge.llm.behave(Behaviour::default());
    store(&weir, "DELETE", "acme/provider-keys/openai", &json!({})).await;
    until(&edge, "acme", (403, "provider_key_missing")).await;
    let begun = clock::instant();
    while !weir.get("/v1/usage", OPERATOR).expect("usage").body.contains("\"fee\"") {
        assert!(begun.elapsed() < SOON, "{}", weir.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(edge.metric("weir_security.kind.refused_provider_key") > 0);
    assert_unseen(&edge, &weir);
}

/// A generated gateway of one worker with two providers of one dialect: `mine` is cheaper, and takes tenants' own keys.
fn routed(weir: &Aggregator, mine: SocketAddr, house: SocketAddr, edit: fn(&mut Value)) -> Envoy {
    let key = json!({"env": "HOUSE_KEY", "header": "authorization", "prefix": "Bearer "});
    let model = |name: &str, provider: &str, price: u64| {
        json!({"name": name, "provider": provider, "context_max_tokens": 10_000, "output_max_tokens": 1_000,
               "price": {"input": price, "output": price}})
    };
    let mut gateway = json!({
        "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "weir": weir.address().to_string(),
        "wasm": workspace::weir_wasm().expect("the built module"),
        "providers": {"mine": {"address": mine.to_string(), "tls": false, "key": key},
                      "house": {"address": house.to_string(), "tls": false, "key": key}},
        "filter": {
            "version": 1,
            "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
            "directory": {"cluster": "weir", "token": GATEWAY, "refresh": "1s"},
            "plans": {"p": {}},
            "events": {"cluster": "weir", "token": GATEWAY, "flush": "100ms"},
            "providers": [{"name": "mine", "dialect": "openai", "tenant_key": {"provider": "openai"}},
                          {"name": "house", "dialect": "openai"}],
            "models": [model("small", "mine", 1), model("large", "house", 2)],
            "routing": {"rules": [{"model": "auto", "candidates": ["small", "large"]}], "tell_client": true},
        },
    });
    edit(&mut gateway["filter"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, gateway.to_string()).expect("written");
    let run = workspace::run_weir(&["gateway".as_ref(), "generate".as_ref(), file.as_os_str()]).expect("weir");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let bootstrap = Bootstrap::from_yaml(&String::from_utf8_lossy(&run.stdout)).expect("JSON");
    let mut options = Options { concurrency: 1, component_log_level: "wasm:debug".to_owned(), ..Options::default() };
    options.env.push(("HOUSE_KEY".to_owned(), HOUSE.to_owned()));
    Envoy::start(&bootstrap, &options).expect("Envoy")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_catalogue_each_attempt_gets_the_tenants_own_key_for_its_provider_and_no_other() {
    let weir = serve();
    put(&weir, "acme", SECRETS[0].1).await;
    let (mine, house) = (Provider::start(), Provider::start());
    let envoy = routed(&weir, mine.address(), house.address(), |_| {});
    let chat = |tenant: &'static str, model: &'static str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "How are you?"}]});
        let call = Call::post(format!("{}{CHAT}", envoy.url()), &body);
        let call =
            call.header("authorization", &format!("Bearer sk_weir_{tenant}")).header("x-api-key", "sk-of-the-client");
        async move { Client::new().send(call).await }
    };
    let begun = clock::instant();
    loop {
        let reply = chat("acme", "auto").await;
        if reply.header("x-weir-served") == Some("mine;small;1") {
            break;
        }
        assert!(begun.elapsed() < SOON, "{} {}", reply.text(), envoy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let keys = |provider: &Provider| {
        let saw = provider.saw().pop().expect("a request");
        (saw.header("authorization").map(str::to_owned), saw.header("x-api-key").map(str::to_owned))
    };
    assert_eq!(keys(&mine), (Some(format!("Bearer {}", SECRETS[0].1)), None));
    // Another tenant has no key: its candidate drops out, or the request does.
    assert_eq!(chat("globex", "auto").await.header("x-weir-served"), Some("house;large;1"));
    assert_eq!(keys(&house), (Some(format!("Bearer {HOUSE}")), None));
    assert_eq!(code(&chat("globex", "small").await), (403, "provider_key_missing".to_owned()));
    // The next provider never sees the tenant's key.
    mine.feels(Mood::Fails(503));
    assert_eq!(chat("acme", "auto").await.header("x-weir-served"), Some("house;large;2"));
    assert_eq!(keys(&house), (Some(format!("Bearer {HOUSE}")), None));
    mine.feels(Mood::Fails(401));
    assert_eq!(code(&chat("acme", "auto").await), (403, "provider_key_refused".to_owned()));
    let ask = |path: &str| envoy.ask(path).expect("an answer").body;
    for (place, text) in [("stats", ask("/stats")), ("config_dump", ask("/config_dump")), ("log", envoy.log())] {
        assert!(!text.contains(&SECRETS[0].1[..20]), "a key is in {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_befalls_an_own_account_concerns_its_tenant_alone_and_the_operators_limit_concerns_no_own_account() {
    let weir = serve();
    put(&weir, "acme", SECRETS[0].1).await;
    let (mine, house) = (Provider::start(), Provider::start());
    let envoy = routed(&weir, mine.address(), house.address(), |filter| {
        filter["providers"][0]["tenant_key"]["required"] = json!(false);
        filter["routing"]["retry_budget"] = json!({"percent": 0, "floor": 1});
    });
    let served = |tenant: &'static str| {
        let body = json!({"model": "auto", "messages": [{"role": "user", "content": "How are you?"}]});
        let call = Call::post(format!("{}{CHAT}", envoy.url()), &body);
        let call = call.header("authorization", &format!("Bearer sk_weir_{tenant}"));
        async move {
            let reply = Client::new().send(call).await;
            reply.header("x-weir-served").map_or_else(|| reply.status.to_string(), str::to_owned)
        }
    };
    let with_key = || mine.saw().pop().and_then(|saw| saw.header("authorization").map(str::to_owned));
    let begun = clock::instant();
    while served("acme").await != "mine;small;1" || with_key() != Some(format!("Bearer {}", SECRETS[0].1)) {
        assert!(begun.elapsed() < SOON, "{}", envoy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The own account runs into its limit time and again: nobody else is kept away, and nothing of the budget is used.
    mine.feels(Mood::Fails(429));
    for _ in 0..10 {
        assert_eq!(served("acme").await, "house;large;2");
    }
    mine.feels(Mood::Serves);
    assert_eq!(served("globex").await, "mine;small;1");
    let counted = |metric: &str| envoy.stats(metric).expect("stats").values().sum::<u64>();
    assert_eq!((counted("weir_attempts_own_limited"), counted("weir_breakers_opened")), (10, 0));
    // The operator's account is at its limit for long: the tenant's own goes on, and says nothing of it.
    mine.feels(Mood::Limits(600));
    assert_eq!(served("globex").await, "house;large;2", "the one that the floor grants");
    mine.feels(Mood::Serves);
    for _ in 0..3 {
        assert_eq!([served("acme").await, served("globex").await], ["mine;small;1", "house;large;1"]);
    }
    // The own account asks for patience, and is left alone.
    mine.feels(Mood::Limits(600));
    assert_eq!([served("acme").await, served("acme").await], ["house;large;2", "house;large;1"]);
    assert_eq!(counted("weir_retries_refused"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_the_scope_refuses_and_never_uses_the_operators_key() {
    let weir = serve();
    put(&weir, SECRETS[0].0, SECRETS[0].1).await;
    let edge = edge(&weir, WITHOUT);
    until(&edge, "acme", (403, "provider_key_unavailable")).await;
    assert!(edge.llm.seen().is_empty());
    assert_unseen(&edge, &weir);
}
