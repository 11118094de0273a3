//! Amazon Bedrock: Converse, and InvokeModel for Claude, Llama, Titan and Mistral.

use super::anthropic;
use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Frame, Framed};
use super::{Draft, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

const HOST: &str = "bedrock-runtime.us-east-1.amazonaws.com";
const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice);
    match dice.below(6) {
        0..=2 => converse(&numbers.without_reasoning(), dice),
        3 => claude(&numbers, dice),
        _ => other_model(&numbers.without_caches().without_reasoning(), dice),
    }
}

fn converse(numbers: &Numbers, dice: &mut Dice) -> Draft {
    let model = dice.pick(&[
        "amazon.nova-pro-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc",
    ]);
    let usage = obj! {
        "inputTokens": numbers.fresh,
        "outputTokens": numbers.output(),
        "totalTokens": numbers.total(),
        "cacheReadInputTokens": numbers.cache_read,
        "cacheWriteInputTokens": numbers.cache_write,
        "serverToolUsage": obj! {},
    };
    let content = vec![obj! { "text": dice.words() }];
    let request = obj! { "messages": vec![obj! { "role": "user", "content": content }] };
    let (verb, answer) = if dice.one_in(2) {
        let message = obj! { "role": "assistant", "content": vec![obj! { "text": dice.words() }] };
        let output = obj! { "message": message };
        let answer = obj! {
            "output": output, "stopReason": "end_turn", "usage": usage, "metrics": obj! { "latencyMs": 12 },
        };
        ("converse", Framed::Json(answer))
    } else {
        let mut frames = vec![Frame::event("messageStart", obj! { "role": "assistant", "p": "abc" })];
        for piece in dice.pieces() {
            let delta = obj! { "text": piece };
            frames.push(Frame::event("contentBlockDelta", obj! { "contentBlockIndex": 0, "delta": delta, "p": "ab" }));
        }
        frames.push(Frame::event("contentBlockStop", obj! { "contentBlockIndex": 0 }));
        frames.push(Frame::event("messageStop", obj! { "stopReason": "end_turn" }));
        frames.push(Frame::event("metadata", obj! { "usage": usage, "metrics": obj! { "latencyMs": 12 }, "p": "x" }));
        ("converse-stream", Framed::Frames(frames))
    };
    Draft::inference(Dialect::Converse, HOST, &format!("/model/{model}/{verb}"), request, answer, Truth::of(numbers))
}

/// The metrics of the last chunk; they may count otherwise than the model does.
fn metrics(input: u64, output: u64) -> Json {
    obj! { "inputTokenCount": input, "outputTokenCount": output, "invocationLatency": 900, "firstByteLatency": 20 }
}

fn claude(numbers: &Numbers, dice: &mut Dice) -> Draft {
    let model = "/model/anthropic.claude-3-5-sonnet-20240620-v1:0";
    let request = obj! { "anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": dice.messages() };
    if dice.one_in(2) {
        let (message, truth) = anthropic::whole(numbers, dice);
        let path = format!("{model}/invoke");
        return Draft::inference(Dialect::Invoke, HOST, &path, request, Framed::Json(message), truth);
    }
    let mut events = anthropic::events(numbers, dice);
    if let Some(stop) = events.pop() {
        let output = if dice.one_in(2) { numbers.output() } else { dice.count() };
        events.push(stop.with(METRICS, metrics(numbers.fresh, output)));
    }
    let frames = Framed::Frames(events.into_iter().map(Frame::chunk).collect());
    let path = format!("{model}/invoke-with-response-stream");
    Draft::inference(Dialect::Invoke, HOST, &path, request, frames, Truth::of(numbers))
}

fn other_model(numbers: &Numbers, dice: &mut Dice) -> Draft {
    let model = dice.pick(&["meta.llama3-8b-instruct-v1:0", "amazon.titan-text-express-v1", "mistral.mistral-7b-v0:2"]);
    let titan = model.contains("titan");
    let request = if titan {
        obj! { "inputText": dice.words() }
    } else {
        obj! { "prompt": dice.words() }
    };
    let (input, output) = (numbers.input(), numbers.output());
    let told_whole = !model.contains("mistral");
    if told_whole && dice.one_in(2) {
        let answer = if titan {
            let result = obj! { "tokenCount": output, "outputText": dice.words(), "completionReason": "FINISH" };
            obj! { "inputTextTokenCount": input, "results": vec![result] }
        } else {
            obj! {
                "generation": dice.words(), "prompt_token_count": input, "generation_token_count": output,
                "stop_reason": "stop",
            }
        };
        let path = format!("/model/{model}/invoke");
        return Draft::inference(Dialect::Invoke, HOST, &path, request, Framed::Json(answer), Truth::of(numbers));
    }
    let mut frames = Vec::new();
    for (place, piece) in dice.pieces().into_iter().enumerate() {
        let prompt = if place == 0 { Json::from(input) } else { Json::Null };
        let chunk = match model {
            _ if titan => obj! { "outputText": piece, "index": 0, "inputTextTokenCount": prompt },
            "mistral.mistral-7b-v0:2" => obj! { "outputs": vec![obj! { "text": piece, "stop_reason": Json::Null }] },
            _ => obj! {
                "generation": piece, "prompt_token_count": prompt, "generation_token_count": place as u64 + 1,
            },
        };
        frames.push(Frame::chunk(chunk));
    }
    let last = match model {
        _ if titan => obj! { "outputText": "", "totalOutputTextTokenCount": output, "completionReason": "FINISH" },
        "mistral.mistral-7b-v0:2" => obj! { "outputs": vec![obj! { "text": "", "stop_reason": "stop" }] },
        _ => obj! { "generation": "", "prompt_token_count": Json::Null, "stop_reason": "stop" },
    };
    frames.push(Frame::chunk(last.with(METRICS, metrics(input, output))));
    let path = format!("/model/{model}/invoke-with-response-stream");
    Draft::inference(Dialect::Invoke, HOST, &path, request, Framed::Frames(frames), Truth::of(numbers))
}
