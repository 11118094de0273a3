//! One configuration and one provider's answer, which the scenarios share.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_host_tests::scenario::{Call, Gateway, Request, post, secs};

/// acme's key.
pub(crate) const ACME: &str = "sk_weir_acme";
/// globex's key.
pub(crate) const GLOBEX: &str = "sk_weir_globex";
/// The key that signs events in logs.
pub(crate) const SIGNING_KEY: &str = "a signing key of more than 32 bytes";

/// acme and globex on a plan of 3 requests a minute.
pub(crate) fn config() -> Value {
    let tenant = |id: &str, key: &str| {
        let hash = KeyHash::of(key.as_bytes());
        json!({"id": id, "plan": "starter", "keys": [{"id": format!("key_{id}"), "sha256": hash}]})
    };
    json!({
        "version": 1,
        "gateway": "gw-1",
        "identity": {"sources": [{"api_key": {"header": "authorization", "prefix": "sk_weir_"}}]},
        "tenants": [tenant("acme", ACME), tenant("globex", GLOBEX)],
        "plans": {"starter": {"requests": {"rate": "3/min"}}, "free": {}},
        "routes": [{"match": {"path": "/healthz"}, "bypass": true}],
        "events": {"cluster": "weir", "token": "gateway-token-0123456789", "flush": "1s", "signing_key": SIGNING_KEY},
    })
}

/// The configuration with one field changed.
pub(crate) fn config_with(pointer: &str, value: Value) -> Value {
    let mut config = config();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    config.pointer_mut(parent).expect("a place in the configuration")[field] = value;
    config
}

/// The configuration with acme on a plan without limits.
pub(crate) fn unlimited() -> Value {
    config_with("/tenants/0/plan", json!("free"))
}

/// A chat of acme's.
pub(crate) fn chat() -> Request {
    post("/v1/chat/completions").bearer(ACME).json(&json!({"model": "gpt-4o", "messages": []}))
}

/// A whole answer of a provider: 12 tokens in, 30 out.
pub(crate) fn answer() -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o",
           "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
           "usage": {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42}})
}

/// The usage events in a call's batch.
pub(crate) fn usage_events(call: &Call<'_>) -> Vec<Value> {
    let events = call.json().as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["type"] == "weir.usage.v1").collect()
}

/// The one usage event that is on its way to the aggregator, which takes it.
#[track_caller]
pub(crate) fn usage_event(gateway: &Gateway) -> Value {
    gateway.run_for(secs(2));
    let call = gateway.next_call("weir");
    let mut events = usage_events(&call);
    call.answer(202, r#"{"accepted":1,"rejected":[]}"#);
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}
