//! Where the rest of a provider's total belongs, and which of several snapshots counts.
#[path = "fixtures/usage/harness.rs"]
mod harness;

use harness::{assert_cuts_agree, chunk_frame, head, read, sse, summary};

fn chat(usage: &str) -> String {
    format!(
        r#"{{"object":"chat.completion","choices":[{{"message":{{"content":"x"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
    )
}

#[track_caller]
fn assert_reads(usage: &str, expected: &str) {
    let body = chat(usage);
    assert_eq!(summary(&read(body.as_bytes())), expected, "{usage}");
    assert_cuts_agree(&head(), body.as_bytes());
}

#[test]
fn what_caches_explain_of_a_total_is_input() {
    assert_reads(
        r#"{"prompt_tokens":3,"completion_tokens":550,"total_tokens":12857,"cache_read_input_tokens":300,"cache_creation_input_tokens":12004}"#,
        "complete in=12307 out=550 read=300 write=12004 reasoning=-",
    );
    assert_reads(
        r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":308,"prompt_tokens_details":{"cached_tokens":300}}"#,
        "complete in=303 out=5 read=300 write=- reasoning=-",
    );
}

#[test]
fn what_the_prompts_details_explain_is_input() {
    let voxtral = r#"{"prompt_tokens":9,"completion_tokens":248,"total_tokens":632,"prompt_tokens_details":{"audio_tokens":375}}"#;
    assert_reads(voxtral, "complete in=384 out=248 read=- write=- reasoning=-");
    let image = voxtral.replace("audio_tokens", "image_tokens");
    assert_reads(&image, "complete in=384 out=248 read=- write=- reasoning=-");
    let seconds = r#"{"prompt_tokens":9,"completion_tokens":248,"total_tokens":632,"prompt_audio_seconds":30}"#;
    assert_reads(seconds, "complete in=384 out=248 read=- write=- reasoning=-");
    let guard = r#"{"prompt_tokens":93,"completion_tokens":402,"total_tokens":1172,"guardrails_tokens":677}"#;
    assert_reads(guard, "complete in=770 out=402 read=- write=- reasoning=-");
    assert_eq!(read(chat(guard).as_bytes()).usage.details.get("guardrails_tokens"), Some(&677));
}

#[test]
fn what_reasoning_explains_is_output_and_so_is_what_nothing_explains() {
    let reasoning = |total: u64| {
        format!(
            r#"{{"prompt_tokens":12,"completion_tokens":1,"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":11}},"completion_tokens_details":{{"reasoning_tokens":290}}}}"#
        )
    };
    assert_reads(&reasoning(303), "complete in=12 out=291 read=11 write=- reasoning=290");
    assert_reads(
        r#"{"prompt_tokens":758,"completion_tokens":102,"total_tokens":1725}"#,
        "complete in=758 out=967 read=- write=- reasoning=-",
    );
    assert_reads(
        r#"{"prompt_tokens":3,"completion_tokens":20,"total_tokens":340,"cache_read_input_tokens":300,"completion_tokens_details":{"reasoning_tokens":17}}"#,
        "complete in=303 out=37 read=300 write=- reasoning=17",
    );
}

#[test]
fn bedrocks_input_leaves_caches_out_whatever_its_total_says() {
    let usage = |total: u64| {
        format!(
            r#"{{"output":{{}},"usage":{{"inputTokens":50,"outputTokens":5,"totalTokens":{total},"cacheReadInputTokens":40}}}}"#
        )
    };
    for total in [55, 95] {
        assert_eq!(summary(&read(usage(total).as_bytes())), "complete in=90 out=5 read=40 write=- reasoning=-");
    }
}

#[test]
fn the_metrics_of_a_bedrock_stream_beat_the_models_own_counts() {
    let chunks = [
        r#"{"generation":"A","prompt_token_count":11,"generation_token_count":1,"stop_reason":null}"#,
        r#"{"generation":" dam","prompt_token_count":null,"generation_token_count":2,"stop_reason":"stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":11,"outputTokenCount":500}}"#,
    ];
    let stream: Vec<u8> = chunks.iter().flat_map(|chunk| chunk_frame(chunk)).collect();
    assert_eq!(summary(&read(&stream)), "complete in=11 out=500 read=- write=- reasoning=-");
    assert_cuts_agree(&head(), &stream);
    let apart = [
        chunks[0].to_owned(),
        chunks[0].replace("\"A\"", "\" dam\""),
        r#"{"amazon-bedrock-invocationMetrics":{"inputTokenCount":11,"outputTokenCount":500}}"#.to_owned(),
    ];
    let stream: Vec<u8> = apart.iter().flat_map(|chunk| chunk_frame(chunk)).collect();
    assert_eq!(summary(&read(&stream)), "complete in=11 out=500 read=- write=- reasoning=-");
}

#[test]
fn a_later_snapshot_replaces_the_earlier_whole() {
    let chunk = |usage: &str, finish: &str| {
        format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"x"}}]}}{finish}}}],"usageMetadata":{usage}}}"#)
    };
    let first = chunk(
        r#"{"promptTokenCount":9,"candidatesTokenCount":21,"thoughtsTokenCount":35,"cachedContentTokenCount":4,"totalTokenCount":65}"#,
        "",
    );
    let last =
        chunk(r#"{"promptTokenCount":87,"thoughtsTokenCount":78,"totalTokenCount":165}"#, r#","finishReason":"STOP""#);
    let stream = sse(&format!("{first}\n{last}"));
    assert_eq!(summary(&read(&stream)), "complete in=87 out=78 read=- write=- reasoning=78");
    assert_cuts_agree(&head(), &stream);
}
