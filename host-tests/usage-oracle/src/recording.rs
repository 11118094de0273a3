//! Exchanges written down as JSON, with the judgement that a person computed for them.
//!
//! A recording names what it shows (`name`), how its counts come about (`why`), the exchange, and `expect`. Bodies are text,
//! or JSON that is sent without spaces; an answer's body is a list of pieces, each a text or a binary `frame`.

use base64::Engine;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::exchange::{Declared, Dialect, End, Exchange, Header, Request, Response};
use crate::expected::{Count, Counts, Expected, Status};
use crate::wire::event_stream;

/// An exchange and what its event has to say.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The case that it shows.
    pub name: String,
    /// How the counts come about.
    pub why: String,
    /// What crossed the wire.
    pub exchange: Exchange,
    /// The numbers that a person computed.
    pub expect: Expected,
}

/// Why a text is no recording.
#[derive(Debug)]
pub struct RecordingError(serde_json::Error);

impl std::fmt::Display for RecordingError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "not a recording: {}", self.0)
    }
}

impl std::error::Error for RecordingError {}

impl Recording {
    /// Reads a list of recordings.
    pub fn parse_list(json: &str) -> Result<Vec<Recording>, RecordingError> {
        let written: Vec<Written> = serde_json::from_str(json).map_err(RecordingError)?;
        Ok(written.into_iter().map(Recording::from).collect())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    why: String,
    #[serde(default)]
    dialect: Option<Dialect>,
    /// Whether the operator declared the route.
    #[serde(default)]
    declared: bool,
    request: WrittenRequest,
    #[serde(default)]
    response: Option<WrittenResponse>,
    end: End,
    expect: WrittenExpect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRequest {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenResponse {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<Piece>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Frame { frame: Frame },
    Json { json: Value },
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    /// `:event-type`
    event: String,
    payload: Value,
    /// InvokeModel's chunks carry the payload in base64.
    #[serde(default)]
    wrapped: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenExpect {
    Complete(WrittenCounts),
    CompleteOnce(WrittenCounts),
    Counted(WrittenCounts),
    OneOf(Vec<WrittenCounts>),
    None,
    Unspecified,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenCounts {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    reasoning_tokens: u64,
}

impl From<Written> for Recording {
    fn from(written: Written) -> Self {
        let request = Request {
            method: written.request.method,
            path: written.request.path,
            headers: headers(written.request.headers),
            body: body(&written.request.body),
        };
        let response = written.response.map(|response| Response {
            status: response.status,
            headers: headers(response.headers),
            chunks: response.body.iter().map(piece).collect(),
        });
        let declared = if written.declared { Declared::Usage } else { Declared::Nothing };
        Recording {
            name: written.name,
            why: written.why,
            exchange: Exchange { dialect: written.dialect, declared, request, response, end: written.end },
            expect: expect(written.expect),
        }
    }
}

fn expect(written: WrittenExpect) -> Expected {
    let (status, one_of) = match written {
        WrittenExpect::Complete(counts) => (Status::Complete, vec![counts]),
        WrittenExpect::CompleteOnce(counts) => (Status::CompleteOnce, vec![counts]),
        WrittenExpect::Counted(counts) => (Status::Counted, vec![counts]),
        WrittenExpect::OneOf(list) => (Status::Complete, list),
        WrittenExpect::None => return Expected::none(),
        WrittenExpect::Unspecified => return Expected::Unspecified(""),
    };
    Expected::Usage { status, one_of: one_of.into_iter().map(Counts::from).collect() }
}

impl From<WrittenCounts> for Counts {
    fn from(written: WrittenCounts) -> Self {
        Counts {
            input_tokens: Count::Exactly(written.input_tokens),
            output_tokens: Count::Exactly(written.output_tokens),
            cache_read_tokens: Count::Exactly(written.cache_read_tokens),
            cache_write_tokens: Count::Exactly(written.cache_write_tokens),
            reasoning_tokens: Count::Exactly(written.reasoning_tokens),
        }
    }
}

fn headers(written: BTreeMap<String, String>) -> Vec<Header> {
    written.into_iter().collect()
}

fn body(written: &Value) -> Vec<u8> {
    match written {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    }
}

fn piece(written: &Piece) -> Vec<u8> {
    match written {
        Piece::Text(text) => text.clone().into_bytes(),
        Piece::Json { json } => json.to_string().into_bytes(),
        Piece::Frame { frame } => {
            let mut payload = frame.payload.to_string();
            if frame.wrapped {
                let bytes = base64::engine::general_purpose::STANDARD.encode(payload);
                payload = serde_json::json!({ "bytes": bytes }).to_string();
            }
            let headers = [
                (":event-type", frame.event.as_str()),
                (":content-type", "application/json"),
                (":message-type", "event"),
            ];
            event_stream::frame(&headers, payload.as_bytes())
        }
    }
}
