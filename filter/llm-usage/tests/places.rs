//! Usage is taken from its exact place and from nowhere else, and a wrong number never.
#[path = "fixtures/usage/harness.rs"]
mod harness;

use harness::{assert_cuts_agree, head, read, sse, summary};

const NONE: &str = "none in=- out=- read=- write=- reasoning=-";

fn assert_reads(body: &str, expected: &str) {
    assert_eq!(summary(&read(body.as_bytes())), expected, "{body}");
    assert_cuts_agree(&head(), body.as_bytes());
}

#[test]
fn usage_anywhere_else_is_not_usage() {
    for body in [
        r#"{"choices":[{"message":{"usage":{"prompt_tokens":1}}}]}"#,
        r#"{"data":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"response":{"usage":{"input_tokens":1}}}"#,
        r#"{"message":{"usage":{"input_tokens":1}}}"#,
        r#"{"type":"content_block_delta","message":{"usage":{"input_tokens":1}}}"#,
        r#"{"type":"response.completed","item":{"usage":{"input_tokens":1}}}"#,
        r#"{"type":"message_delta","delta":{"usage":{"output_tokens":1}}}"#,
        r#"{"metadata":{"tokenMetadata":{"inputTokenCount":{"totalTokens":5}}}}"#,
        r#"{"metadata":{"usage":{"inputTokens":5}}}"#,
        r#"{"error":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"usage":[{"prompt_tokens":1}]}"#,
        r#"{"usage":"{\"prompt_tokens\":1}"}"#,
        r#"{"usage":null}"#,
        r#"{"usage":{}}"#,
        r#"{"usage":{"cpu_ms":12,"seconds":3}}"#,
        r#"{"content":"{\"usage\":{\"prompt_tokens\":1}}"}"#,
        r#"[[{"usage":{"prompt_tokens":1}}]]"#,
        r#""usage""#,
        "17",
        "",
        "   \n",
        "<html>\"usage\":{\"prompt_tokens\":1}</html>",
    ] {
        assert_reads(body, NONE);
    }
}

#[test]
fn usage_stands_before_or_behind_megabytes_of_text() {
    let text = r#"\"usage\":{\"prompt_tokens\":1} "#.repeat(70_000);
    let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":6}"#;
    let choices = format!(r#""choices":[{{"index":0,"message":{{"content":"{text}"}},"finish_reason":"stop"}}]"#);
    for body in [format!("{{{usage},{choices}}}"), format!("{{{choices},{usage}}}")] {
        assert_eq!(summary(&read(body.as_bytes())), "complete in=5 out=6 read=- write=- reasoning=-");
    }
}

#[test]
fn keys_are_read_with_their_escapes_and_compared_whole() {
    let expected = "complete in=5 out=- read=- write=- reasoning=-";
    assert_reads(r#"{"\u0075sage":{"prompt_\u0074okens":5}}"#, expected);
    assert_reads(r#"{"usage ":{"prompt_tokens":5}}"#, NONE);
    assert_reads(r#"{"\\usage":{"prompt_tokens":5}}"#, NONE);
    assert_reads(r#"{"Usage":{"prompt_tokens":5}}"#, NONE);
    let long = "k".repeat(300);
    assert_reads(&format!(r#"{{"{long}":{{"usage":1}},"usage":{{"prompt_tokens":5}}}}"#), expected);
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    let expected = "complete in=2 out=- read=- write=- reasoning=-";
    assert_reads(r#"{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}"#, expected);
    assert_reads(r#"{"usage":{"prompt_tokens":1,"prompt_tokens":2}}"#, expected);
    assert_reads(r#"{"usage":{"completion_tokens":9},"usage":{"prompt_tokens":2}}"#, expected);
    assert_reads(r#"{"usage":{"prompt_tokens":1},"usage":null}"#, NONE);
    assert_reads(r#"{"usage":{"prompt_tokens":2,"completion_tokens":1,"completion_tokens":null}}"#, expected);
}

#[test]
fn a_root_usage_object_outranks_every_other() {
    let expected = "complete in=2 out=3 read=- write=- reasoning=-";
    let root = r#""usage":{"prompt_tokens":2,"completion_tokens":3}"#;
    for other in [
        r#""x_groq":{"usage":{"prompt_tokens":7,"completion_tokens":7}}"#,
        r#""eval_count":7,"prompt_eval_count":7"#,
        r#""eval_count":null,"prompt_eval_count":null"#,
        r#""choices":[{"index":0,"usage":{"prompt_tokens":7}}]"#,
        r#""meta":{"tokens":{"input_tokens":7}}"#,
    ] {
        assert_reads(&format!("{{{other},{root}}}"), expected);
        assert_reads(&format!("{{{root},{other}}}"), expected);
    }
}

#[test]
fn whole_numbers_are_read_however_they_are_written() {
    let body = r#"{"usage":{"prompt_tokens":12.0,"completion_tokens":1.5e1,"total_tokens":27}}"#;
    assert_reads(body, "complete in=12 out=15 read=- write=- reasoning=-");
    let most = format!(r#"{{"usage":{{"prompt_tokens":{},"completion_tokens":0}}}}"#, u64::MAX);
    assert_reads(&most, "complete in=18446744073709551615 out=0 read=- write=- reasoning=-");
}

#[test]
fn what_is_no_count_is_absent_and_the_usage_is_not_complete() {
    for number in ["-1", "1.5", "1e30", "18446744073709551616", "\"12\"", "true", "01", "1.", "[1]"] {
        let body = format!(r#"{{"usage":{{"prompt_tokens":7,"completion_tokens":{number}}}}}"#);
        assert_reads(&body, "partial in=7 out=- read=- write=- reasoning=-");
    }
}

#[test]
fn sums_do_not_overflow() {
    let body = format!(
        r#"{{"usage":{{"input_tokens":{0},"cache_read_input_tokens":{0},"output_tokens":{0},"total_tokens":{0}}}}}"#,
        u64::MAX
    );
    let expected = format!("complete in={0} out={0} read={0} write=- reasoning=-", u64::MAX);
    assert_eq!(summary(&read(body.as_bytes())), expected);
}

#[test]
fn a_total_that_counts_the_cache_as_input_says_so() {
    let inclusive = r#"{"usage":{"inputTokens":50,"outputTokens":5,"totalTokens":55,"cacheReadInputTokens":40}}"#;
    assert_reads(inclusive, "complete in=50 out=5 read=40 write=- reasoning=-");
    let apart = r#"{"usage":{"inputTokens":50,"outputTokens":5,"totalTokens":95,"cacheReadInputTokens":40}}"#;
    assert_reads(apart, "complete in=90 out=5 read=40 write=- reasoning=-");
}

#[test]
fn a_total_alone_is_input_where_nothing_is_put_out_and_unknown_elsewhere() {
    assert_reads(
        r#"{"object":"list","data":[],"usage":{"total_tokens":9}}"#,
        "complete in=9 out=- read=- write=- reasoning=-",
    );
    let chat = r#"{"choices":[{"message":{"content":"x"}}],"usage":{"total_tokens":9}}"#;
    assert_reads(chat, "none in=- out=- read=- write=- reasoning=-");
}

#[test]
fn details_are_bounded_in_number_and_in_length() {
    let many: String = (0..500).map(|number| format!(r#","count_{number}":{number}"#)).collect();
    let long = "x".repeat(60);
    let body = format!(r#"{{"usage":{{"prompt_tokens":1{many},"{long}":1,"säure":2,"camelCase":3}}}}"#);
    let details = read(body.as_bytes()).usage.details;
    assert_eq!(details.len(), 32);
    assert!(details.keys().all(|name| name.len() <= 48 && name.is_ascii()));
    assert_eq!(read(br#"{"usage":{"prompt_tokens":1,"camelCase":3}}"#).usage.details.get("camel_case"), Some(&3));
}

#[test]
fn nesting_without_end_is_passed_over() {
    let deep = "[{\"usage\":".repeat(100_000);
    let body = format!(r#"{{"usage":{{"prompt_tokens":5}},"x":{deep}"#);
    assert_eq!(summary(&read(body.as_bytes())), "complete in=5 out=- read=- write=- reasoning=-");
}

#[test]
fn a_broken_document_in_a_stream_does_not_hide_the_others() {
    let good =
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":3,"output_tokens":4}}"#;
    let broken = r#"{"usage":{"input_tokens":99,"output_tokens":99}]}"#;
    let stream = sse(&format!("{broken}\n{good}\n{broken}\n"));
    assert_eq!(summary(&read(&stream)), "complete in=3 out=4 read=- write=- reasoning=-");
}
