//! Sends a draft: writes it, compresses it, cuts it, breaks it.

use std::io::Write;

use super::build::obj;
use super::dice::Dice;
use super::frame::{Data, Event, Frame, Framed};
use super::write::{Style, write};
use super::{Draft, Generated, Sent, Truth};
use crate::exchange::{Dialect, End, Exchange, Header, Request, Response};
use crate::json::Json;

/// Puts a draft on the wire and lets it end in one of the ways in which exchanges end.
pub(super) fn finish(mut draft: Draft, dice: &mut Dice) -> Generated {
    let style = Style::draw(dice);
    let inference = draft.dialect.is_some() && draft.status == 200;
    match dice.below(100) {
        0..=2 => return unanswered(draft, style, dice),
        3..=7 if inference => refuse(&mut draft, dice),
        8..=11 if inference => fail_inside(&mut draft, dice),
        12 if inference && !matches!(draft.answer, Framed::Json(_) | Framed::Raw { .. } | Framed::Array(_)) => {
            empty(&mut draft);
        }
        _ => {}
    }
    if style.twice && draft.dialect.is_some() && draft.status == 200 {
        draft.truth = Truth::Unknown;
    }
    let mut headers = vec![("content-type".to_owned(), content_type(&mut draft, dice))];
    let mut body = draft.answer.bytes(style, dice);
    if dice.one_in(20) {
        headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
        body = gzip(&body);
    }
    let mut end = End::Whole;
    if dice.one_in(8) {
        end = dice.pick(&[End::ClientLeft, End::ClientLeft, End::UpstreamReset, End::Timeout]);
        let kept = dice.below(body.len() as u64 + 1) as usize;
        body.truncate(kept);
        // Of other applications and of errors no part is billed, either.
        if draft.dialect.is_some() && draft.status == 200 {
            draft.truth = Truth::Unknown;
        }
    }
    let chunks = cut(&body, dice);
    let response = Response { status: draft.status, headers, chunks };
    sent(draft, Some(response), end, style, dice)
}

/// The answer's content type; now and then one from which usage is never read.
fn content_type(draft: &mut Draft, dice: &mut Dice) -> String {
    if draft.dialect.is_none() || !dice.one_in(60) {
        return draft.answer.content_type(dice).to_owned();
    }
    if draft.method == "POST" && draft.status == 200 {
        draft.truth = Truth::NotFinal;
    } else if draft.truth != Truth::Nothing {
        draft.truth = Truth::Unknown;
    }
    dice.pick(&["text/plain; charset=utf-8", "text/html", "application/octet-stream"]).to_owned()
}

/// The exchange ends before the answer's head.
fn unanswered(mut draft: Draft, style: Style, dice: &mut Dice) -> Generated {
    let end = dice.pick(&[End::ClientLeft, End::UpstreamReset, End::Timeout]);
    if draft.dialect.is_some() {
        draft.truth = if end == End::ClientLeft { Truth::Unknown } else { Truth::Nothing };
    }
    sent(draft, None, end, style, dice)
}

/// The provider answers with an error.
fn refuse(draft: &mut Draft, dice: &mut Dice) {
    draft.status = dice.pick(&[400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529]);
    draft.answer = Framed::Json(obj! { "error": obj! { "type": "invalid_request_error", "message": dice.words() } });
    draft.truth = Truth::Nothing;
}

/// The provider fails after some of its events.
fn fail_inside(draft: &mut Draft, dice: &mut Dice) {
    let error = obj! { "type": "overloaded_error", "code": "server_error", "message": dice.words() };
    let first = match &mut draft.answer {
        Framed::Sse(events) => {
            let kept = keep_some(events, dice);
            events.push(error_event(draft.dialect, error));
            kept == 0
        }
        Framed::Ndjson(documents) => {
            let kept = keep_some(documents, dice);
            documents.push(obj! { "error": "the model runner has stopped" });
            kept == 0
        }
        Framed::Frames(frames) => {
            let kept = keep_some(frames, dice);
            let payload = obj! { "message": "Too many tokens, please wait." };
            frames.push(Frame { event: "throttlingException", exception: true, payload, wrapped: false });
            kept == 0
        }
        Framed::Json(_) | Framed::Array(_) | Framed::Raw { .. } => return,
    };
    draft.truth = if first { Truth::Nothing } else { Truth::Unknown };
}

fn keep_some<T>(items: &mut Vec<T>, dice: &mut Dice) -> usize {
    let kept = dice.below(items.len() as u64) as usize;
    items.truncate(kept);
    kept
}

fn error_event(dialect: Option<Dialect>, error: Json) -> Event {
    match dialect {
        Some(Dialect::Anthropic | Dialect::Responses | Dialect::Images) => {
            Event { name: Some("error".to_owned()), data: Data::Json(obj! { "type": "error", "error": error }) }
        }
        Some(Dialect::Runs) => Event { name: Some("error".to_owned()), data: Data::Json(error) },
        Some(Dialect::Interactions) => Event::json(obj! { "event_type": "error", "error": error }),
        Some(Dialect::Cohere) => Event::typed(obj! { "type": "message-end", "delta": obj! { "error": "failed" } }),
        _ => Event::json(obj! { "error": error }),
    }
}

/// A stream of status 200 without an event.
fn empty(draft: &mut Draft) {
    match &mut draft.answer {
        Framed::Sse(events) => events.clear(),
        Framed::Ndjson(documents) => documents.clear(),
        Framed::Frames(frames) => frames.clear(),
        Framed::Json(_) | Framed::Array(_) | Framed::Raw { .. } => return,
    }
    draft.truth = Truth::Nothing;
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

/// Cuts a body anywhere: in one piece, in a few, or in very many.
fn cut(body: &[u8], dice: &mut Dice) -> Vec<Vec<u8>> {
    let most = match dice.below(10) {
        0 => 1,
        1 => 7,
        2..=6 => 200,
        _ => body.len().max(1) as u64,
    };
    let mut chunks = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let length = (1 + dice.below(most) as usize).min(rest.len());
        let (chunk, later) = rest.split_at(length);
        chunks.push(chunk.to_vec());
        rest = later;
    }
    chunks
}

fn sent(draft: Draft, response: Option<Response>, end: End, style: Style, dice: &mut Dice) -> Generated {
    let mut headers: Vec<Header> = vec![("host".to_owned(), draft.host.to_owned())];
    let body = match &draft.request {
        Sent::Nothing => Vec::new(),
        Sent::Json(document) => {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
            // A client writes plainly: what it may twist is for tests of the request's side.
            let plain = style.of_a_client();
            write(document, plain, dice).into_bytes()
        }
        Sent::Bytes { content_type, bytes } => {
            headers.push(("content-type".to_owned(), (*content_type).to_owned()));
            bytes.clone()
        }
    };
    let request = Request { method: draft.method.to_owned(), path: draft.path, headers, body };
    let exchange = Exchange { dialect: draft.dialect, declared: draft.declared, request, response, end };
    Generated { exchange, truth: draft.truth }
}
