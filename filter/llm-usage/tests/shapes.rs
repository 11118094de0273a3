//! Events of one shape are not scanned again: what they say is what a reader says that scans every byte of them.
#[path = "../../../fuzz/src/usage.rs"]
mod usage;

use proptest::prelude::*;
use proptest::sample::select;
use weir_llm_usage::{BodyEnd, Reader, Reading, ResponseHead};

/// Events as providers write them. `<t>` is text, `<n>` a number, `<v>` any value, `<w>` a word.
const EVENTS: [&str; 15] = [
    r#"{"id":"c","created":<n>,"model":"m","choices":[{"index":0,"delta":{"content":"<t>"},"finish_reason":null}],"usage":null,"obfuscation":"<t>"}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"<t>"},"logprobs":<v>}],"usage":{"prompt_tokens":<n>,"completion_tokens":<n>,"total_tokens":<n>}}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":<n>,"completion_tokens":<n>}}"#,
    r#"{"choices":<v>,"usage":{"prompt_tokens":<n>,"completion_tokens_details":{"reasoning_tokens":<n>,"other_tokens":<n>}}}"#,
    r#"{"choices":[{"delta":{"content":"<t>"},"usage":{"prompt_tokens":<n>,"completion_tokens":<n>}}],"usage":{"prompt_tokens":<n>}}"#,
    r#"{"usage":{"prompt_tokens":<n>,"prompt_tokens":<v>},"usage":<v>}"#,
    r#"{"output":{"choices":[{"message":{"content":"<t>"}}]},"usage":{"input_tokens":<n>}}"#,
    r#"{"choices":[<v>],"x":{"choices":[]},"choices":[],"usage":{"prompt_tokens":<n>}}"#,
    r#"{"x":{"choices":[{}]},"usage":{"prompt_tokens":<n>,"completion_tokens":<n>}}"#,
    r#"{"type":"<w>","index":0,"delta":{"type":"text_delta","text":"<t>"}}"#,
    r#"{"type":"<w>","usage":{"output_tokens":<n>,"input_tokens":<n>,"iterations":[{"input_tokens":<n>}]}}"#,
    r#"{"candidates": [{"content": {"parts": [{"text": "<t>"}]},"index": 0}],"usageMetadata": {"promptTokenCount": <n>,"totalTokenCount": <n>,"promptTokensDetails": [{"modality": "TEXT","tokenCount": <n>}]}}"#,
    r#"{"type":"response.output_text.delta","sequence_number":<n>,"item_id":"<t>","delta":"<t>","logprobs":<v>}"#,
    r#"{"token":{"text":"<t>"},"generated_text":"<t>","details":{"generated_tokens":<n>},"eval_count":<n>,"prompt_eval_count":<n>}"#,
    r#"{"id":<v>,"service_tier":"<w>","error":<v>,"message":{"usage":<v>,"content":"<t>"},"inputTextTokenCount":<n>}"#,
];
const TEXTS: [&str; 12] = [
    "",
    " word",
    "a longer text, of 41 letters, and 2 words",
    "\\n",
    "\\\"",
    "\\u00e9",
    "\\ud83d\\ude00",
    "漢字",
    "\\x",
    "\\u12",
    "\t",
    "\"}",
];
const NUMBERS: [&str; 8] = ["0", "7", "18446744073709551615", "18446744073709551616", "-1", "1.0e1", "1.5", "1e"];
const VALUES: [&str; 12] = [
    "null",
    "true",
    "3",
    "\"x\"",
    "[]",
    "{}",
    "[{\"a\":\"]\"}]",
    "{\"prompt_tokens\":3}",
    "{\"b\":[1,2]}",
    "[\n]",
    "[}",
    "nul",
];
const WORDS: [&str; 6] = ["message_start", "message_delta", "content_block_delta", "message_stop", "auto", "default"];

/// One event with something in each of its places; most often the plainest.
fn event(of: &'static str) -> impl Strategy<Value = String> {
    let fill = |all: &'static [&'static str]| prop_oneof![3 => Just(all[1]), 2 => select(all)];
    let parts = of.split('<').count();
    let fills = proptest::collection::vec((fill(&TEXTS), fill(&NUMBERS), fill(&VALUES), fill(&WORDS)), parts);
    fills.prop_map(move |fills| {
        let mut parts = of.split('<');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.zip(fills).fold(first, |event, (part, (text, number, value, word))| {
            let (kind, rest) = part.split_once('>').expect("a place ends");
            let filled = match kind {
                "t" => text,
                "n" => number,
                "v" => value,
                _ => word,
            };
            event + filled + rest
        })
    })
}

/// A stream of events, most often of one shape or two, between lines that a stream may have besides.
fn stream() -> impl Strategy<Value = Vec<String>> {
    let shapes = proptest::collection::vec(select(&EVENTS[..]), 1..3);
    let ends =
        prop_oneof![6 => Just("\n\n"), 1 => Just("\r\n\r\n"), 1 => Just("\n"), 1 => Just("\r\r"), 1 => Just(" \n\n")];
    let before = prop_oneof![8 => Just(""), 1 => Just("event: x\n"), 1 => Just(": ping\n\n"), 1 => Just("data\n")];
    shapes.prop_flat_map(move |shapes| {
        let event = select(shapes).prop_flat_map(event);
        let event = (before.clone(), event, ends.clone());
        proptest::collection::vec(event.prop_map(|(before, event, end)| format!("{before}data: {event}{end}")), 1..9)
    })
}

fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Reading {
    let head = ResponseHead::from_headers(200, [(&b"content-type"[..], &b"text/event-stream"[..])]);
    let mut reader = Reader::new(&head, None);
    pieces.into_iter().for_each(|piece| {
        reader.feed(piece);
    });
    reader.finish(BodyEnd::Whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn events_read_as_a_whole_say_what_their_bytes_say(events in stream()) {
        let whole = events.concat();
        let by_bytes = read(whole.as_bytes().chunks(1));
        prop_assert_eq!(&read(events.iter().map(String::as_bytes)), &by_bytes);
        prop_assert_eq!(&read([whole.as_bytes()]), &by_bytes);
        usage::stays_as_read(&events.iter().map(String::as_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn events_with_choices_are_known_by_their_shape_whatever_their_usage() {
    let stays = |event: &str| {
        let mut reader = Reader::new(&ResponseHead::new(200), None);
        let event = format!("data: {event}\n\n");
        (reader.feed(event.as_bytes()), reader.feed(event.as_bytes())).1
    };
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":1}"#;
    assert!(stays(&format!(r#"{{"choices":[{{"delta":{{"content":"a"}}}}],{usage}}}"#)));
    for choices in [r#""choices":[],"#, r#""choices":null,"#, "", r#""output":{"choices":[{}]},"#] {
        assert!(!stays(&format!("{{{choices}{usage}}}")), "{choices}");
    }
}

#[test]
fn nearly_every_event_of_a_stream_is_known_by_its_shape() {
    let event = |at: usize| {
        let text = ["a", "", " longer, and said with \\u00e9 and \\n"][at % 3];
        format!(
            "data: {{\"created\":{at},\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":{{\"a\":[{at}]}}}}],\"usage\":null}}\n\n"
        )
    };
    let mut reader = Reader::new(&ResponseHead::new(200), None);
    let known: Vec<_> = (0..6).map(|at| reader.feed(event(at).as_bytes())).collect();
    assert_eq!(known, [false, true, true, true, true, true]);
}
