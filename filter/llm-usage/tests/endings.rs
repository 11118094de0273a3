//! `complete` is said only of the provider's own final numbers, however the answer ends.
#[path = "fixtures/usage/harness.rs"]
mod harness;

use harness::{head, read, read_until, settle, settled, sse, summary};
use weir_contract::UsageStatus;
use weir_llm_usage::{BodyEnd, Ending, Reading, ResponseHead};

const ANTHROPIC: &str = include_str!("fixtures/usage/anthropic_stream.lines");
const CHAT: &str = include_str!("fixtures/usage/openai_chat_stream.lines");

fn cut_off(body: &[u8]) -> Reading {
    read_until(&head(), [body], BodyEnd::Cut)
}

fn first_lines(lines: &str, count: usize) -> Vec<u8> {
    sse(&lines.lines().take(count).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_message_cut_off_before_its_last_delta_keeps_its_input_and_estimates_its_output() {
    let reading = cut_off(&first_lines(ANTHROPIC, 5));
    assert_eq!(summary(&reading), "partial in=630 out=2 read=500 write=100 reasoning=-");
    let usage = settled(&reading, 1);
    assert_eq!(usage.status, UsageStatus::Estimated);
    assert_eq!(usage.input_tokens, Some(630), "the provider's own");
    assert_eq!(usage.output_tokens, Some(16), "35 letters and spaces, 4 digits, 10 others");
}

#[test]
fn a_message_is_final_with_the_delta_that_says_why_it_stopped() {
    let reading = cut_off(&first_lines(ANTHROPIC, 7));
    assert_eq!(summary(&reading), "complete in=635 out=18 read=500 write=100 reasoning=-");
}

#[test]
fn a_chat_cut_off_before_its_usage_is_estimated_whole() {
    let reading = cut_off(&first_lines(CHAT, 4));
    assert_eq!(reading.usage.status, UsageStatus::None);
    let usage = settled(&reading, 33);
    assert_eq!((usage.status, usage.input_tokens), (UsageStatus::Estimated, Some(33)));
    assert_eq!(usage.output_tokens, Some(14), "30 letters and spaces, 1 digit, 10 others");
}

#[test]
fn a_chat_whose_usage_grows_with_every_chunk_is_final_only_with_its_last() {
    let lines = include_str!("fixtures/usage/vllm_continuous_stream.lines");
    assert_eq!(summary(&cut_off(&first_lines(lines, 2))), "partial in=6 out=1 read=- write=- reasoning=-");
    assert_eq!(summary(&cut_off(&first_lines(lines, 3))), "complete in=6 out=2 read=- write=- reasoning=-");
}

#[test]
fn of_several_choices_one_that_stops_is_not_the_end() {
    let chunk = |index: u8, reason: &str, tokens: u8| {
        format!(
            "{{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"x\"}},\
             \"finish_reason\":{reason}}}],\"usage\":{{\"prompt_tokens\":4,\"completion_tokens\":{tokens}}}}}\n"
        )
    };
    let both = chunk(1, "null", 1) + &chunk(0, "\"stop\"", 2);
    assert_eq!(summary(&cut_off(&sse(&both))), "partial in=4 out=2 read=- write=- reasoning=-");
    assert_eq!(summary(&cut_off(&sse(&(both + "[DONE]")))), "complete in=4 out=2 read=- write=- reasoning=-");
}

#[test]
fn a_gemini_stream_is_final_with_the_candidate_that_finished() {
    let lines = include_str!("fixtures/usage/gemini_stream.lines");
    assert_eq!(summary(&cut_off(&first_lines(lines, 1))), "partial in=9 out=21 read=- write=- reasoning=20");
    assert_eq!(summary(&cut_off(&first_lines(lines, 2))), "complete in=9 out=24 read=- write=- reasoning=20");
}

#[test]
fn a_body_cut_off_behind_its_usage_is_final_and_within_it_is_not() {
    let body = include_bytes!("fixtures/usage/mistral_chat.json");
    let behind = body.iter().position(|byte| *byte == b'[').unwrap();
    assert_eq!(summary(&cut_off(&body[..behind])), "complete in=13 out=34 read=- write=- reasoning=-");
    let within = body.windows(12).position(|window| window == b"total_tokens").unwrap();
    assert_eq!(cut_off(&body[..within]).usage.status, UsageStatus::None);
}

#[test]
fn an_ollama_stream_is_final_when_it_is_done() {
    let body = include_str!("fixtures/usage/ollama_chat.ndjson");
    let undone = body.lines().take(2).collect::<Vec<_>>().join("\n");
    assert_eq!(cut_off(undone.as_bytes()).usage.status, UsageStatus::None);
    assert!(!cut_off(undone.as_bytes()).text.is_empty());
}

#[test]
fn an_event_that_lacks_only_its_blank_line_is_believed_and_half_an_event_is_not() {
    let event = r#"data: {"type":"message","usage":{"input_tokens":3,"output_tokens":4}}"#;
    assert_eq!(summary(&cut_off(event.as_bytes())), "complete in=3 out=4 read=- write=- reasoning=-");
    assert_eq!(cut_off(&event.as_bytes()[..event.len() - 1]).usage.status, UsageStatus::None);
}

#[test]
fn a_response_that_still_works_in_the_background_is_not_final() {
    let body = br#"{"object":"response","status":"in_progress","usage":{"input_tokens":3,"output_tokens":1}}"#;
    assert_eq!(summary(&read(body)), "partial in=3 out=1 read=- write=- reasoning=-");
}

#[test]
fn an_error_used_nothing() {
    let errors = [
        (429, r#"{"error":{"code":429,"message":"You exceeded your quota.","status":"RESOURCE_EXHAUSTED"}}"#),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: required"}}"#),
        (403, r#"{"message":"User is not authorized to perform bedrock:InvokeModel"}"#),
        (500, ""),
        (200, r#"{"error":{"message":"overloaded"}}"#),
    ];
    for (status, body) in errors {
        let reading = read_until(&ResponseHead::new(status), [body.as_bytes()], BodyEnd::Whole);
        assert!(reading.has_failed, "{body}");
        assert_eq!(settled(&reading, 50).status, UsageStatus::None, "{body}");
    }
}

#[test]
fn an_error_within_a_stream_leaves_what_was_used_before_it() {
    let lines = ANTHROPIC.lines().take(4).collect::<Vec<_>>().join("\n");
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let reading = read(&sse(&format!("{lines}\n{error}")));
    assert!(reading.has_failed);
    let usage = settled(&reading, 1);
    assert_eq!((usage.status, usage.input_tokens), (UsageStatus::Estimated, Some(630)));
}

#[test]
fn a_failed_response_without_usage_used_nothing() {
    let line =
        r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"x"},"usage":null}}"#;
    let error = r#"{"type":"error","error":{"code":"insufficient_quota","message":"No more."}}"#;
    let reading = read(&sse(&format!("{error}\n{line}")));
    assert_eq!(settled(&reading, 9).status, UsageStatus::None);
    assert_eq!(reading.response_id.as_deref(), Some("r"));
}

#[test]
fn an_answer_that_never_came_is_estimated_from_the_request() {
    let usage = settled(&cut_off(b""), 70);
    assert_eq!((usage.status, usage.input_tokens, usage.output_tokens), (UsageStatus::Estimated, Some(70), Some(0)));
}

#[test]
fn a_failure_before_the_first_word_used_nothing() {
    let failed = r#"{"type":"response.failed","response":{"id":"r","object":"response","status":"failed","error":{"code":"x"},"usage":null}}"#;
    let role =
        r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    for (stream, ending) in [
        (sse(failed), Ending::Whole),
        (sse(&failed.replace(r#","error":{"code":"x"}"#, "")), Ending::Whole),
        (b"event: error\ndata: {\"detail\":\"no GPU left\"}\n\n".to_vec(), Ending::Whole),
        (b"event:error\r\ndata: {\"message\":\"no GPU left\"}\r\n\r\n".to_vec(), Ending::Whole),
        (sse(r#"{"object":"error","message":"no GPU left","code":500}"#), Ending::Whole),
        (sse(r#"{"type":"error","message":"no GPU left"}"#), Ending::Whole),
        (sse(&format!("{role}\n{{\"error\":{{\"code\":500}}}}")), Ending::Whole),
        (Vec::new(), Ending::Whole),
        (b": ping\n\n".to_vec(), Ending::Whole),
        (b"data: [DONE]\n\n".to_vec(), Ending::Whole),
        (Vec::new(), Ending::Broken),
        (sse(role), Ending::Broken),
    ] {
        let usage = settle(&read(&stream), 50, ending);
        assert_eq!(usage.status, UsageStatus::None, "{}", String::from_utf8_lossy(&stream));
        harness::assert_cuts_agree(&head(), &stream);
    }
}

#[test]
fn a_client_that_leaves_before_the_first_word_owes_its_input() {
    let role =
        r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    for stream in [Vec::new(), sse(role), sse(r#"{"type":"message_start","message":{"usage":{"input_tokens":0}}}"#)] {
        let usage = settle(&cut_off(&stream), 50, Ending::Left);
        assert_eq!(
            (usage.status, usage.input_tokens, usage.output_tokens),
            (UsageStatus::Estimated, Some(50), Some(0))
        );
    }
}

#[test]
fn an_event_that_is_named_for_an_error_fails_alone() {
    let stream =
        b"event: error\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n\nevent: errors\ndata: {}\n\n";
    assert!(!read(stream).has_failed);
    harness::assert_cuts_agree(&head(), stream);
}

#[test]
fn work_that_is_queued_used_nothing_yet() {
    for body in [
        r#"{"id":"r","object":"response","background":true,"status":"queued","output":[],"usage":null}"#,
        r#"{"id":"r","object":"response","background":true,"status":"in_progress","output":[]}"#,
        r#"{"id":"run_1","object":"thread.run","status":"queued","usage":null}"#,
        r#"{"id":"run_1","object":"thread.run","status":"requires_action","usage":null}"#,
        r#"{"id":"batch_1","object":"batch","status":"validating"}"#,
        r#"{"id":"i","object":"interaction","status":"in_progress"}"#,
    ] {
        assert_eq!(settled(&read(body.as_bytes()), 50).status, UsageStatus::None, "{body}");
    }
    let kept = br#"{"id":"r","object":"response","background":true,"status":"completed","usage":{"input_tokens":3,"output_tokens":1}}"#;
    assert!(read(kept).is_kept);
}

#[test]
fn a_zero_is_a_placeholder_and_never_beats_a_count() {
    let zero = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Two words"}}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#;
    let usage = settled(&cut_off(&sse(zero)), 50);
    assert_eq!((usage.status, usage.input_tokens), (UsageStatus::Estimated, Some(50)));
    let start = r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1820,"output_tokens":1}}}"#;
    let delta =
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":0,"output_tokens":9}}"#;
    assert_eq!(summary(&read(&sse(&format!("{start}\n{delta}")))), "complete in=1820 out=9 read=- write=- reasoning=-");
    let last = r#"{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":0,"completion_tokens":9}}"#;
    assert_eq!(summary(&read(&sse(last))), "partial in=- out=9 read=- write=- reasoning=-");
    let earlier = last.replace(r#""prompt_tokens":0"#, r#""prompt_tokens":7"#);
    assert_eq!(summary(&read(&sse(&format!("{earlier}\n{last}")))), "complete in=7 out=9 read=- write=- reasoning=-");
}

#[test]
fn zeros_of_an_answer_with_words_are_not_the_providers_last_word() {
    let body = br#"{"choices":[{"message":{"content":"Two words"},"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#;
    let usage = settled(&read(body), 50);
    assert_eq!((usage.status, usage.input_tokens, usage.output_tokens), (UsageStatus::Estimated, Some(50), Some(2)));
}

#[test]
fn a_bare_total_of_a_chat_is_split_by_estimate() {
    let body =
        br#"{"object":"chat.completion","choices":[{"message":{"content":"Two words"}}],"usage":{"total_tokens":90}}"#;
    let usage = settled(&read(body), 50);
    assert_eq!((usage.status, usage.input_tokens, usage.output_tokens), (UsageStatus::Estimated, Some(50), Some(40)));
    let silent = br#"{"object":"chat.completion","usage":{"total_tokens":90}}"#;
    assert_eq!(settled(&read(silent), 500).input_tokens, Some(90));
}
