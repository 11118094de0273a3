use super::edit::{CapField, OtherCaps, Splices};
use super::members::Scope;
use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const MAX_TOKENS: CapField =
    CapField { container: None, name: "max_tokens", aliases: &[(Scope::Root, "max_completion_tokens")] };
const GEMINI: CapField = CapField {
    container: Some((Scope::GenerationConfig, "generationConfig")),
    name: "maxOutputTokens",
    aliases: &[(Scope::GenerationConfig, "max_output_tokens")],
};

fn read(body: &str) -> Document {
    Document::read(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn edited(body: &str, edit: impl FnOnce(&mut Splices, &Document)) -> String {
    let mut splices = Splices::default();
    edit(&mut splices, &read(body));
    String::from_utf8(splices.apply(body.as_bytes())).expect("text")
}

#[test]
fn what_a_request_asks_for_is_found_under_every_apis_names() {
    let openai =
        read(r#"{"model":"gpt-4o","stream":true,"n":2,"max_completion_tokens":9,"messages":[{"content":"hi"}]}"#);
    assert_eq!((openai.model_name(), openai.stream, openai.answers()), (Some("gpt-4o"), true, Some(2)));
    assert_eq!((openai.output_cap(|_| true), openai.class()), (Some(Some(9)), Some(Class::Chat)));
    let caps = [
        r#"{"max_tokens":7}"#,
        r#"{"max_output_tokens":7}"#,
        r#"{"generationConfig":{"maxOutputTokens":7}}"#,
        r#"{"generation_config":{"max_output_tokens":7}}"#,
        r#"{"inferenceConfig":{"maxTokens":7}}"#,
        r#"{"options":{"num_predict":7}}"#,
        r#"{"parameters":{"max_new_tokens":7}}"#,
        r#"{"textGenerationConfig":{"maxTokenCount":7.0}}"#,
    ];
    for body in caps {
        assert_eq!(read(body).output_cap(|_| true), Some(Some(7)), "{body}");
    }
}

#[test]
fn an_escape_does_not_hide_a_name_or_a_model() {
    let document = read(r#"{"mod\u0065l":"gpt\u002d4o","\u006eested":{"model":"other"}}"#);
    assert_eq!((document.model_name(), document.ambiguous), (Some("gpt-4o"), false));
}

#[test]
fn a_second_member_or_another_spelling_is_ambiguous() {
    let bodies = [
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":"a","Model":"b"}"#,
        r#"{"MODEL":"b"}"#,
        "{\"max_to\u{212a}ens\":9}",
        "{\"\u{17f}tream\":true}",
        r#"{"max_tokens":1,"max_tokens":9}"#,
        r#"{"n":1,"N":50}"#,
        r#"{"generationConfig":{},"generation_config":{"maxOutputTokens":9}}"#,
        r#"{"stream_options":{},"stream_options":{"include_usage":true}}"#,
    ];
    for body in bodies {
        assert!(read(body).ambiguous, "{body}");
    }
    assert!(!read(r#"{"model":"a","metadata":{"model":"b","model":"c"}}"#).ambiguous, "only where a model is read");
}

#[test]
fn what_a_strict_parser_refuses_is_unreadable() {
    let bodies: [&[u8]; 18] = [
        b" ",
        b"{",
        b"{}x",
        b"{} {}",
        br#"{"a":1,}"#,
        br#"{"a" 1}"#,
        br#"{a:1}"#,
        br#"{"a":01}"#,
        br#"{"a":+1}"#,
        br#"{"a":.5}"#,
        br#"{"a":NaN}"#,
        br#"{"a":tru}"#,
        br#"{"a":"\x"}"#,
        b"{\"a\":\"\n\"}",
        b"{\"a\":\"\xFF\"}",
        b"\xEF\xBB\xBF{}",
        br#"{"a":[1}"#,
        br#"{"a":"\u12"}"#,
    ];
    for body in bodies {
        assert!(Document::read(body).is_err(), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn depth_is_bounded_and_not_by_the_stack() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(Document::read(nested(100).as_bytes()).is_ok());
    assert_eq!(Document::read(nested(200_000).as_bytes()), Err(Unreadable::Depth));
}

#[test]
fn a_cap_that_is_no_count_is_not_taken_for_small() {
    for value in ["-1", "1.5", "\"9\"", "1e400", "99999999999999999999", "[]", "true"] {
        assert_eq!(read(&format!("{{\"max_tokens\":{value}}}")).output_cap(|_| true), Some(None), "{value}");
    }
    assert_eq!(read(r#"{"max_tokens":null}"#).output_cap(|_| true), None);
    assert_eq!(read(r#"{"max_tokens":5,"max_completion_tokens":900}"#).output_cap(|_| true), Some(Some(900)));
    assert_eq!(read(r#"{"n":"50"}"#).answers(), None);
}

#[test]
fn every_prompt_of_a_list_has_answers_of_its_own() {
    assert_eq!(read(r#"{"prompt":["a","b","c"],"n":2,"best_of":4}"#).answers(), Some(12));
    assert_eq!(read(r#"{"prompt":[1,2,3]}"#).answers(), Some(1));
    let tokens = read(r#"{"prompt":[[1,2,3],[4]]}"#);
    assert_eq!((tokens.answers(), tokens.token_ids), (Some(2), 4));
}

#[test]
fn text_weighs_and_binary_data_does_not() {
    let text = read(&json!({"messages": [{"content": "x".repeat(4_500)}]}).to_string()).input_estimate();
    assert!((1_000..1_040).contains(&text), "{text}");
    let image =
        json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(100_000))}});
    let image = read(&json!({"messages": [{"content": [image]}]}).to_string());
    assert_eq!(image.images, 1);
    assert!(image.input_estimate() < IMAGE_TOKENS + 50, "{}", image.input_estimate());
}

#[test]
fn the_content_shows_the_class() {
    let cases = [
        (r#"{"model":"m","messages":[]}"#, Some(Class::Chat)),
        (r#"{"contents":[]}"#, Some(Class::Chat)),
        (r#"{"model":"m","prompt":"x"}"#, Some(Class::Completion)),
        (r#"{"model":"m","input":"x"}"#, Some(Class::Embedding)),
        (r#"{"model":"m","input":"x","max_output_tokens":5}"#, Some(Class::Chat)),
        (r#"{"model":"m","query":"q","documents":[]}"#, Some(Class::Rerank)),
        (r#"{"jsonrpc":"2.0","method":"tools/call"}"#, Some(Class::Mcp)),
        (r#"{"a":1}"#, None),
        ("[]", None),
    ];
    for (body, class) in cases {
        assert_eq!(read(body).class(), class, "{body}");
    }
}

#[test]
fn edits_touch_only_what_they_must() {
    let model = edited("{ \"model\" :\t\"gpt-4o\" , \"x\":1.0e0 }\n", |s, d| s.replace_model(d, "mini"));
    assert_eq!(model, "{ \"model\" :\t\"mini\" , \"x\":1.0e0 }\n");
    let cap = |body| edited(body, |s, d| s.cap_output(d, 10, &[MAX_TOKENS], OtherCaps::Remove));
    assert_eq!(cap(r#"{"max_tokens": 5}"#), r#"{"max_tokens": 5}"#);
    assert_eq!(
        cap(r#"{"max_tokens": 50, "max_completion_tokens":-1}"#),
        r#"{"max_tokens": 10, "max_completion_tokens":10}"#
    );
    assert_eq!(cap(r#"{"max_tokens": null}"#), r#"{"max_tokens": 10}"#);
    assert_eq!((cap("{}"), cap(r#"{ "a":1}"#)), (r#"{"max_tokens":10}"#.into(), r#"{"max_tokens":10, "a":1}"#.into()));
    let gemini = |body| edited(body, |s, d| s.cap_output(d, 10, &[GEMINI], OtherCaps::Remove));
    assert_eq!(gemini(r#"{"contents":[]}"#), r#"{"generationConfig":{"maxOutputTokens":10},"contents":[]}"#);
    assert_eq!(gemini(r#"{"generationConfig":{}}"#), r#"{"generationConfig":{"maxOutputTokens":10}}"#);
    assert_eq!(gemini(r#"{"generationConfig": null }"#), r#"{"generationConfig": {"maxOutputTokens":10} }"#);
    assert_eq!(edited(r#"{"n":"9","best_of":2}"#, |s, d| s.bound_answers(d, 3)), r#"{"n":3,"best_of":2}"#);
}

#[test]
fn caps_that_the_api_does_not_know_are_taken_out_and_its_own_is_put_in() {
    let cap = |body| edited(body, |s, d| s.cap_output(d, 10, &[MAX_TOKENS], OtherCaps::Remove));
    for (body, expected) in [
        (r#"{"n_predict":5000}"#, r#"{"max_tokens":10}"#),
        (r#"{"n_predict":-1,"x":1}"#, r#"{"max_tokens":10,"x":1}"#),
        (r#"{"x":1, "max_gen_len" : null }"#, r#"{"max_tokens":10,"x":1 }"#),
        (r#"{"maxTokens":1,"num_predict":2,"max_new_tokens":3}"#, r#"{"max_tokens":10}"#),
        (
            r#"{"maxTokens":1,"x":{},"num_predict":2,"max_output_tokens":3,"y":[]}"#,
            r#"{"max_tokens":10,"x":{},"y":[]}"#,
        ),
        (r#"{"options":{"num_predict":9},"max_tokens":99}"#, r#"{"options":{},"max_tokens":10}"#),
        (r#"{"options":{"a":1,"num_predict":9,"b":2}}"#, r#"{"max_tokens":10,"options":{"a":1,"b":2}}"#),
        (r#"{"max_tokens":null,"n_predict":1}"#, r#"{"max_tokens":10}"#),
        (r#"{"max_completion_tokens":null}"#, r#"{"max_tokens":10,"max_completion_tokens":null}"#),
        (
            r#"{"max_completion_tokens":4,"extra_body":{"max_tokens":900}}"#,
            r#"{"max_completion_tokens":4,"extra_body":{}}"#,
        ),
        (r#"{"n_pr\u0065dict":1,"x":1}"#, r#"{"max_tokens":10,"x":1}"#),
    ] {
        assert_eq!(cap(body), expected, "{body}");
    }
    let lowered = edited(r#"{"n_predict":5000,"maxTokens":3}"#, |s, d| {
        s.cap_output(d, 10, &[MAX_TOKENS], OtherCaps::Lower);
    });
    assert_eq!(lowered, r#"{"max_tokens":10,"n_predict":10,"maxTokens":3}"#);
    let gemini = edited(r#"{"generationConfig":{"maxOutputTokens":null},"max_tokens":1}"#, |s, d| {
        s.cap_output(d, 10, &[GEMINI], OtherCaps::Remove);
    });
    assert_eq!(gemini, r#"{"generationConfig":{"maxOutputTokens":10}}"#);
}

#[test]
fn what_tenants_share_is_found_by_name_wherever_it_stands() {
    use Shared::{Assistants, Files, StoredResponses, VectorStores};
    let cases: [(&str, &[Shared]); 27] = [
        (r#"{"previous_response_id":"resp_1"}"#, &[StoredResponses]),
        (r#"{"Previous_Response_ID":"resp_1"}"#, &[StoredResponses]),
        (r#"{"previous_interaction_id":"i"}"#, &[StoredResponses]),
        (r#"{"conversation":"conv_1"}"#, &[Assistants]),
        (r#"{"conversation":{"id":"conv_1"}}"#, &[Assistants]),
        (r#"{"container":{"skills":[{"skill_id":"s"}]}}"#, &[Files]),
        (r#"{"cachedContent":"cachedContents/c"}"#, &[VectorStores]),
        (r#"{"cached_c\u006fntent":"cachedContents/c"}"#, &[VectorStores]),
        (r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#, &[StoredResponses]),
        (r#"{"input":[{"type":"item\u005freference","id":"msg_1"}]}"#, &[StoredResponses]),
        (r#"{"input":[{"t\u0079pe":"item_reference","id":"msg_1"}]}"#, &[StoredResponses]),
        (r#"{"input":[{"id":"msg_1"}]}"#, &[StoredResponses]),
        (r#"{"input":[{"\u0069d":"msg_1"}]}"#, &[StoredResponses]),
        (r#"{"input":[{"type":null,"id":"rs_1"}]}"#, &[StoredResponses]),
        (r#"{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}"#, &[Files]),
        (r#"{"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#, &[Files]),
        (r#"{"messages":[{"content":[{"source":{"type":"file","file_id":"f"}}]}]}"#, &[Files]),
        (r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#, &[VectorStores]),
        (r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#, &[Files]),
        (r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}]}"#, &[Files]),
        (r#"{"tools":[{"fileSearch":{"fileSearchStoreNames":["s"]}}]}"#, &[VectorStores]),
        (r#"{"tools":[{"retrieval":{"vertexRagStore":{"ragResources":[{"ragCorpus":"c"}]}}}]}"#, &[VectorStores]),
        (
            r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/f"}}]}]}"#,
            &[Files],
        ),
        (r#"{"contents":[{"parts":[{"file_data":{"file_uri":"gs://bucket/f"}}]}]}"#, &[Files]),
        (r#"{"messages":[{"content":[{"video":{"source":{"s3Location":{"uri":"s3://bucket/f"}}}}]}]}"#, &[Files]),
        (
            r#"{"tool_resources":{"file_search":{"vector_store_ids":["v"]},"code_interpreter":{"file_ids":["f"]}}}"#,
            &[VectorStores, Files],
        ),
        (r#"{"FILE_ID":"f"}"#, &[Files]),
    ];
    for (body, shared) in cases {
        assert_eq!(read(body).refers, shared, "{body}");
    }
}

#[test]
fn what_users_make_up_names_nothing_at_the_provider() {
    for body in [
        r#"{"previous_response_id":null,"conversation":"","container":{},"input":"x"}"#,
        r#"{"input":[{"id":"msg_1","role":"assistant","type":"message","content":[]}]}"#,
        r#"{"input":[{"id":"fc_1","type":"function_call","arguments":"{\"file_id\":1}"}]}"#,
        r#"{"tools":[{"function":{"parameters":{"properties":{"file_id":{"type":"string"},"file_ids":{"enum":["a"]}}}}}]}"#,
        r#"{"tools":[{"input_schema":{"required":["file_id"],"properties":{"container":{"default":"x"}}}}]}"#,
        r#"{"messages":[{"content":[{"type":"tool_use","input":{"file_id":"mine","uri":"s3://mine"}}]}]}"#,
        r#"{"contents":[{"parts":[{"functionCall":{"args":{"file_id":"mine"}}},{"functionResponse":{"response":{"file_ids":["m"]}}}]}]}"#,
        r#"{"metadata":{"conversation":"c","file_id":"f"},"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://www.youtube.com/watch?v=1"}}]}],"file_ids":[],"vector_store_ids":null}"#,
        r#"{"messages":[{"role":"user","content":"previous_response_id: resp_1"}]}"#,
    ] {
        assert_eq!(read(body).refers, [], "{body}");
    }
}

#[test]
fn usage_is_asked_for_once() {
    let ask = |body: &str| edited(body, |s, d| assert!(s.include_usage(d), "{body}"));
    assert_eq!(ask("{}"), r#"{"stream_options":{"include_usage":true}}"#);
    assert_eq!(ask(r#"{"stream_options":{ }}"#), r#"{"stream_options":{"include_usage":true }}"#);
    assert_eq!(ask(r#"{"stream_options":null}"#), r#"{"stream_options":{"include_usage":true}}"#);
    assert_eq!(ask(r#"{"stream_options":{"include_usage":false}}"#), r#"{"stream_options":{"include_usage":true}}"#);
    let asked = read(r#"{"stream_options":{"include_usage":true}}"#);
    assert!(!Splices::default().include_usage(&asked));
}

#[test]
fn several_edits_at_one_place_stay_json() {
    for body in ["{}", r#"{"stream":true}"#] {
        let both = edited(body, |s, d| {
            s.cap_output(d, 10, &[MAX_TOKENS], OtherCaps::Remove);
            s.include_usage(d);
        });
        let value: Value = serde_json::from_str(&both).unwrap_or_else(|error| panic!("{both}: {error}"));
        assert_eq!((&value["max_tokens"], &value["stream_options"]["include_usage"]), (&json!(10), &json!(true)));
    }
}

/// JSON of any shape, with governed names among the others.
fn any_json() -> impl Strategy<Value = Value> + Clone {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    })
}

fn members(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![
        Just("model"),
        Just("max_tokens"),
        Just("n"),
        Just("stream"),
        Just("stream_options"),
        Just("include_usage"),
        Just("generationConfig"),
        Just("maxOutputTokens"),
        Just("a\"b\\"),
        Just("messages"),
    ];
    proptest::collection::vec((name, inner), 0..6)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #[test]
    fn an_edit_is_what_a_full_parse_and_a_new_serialisation_would_make(
        root in members(any_json()), max in 1_u64..1_000, pretty: bool,
    ) {
        let before = Value::Object(root);
        let body = if pretty { serde_json::to_string_pretty(&before) } else { serde_json::to_string(&before) }.expect("json");
        let document = Document::read(body.as_bytes()).expect("readable");
        let mut splices = Splices::default();
        splices.replace_model(&document, "m\"x");
        splices.cap_output(&document, max, &[MAX_TOKENS], OtherCaps::Remove);
        splices.bound_answers(&document, max);
        let after: Value = serde_json::from_slice(&splices.apply(body.as_bytes())).expect("still JSON");
        let mut expected = before;
        expected["model"] = json!("m\"x");
        cap(&mut expected, max);
        let keeps = |value: &Value| value.is_null() || value.as_u64().is_some_and(|value| value <= max);
        if expected.get("n").is_some_and(|n| !keeps(n)) {
            expected["n"] = json!(max);
        }
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn what_serde_reads_is_readable_and_what_it_refuses_is_not(body in ".{0,80}", json in any_json()) {
        let text = json.to_string();
        prop_assert!(Document::read(text.as_bytes()).is_ok());
        if !body.is_empty() {
            let strict = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
            prop_assert_eq!(Document::read(body.as_bytes()).is_ok(), strict, "{}", body);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_edit_breaks_json(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(document) = Document::read(&body) {
            let mut splices = Splices::default();
            splices.cap_output(&document, 5, &[GEMINI], OtherCaps::Remove);
            splices.include_usage(&document);
            let edited = splices.apply(&body);
            prop_assert!(edited.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&edited).is_ok());
        }
    }
}

#[test]
fn other_names_of_what_an_account_keeps_are_known() {
    for (body, shared) in [
        (r#"{"prompt":{"id":"pmpt_1"},"input":"x"}"#, Shared::Assistants),
        (r#"{"agent":{"type":"agent_reference","name":"a"},"input":"x"}"#, Shared::Assistants),
        (r#"{"data_sources":[{"type":"azure_search","parameters":{"index_name":"i"}}]}"#, Shared::VectorStores),
        (r#"{"Data_Sources":[{}]}"#, Shared::VectorStores),
        (r#"{"connectors":[{"id":"c"}]}"#, Shared::VectorStores),
        (
            r#"{"tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"c"}}]}"#,
            Shared::Files,
        ),
        (r#"{"tools":[{"retrieval":{"vertexAiSearch":{"engine":"projects/p/engines/e"}}}]}"#, Shared::Files),
        (r#"{"extra_body":{"previous_response_id":"r"}}"#, Shared::StoredResponses),
    ] {
        assert_eq!(read(body).refers, [shared], "{body}");
    }
    for body in [
        r#"{"prompt":"x","agent":null,"data_sources":[],"connectors":[]}"#,
        r#"{"prompt":["x"],"plugins":[{"id":"web","engine":"exa"}]}"#,
    ] {
        assert!(read(body).refers.is_empty(), "{body}");
    }
}

#[test]
fn a_tool_with_a_model_of_its_own_names_another_model() {
    for body in [
        r#"{"model":"m","tools":[{"type":"image_generation","model":"gpt-image-1"}]}"#,
        r#"{"model":"m","tools":[{"type":"advisor","mod\u0065l":"big"}]}"#,
        r#"{"model":"m","functions":[{"Model":"big"}]}"#,
    ] {
        assert!(read(body).other_models, "{body}");
    }
    let schema =
        r#"{"tools":[{"function":{"parameters":{"properties":{"model":{"type":"string"}}}}}],"x":[{"model":"y"}]}"#;
    assert!(!read(schema).other_models);
}

#[test]
fn a_stream_is_plain_only_without_the_name_of_stream_options_anywhere() {
    let is_plain = |body: &str| read(body).is_plain_stream(body.as_bytes());
    assert!(is_plain(r#"{"stream":true,"a_b":"stream_option \n","c":"_"}"#));
    for body in [
        r#"{"stream":1}"#,
        r#"{"stream":true,"stream_options":{}}"#,
        r#"{"stream":true,"a":["stream_options is what I ask for"]}"#,
        r#"{"stream":true,"\u0073tream_option":1}"#,
    ] {
        assert!(!is_plain(body), "{body}");
    }
}

/// Where a string ends whose quote has been passed, one byte at a time.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += match bytes.get(at..)? {
            [b'"', ..] => return std::str::from_utf8(&bytes[..at]).is_ok().then_some(at),
            [b'\\', b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) => 6,
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'\\' | ..0x20, ..] | [] => return None,
            [_, ..] => 1,
        };
    }
}

const IN_STRINGS: [&[u8]; 7] = [b"\\n", b"\\\"", b"\\\\", b"\\/", b"\\u00e9", "é".as_bytes(), "漢".as_bytes()];
const NOT_IN_STRINGS: [&[u8]; 7] = [b"\"", b"\\", b"\\x", b"\\u00g", b"\x1f", b"\xC3", b"\xFF"];

/// What may stand in a string, and what may not, in long runs and in short ones.
fn in_string() -> impl Strategy<Value = Vec<u8>> {
    let of = |pieces: &'static [&'static [u8]]| prop::sample::select(pieces).prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![
        6 => "[a-z 0-9]{1,40}".prop_map(String::into_bytes),
        4 => of(&IN_STRINGS),
        1 => of(&NOT_IN_STRINGS),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_string_ends_where_it_ends_byte_by_byte(inside in in_string()) {
        let text = [b"\"", &inside[..], b"\""].concat();
        let mut cursor = cursor::Cursor::new(&text);
        let ended = cursor.string();
        prop_assert_eq!(ended.ok(), string_end(&text[1..]).map(|end| 1..end + 1));
    }
}

/// What [`Splices::cap_output`] does, to a tree.
fn cap(body: &mut Value, max: u64) {
    if let Some(gemini) = body.get_mut("generationConfig").and_then(Value::as_object_mut) {
        gemini.remove("maxOutputTokens");
    }
    if let Some(root) = body.as_object_mut() {
        root.remove("maxOutputTokens");
    }
    let cap = body["max_tokens"].take();
    let keeps = cap.as_u64().is_some_and(|value| value <= max);
    body["max_tokens"] = if keeps { cap } else { json!(max) };
}
