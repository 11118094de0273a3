//! A stand-in for an account at a provider that keeps things: files, answers, batches, vector stores, threads, as OpenAI's API
//! and Anthropic's show them.
//!
//! As the real ones, it knows no tenants: every id is there for everybody, and lists show everything. It notes whose request made
//! each object, by the header that only the gateway sets, and reports every request that reached another's ([`Account::crossings`]).
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::server::{Handler, Reset, Server};

/// The largest request that is read, in bytes.
const BODY_MAX_BYTES: usize = 16 << 20;

/// A collection: its name, the prefix of its ids, and its children.
type Collection = (&'static str, &'static str, &'static [Child]);
/// The name of a collection of children, and the prefix of their ids.
type Child = (&'static str, &'static str);

/// The collections of both APIs.
const COLLECTIONS: [Collection; 8] = [
    ("files", "file-", &[]),
    ("responses", "resp_", &[("input_items", "msg_")]),
    ("batches", "batch_", &[]),
    ("vector_stores", "vs_", &[("files", "file-")]),
    ("assistants", "asst_", &[]),
    ("threads", "thread_", &[("messages", "msg_"), ("runs", "run_")]),
    ("conversations", "conv_", &[("items", "msg_")]),
    ("messages/batches", "msgbatch_", &[]),
];

/// A running account. Dropping it ends it.
#[derive(Debug)]
pub struct Account {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By id, in the order in which they were made: ids increase.
    objects: BTreeMap<String, Object>,
    made: u64,
    crossings: Vec<String>,
}

#[derive(Debug, Clone)]
struct Object {
    owner: String,
    collection: String,
    parent: Option<String>,
    number: u64,
    value: Value,
    content: Vec<u8>,
}

/// A request, as far as it matters here.
struct Asked {
    method: Method,
    path: String,
    query: BTreeMap<String, String>,
    owner: String,
    is_anthropic: bool,
    body: Vec<u8>,
}

impl Asked {
    /// A collection of the provider that is asked: both have one of files.
    fn scoped(&self, collection: &str) -> String {
        if self.is_anthropic { format!("anthropic {collection}") } else { collection.to_owned() }
    }
}

type Answer = (StatusCode, &'static str, Vec<u8>);

impl Account {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start() -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { serve(&state, request).await })
        });
        Ok(Self { server: Server::start("account", handler)?, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// Every request that reached, or named, another tenant's object.
    #[must_use]
    pub fn crossings(&self) -> Vec<String> {
        lock(&self.state).crossings.clone()
    }

    /// The ids of all objects.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        lock(&self.state).objects.keys().cloned().collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(state: &Mutex<State>, request: Request<Body>) -> Result<Response<Body>, Reset> {
    let (parts, body) = request.into_parts();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let asked = Asked {
        method: parts.method.clone(),
        path: parts.uri.path().trim_start_matches("/anthropic").trim_start_matches("/v1/").to_owned(),
        query: query.into_owned().collect(),
        owner: header("x-tenant-id"),
        is_anthropic: parts.headers.contains_key("anthropic-version"),
        body: to_bytes(body, BODY_MAX_BYTES).await.map_err(|_| Reset)?.to_vec(),
    };
    let (status, kind, body) = lock(state).answer(&asked);
    Response::builder().status(status).header("content-type", kind).body(Body::from(body)).map_err(|_| Reset)
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    (status, "application/json", value.to_string().into_bytes())
}

fn missing(asked: &Asked) -> Answer {
    let error = match asked.is_anthropic {
        true => json!({"type": "error", "error": {"type": "not_found_error", "message": "missing"}}),
        false => json!({"error": {"message": "missing", "type": "invalid_request_error", "code": "missing"}}),
    };
    json_answer(StatusCode::NOT_FOUND, &error)
}

/// The collection at the start of a path, and the parts of the path behind it.
fn collection(path: &str) -> Option<(Collection, Vec<&str>)> {
    COLLECTIONS.into_iter().rev().find_map(|collection| {
        let rest = path.strip_prefix(collection.0)?;
        let rest = rest.split('/').filter(|part| !part.is_empty()).collect();
        Some((collection, rest))
    })
}

/// Every string in a document that has the prefix of an id and a number behind it.
fn named(value: &Value, found: &mut Vec<String>) {
    let is_id = |text: &str| {
        COLLECTIONS.iter().any(|(_, prefix, _)| {
            text.strip_prefix(prefix)
                .is_some_and(|rest| rest.len() == 12 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        })
    };
    match value {
        Value::String(text) if is_id(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        Value::Object(members) => members.values().for_each(|member| named(member, found)),
        _ => {}
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or(Value::Null);
        let mut names = Vec::new();
        named(&body, &mut names);
        if names.iter().any(|id| self.reach(asked, id).is_none()) {
            return missing(asked);
        }
        let Some(((name, prefix, children), rest)) = collection(&asked.path) else {
            return missing(asked);
        };
        match (asked.method.as_str(), rest.as_slice()) {
            ("POST", []) => self.create(asked, name, prefix, None, body),
            ("GET", []) => self.list(asked, name, None),
            (_, [id, ..]) if self.reach(asked, id).is_none() => missing(asked),
            ("GET", [id]) => self.show(id),
            ("DELETE", [id]) => self.delete(asked, id),
            ("GET", [id, "content"]) => (StatusCode::OK, "application/octet-stream", self.objects[*id].content.clone()),
            ("GET", [id, "results"]) => (StatusCode::OK, "application/x-jsonl", results(id)),
            ("POST", [id, "cancel"]) => self.show(id),
            (method, [id, child]) => match (method, children.iter().find(|(name, _)| name == child)) {
                ("POST", Some((child, prefix))) => self.create(asked, child, prefix, Some(id), body),
                ("GET", Some((child, _))) => self.list(asked, child, Some(id)),
                _ => missing(asked),
            },
            ("GET", [_, _, id]) if self.reach(asked, id).is_some() => self.show(id),
            _ => missing(asked),
        }
    }

    /// An object that a request reaches; a crossing is noted.
    fn reach(&mut self, asked: &Asked, id: &str) -> Option<Object> {
        let object = self.objects.get(id).cloned()?;
        if object.owner != asked.owner {
            self.crossings.push(format!("{} {} {} of {}", asked.owner, asked.method, asked.path, object.owner));
        }
        Some(object)
    }

    fn show(&self, id: &str) -> Answer {
        json_answer(StatusCode::OK, &self.objects[id].value)
    }

    fn delete(&mut self, asked: &Asked, id: &str) -> Answer {
        self.objects.remove(id);
        let kind = if asked.is_anthropic {
            json!({"id": id, "type": "file_deleted"})
        } else {
            json!({"id": id, "object": "deleted", "deleted": true})
        };
        json_answer(StatusCode::OK, &kind)
    }

    fn create(&mut self, asked: &Asked, collection: &str, prefix: &str, parent: Option<&str>, body: Value) -> Answer {
        self.made += 1;
        let prefix = if asked.is_anthropic && prefix == "file-" { "file_" } else { prefix };
        let id = format!("{prefix}{:012x}", self.made);
        let (filename, content) = file(&asked.body).unwrap_or_default();
        let value = shape(collection, &id, parent, &body, (&filename, content.len()));
        let object = Object {
            owner: asked.owner.clone(),
            collection: asked.scoped(collection),
            parent: parent.map(str::to_owned),
            number: self.made,
            value: value.clone(),
            content,
        };
        self.objects.insert(id, object);
        if body["stream"] == true { stream(&value) } else { json_answer(StatusCode::OK, &value) }
    }

    /// Newest first, as all of these APIs do.
    fn list(&self, asked: &Asked, collection: &str, parent: Option<&str>) -> Answer {
        let mut found: Vec<(&String, &Object)> = self
            .objects
            .iter()
            .filter(|(_, object)| object.collection == asked.scoped(collection) && object.parent.as_deref() == parent)
            .collect();
        found.sort_by_key(|(_, object)| std::cmp::Reverse(object.number));
        let token = asked.query.get("page").and_then(|page| page.strip_prefix("page_"));
        let after =
            token.or(asked.query.get(if asked.is_anthropic { "after_id" } else { "after" }).map(String::as_str));
        if let Some(after) = after {
            let Some(at) = found.iter().position(|(id, _)| id.as_str() == after) else { return missing(asked) };
            found.drain(..=at);
        }
        let limit = asked.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(20);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let data: Vec<&Value> = found.iter().map(|(_, object)| &object.value).collect();
        let (first, last) = (found.first().map(|(id, _)| id), found.last().map(|(id, _)| id));
        let mut list =
            json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more});
        if asked.is_anthropic {
            list["next_page"] = last.filter(|_| has_more).map_or(Value::Null, |last| format!("page_{last}").into());
        }
        json_answer(StatusCode::OK, &list)
    }
}

/// An object as its API shows it.
fn shape(collection: &str, id: &str, parent: Option<&str>, body: &Value, (filename, bytes): (&str, usize)) -> Value {
    let metadata = &body["metadata"];
    match collection {
        "files" if parent.is_some() => json!({"id": body["file_id"], "object": "vector_store.file", "created_at": 1,
            "vector_store_id": parent, "status": "completed", "usage_bytes": 1, "last_error": null}),
        "files" => {
            json!({"id": id, "object": "file", "type": "file", "created_at": 1, "bytes": bytes, "size_bytes": bytes,
            "filename": filename, "purpose": "assistants", "status": "processed", "mime_type": "text/plain"})
        }
        "responses" => {
            json!({"id": id, "object": "response", "created_at": 1, "model": body["model"], "status": "completed",
            "previous_response_id": body["previous_response_id"], "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
            "output": [{"type": "message", "id": format!("msg_{}", &id[5..]), "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": format!("You asked: {}", body["input"]), "annotations": []}]}],
            "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}})
        }
        "batches" => {
            json!({"id": id, "object": "batch", "endpoint": body["endpoint"], "input_file_id": body["input_file_id"],
            "completion_window": "24h", "status": "validating", "created_at": 1, "metadata": metadata})
        }
        "vector_stores" => {
            json!({"id": id, "object": "vector_store", "created_at": 1, "name": body["name"], "metadata": metadata,
            "status": "completed", "usage_bytes": 0, "last_active_at": 1,
            "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}})
        }
        "messages/batches" => {
            json!({"id": id, "type": "message_batch", "processing_status": "ended", "created_at": "2026-01-01T00:00:00Z",
            "expires_at": "2026-01-02T00:00:00Z", "ended_at": null, "archived_at": null, "cancel_initiated_at": null,
            "request_counts": {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0},
            "results_url": format!("https://api.anthropic.com/v1/messages/batches/{id}/results")})
        }
        "messages" => {
            json!({"id": id, "object": "thread.message", "created_at": 1, "thread_id": parent, "role": "user",
            "status": "completed", "content": [], "attachments": body["attachments"], "metadata": metadata})
        }
        _ => {
            json!({"id": id, "object": collection.trim_end_matches('s'), "created_at": 1, "model": body["model"], "tools": [],
            "metadata": metadata})
        }
    }
}

/// A created answer as a stream.
fn stream(response: &Value) -> Answer {
    let event = |kind: &str| {
        format!("event: {kind}\ndata: {}\n\n", json!({"type": kind, "sequence_number": 1, "response": response}))
    };
    (StatusCode::OK, "text/event-stream", (event("response.created") + &event("response.completed")).into_bytes())
}

fn results(id: &str) -> Vec<u8> {
    let result = json!({"custom_id": id, "result": {"type": "expired"}});
    format!("{result}\n").into_bytes()
}

/// The name and the content of the file in a form.
fn file(body: &[u8]) -> Option<(String, Vec<u8>)> {
    let find = |needle: &[u8], from: usize| {
        body.get(from..)?.windows(needle.len()).position(|window| window == needle).map(|at| from + at + needle.len())
    };
    let name = find(b"filename=\"", 0)?;
    let end = find(b"\"", name)? - 1;
    let start = find(b"\r\n\r\n", end)?;
    let stop = find(b"\r\n--", start)? - 4;
    Some((String::from_utf8_lossy(&body[name..end]).into_owned(), body[start..stop].to_vec()))
}
