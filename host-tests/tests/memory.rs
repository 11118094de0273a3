//! Tenants come and go, keys and tokens with them; streams run, break and are refused; and a worker's memory stops growing.
//! `make memory REQUESTS=1000000` prints the figures.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Call, Gateway, Reply, Request, Response, get, ms, ok, post, status};
use weir_rig::workspace;
use weir_seeded::SplitMix64;

/// The default number of requests per gateway.
const REQUESTS: u64 = 30_000;

/// Tenants in the directory at any time.
const TENANTS: u64 = 300;

/// So many of them are replaced with each new state.
const REPLACED: u64 = 30;

/// Between two requests.
const STEP_MS: u64 = 10;

/// Between two states of the directory.
const STATE_MS: u64 = 10_000;

/// After half of the requests, memory may grow by this: what tables that are full but for a few places still ask for, which a
/// leak of some bytes a request would exceed by far in a million.
const GROWTH_MAX_BYTES: usize = 512 * 1024;

/// Signs tokens.
struct Issuer(SigningKey);

impl Issuer {
    fn new() -> Self {
        Issuer(SigningKey::from_bytes(&[7; 32]))
    }

    fn keys(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.verifying_key().as_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k", "x": x}]})
    }

    fn token(&self, tenant: &str, number: u64) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"iss": "https://auth.example.com", "org": tenant, "exp": 4_000_000_000u64, "jti": number});
        let signed = format!("{}.{}", part(json!({"alg": "EdDSA", "kid": "k"})), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    }
}

fn config(issuer: &Issuer) -> Value {
    json!({
        "version": 1,
        "identity": {"sources": [
            {"jwt": {"issuer": "https://auth.example.com", "tenant_claim": "org", "jwks": issuer.keys()}},
            {"api_key": {"prefix": "sk_weir_"}}]},
        "directory": {"cluster": "tenants", "token": "t", "refresh": "10s", "staleness_max": "600s"},
        "plans": {"p": {"requests": {"rate": "20/s"}, "tokens": {"rate": "100000/s"}, "output_tokens_max": 4096}},
        "events": {"cluster": "weir", "token": "gateway-token-0123456789", "flush": "1s"},
    })
}

/// The number of the state of the directory at a time, and the first tenant in it.
fn state_at(now_ns: u64, start_ns: u64) -> (u64, u64) {
    let state = (now_ns - start_ns) / 1_000_000 / STATE_MS;
    (state, state * REPLACED)
}

fn key(tenant: u64, state: u64) -> String {
    // A tenant has a new key every tenth state.
    format!("sk_weir_{tenant}_{}", state / 10)
}

fn page(state: u64, first: u64) -> Response {
    let tenant = |at: u64| {
        let keys = json!([{"id": format!("key_{state}"), "sha256": KeyHash::of(key(at, state).as_bytes())}]);
        json!({"id": format!("tenant-{at}"), "plan": "p", "keys": keys})
    };
    let tenants: Vec<Value> = (first..first + TENANTS).map(tenant).collect();
    status(200).json(&json!({"version": format!("v{state}"), "next": null, "tenants": tenants}))
}

fn serve_directory(gateway: &Gateway, start_ns: u64) {
    let clock = gateway.clock();
    gateway.answer_all("tenants", move |call: &Call<'_>| {
        let (state, first) = state_at(clock.now_ns(), start_ns);
        let known = call.header("if-none-match").is_some_and(|known| known.trim_matches('"') == format!("v{state}"));
        if known { status(304) } else { page(state, first) }
    });
}

fn some_request(issuer: &Issuer, dice: &mut SplitMix64, number: u64, state: u64, first: u64) -> Request {
    // Includes tenants that are gone, or not there yet.
    let tenant = (first + dice.below(TENANTS + 20)).saturating_sub(10);
    let credential = match dice.below(20) {
        // A token costs a thousand times as much as a key, so few of them are new.
        0 => issuer.token(&format!("tenant-{tenant}"), number),
        1 => format!("sk_weir_nobody_{number}"),
        _ => key(tenant, state),
    };
    let model = format!("model-{}", dice.below(1_000));
    let body =
        json!({"model": model, "stream": dice.below(2) == 0, "messages": [{"role": "user", "content": "Hello"}]});
    match dice.below(5) {
        0 => get(&format!("/v1/models/{number}")).bearer(&credential),
        1 => post("/v1/chat/completions").bearer(&credential).body("{\"model\": nonsense"),
        _ => post("/v1/chat/completions").bearer(&credential).json(&body),
    }
}

fn some_answer(dice: &mut SplitMix64, number: u64) -> Response {
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42});
    let last = format!("data: {}\n\n", json!({"model": format!("m-{number}"), "choices": [], "usage": usage}));
    let stream =
        || ok().sse(&["data: {\"choices\":[{\"delta\":{\"content\":\"Well\"}}]}\n\n", &last, "data: [DONE]\n\n"]);
    match dice.below(8) {
        0 => stream().client_gone(),
        1 => stream().reset(),
        2 => status(503).body("away"),
        3 => ok().timed_out(),
        4 | 5 => stream(),
        _ => ok().json(&json!({"id": format!("c{number}"), "model": "m", "choices": [], "usage": usage})),
    }
}

fn send(gateway: &Gateway, request: Request, dice: &mut SplitMix64, number: u64) -> u16 {
    let sent = gateway.send(request);
    let reply: Reply<'_> = sent.upstream(some_answer(dice, number));
    let passed = u16::from(reply.reached_upstream());
    reply.forget();
    passed
}

on_both_gateways! {
    fn memory_stops_growing_while_tenants_come_and_go(gateway) {
        let requests = workspace::requests_wanted().unwrap_or(REQUESTS);
        let (issuer, mut dice) = (Issuer::new(), SplitMix64::new(1));
        let gateway = gateway.config(config(&issuer)).start();
        let start_ns = gateway.now_ns();
        serve_directory(&gateway, start_ns);
        gateway.answer_all("weir", |_| status(202).body(r#"{"accepted":1,"rejected":[]}"#));
        gateway.run_for(ms(1_000));
        let (mut passed, mut figures) = (0u64, Vec::new());
        for number in 1..=requests {
            let (state, first) = state_at(gateway.now_ns(), start_ns);
            let request = some_request(&issuer, &mut dice, number, state, first);
            passed += u64::from(send(&gateway, request, &mut dice, number));
            gateway.run_for(ms(STEP_MS));
            if number % (requests / 10).max(1) == 0 {
                figures.push(gateway.worker(0).memory_bytes());
            }
        }
        let (states, _) = state_at(gateway.now_ns(), start_ns);
        println!("{:?}: {requests} requests, {passed} passed, {states} states of the directory; a worker's memory, \
            each tenth of the way: {figures:?} bytes", gateway.profile());
        assert!(passed > requests / 2 && passed < requests, "{passed}");
        let (half, end) = (figures[figures.len() / 2 - 1], figures[figures.len() - 1]);
        assert!(end - half <= GROWTH_MAX_BYTES, "memory grows: {figures:?}");
    }
}
