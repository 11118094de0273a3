//! A provider that speaks one dialect, calls tools, and fails as it is told.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use weir_rig::server::{Handler, Reset, Server};

/// What every answer says was used.
pub(crate) const INPUT_TOKENS: u64 = 21;
pub(crate) const OUTPUT_TOKENS: u64 = 13;

/// Longer than any test waits.
const SILENCE: Duration = Duration::from_secs(120);
/// Lets the first words reach the client.
const BEFORE_BREAK: Duration = Duration::from_millis(300);

/// How it treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Serves,
    /// Answers with this status.
    Fails(u16),
    /// 429 with `Retry-After`, in seconds.
    Limits(u64),
    /// Answers with this status as Bedrock does, and its name for what went wrong.
    FailsAtBedrock(u16, &'static str),
    /// Resets the connection before the first byte.
    Resets,
    /// 200 with a body that is no answer.
    Garbles,
    /// Ends a stream after its first words, without the event that ends it.
    Cuts,
    /// Breaks the connection off after the first words of a stream.
    Breaks,
    /// Never answers.
    Silent,
    /// Sends the head of a stream, and nothing more.
    OnlyHead,
}

/// A request that it saw.
#[derive(Clone, Debug)]
pub(crate) struct Saw {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Saw {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A running provider.
pub(crate) struct Provider {
    server: Server,
    state: Arc<Mutex<(Mood, Vec<Saw>)>>,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new((Mood::Serves, Vec::new())));
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { answer(&state, request).await })
        });
        Provider { server: Server::start("provider", handler).expect("a port"), state }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    pub(crate) fn feels(&self, mood: Mood) {
        self.state.lock().expect("lock").0 = mood;
    }

    pub(crate) fn saw(&self) -> Vec<Saw> {
        self.state.lock().expect("lock").1.clone()
    }
}

async fn answer(state: &Mutex<(Mood, Vec<Saw>)>, request: Request<Body>) -> Result<Response<Body>, Reset> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.map_err(|_| Reset)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let saw = Saw { path: head.uri.path().to_owned(), headers, body: body.clone() };
    let mood = {
        let mut state = state.lock().expect("lock");
        state.1.push(saw);
        state.0
    };
    let is_anthropic = ["/messages", "/invoke"].iter().any(|end| head.uri.path().ends_with(end));
    match mood {
        Mood::Resets => Err(Reset),
        Mood::Fails(status) => Ok(error(status, is_anthropic)),
        Mood::FailsAtBedrock(status, name) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut response = whole(status, json!({"message": "That went wrong."}).to_string());
            response.headers_mut().insert("x-amzn-errortype", axum::http::HeaderValue::from_static(name));
            Ok(response)
        }
        Mood::Limits(secs) => {
            let mut response = error(429, is_anthropic);
            response.headers_mut().insert("retry-after", secs.into());
            Ok(response)
        }
        Mood::Garbles => Ok(whole(StatusCode::OK, "this is no answer".to_owned())),
        Mood::Silent => {
            tokio::time::sleep(SILENCE).await;
            Err(Reset)
        }
        Mood::OnlyHead => Ok(stream_then_silence(Vec::new(), false)),
        Mood::Breaks => {
            let events = if is_anthropic { message_events("m", false) } else { completion_events("m", false) };
            Ok(stream_then_silence(events.into_iter().take(3).collect(), true))
        }
        Mood::Serves | Mood::Cuts => Ok(served(&body, is_anthropic, mood == Mood::Cuts)),
    }
}

fn whole(status: StatusCode, body: String) -> Response<Body> {
    Response::builder().status(status).header("content-type", "application/json").body(body.into()).expect("a response")
}

fn error(status: u16, is_anthropic: bool) -> Response<Body> {
    let body = match is_anthropic {
        true => json!({"type": "error", "error": {"type": "overloaded_error", "message": "Not now."}}),
        false => json!({"error": {"message": "Not now.", "type": "server_error", "param": null, "code": null}}),
    };
    whole(StatusCode::from_u16(status).expect("a status"), body.to_string())
}

/// Whether the conversation waits for a tool: tools are there, and no result is.
fn calls_tool(body: &Value) -> bool {
    let text = body["messages"].to_string();
    body["tools"].is_array() && !text.contains("\"tool_result\"") && !text.contains("\"role\":\"tool\"")
}

fn served(body: &Value, is_anthropic: bool, cut: bool) -> Response<Body> {
    let streams = body["stream"] == true;
    let tool = calls_tool(body);
    let model = body["model"].as_str().unwrap_or_default();
    match (is_anthropic, streams) {
        (true, false) => whole(StatusCode::OK, message(model, tool).to_string()),
        (false, false) => whole(StatusCode::OK, completion(model, tool).to_string()),
        (true, true) => stream_of(message_events(model, tool), cut),
        (false, true) => stream_of(completion_events(model, tool), cut),
    }
}

fn stream_of(events: Vec<String>, cut: bool) -> Response<Body> {
    let kept = if cut { events.len() / 2 } else { events.len() };
    let body: String = events.into_iter().take(kept).collect();
    Response::builder()
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(body.into())
        .expect("a response")
}

/// A stream that begins, and then either breaks off or says nothing more.
fn stream_then_silence(events: Vec<String>, breaks: bool) -> Response<Body> {
    let events = stream::iter(events.into_iter().map(|event| Ok::<_, std::io::Error>(Bytes::from(event))));
    let end = stream::once(async move {
        tokio::time::sleep(if breaks { BEFORE_BREAK } else { SILENCE }).await;
        Err(std::io::Error::other("the stand-in breaks off"))
    });
    Response::builder()
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(Body::from_stream(events.chain(end)))
        .expect("a response")
}

fn message(model: &str, tool: bool) -> Value {
    let content = match tool {
        true => json!([{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}]),
        false => json!([{"type": "text", "text": "Hello there."}]),
    };
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content,
           "stop_reason": if tool { "tool_use" } else { "end_turn" }, "stop_sequence": null,
           "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}})
}

fn completion(model: &str, tool: bool) -> Value {
    let message = match tool {
        true => {
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [{"id": "call_1", "type": "function",
                       "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}}]})
        }
        false => json!({"role": "assistant", "content": "Hello there.", "refusal": null}),
    };
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": model,
           "choices": [{"index": 0, "message": message, "logprobs": null,
                        "finish_reason": if tool { "tool_calls" } else { "stop" }}],
           "usage": {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS,
                     "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}})
}

fn message_events(model: &str, tool: bool) -> Vec<String> {
    let mut start = message(model, tool);
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"] = json!({"input_tokens": INPUT_TOKENS, "output_tokens": 1});
    let (block, deltas) = match tool {
        true => (
            json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}),
            ["{\"city\":", "\"Paris\"}"].map(|part| json!({"type": "input_json_delta", "partial_json": part})),
        ),
        false => (
            json!({"type": "text", "text": ""}),
            ["Hello ", "there."].map(|part| json!({"type": "text_delta", "text": part})),
        ),
    };
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
    ];
    events.extend(deltas.map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})));
    events.push(json!({"type": "content_block_stop", "index": 0}));
    let reason = if tool { "tool_use" } else { "end_turn" };
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
                       "usage": {"output_tokens": OUTPUT_TOKENS}}));
    events.push(json!({"type": "message_stop"}));
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        .collect()
}

fn completion_events(model: &str, tool: bool) -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
               "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]})
    };
    let mut chunks = match tool {
        true => vec![
            chunk(
                json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                         "function": {"name": "weather", "arguments": ""}}]}),
                Value::Null,
            ),
            chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]}), Value::Null),
            chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Paris\"}"}}]}), Value::Null),
            chunk(json!({}), json!("tool_calls")),
        ],
        false => vec![
            chunk(json!({"role": "assistant", "content": ""}), Value::Null),
            chunk(json!({"content": "Hello "}), Value::Null),
            chunk(json!({"content": "there."}), Value::Null),
            chunk(json!({}), json!("stop")),
        ],
    };
    let mut last = chunk(json!({}), Value::Null);
    last["choices"] = json!([]);
    last["usage"] = completion(model, tool)["usage"].clone();
    chunks.push(last);
    let done = std::iter::once("data: [DONE]\n\n".to_owned());
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(done).collect()
}
