//! Puts documents into what a content type frames them with.

use base64::Engine;

use super::dice::Dice;
use super::write::{Style, write};
use crate::json::Json;
use crate::wire::event_stream;

/// An answer's documents and their framing.
#[derive(Clone, Debug)]
pub(super) enum Framed {
    Json(Json),
    /// One JSON array of documents, as `streamGenerateContent` answers without `alt=sse`.
    Array(Vec<Json>),
    Sse(Vec<Event>),
    Ndjson(Vec<Json>),
    Frames(Vec<Frame>),
    Raw {
        content_type: &'static str,
        bytes: Vec<u8>,
    },
}

/// A server-sent event.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: Option<String>,
    pub(super) data: Data,
}

/// An event's data.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Json(Json),
    Text(&'static str),
}

/// A frame of Amazon's event stream.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) event: &'static str,
    pub(super) exception: bool,
    pub(super) payload: Json,
    /// The payload stands in base64 inside `bytes`.
    pub(super) wrapped: bool,
}

impl Event {
    pub(super) fn json(document: Json) -> Self {
        Event { name: None, data: Data::Json(document) }
    }

    /// An event named after the document's `type`.
    pub(super) fn typed(document: Json) -> Self {
        Event { name: document.text(&["type"]).map(str::to_owned), data: Data::Json(document) }
    }

    pub(super) fn done() -> Self {
        Event { name: None, data: Data::Text("[DONE]") }
    }
}

impl Frame {
    pub(super) fn event(event: &'static str, payload: Json) -> Self {
        Frame { event, exception: false, payload, wrapped: false }
    }

    pub(super) fn chunk(payload: Json) -> Self {
        Frame { event: "chunk", exception: false, payload, wrapped: true }
    }
}

impl Framed {
    pub(super) fn content_type(&self, dice: &mut Dice) -> &'static str {
        match self {
            Framed::Json(_) | Framed::Array(_) => {
                dice.pick(&["application/json", "application/json; charset=utf-8", "Application/JSON"])
            }
            Framed::Sse(_) => {
                dice.pick(&["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream;charset=UTF-8"])
            }
            Framed::Ndjson(_) => "application/x-ndjson",
            Framed::Frames(_) => "application/vnd.amazon.eventstream",
            Framed::Raw { content_type, .. } => content_type,
        }
    }

    /// The body's bytes.
    pub(super) fn bytes(&self, style: Style, dice: &mut Dice) -> Vec<u8> {
        match self {
            Framed::Json(document) => {
                // Providers keep a connection alive with blank lines before the body.
                let blank = if dice.one_in(10) { "\n\n \n" } else { "" };
                let mark = if dice.one_in(25) { "\u{feff}" } else { "" };
                format!("{mark}{blank}{}", write(document, style, dice)).into_bytes()
            }
            Framed::Array(documents) => {
                let documents: Vec<_> = documents.iter().map(|document| write(document, style, dice)).collect();
                format!("[{}]\n", documents.join(",\r\n")).into_bytes()
            }
            Framed::Sse(events) => sse(events, style, dice),
            Framed::Ndjson(documents) => {
                let flat = style.on_one_line();
                let end = dice.pick(&["\n", "\r\n"]);
                documents.iter().flat_map(|document| (write(document, flat, dice) + end).into_bytes()).collect()
            }
            Framed::Frames(frames) => frames.iter().flat_map(|frame| binary(frame, style, dice)).collect(),
            Framed::Raw { bytes, .. } => bytes.clone(),
        }
    }
}

fn sse(events: &[Event], style: Style, dice: &mut Dice) -> Vec<u8> {
    let end = dice.pick(&["\n", "\n", "\r\n", "\r"]);
    let space = if dice.one_in(6) { "" } else { " " };
    let mut text = String::new();
    if dice.one_in(25) {
        text.push('\u{feff}');
    }
    for event in events {
        if dice.one_in(12) {
            text.push_str(&format!(": keep-alive{end}{end}"));
        }
        if let Some(name) = &event.name {
            text.push_str(&format!("event:{space}{name}{end}"));
        }
        if dice.one_in(20) {
            text.push_str(&format!("id: 7{end}retry: 3000{end}"));
        }
        let data = match &event.data {
            Data::Json(document) => write(document, style, dice),
            Data::Text(text) => (*text).to_owned(),
        };
        for line in data.lines() {
            text.push_str(&format!("data:{space}{line}{end}"));
        }
        text.push_str(end);
    }
    text.into_bytes()
}

fn binary(frame: &Frame, style: Style, dice: &mut Dice) -> Vec<u8> {
    let mut payload = write(&frame.payload, style, dice);
    if frame.wrapped {
        let bytes = base64::engine::general_purpose::STANDARD.encode(payload);
        let padding = "abcdefghijklmnop".get(..dice.below(16) as usize).unwrap_or_default();
        payload = format!(r#"{{"bytes":"{bytes}","p":"{padding}"}}"#);
    }
    let (kind, name) = if frame.exception { ("exception", ":exception-type") } else { ("event", ":event-type") };
    let headers = [(name, frame.event), (":content-type", "application/json"), (":message-type", kind)];
    event_stream::frame(&headers, payload.as_bytes())
}
