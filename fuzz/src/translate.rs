//! What the fuzz targets of translation assert of any request and any answer. `filter/llm-translate/tests/fuzz.rs` runs the same
//! functions on mutated seeds.
#![allow(dead_code, reason = "each fuzz target is a program that uses one of these")]
use serde_json::Value;
use weir_contract::time::Timestamp;
use weir_llm_translate::{
    AnswerHead, AnswerTranslator, Dialect, Ending, Expected, Server, Target, Thinking, translate,
};
use weir_llm_usage::json::tree::Tree;

/// Requests and answers that a fuzzer begins with.
pub(crate) const REQUESTS: [&str; 4] = [
    r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"\u0061"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"call_1","content":"r"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"required","stop":["x"],"max_tokens":5,"stream":true,"stream_options":{"include_usage":true}}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{},"strict":true}},"reasoning_effort":"low","temperature":0.5,"n":1,"user":"u","seed":4}"#,
    r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"},"title":"t"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"weir:another-providers-thoughts"},{"type":"tool_use","id":"t1","name":"f","input":{"a":[1]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,"content":[{"type":"image","source":{"type":"url","url":"u"}}]}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},"thinking":{"type":"enabled","budget_tokens":2000}}"#,
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"output_config":{"effort":"high","format":{"type":"json_schema","schema":{}}},"metadata":{"user_id":"u"},"stop_sequences":["a"],"top_p":1}"#,
];
pub(crate) const ANSWERS: [&str; 4] = [
    "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":{\"input_tokens\":3}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\u0062\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":3}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"}}]}\r\n\r\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":9}}\n\ndata: [DONE]\n\n",
    r#"{"id":"m","model":"c","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"},{"type":"tool_use","id":"t","name":"f","input":{"a":"\"\u0062"}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4}}"#,
    r#"{"id":"c","model":"m","choices":[{"message":{"content":"a","reasoning_content":"t","refusal":"r","tool_calls":[{"id":"t","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
];

const SERVERS: [Server; 7] = [
    Server::OpenAi,
    Server::Anthropic,
    Server::VertexAnthropic,
    Server::BedrockAnthropic,
    Server::Vllm,
    Server::Mistral,
    Server::Ollama,
];

fn is_json(text: &str) {
    let read = Tree::read(text.as_bytes());
    assert!(read.is_ok(), "{:?}: {text}", read.err());
}

fn target(server: Server, choice: u8) -> Target<'static> {
    let thinking = [Thinking::Never, Thinking::Budget, Thinking::Effort][usize::from(choice) % 3];
    Target { server, model: "served", output_tokens_max: 4096, thinking, samples: choice < 128 }
}

/// A body that goes on is JSON for the target's model, and the target would take it from a client as it is.
pub(crate) fn translate_request(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    for from in [Dialect::OpenAi, Dialect::Anthropic] {
        for to in SERVERS.map(|server| target(server, *choice)) {
            let Ok(translated) = translate(from, &to, body) else { continue };
            let text = String::from_utf8_lossy(&translated.body);
            is_json(&text);
            // Half a surrogate pair is JSON, and no text.
            if let (Ok(read), Ok(was)) = (serde_json::from_str::<Value>(&text), serde_json::from_slice::<Value>(body)) {
                let is_in_path = matches!(to.server, Server::VertexAnthropic | Server::BedrockAnthropic);
                assert!(is_in_path || read["model"] == "served" || was.get("model").is_none(), "{text}");
            }
            let again = translate(to.server.dialect(), &to, &translated.body);
            assert!(again.is_ok_and(|again| again.body == translated.body), "a second time changes nothing: {text}");
        }
    }
}

fn expected(client: Dialect, choice: u8) -> Expected {
    let (server, more) = match client {
        Dialect::OpenAi if choice & 1 == 1 => (Server::Anthropic, r#""response_format":{"type":"json_object"}"#),
        Dialect::OpenAi => (Server::Anthropic, r#""stream_options":{"include_usage":true}"#),
        Dialect::Anthropic if choice & 1 == 1 => (Server::OpenAi, r#""max_tokens":1"#),
        Dialect::Anthropic => (Server::OpenAi, r#""max_tokens":1,"thinking":{"type":"adaptive"}"#),
    };
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{more}}}"#);
    translate(client, &target(server, 2), body.as_bytes()).expect("it fits").answer
}

fn answer(expected: Expected, head: &AnswerHead<'_>, pieces: [&[u8]; 2]) -> (Vec<u8>, Ending) {
    let mut translator = AnswerTranslator::new(expected, head, Timestamp::from_secs(1));
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| translator.chunk(piece, &mut out));
    let ending = translator.end(&mut out);
    (out, ending)
}

/// However it is cut, an answer is translated to the same bytes; all of it is JSON, and not much more than came.
pub(crate) fn translate_answer(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let cut = usize::from(*choice) * body.len() / 256;
    for client in [Dialect::OpenAi, Dialect::Anthropic] {
        for (status, kind) in [(200, "text/event-stream"), (200, "application/json"), (429, "application/json")] {
            let head = AnswerHead { status, headers: &[("content-type", kind)] };
            let expected = expected(client, *choice);
            let (out, ending) = answer(expected, &head, [body, b""]);
            assert_eq!(answer(expected, &head, [&body[..cut], &body[cut..]]), (out.clone(), ending));
            let text = String::from_utf8(out).expect("UTF-8");
            // The smallest event has some 20 bytes; each names id, model and block anew.
            assert!(text.len() <= 4096 + 64 * body.len(), "{} bytes of {}", text.len(), body.len());
            let documents: Vec<&str> = match kind {
                "text/event-stream" => text.lines().filter_map(|line| line.strip_prefix("data: ")).collect(),
                _ => vec![&text],
            };
            for document in documents.into_iter().filter(|document| *document != "[DONE]") {
                is_json(document);
            }
        }
    }
}
