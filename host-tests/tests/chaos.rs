//! The built `weir.wasm` under a host that fails it: no answer makes it trap.

use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Request, get, ms, ok, post, request, status};

/// Requests per gateway.
const REQUESTS: usize = 5_000;

/// Of a hundred hostcalls, so many go wrong.
const PERCENT: u64 = 20;

/// Of `sk_weir_demo_acme`.
const ACME_SHA256: &str = "d7f68c3316e8b7d551c2bc3319c42ffec11436a730f3d028d1a402d81841eb99";

fn config() -> Value {
    json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"header": "authorization", "prefix": "sk_weir_"}}]},
        "tenants": [{"id": "acme", "plan": "starter", "keys": [{"id": "key_1", "sha256": ACME_SHA256}]}],
        "plans": {"starter": {"requests": {"rate": "3/s"}}},
        "routes": [{"match": {"path": "/healthz"}, "bypass": true}],
        "events": {"cluster": "weir", "token": "gateway-token-0123456789"},
    })
}

fn some_request(number: usize) -> Request {
    let chat = post("/v1/chat/completions");
    match number % 4 {
        0 => get("/v1/models").bearer("sk_weir_demo_acme"),
        1 => chat.bearer("sk_weir_demo_acme").json(&json!({"model": "gpt-4o"})),
        2 => chat.bearer("nobody").json(&json!({"stream": true})),
        _ => request("OPTIONS", "/v1/models").header("origin", "https://a.example"),
    }
}

on_both_gateways! {
    fn no_answer_of_a_hostcall_makes_the_filter_trap(gateway) {
        let gateway = gateway.config(config()).start();
        gateway.answer_all("weir", |_| status(202).body("{}"));
        gateway.unleash_chaos(PERCENT, 7);
        for number in 0..REQUESTS {
            let sent = gateway.send(some_request(number));
            // Where even the refusal is refused, the request is held until the client gives up.
            let reply = if sent.is_paused() {
                sent.client_gone()
            } else {
                sent.upstream(ok().sse(&["data: {\"usage\":{\"prompt_tokens\":1}}\n\n", "data: [DONE]\n\n"]))
            };
            reply.forget();
            gateway.advance(ms(50));
            gateway.tick();
        }
        gateway.unleash_chaos(0, 0);
        gateway.send(get("/healthz")).upstream(ok()).assert_status(200);
    }
}
