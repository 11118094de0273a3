//! Ollama's own API.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::Framed;
use super::{Draft, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

const HOST: &str = "localhost:11434";

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice).without_cache_write().without_reasoning();
    if dice.one_in(4) {
        return embed(numbers.fresh, dice);
    }
    let chat = dice.one_in(2);
    let stream = dice.one_in(2);
    let path = if chat { "/api/chat" } else { "/api/generate" };
    let mut request = obj! { "model": "llama3.2", "prompt": dice.words(), "images": vec![Json::from(dice.base64())] };
    if !stream {
        request = request.with("stream", false);
    }
    let said = |words: &str, done: bool| {
        let document = obj! { "model": "llama3.2", "created_at": "2025-08-04T19:22:45.499127Z", "done": done };
        if chat {
            document.with("message", obj! { "role": "assistant", "content": words })
        } else {
            document.with("response", words)
        }
    };
    // Old versions do not report an input that was cached whole.
    let untold = dice.one_in(8);
    let finish = |document: Json| {
        let document = document.with("done_reason", "stop").with("total_duration", 10_706_818_083_u64);
        let document = if untold { document } else { document.with("prompt_eval_count", numbers.input()) };
        document.with_count("prompt_eval_cached_count", numbers.cache_read).with("eval_count", numbers.output())
    };
    let answer = if stream {
        let mut lines: Vec<_> = dice.pieces().iter().map(|piece| said(piece, false)).collect();
        lines.push(finish(said("", true)));
        Framed::Ndjson(lines)
    } else {
        Framed::Json(finish(said(&dice.words(), true)))
    };
    let truth = if untold { Truth::NotFinal } else { Truth::of(&numbers) };
    Draft::inference(Dialect::Ollama, HOST, path, request, answer, truth)
}

fn embed(input: u64, dice: &mut Dice) -> Draft {
    let request = obj! { "model": "all-minilm", "input": dice.words() };
    let vector = Json::List(vec![Json::Number("0.01".to_owned()), Json::Number("-0.5".to_owned())]);
    let answer = obj! { "model": "all-minilm", "embeddings": vec![vector], "prompt_eval_count": input };
    let numbers = Numbers { fresh: input, cache_read: 0, cache_write: 0, visible: 0, reasoning: 0 };
    Draft::inference(Dialect::Ollama, HOST, "/api/embed", request, Framed::Json(answer), Truth::of(&numbers))
}
