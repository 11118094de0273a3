//! Helpers that the scenarios share.
use serde_json::{Value, json};
use weir_host_tests::scenario::{Gateway, Request, post};

/// Of `sk_weir_acme`.
const ACME_SHA256: &str = "8f32b3385d88cfbafd79d6328cfc90ef17f02c0e47dd6458c42af0c7cfa4e5ee";
/// Of `sk_weir_globex`.
const GLOBEX_SHA256: &str = "9aa6c9e38ef9a72afcdce714c3545e566d719e5b43280c78e307fe8fa26f916d";

pub(crate) const ACME: &str = "sk_weir_acme";
pub(crate) const GLOBEX: &str = "sk_weir_globex";
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// acme and globex on one plan.
pub(crate) fn config(plan: Value) -> Value {
    let tenant = |id: &str, hash: &str| json!({"id": id, "plan": "p", "keys": [{"id": id, "sha256": hash}]});
    json!({
        "version": 1,
        // A bound that bodies of tests exceed without taking long.
        "body_max_bytes": 1_000_000,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "tenants": [tenant("acme", ACME_SHA256), tenant("globex", GLOBEX_SHA256)],
        "plans": {"p": plan},
        "events": {"cluster": "weir", "token": "gateway-token-0123456789", "flush": "1s"},
    })
}

/// A plan whose only model is `mini`.
pub(crate) fn only_mini() -> Value {
    config(json!({"models": {"allow": ["mini"]}}))
}

/// A chat of acme's with a body as it stands.
pub(crate) fn chat(body: &str) -> Request {
    post(CHAT).bearer(ACME).header("content-type", "application/json").body(body)
}

/// An answer that used this many tokens.
pub(crate) fn used(input: u64, output: u64) -> Value {
    json!({"id": "c", "object": "chat.completion", "model": "mini", "choices": [{"index": 0, "finish_reason": "stop",
           "message": {"role": "assistant", "content": "x"}}],
           "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}})
}

/// The data of the one usage event that has been made.
pub(crate) fn event(gateway: &Gateway) -> Value {
    gateway.run_for(weir_host_tests::scenario::secs(2));
    gateway.next_call("weir").json()[0]["data"].clone()
}
