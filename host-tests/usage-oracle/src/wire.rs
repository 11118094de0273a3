//! From the bytes of an answer to its JSON documents.

pub(crate) mod event_stream;
pub(crate) mod sse;

use std::io::Read;

use crate::exchange::Response;
use crate::json::Json;

/// How an answer's body is framed, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`
    Json,
    /// `text/event-stream`
    Sse,
    /// `application/x-ndjson` and its variants.
    Ndjson,
    /// `application/vnd.amazon.eventstream`
    EventStream,
}

/// One document of an answer, with what its frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// SSE's `event` field, or the event stream's `:event-type`.
    pub(crate) event: Option<String>,
    /// The event stream says that this is an exception.
    pub(crate) exception: bool,
    /// The payload as text.
    pub(crate) text: String,
    /// The payload, where it is valid JSON.
    pub(crate) json: Option<Json>,
}

/// An answer's documents, and what is left behind the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Documents {
    pub(crate) list: Vec<Document>,
    /// An SSE event without the blank line that ends it. The specification discards it; many readers do not.
    pub(crate) unfinished: Option<Document>,
    /// A binary frame whose checksum is wrong.
    pub(crate) corrupt: bool,
}

impl Media {
    /// Reads a content type; none where usage is never read from it.
    pub(crate) fn of(response: &Response) -> Option<Media> {
        let value = response.header("content-type")?;
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match essence.as_str() {
            "application/json" => Media::Json,
            "text/event-stream" => Media::Sse,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/stream+json" => {
                Media::Ndjson
            }
            "application/vnd.amazon.eventstream" => Media::EventStream,
            _ => return None,
        })
    }
}

impl Document {
    pub(crate) fn new(event: Option<String>, payload: &[u8]) -> Self {
        Document {
            event,
            exception: false,
            text: String::from_utf8_lossy(payload).into_owned(),
            json: Json::parse(payload),
        }
    }

    /// The payload, or null where it is not JSON.
    pub(crate) fn value(&self) -> &Json {
        self.json.as_ref().unwrap_or(&Json::Null)
    }
}

/// The body without its content coding; none where the coding is not known.
pub(crate) fn decoded(response: &Response) -> Option<Vec<u8>> {
    let body = response.body();
    match response.header("content-encoding").map(str::to_ascii_lowercase).as_deref() {
        None | Some("identity") => Some(body),
        Some("gzip") => {
            let mut plain = Vec::new();
            // An error means that the stream was cut: what came before it stands.
            let _ = flate2::read::MultiGzDecoder::new(body.as_slice()).read_to_end(&mut plain);
            Some(plain)
        }
        Some(_) => None,
    }
}

/// Splits a body into its documents.
pub(crate) fn documents(media: Media, body: &[u8]) -> Documents {
    let plain = |list| Documents { list, unfinished: None, corrupt: false };
    match media {
        Media::Sse => sse::parse(body),
        Media::EventStream => event_stream::parse(body),
        Media::Ndjson => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            plain(lines.map(|line| Document::new(None, line)).collect())
        }
        Media::Json => {
            let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
            plain(if body.is_empty() { vec![] } else { vec![Document::new(None, body)] })
        }
    }
}
