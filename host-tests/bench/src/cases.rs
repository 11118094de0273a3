//! The configurations and requests that are measured.

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;

/// A key of the tenant `acme`.
pub const KEY: &str = "sk_weir_acme_0123456789abcdef0123456789abcdef";

/// Chunks of a streamed answer.
pub(crate) const CHUNKS: usize = 300;

/// Tokens that OpenSSL has signed, and their keys.
const GOLDEN: &str = include_str!("../../../filter/golden/tokens.json");

/// How much of weir is at work. Each does what the one before it does, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Who it is; nothing is held.
    Identity,
    /// And two limits of requests.
    Limits,
    /// And the body is read: class, model, output cap, tokens reserved.
    Plan,
    /// And an event for each request: everything.
    Whole,
    /// Everything that can be had without holding a request.
    Unheld,
}

/// The keys of [`token`], as a JSON web key set.
#[must_use]
pub(crate) fn golden_keys() -> Value {
    golden()["keys"].clone()
}

/// acme's token, signed by this algorithm.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn token(algorithm: &str) -> String {
    let golden = golden();
    let tokens = golden["tokens"].as_array().expect("tokens");
    let found = tokens.iter().find(|token| token["algorithm"] == algorithm).expect("a token of every algorithm");
    found["token"].as_str().expect("text").to_owned()
}

fn golden() -> Value {
    serde_json::from_str(GOLDEN).expect("the golden tokens are JSON")
}

/// The filter's configuration: `tenants` of them, acme first, whose tokens these `keys` sign.
#[must_use]
pub fn filter(step: Step, tenants: usize, keys: &Value) -> Value {
    let mut plan = json!({});
    if step != Step::Identity {
        plan["requests"] = json!({"rate": "1000000000/s"});
    }
    if matches!(step, Step::Plan | Step::Whole) {
        plan["tokens"] = json!({"rate": "1000000000/s"});
        plan["output_tokens_max"] = json!(1024);
        plan["models"] = json!({"allow": ["gpt-4o*", "claude-*"], "otherwise": {"replace": "gpt-4o-mini"}});
    }
    let mut filter = json!({
        "version": 1,
        "gateway": "bench",
        "identity": {"sources": [
            {"jwt": {"issuer": "https://vectors.example.com", "audiences": ["api"], "tenant_claim": "org.id",
                     "jwks": {"keys": keys}}},
            {"api_key": {"header": "authorization", "prefix": "sk_weir_"}},
        ]},
        "tenants": (0..tenants).map(tenant).collect::<Vec<_>>(),
        "plans": {"pro": plan},
        "routes": [
            {"match": {"path": "/healthz"}, "bypass": true},
            {"name": "rag", "match": {"path_prefix": "/v1/rag"}, "class": "rag", "feature": "search"},
        ],
        "hold": matches!(step, Step::Plan | Step::Whole),
    });
    if matches!(step, Step::Whole | Step::Unheld) {
        filter["events"] = json!({"cluster": "weir", "token": "gateway-token-0123456789", "flush": "1s"});
    }
    filter
}

/// A tenant with one key; the first is acme.
#[must_use]
pub fn tenant(at: usize) -> Value {
    let (id, key) = match at {
        0 => ("acme".to_owned(), KEY.to_owned()),
        at => (format!("tenant-{at:06}"), format!("sk_weir_{at}")),
    };
    json!({"id": id, "plan": "pro", "keys": [{"id": "key_1", "sha256": KeyHash::of(key.as_bytes())}]})
}

/// The body of a chat of about 2 KB, in which the plan changes the cap of the output.
#[must_use]
pub fn chat(stream: bool) -> Value {
    let turn =
        |at: usize| json!({"role": if at.is_multiple_of(2) { "user" } else { "assistant" }, "content": text(400)});
    let mut body = json!({"model": "gpt-4o", "temperature": 0.7, "max_tokens": 4096});
    body["messages"] = (0..4).map(turn).collect();
    if stream {
        body["stream"] = json!(true);
    }
    body
}

/// The body of a chat with this many bytes.
#[must_use]
pub(crate) fn chat_of(bytes: usize) -> Value {
    let mut body = chat(false);
    let turns = body["messages"].as_array().map_or(1, Vec::len);
    for turn in body["messages"].as_array_mut().into_iter().flatten() {
        turn["content"] = json!(text(bytes / turns - 50));
    }
    body
}

/// The body of a search of Qdrant, 4 KB of it: a vector of 384 numbers, and a filter.
#[must_use]
pub fn search() -> String {
    let vector: Vec<String> = (0..384).map(|at| format!("0.{:07}", (at * 2_654_435_761_u64) % 10_000_000)).collect();
    let filter = r#"{"must":[{"key":"lang","match":{"value":"en"}}],"must_not":[{"key":"state","match":{"any":["draft","gone"]}}]}"#;
    format!(r#"{{"query":[{}],"filter":{filter},"limit":5,"with_payload":true}}"#, vector.join(","))
}

/// The answer to it: five points of the tenant of [`KEY`].
#[must_use]
pub fn found() -> String {
    let point =
        |id: u64| json!({"id": id, "version": 3, "score": 0.83, "payload": {"tenant_id": "acme", "text": text(100)}});
    json!({"result": {"points": (1..=5).map(point).collect::<Vec<_>>()}, "status": "ok", "time": 0.002}).to_string()
}

/// The body of a question with this many bytes of documents.
#[must_use]
pub fn rag(bytes: usize) -> Value {
    let documents: Vec<_> = (0..bytes / 1_000).map(|_| json!({"type": "text", "text": text(970)})).collect();
    json!({"model": "gpt-4o", "max_tokens": 512, "messages": [
        {"role": "system", "content": documents},
        {"role": "user", "content": "What do the documents say?"},
    ]})
}

/// A whole answer.
#[must_use]
pub fn answer() -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_764_000_000, "model": "gpt-4o-2024-08-06",
           "choices": [{"index": 0, "message": {"role": "assistant", "content": text(600)}, "finish_reason": "stop"}],
           "usage": {"prompt_tokens": 512, "completion_tokens": 143, "total_tokens": 655,
                     "prompt_tokens_details": {"cached_tokens": 256}}})
}

/// The chunks of a streamed answer, each one event, its members in OpenAI's order: `count` with a word, then the end and the
/// usage that was asked for. With `usage_in_each` every chunk says what was used so far, as some providers do.
#[must_use]
pub fn stream(count: usize, usage_in_each: bool) -> Vec<String> {
    const HEAD: &str = r#"{"id":"chatcmpl-BzPqX4vK1mTgY7rWc2NdLh8uQeFs0","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789""#;
    let chunk = |choices: &str, usage: Option<usize>| {
        let usage = usage.map_or_else(
            || "null".to_owned(),
            |tokens| {
                let total = 512 + tokens;
                format!(r#"{{"prompt_tokens":512,"completion_tokens":{tokens},"total_tokens":{total}}}"#)
            },
        );
        format!("data: {HEAD},\"choices\":{choices},\"usage\":{usage},\"obfuscation\":\"Tq2a\"}}\n\n")
    };
    let word = r#"[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]"#;
    let stop = r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#;
    let mut chunks: Vec<_> = (0..count).map(|at| chunk(word, usage_in_each.then_some(at + 1))).collect();
    chunks.push(chunk(stop, None));
    chunks.push(chunk("[]", Some(count)));
    chunks.push("data: [DONE]\n\n".to_owned());
    chunks
}

/// So many bytes of prose, with a quotation and a line break here and there.
fn text(bytes: usize) -> String {
    const PROSE: &str = "The gateway sees every request and every answer, word by word. \"And what does it keep?\" Numbers,\nnothing else; ";
    PROSE.chars().cycle().take(bytes).collect()
}
