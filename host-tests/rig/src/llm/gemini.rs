//! Google's shapes: `generateContent`, and `streamGenerateContent` as server-sent events (`alt=sse`) or as a JSON array
//! that grows. Every piece tells the usage so far; the output leaves the thoughts out.

use super::wire::Answer;
use super::{Asked, Numbers};
use serde_json::{Value, json};

/// How an answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Whole,
    Events,
    Array,
}

pub(super) fn generate(asked: &Asked<'_>, framing: Framing, no_usage: bool) -> Answer {
    let texts = asked.text();
    let last = texts.len() - 1;
    let piece = |(at, text): (usize, String)| {
        let so_far = if at == last { asked.numbers } else { asked.numbers.with_output(Some(1)) };
        piece(asked, &text, at == last, so_far, no_usage)
    };
    match framing {
        Framing::Whole => Answer::json(&piece((last, texts.concat()))),
        Framing::Events => {
            Answer::events(texts.into_iter().enumerate().map(|part| format!("data: {}\r\n\r\n", piece(part))).collect())
        }
        Framing::Array => {
            let open = |at| if at == 0 { "[" } else { ",\r\n" };
            let close = |at| if at == last { "]" } else { "" };
            let part = |(at, text)| format!("{}{}{}", open(at), piece((at, text)), close(at));
            Answer::parts("application/json; charset=UTF-8", texts.into_iter().enumerate().map(part))
        }
    }
}

fn piece(asked: &Asked<'_>, text: &str, is_last: bool, numbers: Numbers, no_usage: bool) -> Value {
    let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
    if is_last {
        candidate["finishReason"] = json!("STOP");
    }
    let mut piece = json!({"candidates": [candidate], "modelVersion": asked.model,
        "responseId": format!("rig{:016}", asked.serial)});
    if !no_usage {
        piece["usageMetadata"] = usage(numbers);
    }
    piece
}

fn usage(numbers: Numbers) -> Value {
    json!({
        "promptTokenCount": numbers.input,
        "cachedContentTokenCount": numbers.cached,
        "candidatesTokenCount": numbers.output - numbers.reasoning,
        "thoughtsTokenCount": numbers.reasoning,
        "totalTokenCount": numbers.input + numbers.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": numbers.input}],
    })
}
