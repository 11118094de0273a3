//! OpenAI's Assistants: a run that is created, streamed or polled.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Data, Event, Framed};
use super::{Draft, Sent, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

const HOST: &str = "api.openai.com";

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice).without_cache_write().without_reasoning();
    let truth = Truth::of(&numbers);
    let request = obj! { "assistant_id": "asst_1", "additional_messages": dice.messages() };
    let done = run("completed", usage(&numbers));
    match dice.below(4) {
        0 => {
            let queued = Framed::Json(run("queued", Json::Null));
            Draft::inference(Dialect::Runs, HOST, "/v1/threads/thread_1/runs", request, queued, Truth::Nothing)
        }
        1 => {
            let path = "/v1/threads/thread_1/runs/run_1";
            let mut draft = Draft::inference(Dialect::Runs, HOST, path, Json::Null, Framed::Json(done), truth);
            draft.method = "GET";
            draft.request = Sent::Nothing;
            draft
        }
        _ => {
            let path = dice.pick(&["/v1/threads/thread_1/runs", "/v1/threads/runs"]);
            let events = Framed::Sse(events(done, &numbers, dice));
            Draft::inference(Dialect::Runs, HOST, path, request.with("stream", true), events, truth)
        }
    }
}

fn run(status: &str, usage: Json) -> Json {
    obj! { "id": "run_1", "object": "thread.run", "status": status, "last_error": Json::Null, "usage": usage }
}

fn usage(numbers: &Numbers) -> Json {
    obj! {
        "prompt_tokens": numbers.input(),
        "completion_tokens": numbers.output(),
        "total_tokens": numbers.total(),
        "prompt_token_details": obj! { "cached_tokens": numbers.cache_read },
    }
}

fn events(done: Json, numbers: &Numbers, dice: &mut Dice) -> Vec<Event> {
    let named = |name: &str, document| Event { name: Some(name.to_owned()), data: Data::Json(document) };
    let mut events = vec![named("thread.run.created", run("queued", Json::Null))];
    for piece in dice.pieces() {
        let text = obj! { "index": 0, "type": "text", "text": obj! { "value": piece } };
        let delta = obj! { "content": vec![text] };
        let message = obj! { "id": "msg_1", "object": "thread.message.delta", "delta": delta };
        events.push(named("thread.message.delta", message));
    }
    // The step's usage is a part of the run's.
    let step = obj! { "id": "step_1", "object": "thread.run.step", "status": "completed", "usage": usage(numbers) };
    events.push(named("thread.run.step.completed", step));
    events.push(named("thread.run.completed", done));
    events.push(Event { name: Some("done".to_owned()), data: Data::Text("[DONE]") });
    events
}
