//! Exchanges whose final numbers never came, or came in doubt.

use weir_contract::event::{Usage, UsageStatus};
use weir_usage_oracle::{Count, Declared, Dialect, End, Exchange, Expected, Request, Response, Status, expected};

const WORD: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one two three\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const ZEROS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n";

fn post(path: &str, content_type: &str, body: &str, end: End) -> Exchange {
    let request = r#"{"model":"m","messages":[{"role":"user","content":"Count to three, please."}]}"#;
    Exchange {
        dialect: None,
        declared: Declared::Nothing,
        request: Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: request.as_bytes().to_vec(),
        },
        response: Some(Response {
            status: 200,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            chunks: vec![body.as_bytes().to_vec()],
        }),
        end,
    }
}

fn chat(body: &str, end: End) -> Exchange {
    post("/v1/chat/completions", "text/event-stream", body, end)
}

fn status(exchange: &Exchange) -> Status {
    match expected(exchange) {
        Expected::Usage { status, .. } => status,
        open @ Expected::Unspecified(_) => panic!("{open:?}"),
    }
}

fn usage(status: UsageStatus, input: u64, output: u64) -> Usage {
    Usage { status, input_tokens: Some(input), output_tokens: Some(output), ..Usage::default() }
}

#[test]
fn a_client_that_leaves_before_the_head_owes_its_input_and_a_provider_that_fails_is_owed_nothing() {
    let mut exchange = chat("", End::ClientLeft);
    exchange.response = None;
    let judged = expected(&exchange);
    judged.check(&usage(UsageStatus::Estimated, 12, 0)).unwrap();
    judged.check(&usage(UsageStatus::Estimated, 0, 0)).unwrap_err();
    judged.check(&Usage::default()).unwrap_err();
    for end in [End::UpstreamReset, End::Timeout] {
        exchange.end = end;
        assert_eq!(status(&exchange), Status::None);
    }
}

#[test]
fn a_head_without_a_word_is_billed_only_to_a_client_that_left() {
    assert_eq!(status(&chat("", End::Whole)), Status::None);
    assert_eq!(status(&chat("", End::UpstreamReset)), Status::None);
    assert_eq!(status(&chat(": keep-alive\n\n", End::Timeout)), Status::None);
    assert_eq!(status(&chat(": keep-alive\n\n", End::ClientLeft)), Status::Estimated);
}

#[test]
fn an_error_before_the_first_word_is_not_billed_and_one_behind_it_is_estimated() {
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    assert_eq!(status(&chat(error, End::Whole)), Status::None);
    assert_eq!(status(&chat(&format!("{WORD}{error}"), End::Whole)), Status::Estimated);
}

#[test]
fn zeros_are_placeholders_and_neither_numbers_nor_an_end() {
    let judged = expected(&chat(&format!("{ZEROS}{WORD}"), End::ClientLeft));
    judged.check(&usage(UsageStatus::Estimated, 9, 3)).unwrap();
    judged.check(&usage(UsageStatus::Estimated, 0, 0)).unwrap_err();
    judged.check(&usage(UsageStatus::Complete, 0, 0)).unwrap_err();
}

#[test]
fn a_running_usage_is_a_lower_bound_until_the_answer_ends() {
    let running = WORD
        .replace("]}\n\n", "],\"usage\":{\"prompt_tokens\":700,\"completion_tokens\":40,\"total_tokens\":740}}\n\n");
    for body in [running.clone(), format!("{running}{LAST}")] {
        let judged = expected(&chat(&body, End::ClientLeft));
        judged.check(&usage(UsageStatus::Estimated, 700, 41)).unwrap();
        judged.check(&usage(UsageStatus::Estimated, 699, 41)).unwrap_err();
        judged.check(&usage(UsageStatus::Estimated, 700, 39)).unwrap_err();
        judged.check(&usage(UsageStatus::Complete, 700, 40)).unwrap_err();
    }
    assert_eq!(status(&chat(&format!("{running}{LAST}"), End::Whole)), Status::Counted);
}

#[test]
fn an_anthropic_stream_that_breaks_off_keeps_the_input_that_it_told() {
    let start = |input: u64| {
        format!(
            "data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{{\"input_tokens\":{input},\"output_tokens\":1}}}}}}\n\n\
             data: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":\"pong\"}}}}\n\n"
        )
    };
    let cut = |input| expected(&post("/v1/messages", "text/event-stream", &start(input), End::ClientLeft));
    cut(1820).check(&usage(UsageStatus::Estimated, 1820, 2)).unwrap();
    cut(1820).check(&usage(UsageStatus::Estimated, 20, 2)).unwrap_err();
    // A placeholder of zero is no input; the estimate stands in for it.
    cut(0).check(&usage(UsageStatus::Estimated, 9, 2)).unwrap();
    cut(0).check(&usage(UsageStatus::Estimated, 0, 2)).unwrap_err();
}

#[test]
fn an_input_of_zero_is_unknown_and_the_output_beside_it_is_kept() {
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":7,"total_tokens":7}}"#;
    let judged = expected(&post("/v1/chat/completions", "application/json", body, End::Whole));
    judged.check(&usage(UsageStatus::Estimated, 9, 7)).unwrap();
    judged.check(&usage(UsageStatus::Complete, 0, 7)).unwrap_err();
    judged.check(&usage(UsageStatus::Estimated, 9, 8)).unwrap_err();
}

#[test]
fn binary_data_weighs_nothing_in_an_estimate() {
    let picture = "iVBORw0KGgo".repeat(20_000);
    let mut exchange = chat(WORD, End::Whole);
    exchange.request.body =
        format!(r#"{{"messages":[{{"content":[{{"image_url":"data:image/png;base64,{picture}"}}]}}]}}"#).into_bytes();
    let judged = expected(&exchange);
    judged.check(&usage(UsageStatus::Estimated, 1_300, 3)).unwrap();
    judged.check(&usage(UsageStatus::Estimated, 55_000, 3)).unwrap_err();
}

#[test]
fn vectors_are_no_output_where_an_embedding_is_estimated() {
    let body = r#"{"data":[{"embedding":[0.1,0.2]}]}"#;
    let judged = expected(&post("/v1/embeddings", "application/json", body, End::Whole));
    judged.check(&usage(UsageStatus::Estimated, 9, 0)).unwrap();
    judged.check(&usage(UsageStatus::Estimated, 9, 5)).unwrap_err();
}

#[test]
fn a_declared_route_is_read_and_an_undeclared_one_is_not() {
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10}}"#;
    let mut exchange = post("/answers", "application/json", body, End::Whole);
    exchange.dialect = Some(Dialect::Chat);
    assert_eq!(status(&exchange), Status::None);
    exchange.declared = Declared::Usage;
    let Expected::Usage { status: Status::Complete, one_of } = expected(&exchange) else {
        panic!("a declared route is read");
    };
    assert_eq!((one_of[0].input_tokens, one_of[0].output_tokens), (Count::Exactly(3), Count::Exactly(7)));
}

#[test]
fn guard_tokens_are_input_or_nothing_but_never_output() {
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":93,"completion_tokens":402,"guardrails_tokens":677,"total_tokens":1172}}"#;
    let judged = expected(&post("/v1/chat/completions", "application/json", body, End::Whole));
    judged.check(&usage(UsageStatus::Complete, 93, 402)).unwrap();
    judged.check(&usage(UsageStatus::Estimated, 770, 402)).unwrap();
    judged.check(&usage(UsageStatus::Complete, 93, 1079)).unwrap_err();
}

#[test]
fn a_complete_event_has_every_count_right_and_may_leave_zeros_out() {
    let body = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":7,"total_tokens":37,"prompt_tokens_details":{"cached_tokens":20}}}"#;
    let judged = expected(&post("/v1/chat/completions", "application/json", body, End::Whole));
    let right = Usage { cache_read_tokens: Some(20), ..usage(UsageStatus::Complete, 30, 7) };
    judged.check(&right).unwrap();
    judged.check(&Usage { reasoning_tokens: Some(0), ..right.clone() }).unwrap();
    judged.check(&Usage { cache_read_tokens: None, ..right.clone() }).unwrap_err();
    judged.check(&Usage { cache_write_tokens: Some(1), ..right.clone() }).unwrap_err();
    judged.check(&Usage { output_tokens: None, ..right }).unwrap_err();
}
