//! Streams: event by event, however they are cut, and whatever becomes of them.
#[path = "fixtures/answers.rs"]
mod answers;

use answers::{CHUNKS, MESSAGES, STREAM, data, events, expected, stream, translated};
use serde_json::{Value, json};
use weir_contract::time::Timestamp;
use weir_llm_translate::{
    AnswerHead, AnswerTranslator, Dialect, EVENT_MAX_BYTES, Ending, cut_event, error_answer, unreadable_answer,
};

/// The texts of one kind in a stream for OpenAI's clients, joined.
fn joined(stream: &str, pointer: &str) -> String {
    data(stream).iter().filter_map(|chunk| chunk.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

#[test]
fn a_stream_of_messages_becomes_chunks() {
    let (found, ending) = stream(Dialect::OpenAi, &events(MESSAGES));
    assert_eq!(ending, Ending::Complete);
    assert_eq!(joined(&found, "/choices/0/delta/content"), "It \"is\"\né\\ 😀!");
    assert_eq!(joined(&found, "/choices/0/delta/reasoning_content"), "Let me see.");
    assert_eq!(joined(&found, "/choices/0/delta/tool_calls/0/function/arguments"), "{\"a\":1}{}");
    assert_eq!(joined(&found, "/choices/0/delta/tool_calls/0/id"), "toolu_1toolu_2");
    assert_eq!(joined(&found, "/choices/0/finish_reason"), "tool_calls");
    let said = data(&found);
    let usage = &said[said.len() - 2]["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(15), &json!(30), &json!(45))
    );
    assert_eq!((&usage["prompt_tokens_details"]["cached_tokens"], said.last()), (&json!(5), Some(&json!("[DONE]"))));
}

/// The events of a stream for Anthropic's clients, as `type` and what they say.
fn outline(stream: &str) -> Vec<String> {
    let text = |event: &Value, pointer: &str| event.pointer(pointer).map(Value::to_string).unwrap_or_default();
    let each = data(stream).into_iter().map(|event| match event["type"].as_str() {
        Some("content_block_start") => format!("start {} {}", event["index"], text(&event, "/content_block/type")),
        Some("content_block_delta") => format!(
            "{} {}",
            event["index"],
            event["delta"].as_object().unwrap().values().map(Value::to_string).collect::<Vec<_>>().join(" ")
        ),
        Some("content_block_stop") => format!("stop {}", event["index"]),
        other => other.unwrap_or_default().to_owned(),
    });
    each.collect()
}

#[test]
fn chunks_become_a_stream_of_messages() {
    let (found, ending) = stream(Dialect::Anthropic, &events(CHUNKS));
    assert_eq!(ending, Ending::Complete);
    let wanted = [
        "message_start",
        "start 0 \"thinking\"",
        "0 \"Let me\" \"thinking_delta\"",
        "0 \" see.\" \"thinking_delta\"",
        "0 \"weir:another-providers-thoughts\" \"signature_delta\"",
        "stop 0",
        "start 1 \"text\"",
        "1 \"It \\\"is\\\"\\n\" \"text_delta\"",
        "1 \"é\\\\ 😀\" \"text_delta\"",
        "1 \"!\" \"text_delta\"",
        "stop 1",
        "start 2 \"tool_use\"",
        "2 \"{\\\"a\\\":\" \"input_json_delta\"",
        "2 \"1}\" \"input_json_delta\"",
        "stop 2",
        "start 3 \"tool_use\"",
        "3 \"{}\" \"input_json_delta\"",
        "stop 3",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(outline(&found), wanted);
    let said = data(&found);
    let last = &said[said.len() - 2];
    assert_eq!(last["delta"]["stop_reason"], "tool_use");
    let usage = json!({"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 30, "output_tokens_details": {"thinking_tokens": 4}});
    assert_eq!(last["usage"], usage);
}

#[test]
fn every_event_is_named_as_its_data() {
    let (found, _) = stream(Dialect::Anthropic, &events(CHUNKS));
    for event in found.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').expect("two lines");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
    }
}

#[test]
fn every_split_of_every_stream_gives_the_same() {
    for (client, body) in [
        (Dialect::OpenAi, events(MESSAGES)),
        (Dialect::Anthropic, events(CHUNKS)),
        (Dialect::OpenAi, events(MESSAGES).replace('\n', "\r\n")),
    ] {
        let (whole, expected) = (stream(client, &body), expected(client, &json!({})));
        for at in 0..=body.len() {
            let (head, tail) = body.as_bytes().split_at(at);
            assert_eq!(translated(expected, &STREAM, &[head, tail]), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert_eq!(translated(expected, &STREAM, &bytes), whole);
    }
}

#[test]
fn an_event_goes_out_when_it_has_come_in() {
    for (client, lines) in [(Dialect::OpenAi, MESSAGES), (Dialect::Anthropic, CHUNKS)] {
        let mut translator = AnswerTranslator::new(expected(client, &json!({})), &STREAM, answers::NOW);
        for line in lines.lines().filter(|line| {
            line.contains("It \\\"is\\\"") || line.contains("message_start") || line.contains("content_block_start")
        }) {
            let mut out = Vec::new();
            translator.chunk(format!("data: {line}\n\n").as_bytes(), &mut out);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out.contains("It \\\"is\\\"\\n"), line.contains("It \\\"is\\\""), "{line} says {out}");
        }
    }
}

/// What is said when no event has the shape of the one before: something that says nothing stands between them.
fn without_the_fast_path(client: Dialect, lines: &str) -> String {
    let between = match client {
        Dialect::OpenAi => "{\"type\":\"of_the_future\"}",
        Dialect::Anthropic => "{\"choices\":[]}",
    };
    let body: String =
        lines.lines().filter(|line| !line.is_empty()).map(|line| events(&format!("{line}\n{between}"))).collect();
    stream(client, &body).0
}

#[test]
fn events_of_one_shape_say_what_they_would_say_alone() {
    for (client, lines) in [(Dialect::OpenAi, MESSAGES), (Dialect::Anthropic, CHUNKS)] {
        let again: String = lines
            .lines()
            .flat_map(|line| {
                let times = if line.contains("It \\\"is")
                    || line.contains("partial_json")
                    || line.contains("\"arguments\":\"{\\\"a")
                    || line.contains("see.")
                {
                    3
                } else {
                    1
                };
                std::iter::repeat_n(format!("{line}\n"), times)
            })
            .collect();
        let lead = if client == Dialect::OpenAi { again.trim_start().to_owned() } else { again };
        assert_eq!(stream(client, &events(&lead)).0, without_the_fast_path(client, &lead), "{client:?}");
    }
}

#[test]
fn a_stream_that_is_cut_ends_with_an_error_in_the_clients_dialect() {
    for (client, lines) in [(Dialect::OpenAi, MESSAGES), (Dialect::Anthropic, CHUNKS)] {
        let lines: Vec<&str> = lines.trim().lines().collect();
        // Behind the reason why it ends, Chat Completions may end without another word.
        let complete = if client == Dialect::OpenAi { lines.len() } else { lines.len() - 2 };
        for length in 0..complete {
            let (found, ending) = stream(client, &events(&lines[..length].join("\n")));
            let last = data(&found).pop().expect("an error");
            assert_eq!((ending, last["error"]["message"].is_string()), (Ending::Broken, true), "{length}: {found}");
            assert!(!found.contains("[DONE]") && !found.contains("message_stop"));
            assert_eq!(last["type"] == "error", client == Dialect::Anthropic);
        }
    }
}

#[test]
fn the_providers_error_in_a_stream_is_told() {
    let failing = format!(
        "{}data: {}\n\n",
        events(MESSAGES.trim().lines().next().unwrap()),
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#
    );
    let (found, ending) = stream(Dialect::OpenAi, &failing);
    assert_eq!(ending, Ending::Broken);
    assert_eq!(
        data(&found).pop().unwrap()["error"],
        json!({"message": "Overloaded", "type": "server_error", "param": null, "code": "overloaded"})
    );
    let failing = r#"{"error":{"message":"Quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let (found, _) = stream(Dialect::Anthropic, &events(failing));
    assert_eq!(data(&found).pop().unwrap()["error"], json!({"type": "billing_error", "message": "Quota"}));
    assert!(found.starts_with("event: error\n"));
}

#[test]
fn a_refusal_is_a_refusal() {
    let lines = r#"{"type":"message_start","message":{"id":"msg_1","model":"claude","usage":{"input_tokens":1,"output_tokens":1}}}
{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber","explanation":"No."}},"usage":{"output_tokens":5}}
{"type":"message_stop"}"#;
    let (found, ending) = stream(Dialect::OpenAi, &events(lines));
    assert_eq!(
        (ending, joined(&found, "/choices/0/delta/refusal"), joined(&found, "/choices/0/finish_reason")),
        (Ending::Complete, "No.".to_owned(), "content_filter".to_owned())
    );
    let lines = r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"refusal":"I"}}]}
{"id":"c","model":"m","choices":[{"index":0,"delta":{"refusal":" won't."}}]}
{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let (found, ending) = stream(Dialect::Anthropic, &events(lines));
    assert_eq!(
        (ending, joined(&found, "/delta/text"), joined(&found, "/delta/stop_reason")),
        (Ending::Complete, "I won't.".to_owned(), "refusal".to_owned())
    );
}

#[test]
fn json_that_comes_as_a_call_is_content() {
    let lines = MESSAGES.replace("\"name\":\"f\"", "\"name\":\"answer_in_json\"");
    let lines: Vec<&str> = lines
        .lines()
        .filter(|line| !line.contains("\"index\":3") && !line.contains("\"index\":1") && !line.contains("\"index\":0"))
        .collect();
    let expected = expected(Dialect::OpenAi, &json!({"response_format": {"type": "json_object"}}));
    let (found, _) = translated(expected, &STREAM, &[events(&lines.join("\n")).as_bytes()]);
    assert_eq!(
        (joined(&found, "/choices/0/delta/content"), joined(&found, "/choices/0/finish_reason")),
        ("{\"a\":1}".to_owned(), "stop".to_owned())
    );
    assert!(!found.contains("tool_calls"), "{found}");
}

#[test]
fn only_a_client_that_asks_is_told_usage_and_thoughts() {
    let silent = expected(Dialect::OpenAi, &json!({"stream_options": null}));
    let (found, _) = translated(silent, &STREAM, &[events(MESSAGES).as_bytes()]);
    assert!(!found.contains("usage"), "{found}");
    let plain = expected(Dialect::Anthropic, &json!({"thinking": null}));
    let (found, _) = translated(plain, &STREAM, &[events(CHUNKS).as_bytes()]);
    assert!(!found.contains("thinking_delta") && found.contains("text_delta"), "{found}");
}

#[test]
fn a_hostile_stream_does_not_grow() {
    let name = "x".repeat(100_000);
    let start = format!(r#"{{"type":"message_start","message":{{"id":"{name}","model":"{name}","usage":{{}}}}}}"#);
    let (found, _) = stream(Dialect::OpenAi, &events(&format!("{start}\n{}", r#"{"type":"ping"}"#)));
    assert!(found.len() < 2000, "{}", found.len());
    let mut translator = AnswerTranslator::new(expected(Dialect::OpenAi, &json!({})), &STREAM, answers::NOW);
    let mut out = Vec::new();
    (0..2 * EVENT_MAX_BYTES / 1024).for_each(|_| translator.chunk(&[b'd'; 1024], &mut out));
    assert_eq!((data(&String::from_utf8(out).unwrap()).len(), translator.end(&mut Vec::new())), (1, Ending::Broken));
}

#[test]
fn nonsense_ends_with_an_error_and_nothing_behind_it() {
    let start = MESSAGES.trim().lines().next().unwrap();
    for line in [
        "{",
        "[]",
        "7",
        r#"{"type":"content_block_delta","index":9,"delta":{}}"#,
        r#"{"type":"content_block_start","index":0}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":7}}"#,
        "{\"type\":\"a\",\"type\":\"b\"}",
    ] {
        let (found, ending) = stream(Dialect::OpenAi, &events(&format!("{start}\n{line}\n{}", MESSAGES.trim())));
        let said = data(&found);
        // `[]` and `7` have no type, as an event of the future that says nothing.
        if ending == Ending::Broken {
            assert_eq!((said.len(), said[1]["error"]["type"].as_str()), (2, Some("server_error")), "{line}: {found}");
        } else {
            assert!(["[]", "7"].contains(&line), "{line}");
        }
    }
}

#[test]
fn a_stream_that_fails_can_be_answered_with_its_error_instead() {
    let failure = |lines: &str| {
        let head = AnswerHead { status: 200, headers: &[("content-type", "text/event-stream")] };
        let mut translator = AnswerTranslator::new(expected(Dialect::OpenAi, &json!({})), &head, Timestamp::default());
        translator.chunk(lines.as_bytes(), &mut Vec::new());
        translator
            .failure()
            .map(|failure| (failure.is_told, serde_json::from_slice::<Value>(&failure.body).expect("JSON")))
    };
    assert_eq!(failure(&events(MESSAGES)), None);
    let told = "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let (is_told, body) = failure(told).expect("it fails");
    assert_eq!((is_told, &body["error"]["message"]), (true, &json!("Overloaded")));
    let (is_told, body) = failure("data: nonsense\n\n").expect("it fails");
    assert!(!is_told && body["error"]["message"].is_string(), "{body}");
}

#[test]
fn errors_without_a_dialect_have_a_form_in_each() {
    for client in [Dialect::OpenAi, Dialect::Anthropic] {
        let cut = String::from_utf8(cut_event(client)).expect("a text");
        assert!(cut.starts_with("\n\n") && cut.ends_with("\n\n"), "it closes what went before: {cut:?}");
        let bodies = [unreadable_answer(client), error_answer(client, 503)];
        for body in bodies.iter().map(|body| serde_json::from_slice::<Value>(body).expect("JSON")).chain(data(&cut)) {
            assert!(body["error"]["message"].is_string(), "{body}");
            assert_eq!(body["type"] == "error", client == Dialect::Anthropic, "{body}");
        }
    }
}
