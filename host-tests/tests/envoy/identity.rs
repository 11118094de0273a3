//! Identity in the real Envoy: its own verifier, and drills of the key set with two workers.
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::clock;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::workspace;

use crate::issuer::{ISSUER, Issuer, token};

struct Stack {
    envoy: Envoy,
    client: Client,
    // Until the end of the test.
    _llm: Llm,
}

impl Stack {
    /// The shipped configuration of Envoy with these sources, and a cluster `auth` where the issuer is.
    fn start(sources: &Value, issuer: Option<&Issuer>) -> Self {
        let tenant = |id: &str, state: &str| {
            let key = json!({"id": "key_1", "sha256": KeyHash::of(format!("sk_weir_{id}").as_bytes())});
            json!({"id": id, "plan": "p", "state": state, "keys": [key]})
        };
        let sha256 = KeyHash::of(b"sk_weir_expired");
        let expired = json!({"id": "initech", "plan": "p", "keys": [{"id": "old", "sha256": sha256, "expires": "2026-01-01T00:00:00Z"}]});
        let filter = json!({
            "version": 1, "identity": {"sources": sources}, "plans": {"p": {}},
            "tenants": [tenant("acme", "active"), tenant("globex", "suspended"), expired],
        });
        let llm = Llm::start().expect("a provider");
        let auth = issuer.map_or(llm.address(), Issuer::address);
        let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
            .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
            .and_then(|config| config.edit(copy_a_cluster).cluster("auth", auth))
            .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
            .and_then(|config| config.configuration(&filter))
            .expect("the shipped configuration");
        let envoy = Envoy::start(&bootstrap, &Options::default()).expect("Envoy");
        Stack { envoy, client: Client::new(), _llm: llm }
    }

    fn models(&self, credential: &str) -> Call {
        Call::get(format!("{}/v1/models", self.envoy.url())).header("authorization", &format!("Bearer {credential}"))
    }

    async fn statuses(&self, credentials: impl Iterator<Item = String>) -> Vec<u16> {
        let calls: Vec<Call> = credentials.map(|credential| self.models(&credential)).collect();
        self.client.send_all(calls, 8).await.iter().map(|reply| reply.status).collect()
    }

    /// Waits until both workers take a token.
    async fn wait_for(&self, credential: &str) {
        for _ in 0..100 {
            let good = self.statuses((0..16).map(|_| credential.to_owned())).await;
            if good.iter().all(|status| *status == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{credential} is not taken: {}", self.envoy.log());
    }
}

fn copy_a_cluster(config: &mut Value) {
    let clusters = config["static_resources"]["clusters"].as_array_mut().expect("clusters");
    let mut auth = clusters.first().expect("a cluster").clone();
    auth["name"] = json!("auth");
    auth["load_assignment"]["cluster_name"] = json!("auth");
    clusters.push(auth);
}

fn fetched(refresh: &str, refetch: &str) -> Value {
    json!([
        {"jwt": {"issuer": ISSUER, "tenant_claim": "tenant",
                 "jwks": {"url": "http://issuer.example.com/keys", "cluster": "auth", "refresh": refresh, "refetch": refetch}}},
        {"api_key": {"prefix": "sk_weir_"}},
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_own_verifier_and_ours_agree_about_every_algorithm() {
    let golden: Value = serde_json::from_str(include_str!("../../../filter/golden/tokens.json")).expect("json");
    let sources = json!([{"jwt": {"issuer": "https://vectors.example.com", "tenant_claim": "org.id", "jwks": {"keys": golden["keys"]}}}]);
    let stack = Stack::start(&sources, None);
    for entry in golden["tokens"].as_array().expect("tokens") {
        let good = entry["token"].as_str().expect("text").to_owned();
        let (signed, signature) = good.rsplit_once('.').expect("a token");
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let spoilt = format!("{signed}.{first}{}", &signature[1..]);
        let statuses = stack.statuses([good.clone(), spoilt, format!("{signed}.AAAA")].into_iter()).await;
        assert_eq!(statuses, [200, 401, 401], "{}", entry["algorithm"]);
    }
}

/// Waits until the key set was asked for this often, and for the last answer.
async fn fetched_again(issuer: &Issuer, times: usize) {
    let begun = clock::instant();
    while issuer.fetches() < times {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} fetches", issuer.fetches());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_under_load_without_a_failed_request() {
    let issuer = Issuer::start(&[1]);
    let stack = Stack::start(&fetched("1s", "1s"), Some(&issuer));
    stack.wait_for(&token(1, "key-1", 0)).await;
    let mut failed = Vec::new();
    for round in 1..=4_u8 {
        // As issuers do: a key is announced, then used, and the old one goes when its tokens are gone.
        issuer.publish(&[round, round + 1]);
        let before = issuer.fetches();
        let old = stack.statuses((0..300).map(|n| token(round, &format!("key-{round}"), n))).await;
        // Each of the three contexts fetches once a second: after two fetches of each all have the new key.
        fetched_again(&issuer, before + 6).await;
        let new = stack.statuses((0..300).map(|n| token(round + 1, &format!("key-{}", round + 1), n))).await;
        failed.extend(old.into_iter().chain(new).filter(|status| *status != 200));
    }
    assert_eq!(failed, Vec::<u16>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_may_be_down_for_longer_than_the_refresh() {
    let issuer = Issuer::start(&[1]);
    let stack = Stack::start(&fetched("1s", "1s"), Some(&issuer));
    stack.wait_for(&token(1, "key-1", 0)).await;
    issuer.down(true);
    let before = issuer.fetches();
    tokio::time::sleep(Duration::from_secs(4)).await;
    fetched_again(&issuer, before + 6).await;
    let statuses = stack.statuses((1..100).map(|n| token(1, "key-1", n))).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_made_up_key_names_is_no_flood_of_fetches() {
    let issuer = Issuer::start(&[1]);
    let stack = Stack::start(&fetched("1h", "60s"), Some(&issuer));
    stack.wait_for(&token(1, "key-1", 0)).await;
    for _ in 0..300 {
        if issuer.fetches() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = issuer.fetches();
    let statuses = stack.statuses((0..3_000).map(|n| token(2, &format!("made-up-{n}"), n))).await;
    assert!(statuses.iter().all(|status| *status == 401), "a fresh set decides");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(issuer.fetches(), before, "three contexts fetched once each, and not again within a minute");
}

/// `golden`'s token with another id, and so with a signature of something else.
fn forged(golden: &str, number: usize) -> String {
    let mut parts = golden.split('.');
    let (header, claims) = (parts.next().expect("a header"), parts.next().expect("claims"));
    let mut claims: Value = serde_json::from_slice(&BASE64.decode(claims).expect("base64")).expect("json");
    claims["jti"] = json!(format!("forged-{number}"));
    format!("{header}.{}.{}", BASE64.encode(claims.to_string()), parts.next().expect("a signature"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_signatures_takes_a_quarter_of_a_worker_and_refuses_no_key() {
    let golden: Value = serde_json::from_str(include_str!("../../../filter/golden/tokens.json")).expect("json");
    let sources = json!([
        {"api_key": {"prefix": "sk_weir_"}},
        {"jwt": {"issuer": "https://vectors.example.com", "tenant_claim": "org.id", "jwks": {"keys": golden["keys"]}}},
    ]);
    let stack = Stack::start(&sources, None);
    let ours = |entry: &&Value| entry["algorithm"] == "PS256";
    let entry = golden["tokens"].as_array().expect("tokens").iter().find(ours).expect("verified in WebAssembly");
    let flood: Vec<Call> =
        (0..2_000).map(|n| stack.models(&forged(entry["token"].as_str().expect("text"), n))).collect();
    let good: Vec<Call> = (0..200).map(|_| stack.models("sk_weir_acme")).collect();
    let began = clock::instant();
    let (flood, during) = tokio::join!(stack.client.send_all(flood, 4), stack.client.send_all(good, 2));
    let elapsed_ms = began.elapsed().as_millis();
    assert!(during.iter().all(|reply| reply.status == 200));
    let count = |status: u16| flood.iter().filter(|reply| reply.status == status).count();
    let (verified, put_off) = (count(401), count(503));
    assert_eq!(verified + put_off, flood.len());
    let said = format!("{verified} verified in {elapsed_ms} ms, {put_off} put off");
    // A quarter of each of two workers, 3,400 us for a token, and what a second saves up.
    let (took_us, budget_us) = (3_400 * verified as u128, 2 * 250 * (elapsed_ms + 1_000));
    assert!(took_us <= budget_us, "{said}");
    assert!(verified > 0 && put_off > 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_clients_get_along_and_raise_their_own_errors() {
    let sources =
        json!([{"api_key": {"prefix": "sk_weir_"}}, {"api_key": {"header": "x-api-key", "prefix": "sk_weir_"}}]);
    let stack = Stack::start(&sources, None);
    let root = workspace::root();
    let run = std::process::Command::new("python3")
        .arg(root.join("host-tests/tests/envoy/clients.py"))
        .arg(stack.envoy.url())
        .env("PYTHONPATH", root.join(".tools/clients"))
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "`make setup` brings the clients. {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_set_that_cannot_be_used_is_ignored_with_a_line_in_the_log() {
    let golden: Value = serde_json::from_str(include_str!("../../../filter/golden/tokens.json")).expect("json");
    let mut keys = golden["keys"].as_array().expect("keys").clone();
    keys.push(json!({"kty": "EC", "crv": "P-384", "kid": "of-another-curve", "x": "AAAA", "y": "AAAA"}));
    let sources =
        json!([{"jwt": {"issuer": "https://vectors.example.com", "tenant_claim": "org.id", "jwks": {"keys": keys}}}]);
    let stack = Stack::start(&sources, None);
    let good = golden["tokens"][0]["token"].as_str().expect("text").to_owned();
    assert_eq!(stack.statuses(std::iter::once(good)).await, [200]);
    let log = stack.envoy.log();
    let line = log.lines().find(|line| line.contains("of-another-curve")).expect("a line");
    assert!(line.contains("is ignored") && line.contains("jwks.keys["), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_api_key_is_called_a_key() {
    let sources = json!([{"api_key": {"prefix": "sk_weir_"}}]);
    let stack = Stack::start(&sources, None);
    let reply = stack.client.send(stack.models("sk_weir_expired")).await;
    assert_eq!(reply.status, 401);
    let text = reply.text();
    assert!(text.contains("The API key has expired.") && !text.contains("token"), "{text}");
}
