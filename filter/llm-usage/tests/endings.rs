//! `complete` is said only of the provider's own final numbers, however the answer ends.
#[path = "fixtures/usage/harness.rs"]
mod harness;

use harness::{head, read, read_until, sse, summary};
use weir_contract::UsageStatus;
use weir_llm_usage::{BodyEnd, Reading, ResponseHead};

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
    let usage = reading.settle(1);
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
    let usage = reading.settle(33);
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
        assert_eq!(reading.settle(50).status, UsageStatus::None, "{body}");
    }
}

#[test]
fn an_error_within_a_stream_leaves_what_was_used_before_it() {
    let lines = ANTHROPIC.lines().take(4).collect::<Vec<_>>().join("\n");
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let reading = read(&sse(&format!("{lines}\n{error}")));
    assert!(reading.has_failed);
    let usage = reading.settle(1);
    assert_eq!((usage.status, usage.input_tokens), (UsageStatus::Estimated, Some(630)));
}

#[test]
fn a_failed_response_without_usage_used_nothing() {
    let line =
        r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"x"},"usage":null}}"#;
    let error = r#"{"type":"error","error":{"code":"insufficient_quota","message":"No more."}}"#;
    let reading = read(&sse(&format!("{error}\n{line}")));
    assert_eq!(reading.settle(9).status, UsageStatus::None);
    assert_eq!(reading.response_id.as_deref(), Some("r"));
}

#[test]
fn an_answer_that_never_came_is_estimated_from_the_request() {
    let usage = cut_off(b"").settle(70);
    assert_eq!((usage.status, usage.input_tokens, usage.output_tokens), (UsageStatus::Estimated, Some(70), Some(0)));
}
