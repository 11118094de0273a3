//! Cohere's v2 API: chat, whole and streamed, and embed.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Event, Framed};
use super::{Draft, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

const HOST: &str = "api.cohere.com";

/// Drafts an exchange. The truth names the processed tokens; the billed ones are the other reading.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice).without_cache_write().without_reasoning();
    if dice.one_in(4) {
        return embed(numbers.fresh, dice);
    }
    let billed_output = 1 + dice.below(numbers.output());
    let usage = obj! {
        "billed_units": obj! { "input_tokens": numbers.fresh, "output_tokens": billed_output },
        "tokens": obj! { "input_tokens": numbers.input(), "output_tokens": numbers.output() },
    }
    .with_count("cached_tokens", numbers.cache_read);
    let request = obj! { "model": "command-a-03-2025", "messages": dice.messages() };
    let (request, answer) = if dice.one_in(2) {
        let content = vec![obj! { "type": "text", "text": dice.words() }];
        let message = obj! { "role": "assistant", "content": content };
        (request, Framed::Json(obj! { "id": "c1", "message": message, "finish_reason": "COMPLETE", "usage": usage }))
    } else {
        (request.with("stream", true), Framed::Sse(events(usage, dice)))
    };
    Draft::inference(Dialect::Cohere, HOST, "/v2/chat", request, answer, Truth::of(&numbers))
}

fn events(usage: Json, dice: &mut Dice) -> Vec<Event> {
    let empty = obj! { "message": obj! { "role": "assistant", "content": vec![], "tool_plan": "" } };
    let mut events = vec![obj! { "id": "c1", "type": "message-start", "delta": empty }];
    for piece in dice.pieces() {
        let message = obj! { "content": obj! { "text": piece } };
        events.push(obj! { "type": "content-delta", "index": 0, "delta": obj! { "message": message } });
    }
    events.push(obj! { "type": "content-end", "index": 0 });
    let delta = obj! { "finish_reason": "COMPLETE", "usage": usage };
    events.push(obj! { "type": "message-end", "delta": delta });
    events.into_iter().map(Event::typed).collect()
}

fn embed(input: u64, dice: &mut Dice) -> Draft {
    let request = obj! { "model": "embed-v4.0", "texts": vec![Json::from(dice.words())], "input_type": "search_query" };
    let vector = Json::List(vec![Json::Number("0.033".to_owned()), Json::Number("-1.5e-3".to_owned())]);
    let billed = obj! { "billed_units": obj! { "input_tokens": input } };
    let answer = obj! { "id": "e1", "embeddings": obj! { "float": vec![vector] }, "meta": billed };
    let numbers = Numbers { fresh: input, cache_read: 0, cache_write: 0, visible: 0, reasoning: 0 };
    Draft::inference(Dialect::Cohere, HOST, "/v2/embed", request, Framed::Json(answer), Truth::of(&numbers))
}
