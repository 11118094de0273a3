//! What comes out of an answer does not depend on how the network cuts it.
#[path = "fixtures/guard.rs"]
mod common;

use common::{ACME, GLOBEX, all_kinds, guard, sealed};
use proptest::prelude::*;
use weir_sealed_ids::rewrite::{HELD_MAX_BYTES, Rewriter};
use weir_sealed_ids::sse::Events;
use weir_sealed_ids::{Dialect, Opener, Refused, Sealer};

fn seal_stream(chunks: &[&[u8]]) -> Vec<u8> {
    let mut sealer = Sealer::new(guard(Dialect::OpenAi), ACME, all_kinds());
    let (mut events, mut out) = (Events::new(Dialect::OpenAi), Vec::new());
    for chunk in chunks {
        events.feed(chunk, &mut sealer, &mut out).unwrap();
    }
    events.finish(&mut out);
    out
}

fn seal_whole(chunks: &[&[u8]]) -> Vec<u8> {
    let mut sealer = Sealer::new(guard(Dialect::OpenAi), ACME, all_kinds());
    let (mut rewriter, mut out) = (Rewriter::new(Dialect::OpenAi), Vec::new());
    for chunk in chunks {
        rewriter.feed(chunk, &mut sealer, &mut out).unwrap();
    }
    rewriter.finish(&mut out);
    out
}

const STREAM: &str = concat!(
    "event: response.created\r\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_68af1c2d\",",
    "\"model\":\"ft:gpt-4o:acme::9abc\",\"metadata\":{\"file_id\":\"file-mine\"},\"previous_response_id\":null}}\r\n\r\n",
    ": a comment with {\"id\":\"resp_68af1c2d\"}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_68af\",\"delta\":\"file-abc \\\"x\\\\\"}\n\n",
    "data: {\"a\":[{\"file_ids\":[\"file-a1\",\"f\\u0069le-b2\"]},{}],\ndata: \"id\":\"rs_77\"}\n\n",
    "data: {\"id\":\"broken\ndata: {\"id\":\"resp_68af1c2d\"}\n\ndata: [DONE]\n\n",
);

#[test]
fn ids_in_a_stream_are_sealed_and_nothing_else_changes() {
    let guard = guard(Dialect::OpenAi);
    let out = String::from_utf8(seal_stream(&[STREAM.as_bytes()])).unwrap();
    let mut expected = STREAM.replace("\"id\":\"resp_68af1c2d\",\"model", "\"id\":\"RESP\",\"model");
    expected = expected.replace("data: {\"id\":\"resp_68af1c2d\"}\n\ndata: [", "data: {\"id\":\"RESP\"}\n\ndata: [");
    expected = expected.replace("f\\u0069le-b2", "file-b2");
    for id in ["ft:gpt-4o:acme::9abc", "msg_68af", "file-a1", "file-b2", "rs_77"] {
        expected = expected.replace(&format!("\"{id}\""), &format!("\"{}\"", sealed(&guard, ACME, id)));
    }
    expected = expected.replace("RESP", &sealed(&guard, ACME, "resp_68af1c2d"));
    assert_eq!(out, expected);
}

/// What a tool asks leave for, the client answers by its id, with the item before it or without.
#[test]
fn an_approval_names_the_item_that_asked_for_it() {
    let request = r#"{"output":[{"type":"mcp_approval_request","id":"mcpr_68af1c2d3e4f"}]}"#;
    let answer = String::from_utf8(seal_whole(&[request.as_bytes()])).unwrap();
    let guard = guard(Dialect::OpenAi);
    let id = sealed(&guard, ACME, "mcpr_68af1c2d3e4f");
    assert!(answer.contains(&id), "{answer}");
    let input = |id: &str| {
        format!(
            r#"{{"input":[{{"type":"mcp_approval_response","approval_request_id":"{id}","approve":true}},{{"type":"mcp_call","id":null,"approval_request_id":"{id}"}}]}}"#
        )
    };
    let open = |body: &str| {
        let (mut rewriter, mut out) = (Rewriter::new(Dialect::OpenAi), Vec::new());
        let opened = rewriter.feed(body.as_bytes(), &mut Opener { guard: &guard, tenant: ACME }, &mut out);
        rewriter.finish(&mut out);
        opened.map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(open(&input(&id)), Ok(input("mcpr_68af1c2d3e4f")));
    assert_eq!(open(&input("mcpr_68af1c2d3e4f")), Err(Refused::NotOwn), "a raw one");
    assert_eq!(open(&input(&sealed(&guard, GLOBEX, "mcpr_68af1c2d3e4f"))), Err(Refused::NotOwn), "another tenant's");
}

#[test]
fn every_cut_of_a_stream_gives_the_same() {
    let bytes = STREAM.as_bytes();
    let whole = seal_stream(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(seal_stream(&single), whole);
    for first in 0..bytes.len() {
        let (head, rest) = bytes.split_at(first);
        assert_eq!(seal_stream(&[head, rest]), whole, "cut at {first}");
        let middle = first + (rest.len() / 3);
        assert_eq!(seal_stream(&[head, &bytes[first..middle], &bytes[middle..]]), whole, "cut at {first}, {middle}");
    }
}

#[test]
fn what_one_place_takes_for_an_id_another_does_not() {
    let text = r#"{"file_id":"call_1","id":"call_1"}"#;
    let out = String::from_utf8(seal_whole(&[text.as_bytes()])).unwrap();
    assert_eq!(out, text.replacen("call_1", &sealed(&guard(Dialect::OpenAi), ACME, "call_1"), 1));
}

#[test]
fn a_string_too_long_for_an_id_passes_as_it_comes() {
    let long = format!("{{\"id\":\"resp_{}\",\"file_id\":\"file-1\"}}", "a".repeat(HELD_MAX_BYTES));
    let out = String::from_utf8(seal_whole(&[long.as_bytes()])).unwrap();
    assert_eq!(out, long.replace("file-1", &sealed(&guard(Dialect::OpenAi), ACME, "file-1")));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let name =
        prop::sample::select(vec!["id", "file_id", "metadata", "content", "output", "filename", "tool_calls", "x"]);
    let text =
        prop::sample::select(vec!["resp_68af1c", "file-ab12", "weir[acme]x\"y", "call_1", "plain", "", "ä\u{1}\\"]);
    let leaf = prop_oneof![
        text.prop_map(|text| serde_json::Value::from(text.to_owned())),
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(serde_json::Value::from)
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::vec((name.clone(), inner), 0..5).prop_map(|members| {
                serde_json::Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_sealed_document_opens_to_itself(document in json(), cut in any::<prop::sample::Index>()) {
        let text = document.to_string();
        let (head, rest) = text.as_bytes().split_at(cut.index(text.len() + 1));
        let out = seal_whole(&[head, rest]);
        prop_assert_eq!(&out, &seal_whole(&[text.as_bytes()]));
        let guard = guard(Dialect::OpenAi);
        let (mut rewriter, mut opened) = (Rewriter::new(Dialect::OpenAi), Vec::new());
        rewriter.feed(&out, &mut Opener { guard: &guard, tenant: ACME }, &mut opened).unwrap();
        rewriter.finish(&mut opened);
        let opened: serde_json::Value = serde_json::from_slice(&opened).unwrap();
        let unmarked: serde_json::Value = serde_json::from_str(&unmark(&document)).unwrap();
        prop_assert_eq!(opened, unmarked);
    }
}

/// The document as its owner sees it: names without marks.
fn unmark(document: &serde_json::Value) -> String {
    fn walk(value: &serde_json::Value, named: bool, made_up: bool) -> serde_json::Value {
        match value {
            serde_json::Value::String(text) if named && !made_up => {
                text.strip_prefix("weir[acme]").unwrap_or(text).to_owned().into()
            }
            serde_json::Value::Array(items) => items.iter().map(|item| walk(item, named, made_up)).collect(),
            serde_json::Value::Object(members) => {
                let walked = members.iter().map(|(name, value)| {
                    (name.clone(), walk(value, name == "filename", made_up || name == "metadata"))
                });
                serde_json::Value::Object(walked.collect())
            }
            other => other.clone(),
        }
    }
    walk(document, false, false).to_string()
}
