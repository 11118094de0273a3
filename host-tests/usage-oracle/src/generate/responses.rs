//! OpenAI's Responses: whole, streamed, compacted, in the background, and read again.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Event, Framed};
use super::{Draft, Sent, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice).without_cache_write();
    let truth = Truth::of(&numbers);
    let id = dice.id("resp_");
    let (host, path) = dice.pick(&[
        ("api.openai.com", "/v1/responses"),
        ("r.openai.azure.com", "/openai/v1/responses"),
        ("api.x.ai", "/v1/responses"),
    ]);
    let request = obj! { "model": "gpt-5", "input": dice.words() };
    let finished = response(&id, "completed", output(dice), usage(&numbers));
    match dice.below(10) {
        0 => {
            let queued = response(&id, "queued", vec![], Json::Null);
            let request = request.with("background", true);
            Draft::inference(Dialect::Responses, host, path, request, Framed::Json(queued), Truth::Nothing)
        }
        1 | 2 => stored(&id, host, finished, truth, dice),
        3 => {
            let compacted = obj! {
                "id": id, "object": "response.compaction", "output": output(dice), "usage": usage(&numbers),
            };
            let path = "/v1/responses/compact";
            Draft::inference(Dialect::Responses, host, path, request, Framed::Json(compacted), truth)
        }
        4 | 5 => Draft::inference(Dialect::Responses, host, path, request, Framed::Json(finished), truth),
        6 => {
            let failed = response(&id, "failed", vec![], Json::Null).with("error", obj! { "code": "server_error" });
            Draft::inference(Dialect::Responses, host, path, request, Framed::Json(failed), Truth::Nothing)
        }
        _ => {
            let (events, truth) = events(&id, &numbers, dice);
            let request = request.with("stream", true);
            Draft::inference(Dialect::Responses, host, path, request, Framed::Sse(events), truth)
        }
    }
}

/// A stored response is read again: finished, or not yet.
fn stored(id: &str, host: &'static str, finished: Json, truth: Truth, dice: &mut Dice) -> Draft {
    let running = dice.one_in(3);
    let answer = if running { response(id, "in_progress", vec![], Json::Null) } else { finished };
    let truth = if running { Truth::Nothing } else { truth };
    let path = format!("/v1/responses/{id}");
    let mut draft = Draft::inference(Dialect::Responses, host, &path, Json::Null, Framed::Json(answer), truth);
    draft.method = "GET";
    draft.request = Sent::Nothing;
    draft
}

fn output(dice: &mut Dice) -> Vec<Json> {
    let text = obj! { "type": "output_text", "text": dice.words(), "annotations": vec![] };
    let mut output = vec![obj! { "type": "message", "role": "assistant", "content": vec![text] }];
    if dice.one_in(4) {
        output.push(obj! { "type": "reasoning", "summary": vec![], "encrypted_content": dice.base64() });
    }
    output
}

fn usage(numbers: &Numbers) -> Json {
    obj! {
        "input_tokens": numbers.input(),
        "input_tokens_details": obj! { "cached_tokens": numbers.cache_read },
        "output_tokens": numbers.output(),
        "output_tokens_details": obj! { "reasoning_tokens": numbers.reasoning },
        "total_tokens": numbers.total(),
    }
}

fn response(id: &str, status: &str, output: Vec<Json>, usage: Json) -> Json {
    obj! {
        "id": id, "object": "response", "status": status, "model": "gpt-5", "error": Json::Null,
        "output": output, "usage": usage,
    }
}

fn events(id: &str, numbers: &Numbers, dice: &mut Dice) -> (Vec<Event>, Truth) {
    let started = |kind: &str| obj! { "type": kind, "response": response(id, "in_progress", vec![], Json::Null) };
    let mut events = vec![started("response.created"), started("response.in_progress")];
    let silent = dice.one_in(10);
    let pieces = if silent { vec![] } else { dice.pieces() };
    for piece in pieces {
        let kind = dice.pick(&["response.output_text.delta", "response.function_call_arguments.delta"]);
        events.push(obj! { "type": kind, "item_id": "msg_1", "output_index": 0, "delta": piece });
    }
    let (kind, status) = match dice.below(6) {
        0 => ("response.incomplete", "incomplete"),
        _ if silent => ("response.failed", "failed"),
        _ => ("response.completed", "completed"),
    };
    let failed = status == "failed";
    let usage = if failed { Json::Null } else { usage(numbers) };
    events.push(obj! { "type": kind, "response": response(id, status, output(dice), usage) });
    let truth = if failed { Truth::Nothing } else { Truth::of(numbers) };
    (events.into_iter().map(Event::typed).collect(), truth)
}
