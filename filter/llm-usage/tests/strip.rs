//! Weir's own addition is taken out of a stream again, and nothing else.
use proptest::prelude::*;
use weir_llm_usage::strip::{BUFFERED_MAX_BYTES, IncludeUsageStripper};

const TEXT: &str =
    r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"\"choices\":[],\"usage\":{}"}}],"usage":null}"#;
const EXTRA: &str = r#"{"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;
const AZURE_FIRST: &str = r#"{"choices":[],"id":"","prompt_filter_results":[{"prompt_index":0}]}"#;
const LAST_WITH_USAGE: &str = r#"{"id":"c1","choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":3}}"#;

fn event(data: &str, end: &str) -> String {
    format!("data: {data}{end}{end}")
}

fn strip<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, u32) {
    let mut stripper = IncludeUsageStripper::new();
    let mut out = Vec::new();
    for piece in pieces {
        stripper.feed(piece, &mut out);
        assert!(stripper.buffered_bytes() <= BUFFERED_MAX_BYTES);
    }
    stripper.finish(&mut out);
    (out, stripper.dropped())
}

fn assert_stripped(stream: &str, expected: &str) {
    for at in 0..=stream.len() {
        let (first, second) = stream.as_bytes().split_at(at);
        let (out, _) = strip([first, second]);
        assert_eq!(String::from_utf8_lossy(&out), expected, "cut at byte {at}");
    }
    let (out, _) = strip(stream.as_bytes().chunks(1));
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn only_the_event_without_choices_and_with_usage_is_dropped() {
    for end in ["\n", "\r\n", "\r"] {
        let all = [AZURE_FIRST, TEXT, LAST_WITH_USAGE, EXTRA, "[DONE]"].map(|data| event(data, end));
        let left = [AZURE_FIRST, TEXT, LAST_WITH_USAGE, "[DONE]"].map(|data| event(data, end));
        assert_stripped(&all.concat(), &left.concat());
    }
}

#[test]
fn comments_and_other_fields_pass_and_a_dropped_event_takes_its_own_with_it() {
    let stream = format!(": ping\n\nevent: x\nid: 7\n{}retry: 1\n: extra\n{}", event(TEXT, "\n"), event(EXTRA, "\n"));
    assert_stripped(&stream, &format!(": ping\n\nevent: x\nid: 7\n{}", event(TEXT, "\n")));
}

#[test]
fn an_event_in_several_data_lines_is_recognised() {
    let stream = "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n";
    assert_stripped(stream, "data: [DONE]\n\n");
}

#[test]
fn keys_are_compared_as_json_and_not_as_bytes() {
    let escaped = EXTRA.replace("usage", "\\u0075sage");
    assert_stripped(&event(&escaped, "\n"), "");
}

#[test]
fn what_only_looks_like_it_passes() {
    for data in [
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[]}"#,
        r#"{"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":{},"usage":{}}"#,
        r#"{"x":{"choices":[],"usage":{}}}"#,
        r#"[{"choices":[],"usage":{}}]"#,
        r#"{"choices":[],"usage":{}} {}"#,
        r#"{"choices":[],"usage":{}"#,
        r#"{"choices":[],"usage":{},"choices":[{}]}"#,
    ] {
        assert_stripped(&event(data, "\n"), &event(data, "\n"));
    }
}

#[test]
fn a_null_usage_rules_nothing_in_or_out() {
    let all =
        [r#"{"choices":[],"usage":null}"#, r#"{"usage":null,"choices":[]}"#].map(|data| event(data, "\n")).concat();
    assert_stripped(&all, &all);
    assert_stripped(&event(&EXTRA.replacen('{', r#"{"x":{"usage":null},"#, 1), "\n"), "");
    let twice = event(&EXTRA.replacen(r#""usage":"#, r#""usage":null,"usage":"#, 1), "\n");
    assert_stripped(&twice, &twice);
}

#[test]
fn an_unfinished_event_passes_at_the_end() {
    let stream = format!("data: {EXTRA}\n");
    assert_stripped(&stream, &stream);
}

#[test]
fn a_choice_passes_before_its_event_is_complete() {
    let mut stripper = IncludeUsageStripper::new();
    let mut out = Vec::new();
    stripper.feed(br#"data: {"choices":[{"delta":{"content":"a long tex"#, &mut out);
    stripper.feed(b"t", &mut out);
    assert!(out.ends_with(b"text"), "{}", String::from_utf8_lossy(&out));
    assert_eq!(stripper.buffered_bytes(), 0);
}

#[test]
fn beyond_its_bound_the_stripper_passes_everything_and_gives_up() {
    let long = format!("data: {{\"choices\":[],\"x\":\"{}\",\"usage\":{{}}}}\n\n", "y".repeat(BUFFERED_MAX_BYTES));
    let stream = format!("{long}{}", event(EXTRA, "\n"));
    for size in [1, 7, 1000, stream.len()] {
        let (out, dropped) = strip(stream.as_bytes().chunks(size));
        assert_eq!((out == stream.as_bytes(), dropped), (true, 0), "in pieces of {size}");
    }
}

proptest! {
    #[test]
    fn a_stream_without_the_event_is_never_changed(
        lines in proptest::collection::vec("(data: ?|: |event:|)[\\[\\]{}\":,a-z0-9 \\\\]{0,24}(\n|\r|\r\n)", 0..20),
        size in 1usize..40,
    ) {
        let stream = lines.concat();
        let (out, dropped) = strip(stream.as_bytes().chunks(size));
        prop_assert_eq!(dropped, 0);
        prop_assert_eq!(out, stream.as_bytes());
    }

    #[test]
    fn however_it_is_cut_the_same_is_dropped(sizes in proptest::collection::vec(1usize..60, 1..60)) {
        let stream = [TEXT, TEXT, EXTRA, TEXT, EXTRA, "[DONE]"].map(|data| event(data, "\r\n")).concat();
        let mut rest = stream.as_bytes();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        let (out, dropped) = strip(pieces);
        prop_assert_eq!(dropped, 2);
        let left = [TEXT, TEXT, TEXT, "[DONE]"].map(|data| event(data, "\r\n")).concat();
        prop_assert_eq!(out, left.as_bytes());
    }
}
