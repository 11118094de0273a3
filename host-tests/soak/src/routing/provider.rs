//! A stand-in provider that fails in every way, by the number that each prompt names.
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use serde_json::{Value, json};
use weir_rig::clock;
use weir_rig::server::{Handler, Reset, Server};
use weir_seeded::nth;

/// Longer than the gateway waits for a byte.
const SILENCE: Duration = Duration::from_secs(6);

/// Lets what was sent arrive before the connection is reset.
const BEFORE_RESET: Duration = Duration::from_millis(60);

/// In how many of its limited answers the provider says when to come back.
const SAYS_WHEN: u64 = 20;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Serves,
    /// 429, with `Retry-After` at times.
    Limits,
    /// 500 or 502.
    Fails,
    /// 503 or 529.
    Overloads,
    /// The connection is reset before the first byte.
    Resets,
    /// Nothing is said.
    Silent,
    /// Nothing follows the head.
    SilentBehindHead,
    /// The answer ends in its middle.
    Cuts,
    /// The connection is reset in the middle of the answer.
    BreaksOff,
    /// 200 with something that is no answer.
    Garbles,
}

/// How a provider is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It fails by chance.
    Moody = 0,
    /// It serves everything.
    Well = 1,
    /// It answers 500 to everything.
    Down = 2,
    /// It answers 429 to everything, and is to be left alone for minutes.
    Away = 3,
}

/// A request that it saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The number in its prompt.
    pub(crate) number: u64,
    pub(crate) request_id: String,
    pub(crate) fate: Fate,
    pub(crate) streams: bool,
    pub(crate) at: Instant,
    /// What its answer says was used.
    pub(crate) tokens: (u64, u64),
}

#[derive(Debug)]
struct State {
    seed: u64,
    /// It speaks Messages, else Chat Completions.
    is_anthropic: bool,
    mood: AtomicU8,
    seen: Mutex<Vec<Seen>>,
}

/// A running provider.
#[derive(Debug)]
pub(crate) struct Provider {
    server: Option<Server>,
    address: SocketAddr,
    handler: Debugless,
    state: Arc<State>,
}

struct Debugless(Handler);

impl std::fmt::Debug for Debugless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a handler")
    }
}

impl Provider {
    pub(crate) fn start(seed: u64, is_anthropic: bool) -> io::Result<Self> {
        let (mood, seen) = (AtomicU8::new(Mood::Moody as u8), Mutex::default());
        let state = Arc::new(State { seed, is_anthropic, mood, seen });
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { state.answer(request).await })
        });
        let server = Server::start("provider", Arc::clone(&handler))?;
        let address = server.address();
        Ok(Provider { server: Some(server), address, handler: Debugless(handler), state })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.state.mood.store(mood as u8, Ordering::Relaxed);
    }

    /// From now on connections are refused.
    pub(crate) fn leave(&mut self) {
        self.server = None;
    }

    pub(crate) fn come_back(&mut self) -> io::Result<()> {
        self.server = Some(Server::start_at("provider", self.address, Arc::clone(&self.handler.0))?);
        Ok(())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Reset> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.map_err(|_| Reset)?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| Reset)?;
        let number = number_in(&body).ok_or(Reset)?;
        let fate = self.fate(number);
        let streams = body["stream"] == true;
        let chance = nth(self.seed, number);
        let tokens = (1 + chance % 500, 1 + chance / 500 % 300);
        let request_id =
            head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let seen = Seen { number, request_id, fate, streams, at: clock::instant(), tokens };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        let parts = if streams { self.events(&body, tokens) } else { halves(&self.whole(&body, tokens).to_string()) };
        match fate {
            Fate::Resets => Err(Reset),
            Fate::Silent => {
                tokio::time::sleep(SILENCE).await;
                Err(Reset)
            }
            Fate::Limits => {
                let is_away = self.mood.load(Ordering::Relaxed) == Mood::Away as u8;
                let mut limited = self.error(429);
                if is_away || chance.is_multiple_of(SAYS_WHEN) {
                    limited.headers_mut().insert("retry-after", if is_away { 600 } else { 1 }.into());
                }
                Ok(limited)
            }
            Fate::Fails => Ok(self.error(if chance.is_multiple_of(2) { 500 } else { 502 })),
            Fate::Overloads => Ok(self.error(if self.is_anthropic { 529 } else { 503 })),
            Fate::Garbles => Ok(answer_of(streams, vec!["<html><body>It works!</body></html>".to_owned()], Tail::Ends)),
            Fate::Serves => Ok(answer_of(streams, parts, Tail::Ends)),
            Fate::SilentBehindHead => Ok(answer_of(streams, Vec::new(), Tail::Silent)),
            Fate::Cuts if streams => Ok(answer_of(streams, half(parts), Tail::Ends)),
            // A whole answer that ends in its middle breaks its promised length, which resets the connection.
            Fate::Cuts | Fate::BreaksOff => Ok(answer_of(streams, half(parts), Tail::Resets)),
        }
    }

    fn fate(&self, number: u64) -> Fate {
        match self.mood.load(Ordering::Relaxed) {
            mood if mood == Mood::Well as u8 => return Fate::Serves,
            mood if mood == Mood::Down as u8 => return Fate::Fails,
            mood if mood == Mood::Away as u8 => return Fate::Limits,
            _ => {}
        }
        match nth(self.seed.wrapping_add(1), number) % 100 {
            0..=2 => Fate::Limits,
            3..=5 => Fate::Fails,
            6..=8 => Fate::Overloads,
            9..=11 => Fate::Resets,
            12 => Fate::Silent,
            13 => Fate::SilentBehindHead,
            14 | 15 => Fate::Cuts,
            16 | 17 => Fate::BreaksOff,
            18 | 19 => Fate::Garbles,
            _ => Fate::Serves,
        }
    }

    fn error(&self, status: u16) -> Response<Body> {
        let body = match self.is_anthropic {
            true => json!({"type": "error", "error": {"type": "api_error", "message": "Not now."}}),
            false => json!({"error": {"message": "Not now.", "type": "server_error", "param": null, "code": null}}),
        };
        let mut response = answer_of(false, vec![body.to_string()], Tail::Ends);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        response
    }

    fn whole(&self, body: &Value, (input, output): (u64, u64)) -> Value {
        let model = &body["model"];
        match self.is_anthropic {
            true => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": model,
                "content": [{"type": "text", "text": "Hello there."}], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": input, "output_tokens": output}}),
            false => json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": model,
                "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
                             "message": {"role": "assistant", "content": "Hello there.", "refusal": null}}],
                "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}}),
        }
    }

    fn events(&self, body: &Value, tokens: (u64, u64)) -> Vec<String> {
        if self.is_anthropic {
            message_events(&self.whole(body, tokens))
        } else {
            completion_events(body, &self.whole(body, tokens))
        }
    }
}

fn message_events(whole: &Value) -> Vec<String> {
    let mut start = whole.clone();
    (start["content"], start["stop_reason"]) = (json!([]), Value::Null);
    start["usage"]["output_tokens"] = json!(1);
    let delta =
        |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let events = [
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        delta("Hello "),
        delta("there."),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
               "usage": {"output_tokens": whole["usage"]["output_tokens"]}}),
        json!({"type": "message_stop"}),
    ];
    let name = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

fn completion_events(body: &Value, whole: &Value) -> Vec<String> {
    let chunk = |choices: Value, usage: &Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": whole["model"],
               "choices": choices, "usage": usage})
    };
    let said = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), &Value::Null)
    };
    let mut chunks = vec![
        said(json!({"role": "assistant", "content": ""}), Value::Null),
        said(json!({"content": "Hello "}), Value::Null),
        said(json!({"content": "there."}), Value::Null),
        said(json!({}), json!("stop")),
    ];
    if body["stream_options"]["include_usage"] == true {
        chunks.push(chunk(json!([]), &whole["usage"]));
    }
    let done = std::iter::once("data: [DONE]\n\n".to_owned());
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(done).collect()
}

/// How an answer ends behind its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Ends,
    Resets,
    Silent,
}

fn answer_of(streams: bool, parts: Vec<String>, tail: Tail) -> Response<Body> {
    let parts = stream::iter(parts.into_iter().map(|part| Ok(Bytes::from(part))));
    let end = stream::once(async move {
        match tail {
            Tail::Ends => return Ok::<_, io::Error>(Bytes::new()),
            Tail::Resets => tokio::time::sleep(BEFORE_RESET).await,
            Tail::Silent => tokio::time::sleep(SILENCE).await,
        }
        Err(io::Error::other("the stand-in breaks off"))
    });
    let kind = if streams { "text/event-stream; charset=utf-8" } else { "application/json" };
    let mut response = Response::new(Body::from_stream(parts.chain(end)));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
    response
}

/// The number that the prompt names: `request 17`.
fn number_in(body: &Value) -> Option<u64> {
    let text = body.to_string();
    let (_, rest) = text.split_once("request ")?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn halves(text: &str) -> Vec<String> {
    let (first, second) = text.split_at(text.len() / 2);
    vec![first.to_owned(), second.to_owned()]
}

fn half(mut parts: Vec<String>) -> Vec<String> {
    parts.truncate(parts.len().div_ceil(2));
    parts
}
