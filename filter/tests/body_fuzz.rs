//! The fuzz targets' assertions about request bodies, on JSON put together from hostile pieces.
#[path = "../../fuzz/src/targets.rs"]
mod targets;

use proptest::prelude::*;
use proptest::sample::select;

/// Members that stand one behind the other in a body.
const MEMBERS: [&str; 26] = [
    r#""model":"a""#,
    r#""model":null"#,
    r#""mod\u0065l" : "gpt\u002d4""#,
    r#""Model":"b""#,
    "\"max_to\u{212a}ens\":5",
    r#""max_tokens":1e400"#,
    r#""max_tokens":-1"#,
    r#""max_completion_tokens":99999999999999999999999999"#,
    r#""max_tokens":null"#,
    r#""generationConfig":{}"#,
    r#""generationConfig":null"#,
    r#""generation_config":[]"#,
    r#""generationConfig":{"maxOutputTokens":null,"candidateCount":7}"#,
    r#""generation_config":{"max_output_tokens":900}"#,
    r#""n":"50""#,
    r#""n":3.0"#,
    r#""best_of":1E1"#,
    r#""stream":true"#,
    r#""stream_options":null"#,
    r#""stream_options":{ }"#,
    r#""stream_options":{"include_usage":false}"#,
    r#""messages":[{"content":"\ud800"}]"#,
    r#""messages":[{"content":"a\\\"b","data":[[[[]]]]}]"#,
    r#""prompt":["a",[1,2],{"x":1}]"#,
    r#""x":-0.0e-0"#,
    "\"\u{e9}\" :\t[ ]",
];

proptest! {
    #[test]
    fn edits_of_hostile_bodies_say_what_they_should(
        members in proptest::collection::vec(select(&MEMBERS[..]), 0..7), blanks in select(&["", " ", "\r\n\t"][..]),
    ) {
        let body = format!("{blanks}{{{blanks}{}{blanks}}}{blanks}", members.join(&format!("{blanks},{blanks}")));
        targets::request_body(body.as_bytes());
        targets::request_edits(body.as_bytes());
    }

    #[test]
    fn one_changed_byte_breaks_nothing(
        members in proptest::collection::vec(select(&MEMBERS[..]), 1..5), at: prop::sample::Index, byte: u8,
    ) {
        let mut body = format!("{{{}}}", members.join(",")).into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        targets::request_body(&body);
        targets::request_edits(&body);
    }
}
