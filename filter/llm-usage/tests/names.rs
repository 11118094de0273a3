//! Every name under which providers say what they counted.
#[path = "fixtures/usage/harness.rs"]
mod harness;

use harness::{assert_cuts_agree, head, read, sse, summary};

#[track_caller]
fn assert_reads(body: &str, expected: &str) {
    assert_eq!(summary(&read(body.as_bytes())), expected, "{body}");
    assert_cuts_agree(&head(), body.as_bytes());
}

#[test]
fn parts_of_the_input_and_the_output_are_known_by_every_name() {
    let chat = |more: &str| {
        format!(
            r#"{{"object":"chat.completion","choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":8{more}}}}}"#
        )
    };
    let read = "complete in=9 out=8 read=7 write=- reasoning=-";
    assert_reads(&chat(r#","num_cached_tokens":7"#), read);
    assert_reads(&chat(r#","prompt_token_details":{"cached_tokens":7}"#), read);
    assert_reads(
        &chat(r#","completion_token_details":{"reasoning_tokens":5}"#),
        "complete in=9 out=8 read=- write=- reasoning=5",
    );
    assert_reads(
        r#"{"type":"message","usage":{"input_tokens":9,"output_tokens":8,"output_tokens_details":{"thinking_tokens":5}}}"#,
        "complete in=9 out=8 read=- write=- reasoning=5",
    );
    assert_reads(
        r#"{"model":"m","done":true,"prompt_eval_count":9,"prompt_eval_cached_count":7,"eval_count":8}"#,
        read,
    );
}

#[test]
fn geminis_interactions_are_read_whole_and_as_a_stream() {
    let usage = r#"{"total_input_tokens":20,"total_output_tokens":30,"total_thought_tokens":5,"total_tool_use_tokens":4,"total_cached_tokens":6,"total_tokens":59,"input_tokens_by_modality":[{"modality":"text","tokens":20}]}"#;
    let whole = format!(r#"{{"id":"i","object":"interaction","status":"completed","usage":{usage}}}"#);
    let expected = "complete in=24 out=35 read=6 write=- reasoning=5";
    assert_reads(&whole, expected);
    assert_eq!(read(whole.as_bytes()).usage.details.get("text_input_tokens"), Some(&20));
    let events = [
        r#"{"event_type":"interaction.created","interaction":{"id":"i","status":"in_progress"}}"#.to_owned(),
        r#"{"event_type":"step.delta","index":0,"delta":{"type":"text","text":"A low dam."}}"#.to_owned(),
        format!(r#"{{"event_type":"interaction.completed","interaction":{whole}}}"#),
        "[DONE]".to_owned(),
    ];
    let stream = sse(&events.join("\n"));
    let reading = read(&stream);
    assert_eq!((summary(&reading).as_str(), reading.text.is_empty()), (expected, false));
    assert_cuts_agree(&head(), &stream);
}

#[test]
fn a_nested_detail_keeps_its_parents_name() {
    let body = br#"{"choices":[],"usage":{"prompt_tokens":1,"context_details":{"input_tokens":3,"deep":{"input_tokens":4},"last":5},"server_tool_use":{"web_search_requests":2},"cache_creation":{"ephemeral_1h_input_tokens":6},"plain":7}}"#;
    let details = read(body).usage.details;
    for (name, value) in [
        ("context_details_input_tokens", 3),
        ("context_details_deep_input_tokens", 4),
        ("context_details_last", 5),
        ("web_search_requests", 2),
        ("ephemeral_1h_input_tokens", 6),
        ("plain", 7),
    ] {
        assert_eq!(details.get(name), Some(&value), "{name}: {details:?}");
    }
    assert_eq!(details.len(), 6, "{details:?}");
    let long = "x".repeat(45);
    let body = format!(r#"{{"choices":[],"usage":{{"prompt_tokens":1,"{long}":{{"input_tokens":3}},"a":{{"b":4}}}}}}"#);
    let details = read(body.as_bytes()).usage.details;
    assert_eq!((details.get("a_b"), details.len()), (Some(&4), 1), "{details:?}");
    assert_cuts_agree(&head(), body.as_bytes());
}

#[test]
fn an_operator_may_say_that_the_input_includes_the_cached_tokens() {
    use weir_llm_usage::{BodyEnd, Reader};
    let body = br#"{"type":"message","usage":{"input_tokens":1820,"cache_read_input_tokens":1500,"output_tokens":8}}"#;
    assert_eq!(summary(&read(body)), "complete in=3320 out=8 read=1500 write=- reasoning=-");
    let mut reader = Reader::new(&head(), None);
    reader.include_cache();
    reader.feed(body);
    assert_eq!(summary(&reader.finish(BodyEnd::Whole)), "complete in=1820 out=8 read=1500 write=- reasoning=-");
}
