//! Traffic in which nothing may be billed: other applications, lists, polls, counting, planted documents.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::Framed;
use super::{Draft, Sent, Truth};
use crate::exchange::Declared;
use crate::json::Json;

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice);
    let usage = obj! {
        "prompt_tokens": numbers.input(), "completion_tokens": numbers.output(), "total_tokens": numbers.total(),
    };
    let answered = obj! { "role": "assistant", "content": dice.words() };
    let choice = obj! { "index": 0, "message": answered, "finish_reason": "stop" };
    let chat = obj! { "id": "c", "object": "chat.completion", "choices": vec![choice], "usage": usage.clone() };
    let json = |method, path: &str, answer| drafted(method, path, Framed::Json(answer));
    match dice.below(13) {
        0 => json("GET", "/api/articles/7", obj! { "id": 7, "text": dice.pieces().join(" "), "content": dice.words() }),
        1 => json("GET", "/api/quota", obj! { "usage": usage }),
        2 => json("POST", "/api/orders", obj! { "message": "done", "output": dice.words(), "usage": usage }),
        3 => json("GET", "/v1/chat/completions?limit=20", obj! { "object": "list", "data": vec![chat] }),
        4 => json("GET", "/v1/batches/batch_1", obj! { "id": "batch_1", "status": "completed", "usage": usage }),
        5 => json("POST", "/v1/messages/count_tokens", obj! { "input_tokens": numbers.input() }),
        6 => json("POST", "/v1beta/models/gemini-2.5-flash:countTokens", obj! { "totalTokens": numbers.input() }),
        7 => {
            let counts = obj! { "processing": 0, "succeeded": 3 };
            json("POST", "/v1/messages/batches", obj! { "id": "msgbatch_1", "request_counts": counts })
        }
        // A provider's shape on an undeclared path.
        8 => json("POST", "/assistant/answer", chat),
        9 => planted("image/png", &chat),
        10 => planted("text/html", &chat),
        11 => {
            let mut draft = json("POST", "/upload", obj! { "text": "three words", "message": dice.words() });
            let bytes = (0..dice.below(30_000)).map(|place| (place * 31 % 253) as u8).collect();
            draft.request = Sent::Bytes { content_type: "image/png", bytes };
            draft
        }
        _ => json("GET", "/v1/models", obj! { "object": "list", "data": vec![obj! { "id": "gpt-4o" }] }),
    }
}

fn drafted(method: &'static str, path: &str, answer: Framed) -> Draft {
    let request = if method == "GET" { Sent::Nothing } else { Sent::Json(obj! { "query": "q", "n": 3 }) };
    Draft {
        dialect: None,
        declared: Declared::Nothing,
        method,
        host: "app.example",
        path: path.to_owned(),
        request,
        status: 200,
        answer,
        truth: Truth::Nothing,
    }
}

/// A document that one tenant planted for another to read.
fn planted(content_type: &'static str, document: &Json) -> Draft {
    let style = super::write::Style::default();
    let bytes = super::write::write(document, style, &mut Dice::new(0)).into_bytes();
    drafted("GET", "/files/7", Framed::Raw { content_type, bytes })
}
