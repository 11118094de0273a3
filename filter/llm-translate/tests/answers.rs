//! Answers that come whole, and errors.
#[path = "fixtures/answers.rs"]
mod answers;

use answers::{WHOLE, expected, translated};
use serde_json::{Value, json};
use weir_llm_translate::{ANSWER_MAX_BYTES, AnswerHead, AnswerTranslator, Dialect, Ending};

fn whole(client: Dialect, members: Value, body: &Value) -> (Value, Ending) {
    let (found, ending) = translated(expected(client, &members), &WHOLE, &[body.to_string().as_bytes()]);
    (serde_json::from_str(&found).expect("JSON"), ending)
}

fn message() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "One \"a\". "}, {"type": "text", "text": "Two."},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"z": 1.5}}, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}],
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 9}})
}

fn completion() -> Value {
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    json!({"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": "One \"a\".", "refusal": null, "reasoning_content": "Hm.", "annotations": [],
            "tool_calls": [call("call_1", "f", "{\"z\":1.5}"), call("call_2", "g", "")]}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1}}})
}

#[test]
fn a_message_becomes_a_completion() {
    let (found, ending) = whole(Dialect::OpenAi, json!({}), &message());
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let wanted = json!({"id": "msg_1", "object": "chat.completion", "created": 1_800_000_000, "model": "claude",
        "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "One \"a\". Two.", "refusal": null,
            "reasoning_content": "Hm.", "tool_calls": [call("toolu_1", "f", "{\"z\":1.5}"), call("toolu_2", "g", "{}")]}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1}}});
    assert_eq!((found, ending), (wanted, Ending::Complete));
}

#[test]
fn a_completion_becomes_a_message() {
    let (found, ending) = whole(Dialect::Anthropic, json!({}), &completion());
    let wanted = json!({"id": "c1", "type": "message", "role": "assistant", "model": "gpt", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [{"type": "thinking", "thinking": "Hm.", "signature": "weir:another-providers-thoughts"}, {"type": "text", "text": "One \"a\"."},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"z": 1.5}}, {"type": "tool_use", "id": "call_2", "name": "g", "input": {}}],
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 9}});
    assert_eq!((found, ending), (wanted, Ending::Complete));
}

#[test]
fn reasons_to_end_have_their_counterparts() {
    for (stop, finish) in [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("of_the_future", "stop"),
    ] {
        let mut body = message();
        body["stop_reason"] = json!(stop);
        assert_eq!(whole(Dialect::OpenAi, json!({}), &body).0["choices"][0]["finish_reason"], finish, "{stop}");
    }
    for (finish, stop) in [
        ("stop", "tool_use"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_use"),
        ("model_length", "max_tokens"),
    ] {
        let mut body = completion();
        body["choices"][0]["finish_reason"] = json!(finish);
        assert_eq!(whole(Dialect::Anthropic, json!({}), &body).0["stop_reason"], stop, "{finish}");
    }
}

#[test]
fn json_that_comes_as_a_call_is_content() {
    let body = json!({"id": "m", "model": "c", "stop_reason": "tool_use", "content": [{"type": "tool_use", "id": "t", "name": "answer_in_json", "input": {"a": "\"x\""}}], "usage": {"input_tokens": 1, "output_tokens": 1}});
    let (found, _) = whole(Dialect::OpenAi, json!({"response_format": {"type": "json_object"}}), &body);
    let choice = &found["choices"][0];
    assert_eq!((&choice["finish_reason"], choice["message"].get("tool_calls")), (&json!("stop"), None));
    assert_eq!(
        serde_json::from_str::<Value>(choice["message"]["content"].as_str().unwrap()).unwrap(),
        json!({"a": "\"x\""})
    );
}

#[test]
fn every_providers_error_is_told_in_the_clients_words() {
    let told = |client: Dialect, status: u16, body: &str| {
        let head = AnswerHead { status, headers: &[("content-type", "application/json")] };
        let (found, ending) = translated(expected(client, &json!({})), &head, &[body.as_bytes()]);
        assert_eq!(ending, Ending::Complete);
        serde_json::from_str::<Value>(&found).expect("JSON")["error"].clone()
    };
    let openai =
        |message: &str, kind: &str, code: Value| json!({"message": message, "type": kind, "param": null, "code": code});
    let error = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow \"down\""},"request_id":"r"}"#;
    assert_eq!(
        told(Dialect::OpenAi, 429, error),
        openai("Slow \"down\"", "rate_limit_error", json!("rate_limit_exceeded"))
    );
    assert_eq!(
        told(Dialect::OpenAi, 529, ""),
        openai("The provider answered with status 529.", "server_error", json!("overloaded"))
    );
    let anthropic = |kind: &str, message: &str| json!({"type": kind, "message": message});
    let cases = [
        (
            400,
            r#"{"error":{"message":"Bad","type":"invalid_request_error","param":"x","code":null}}"#,
            "invalid_request_error",
            "Bad",
        ),
        (
            429,
            r#"{"error":{"message":"Pay","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            "billing_error",
            "Pay",
        ),
        (
            404,
            r#"{"object":"error","message":"No model","type":"NotFoundError","param":null,"code":404}"#,
            "not_found_error",
            "No model",
        ),
        (
            422,
            r#"{"detail":[{"loc":["body"],"msg":"Extra inputs","type":"extra_forbidden"}]}"#,
            "invalid_request_error",
            "Extra inputs",
        ),
        (500, r#"{"error":"model runner has stopped"}"#, "api_error", "model runner has stopped"),
        (502, "<html>", "api_error", "The provider answered with status 502."),
    ];
    for (status, body, kind, message) in cases {
        assert_eq!(told(Dialect::Anthropic, status, body), anthropic(kind, message), "{body}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_an_error() {
    let encoded =
        AnswerHead { status: 200, headers: &[("Content-Encoding", "gzip"), ("content-type", "application/json")] };
    let good = message().to_string();
    let cases: [(&AnswerHead<'_>, &[u8]); 6] = [
        (&encoded, good.as_bytes()),
        (&WHOLE, b""),
        (&WHOLE, b"<html>"),
        (&WHOLE, b"{\"content\":3}"),
        (&WHOLE, &good.as_bytes()[..90]),
        (&WHOLE, b"\xff"),
    ];
    for (head, body) in cases {
        for client in [Dialect::OpenAi, Dialect::Anthropic] {
            let (found, ending) = translated(expected(client, &json!({})), head, &[body]);
            let found: Value = serde_json::from_str(&found).expect("JSON");
            assert_eq!((ending, found["error"]["message"].is_string()), (Ending::Broken, true), "{found}");
        }
    }
}

#[test]
fn an_answer_beyond_the_bound_is_an_error_and_is_not_kept() {
    let mut translator = AnswerTranslator::new(expected(Dialect::OpenAi, &json!({})), &WHOLE, answers::NOW);
    let mut out = Vec::new();
    (0..=ANSWER_MAX_BYTES / 65_536).for_each(|_| translator.chunk(&[b' '; 65_536], &mut out));
    assert!(out.is_empty());
    assert_eq!(translator.end(&mut out), Ending::Broken);
}

#[test]
fn arguments_that_are_no_json_object_break_an_answer() {
    for arguments in ["{", "[1]", "{\"a\":1,\"a\":2}"] {
        let mut body = completion();
        body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = json!(arguments);
        assert_eq!(whole(Dialect::Anthropic, json!({}), &body).1, Ending::Broken, "{arguments}");
    }
}
