//! Random answers, there and back, whole and streamed: what is said stays.
#[path = "fixtures/answers.rs"]
mod answers;

use answers::{STREAM, WHOLE, data, expected, translated};
use serde_json::{Value, json};
use weir_llm_translate::{Dialect, Ending};
use weir_seeded::SplitMix64;

const ANSWERS: u64 = 2000;
const PIECES: [&str; 8] = ["word", " ", "\n", "\"", "\\", "é😀", "{\"a\":", "\u{1}"];

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    thoughts: String,
    text: String,
    calls: Vec<(String, String, Value)>,
    reason: String,
    /// Input, read from a cache, output, thoughts.
    usage: [u64; 4],
}

fn pieces(random: &mut SplitMix64, most: u64) -> Vec<&'static str> {
    (0..random.below(most)).map(|_| PIECES[random.index(PIECES.len())]).collect()
}

/// An answer of Anthropic's, whole and as events.
fn answer(random: &mut SplitMix64) -> (Said, Value, String) {
    let (thoughts, text) = (pieces(random, 4), pieces(random, 12));
    let calls: Vec<(String, String, Value)> = (0..random.below(3))
        .map(|at| (format!("toolu_{at}"), format!("f{at}"), json!({"t": pieces(random, 5).concat(), "n": [at, 0.5]})))
        .collect();
    let reason = if calls.is_empty() { ["end_turn", "max_tokens", "refusal"][random.index(3)] } else { "tool_use" };
    let usage = [random.below(1000), random.below(1000), random.below(1000), random.below(100)];
    let mut blocks = Vec::new();
    if !thoughts.is_empty() {
        let deltas = thoughts.iter().map(|text| json!({"type": "thinking_delta", "thinking": text})).collect();
        blocks.push((
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            json!({"type": "thinking", "thinking": thoughts.concat(), "signature": "s"}),
            deltas,
        ));
    }
    if !text.is_empty() {
        let deltas = text.iter().map(|text| json!({"type": "text_delta", "text": text})).collect();
        blocks.push((json!({"type": "text", "text": ""}), json!({"type": "text", "text": text.concat()}), deltas));
    }
    for (id, name, input) in &calls {
        let arguments: Vec<char> = input.to_string().chars().collect();
        let deltas: Vec<Value> = arguments
            .chunks(1 + random.index(9))
            .map(|piece| json!({"type": "input_json_delta", "partial_json": piece.iter().collect::<String>()}))
            .collect();
        let block = |input: &Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
        blocks.push((block(&json!({})), block(input), deltas));
    }
    let told = json!({"input_tokens": usage[0], "cache_read_input_tokens": usage[1], "output_tokens": usage[2] + usage[3], "output_tokens_details": {"thinking_tokens": usage[3]}});
    let whole = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": reason, "usage": told, "content": blocks.iter().map(|(_, whole, _)| whole).collect::<Vec<_>>()});
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    ];
    for (index, (start, _, deltas)) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        events
            .extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": told}));
    events.push(json!({"type": "message_stop"}));
    let said = Said {
        thoughts: thoughts.concat(),
        text: text.concat(),
        calls,
        reason: reason.to_owned(),
        usage: [usage[0], usage[1], usage[2] + usage[3], usage[3]],
    };
    (said, whole, events.iter().map(|event| format!("data: {event}\n\n")).collect())
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// What OpenAI's client reads: deltas, or one message that is all of them.
fn by_openai(parts: &[&Value]) -> Said {
    let mut said = Said::default();
    let mut arguments: Vec<(String, String, String)> = Vec::new();
    for part in parts {
        let choice = &part["choices"][0];
        let delta = choice.get("delta").unwrap_or(&choice["message"]);
        said.thoughts += word(&delta["reasoning_content"]);
        said.text += word(&delta["content"]);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if let Some(id) = call["id"].as_str() {
                arguments.push((id.to_owned(), word(&call["function"]["name"]).to_owned(), String::new()));
            }
            arguments.last_mut().expect("a call that has begun").2 += word(&call["function"]["arguments"]);
        }
        said.reason += match word(&choice["finish_reason"]) {
            "stop" => "end_turn",
            "length" => "max_tokens",
            "content_filter" => "refusal",
            "tool_calls" => "tool_use",
            _ => "",
        };
        if let Some(usage) = part.get("usage") {
            let read = count(&usage["prompt_tokens_details"]["cached_tokens"]);
            said.usage = [
                count(&usage["prompt_tokens"]) - read,
                read,
                count(&usage["completion_tokens"]),
                count(&usage["completion_tokens_details"]["reasoning_tokens"]),
            ];
        }
    }
    said.calls =
        arguments.into_iter().map(|(id, name, text)| (id, name, serde_json::from_str(&text).expect("JSON"))).collect();
    said
}

/// What Anthropic's client reads of a message.
fn by_anthropic(message: &Value) -> Said {
    let mut said = Said { reason: word(&message["stop_reason"]).to_owned(), ..Said::default() };
    for block in message["content"].as_array().expect("blocks") {
        said.thoughts += word(&block["thinking"]);
        said.text += word(&block["text"]);
        if block["type"] == "tool_use" {
            said.calls.push((word(&block["id"]).to_owned(), word(&block["name"]).to_owned(), block["input"].clone()));
        }
    }
    let usage = &message["usage"];
    said.usage = [
        &usage["input_tokens"],
        &usage["cache_read_input_tokens"],
        &usage["output_tokens"],
        &usage["output_tokens_details"]["thinking_tokens"],
    ]
    .map(count);
    said
}

/// The message that a stream of events makes.
fn collected(stream: &str) -> Value {
    let (mut message, mut blocks, mut inputs) = (json!({}), Vec::<Value>::new(), Vec::<String>::new());
    for event in data(stream) {
        let index = usize::try_from(count(&event["index"])).expect("small");
        match word(&event["type"]) {
            "content_block_start" => {
                assert_eq!(index, blocks.len());
                blocks.push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                for name in ["text", "thinking"] {
                    if let Some(text) = event["delta"][name].as_str() {
                        blocks[index][name] = json!(word(&blocks[index][name]).to_owned() + text);
                    }
                }
                inputs[index] += word(&event["delta"]["partial_json"]);
            }
            "message_delta" => {
                message = json!({"stop_reason": event["delta"]["stop_reason"], "usage": event["usage"]});
            }
            _ => {}
        }
    }
    for (block, input) in blocks.iter_mut().zip(inputs).filter(|(_, input)| !input.is_empty()) {
        block["input"] = serde_json::from_str(&input).expect("JSON");
    }
    message["content"] = json!(blocks);
    message
}

#[test]
fn an_answer_says_the_same_whole_and_streamed_and_back() {
    let (openai, anthropic) = (expected(Dialect::OpenAi, &json!({})), expected(Dialect::Anthropic, &json!({})));
    for seed in 0..ANSWERS {
        let mut random = SplitMix64::new(seed);
        let (said, whole, stream) = answer(&mut random);
        let (there, ending) = translated(openai, &WHOLE, &[whole.to_string().as_bytes()]);
        let there: Value = serde_json::from_str(&there).expect("JSON");
        assert_eq!((by_openai(&[&there]), ending), (said.clone(), Ending::Complete), "{seed}");
        let (back, _) = translated(anthropic, &WHOLE, &[there.to_string().as_bytes()]);
        assert_eq!(by_anthropic(&serde_json::from_str(&back).expect("JSON")), said, "{seed}");
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(1 + random.index(400)).collect();
        let (chunks, ending) = translated(openai, &STREAM, &pieces);
        assert_eq!(
            (by_openai(&data(&chunks).iter().collect::<Vec<_>>()), ending),
            (said.clone(), Ending::Complete),
            "{seed}"
        );
        let pieces: Vec<&[u8]> = chunks.as_bytes().chunks(1 + random.index(400)).collect();
        let (events, ending) = translated(anthropic, &STREAM, &pieces);
        assert_eq!((by_anthropic(&collected(&events)), ending), (said, Ending::Complete), "{seed}");
    }
}
