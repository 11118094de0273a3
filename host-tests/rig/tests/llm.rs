//! The stand-in provider, over TCP, as a client sees it.

use serde_json::{Value, json};
use weir_rig::llm::{BEHAVIOUR_HEADER, Behaviour, Llm, Numbers, Served};
use weir_rig::load::{Call, Client, Reply};

fn chat() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why is the sky blue?"}]})
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

fn with_usage(body: Value) -> Value {
    let mut body = streamed(body);
    body["stream_options"] = json!({"include_usage": true});
    body
}

async fn post(llm: &Llm, path: &str, body: &Value, behaviour: &str) -> Reply {
    let call = Call::post(format!("{}{path}", llm.url()), body)
        .header("x-tenant-id", "acme")
        .header(BEHAVIOUR_HEADER, behaviour);
    Client::new().send(call).await
}

#[tokio::test]
async fn a_chat_completion_reports_its_usage() {
    let llm = Llm::start().unwrap();
    let reply = post(&llm, "/v1/chat/completions", &chat(), "").await;
    let expected = Numbers::of(&chat());
    let body = reply.json();
    assert_eq!(reply.status, 200);
    assert_eq!(body["model"], "gpt-4o-2024-08-06");
    assert_eq!(body["usage"]["prompt_tokens"], expected.input);
    assert_eq!(body["usage"]["completion_tokens"], expected.output);
    assert_eq!(body["usage"]["total_tokens"], expected.input + expected.output);
}

#[tokio::test]
async fn a_chat_stream_ends_with_usage_only_when_asked() {
    let llm = Llm::start().unwrap();
    let asked = post(&llm, "/v1/chat/completions", &with_usage(chat()), "").await;
    let last = asked.events().pop().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["prompt_tokens"], Numbers::of(&chat()).input);
    assert!(asked.text().ends_with("data: [DONE]\n\n"));

    let unasked = post(&llm, "/v1/chat/completions", &streamed(chat()), "").await;
    assert!(unasked.events().iter().all(|event| event.get("usage").is_none()));
    assert_eq!(unasked.events().len() + 1, asked.events().len());
}

#[tokio::test]
async fn embeddings_have_input_only() {
    let llm = Llm::start().unwrap();
    let body = json!({"model": "text-embedding-3-small", "input": ["one", "two"]});
    let reply = post(&llm, "/v1/embeddings", &body, "").await;
    assert_eq!(reply.json()["data"].as_array().unwrap().len(), 2);
    assert_eq!(reply.json()["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    assert_eq!(llm.tally().tenant("acme"), Served { requests: 1, input: 5, ..Served::default() });
}

#[tokio::test]
async fn an_anthropic_message_leaves_cached_tokens_out_of_its_input() {
    let llm = Llm::start().unwrap();
    let text = json!([{"type": "text", "text": "x".repeat(4096), "cache_control": {"type": "ephemeral"}}]);
    let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": text}]});
    let usage = post(&llm, "/v1/messages", &body, "").await.json()["usage"].clone();
    let expected = Numbers::of(&body);
    assert_eq!(usage["cache_read_input_tokens"], expected.cached);
    assert_eq!(usage["cache_creation_input_tokens"], expected.cache_write);
    assert_eq!(usage["input_tokens"], expected.input - expected.cached - expected.cache_write);
    assert!(expected.cached > 0 && expected.cache_write > 0);
}

#[tokio::test]
async fn an_anthropic_stream_counts_its_output_up_to_the_end() {
    let llm = Llm::start().unwrap();
    let events = post(&llm, "/v1/messages", &streamed(chat()), "").await.events();
    assert_eq!(events.first().unwrap()["message"]["usage"]["output_tokens"], 1);
    let delta = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(delta["usage"]["output_tokens"], Numbers::of(&chat()).output);
    assert_eq!(events.last().unwrap()["type"], "message_stop");
}

#[tokio::test]
async fn a_stream_split_at_odd_bytes_is_the_same_stream() {
    let llm = Llm::start().unwrap();
    let whole = post(&llm, "/v1/messages", &streamed(chat()), "").await;
    let split = post(&llm, "/v1/messages", &streamed(chat()), "split_bytes=7, chunk_delay_ms=1").await;
    let without_id = |reply: &Reply| reply.text().replace("0000000000000001", "").replace("0000000000000002", "");
    assert_eq!(without_id(&whole), without_id(&split));
    assert!(split.chunks.len() > whole.chunks.len());
}

#[tokio::test]
async fn a_cut_stream_is_an_error_for_the_client_and_unfinished_in_the_tally() {
    let llm = Llm::start().unwrap();
    let reply = post(&llm, "/v1/chat/completions", &with_usage(chat()), "cut_after=2").await;
    assert_eq!((reply.status, reply.events().len()), (200, 2));
    assert!(reply.error.is_some());
    assert_eq!(llm.tally().tenant("acme"), Served { unfinished: 1, ..Served::default() });
}

#[tokio::test]
async fn errors_come_in_the_shape_of_the_api() {
    let llm = Llm::start().unwrap();
    let openai = post(&llm, "/v1/chat/completions", &chat(), "status=429").await;
    assert_eq!((openai.status, openai.header("retry-after")), (429, Some("1")));
    assert_eq!(openai.json()["error"]["code"], "rate_limit_exceeded");
    let anthropic = post(&llm, "/v1/messages", &chat(), "status=529").await;
    assert_eq!(anthropic.json()["error"]["type"], "overloaded_error");
    assert_eq!(llm.tally().tenant("acme"), Served { failed: 2, ..Served::default() });
}

#[tokio::test]
async fn a_reset_gives_the_client_no_answer() {
    let llm = Llm::start().unwrap();
    llm.behave(Behaviour { reset: true, ..Behaviour::default() });
    let reply = Client::new().send(Call::post(format!("{}/v1/messages", llm.url()), &chat())).await;
    assert_eq!(reply.status, 0);
    assert!(reply.error.is_some());
}

#[tokio::test]
async fn usage_can_be_left_out() {
    let llm = Llm::start().unwrap();
    let reply = post(&llm, "/v1/chat/completions", &chat(), "no_usage").await;
    assert_eq!(reply.json().get("usage"), None);
}

#[tokio::test]
async fn the_tally_is_kept_by_tenant_and_by_model() {
    let llm = Llm::start().unwrap();
    for _ in 0..3 {
        post(&llm, "/v1/chat/completions", &with_usage(chat()), "output_tokens=10").await;
    }
    let served = llm.tally().tenant("acme");
    assert_eq!((served.requests, served.output), (3, 30));
    assert_eq!(llm.tally().models["gpt-4o-2024-08-06"], served);
}

#[tokio::test]
async fn what_arrived_is_remembered() {
    let llm = Llm::start().unwrap();
    post(&llm, "/v1/rag/search?q=1", &json!({"query": "tides"}), "").await;
    let seen = llm.seen().pop().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/rag/search?q=1"));
    assert_eq!(seen.tenant(), "acme");
    assert_eq!(&seen.body[..], br#"{"query":"tides"}"#);
}

#[test]
fn a_dropped_provider_leaves_its_port() {
    let llm = Llm::start().unwrap();
    let address = llm.address();
    drop(llm);
    weir_rig::probe::listen(address).unwrap();
}
