//! A stand-in for LLM providers: OpenAI's chat completions, responses and embeddings, Anthropic's messages, Gemini, Bedrock's
//! Converse, Cohere and Ollama, whole or streamed as each of them does, with usage as the real ones report it.
//!
//! Its numbers follow from the request alone ([`Numbers::of`]), so a test can say what must come out. It keeps a tally
//! of what it served by tenant and by model, remembers the last requests it saw, and misbehaves when told to, for all
//! requests ([`Llm::behave`]) or for one (the header [`BEHAVIOUR_HEADER`]). Any other path is answered with a small JSON
//! object without usage, as a RAG service or any HTTP API would.

mod anthropic;
mod bedrock;
mod behaviour;
mod book;
mod gemini;
mod numbers;
mod openai;
mod others;
mod responses;
mod seen;
mod tally;
mod wire;

pub use behaviour::{BEHAVIOUR_HEADER, Behaviour};
pub use book::{Booked, End};
pub use numbers::Numbers;
pub use seen::{KEPT_MAX, Seen};
pub use tally::{Served, Tally};

use crate::server::{Handler, Reset, Server};
use axum::body::{Body, to_bytes};
use http::{Request, Response, StatusCode};
use seen::Memory;
use serde_json::{Value, json};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tally::Bill;
use wire::Answer;

/// The largest request that is read, in bytes: beyond what any gateway in front of it lets through.
const BODY_MAX_BYTES: usize = 64 << 20;

/// The tenant that a request without `x-tenant-id` is booked on.
pub(crate) const NO_TENANT: &str = "-";

/// A running provider. Dropping it ends it.
#[derive(Debug)]
pub struct Llm {
    server: Server,
    state: Arc<State>,
}

/// Which provider's shapes a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Chat,
    Embeddings,
    Messages,
    Responses,
    Gemini(gemini::Framing),
    Converse,
    ConverseStream,
    Cohere,
    Ollama,
    Other,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Mutex<Behaviour>,
    tally: Mutex<Tally>,
    book: Mutex<Option<Vec<Booked>>>,
    memory: Mutex<Memory>,
    answers: AtomicU64,
}

impl Llm {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start() -> io::Result<Self> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { serve(&state, request).await })
        });
        Ok(Self { server: Server::start("llm", handler)?, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on, requests that do not ask for a behaviour of their own get this one.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.state.behaviour) = behaviour;
    }

    /// The sums of all requests since the start.
    #[must_use]
    pub fn tally(&self) -> Tally {
        lock(&self.state.tally).clone()
    }

    /// From now on it keeps a line for every request that it answers, for [`Llm::book`]. Not for benchmarks: it grows.
    pub fn keep_book(&self) {
        lock(&self.state.book).get_or_insert_default();
    }

    /// Every request since [`Llm::keep_book`], in the order in which their answers ended.
    #[must_use]
    pub fn book(&self) -> Vec<Booked> {
        lock(&self.state.book).clone().unwrap_or_default()
    }

    /// The last requests it saw, oldest first, at most [`KEPT_MAX`] of them.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.memory).all()
    }
}

/// A poisoned lock means that a test is already failing elsewhere; what it guards is plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(state: &Arc<State>, request: Request<Body>) -> Result<Response<Body>, Reset> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.map_err(|_| Reset)?;
    let seen = Seen::new(&head, body);
    let asked = seen.header(BEHAVIOUR_HEADER).map(str::to_owned);
    lock(&state.memory).push(seen.clone());
    let behaviour = match asked {
        None => lock(&state.behaviour).clone(),
        Some(text) => match text.parse() {
            Ok(behaviour) => behaviour,
            Err(error) => return Ok(wire::plain(StatusCode::BAD_REQUEST, &format!("{BEHAVIOUR_HEADER}: {error}"))),
        },
    };
    tokio::time::sleep(Duration::from_millis(behaviour.delay_ms)).await;
    if behaviour.reset {
        return Err(Reset);
    }
    let answer = answer(state, &seen, &behaviour);
    Ok(wire::respond(Arc::clone(state), answer, behaviour))
}

/// A failure in the shape of `api`.
fn failure(api: Api, status: u16, serial: u64) -> Answer {
    let body = match api {
        Api::Messages => anthropic::error(status, serial),
        _ => openai::error(status),
    };
    Answer::failed(status, &body)
}

fn answer(state: &State, seen: &Seen, behaviour: &Behaviour) -> Answer {
    let api = Api::of(&seen.path);
    let serial = state.answers.fetch_add(1, Ordering::Relaxed) + 1;
    let parsed = serde_json::from_slice::<Value>(&seen.body);
    let unreadable = parsed.is_err() && api != Api::Other;
    let body = parsed.unwrap_or_default();
    let numbers = Numbers::of(&body).with_output(behaviour.output_tokens);
    let asked_model = body["model"].as_str().or(model_in_path(&seen.path)).unwrap_or("unnamed");
    let model = api.served_model(asked_model);
    let request_id = seen.header("x-request-id").unwrap_or_default().to_owned();
    let bill = Bill { request_id, tenant: seen.tenant().to_owned(), model: model.clone(), numbers };
    let bad_request = unreadable.then_some(StatusCode::BAD_REQUEST.as_u16());
    if let Some(status) = behaviour.status.or(bad_request) {
        return failure(api, status, serial).billed(bill);
    }
    let asked = Asked { body: &body, model: &model, numbers, serial, pieces: behaviour.pieces };
    match api {
        Api::Chat => openai::chat(&asked, behaviour.no_usage).billed(bill),
        Api::Embeddings => openai::embeddings(&asked, behaviour.no_usage).billed(bill.input_only()),
        Api::Messages => anthropic::messages(&asked, behaviour.no_usage).billed(bill),
        Api::Responses => responses::responses(&asked, behaviour.no_usage).billed(bill.without_cache_writes()),
        Api::Gemini(framing) => {
            gemini::generate(&asked, framing, behaviour.no_usage).billed(bill.without_cache_writes())
        }
        Api::Converse => bedrock::converse(&asked, false, behaviour.no_usage).billed(bill.without_reasoning()),
        Api::ConverseStream => bedrock::converse(&asked, true, behaviour.no_usage).billed(bill.without_reasoning()),
        Api::Cohere => others::cohere(&asked, behaviour.no_usage).billed(bill.in_and_out_only()),
        Api::Ollama => others::ollama(&asked, behaviour.no_usage).billed(bill.in_and_out_only()),
        Api::Other => Answer::json(&json!({"ok": true, "path": seen.path})).billed(bill.nothing()),
    }
}

/// The parts of an answer.
#[derive(Debug)]
struct Asked<'a> {
    body: &'a Value,
    model: &'a str,
    numbers: Numbers,
    serial: u64,
    pieces: usize,
}

impl Asked<'_> {
    fn stream(&self) -> bool {
        self.body["stream"] == json!(true)
    }

    /// The text of the answer, as the pieces that it is streamed in.
    fn text(&self) -> Vec<String> {
        (0..self.pieces.max(1)).map(|piece| format!("{}piece {piece}", if piece == 0 { "" } else { ", " })).collect()
    }
}

impl Api {
    fn of(path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match path {
            "/v1/chat/completions" => Self::Chat,
            "/v1/embeddings" => Self::Embeddings,
            "/v1/messages" => Self::Messages,
            "/v1/responses" => Self::Responses,
            "/v2/chat" => Self::Cohere,
            "/api/chat" => Self::Ollama,
            _ if path.ends_with(":generateContent") => Self::Gemini(gemini::Framing::Whole),
            _ if path.ends_with(":streamGenerateContent") && query.contains("alt=sse") => {
                Self::Gemini(gemini::Framing::Events)
            }
            _ if path.ends_with(":streamGenerateContent") => Self::Gemini(gemini::Framing::Array),
            _ if path.starts_with("/model/") && path.ends_with("/converse") => Self::Converse,
            _ if path.starts_with("/model/") && path.ends_with("/converse-stream") => Self::ConverseStream,
            _ => Self::Other,
        }
    }

    /// Providers answer a model's alias with the dated version that served it.
    fn served_model(self, model: &str) -> String {
        let dated = model.bytes().rev().take(8).filter(u8::is_ascii_digit).count() >= 6;
        match self {
            Self::Chat if !dated => format!("{model}-2024-08-06"),
            Self::Messages if !dated => format!("{model}-20250929"),
            _ => model.to_owned(),
        }
    }
}

/// Gemini and Bedrock name the model in the path: `/v1beta/models/NAME:…`, `/model/NAME/…`.
fn model_in_path(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/models/").or_else(|| path.split_once("/model/"))?;
    rest.split([':', '/', '?']).next()
}
