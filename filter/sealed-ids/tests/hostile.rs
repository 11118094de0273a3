//! Generated requests of a hostile tenant against an evaluator that is written for clarity: no id that is not the tenant's own
//! reaches the provider, and every own one does. `make sealed-ids-hostile` runs 100,000 of them.
#[path = "fixtures/guard.rs"]
mod common;

use common::{ACME, GLOBEX, guard, sealed};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use weir_sealed_ids::rewrite::Rewriter;
use weir_sealed_ids::{Dialect, Guard, Opener, Refused};

/// Members whose strings name objects, as the API's description has them.
const ID_MEMBERS: [&str; 16] = [
    "file_id",
    "file_ids",
    "input_file_id",
    "training_file",
    "container",
    "assistant_id",
    "thread_id",
    "run_id",
    "conversation",
    "message_id",
    "batch_id",
    "vector_store_id",
    "vector_store_ids",
    "previous_response_id",
    "response_id",
    "fine_tuned_model",
];
const TEXT_MEMBERS: [&str; 6] = ["content", "text", "instructions", "input", "url", "name"];
const MADE_UP_MEMBERS: [&str; 4] = ["metadata", "parameters", "arguments", "attributes"];
const UNKNOWN_MEMBERS: [&str; 5] = ["file", "source", "some_new_member", "fileIdentifier", "ref"];

fn spelt(name: &str, how: u8) -> String {
    match how % 4 {
        0 => name.to_uppercase(),
        1 => name.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect(),
        _ => name.to_owned(),
    }
}

/// How an id comes into the hands of a hostile tenant.
fn id(guard: &Guard, raw: &str, how: u8) -> String {
    let own = sealed(guard, ACME, raw);
    match how % 16 {
        0..=8 => own,
        9 => sealed(guard, GLOBEX, raw),
        10 => raw.to_owned(),
        11 => raw.to_uppercase(),
        12 => own[..own.len() - 1].to_owned(),
        13 => format!("{}{}", own, if how > 128 { "a" } else { " " }),
        _ => {
            let mut bytes = own.into_bytes();
            let at = bytes.len() - 1 - usize::from(how) % 20;
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            String::from_utf8(bytes).unwrap()
        }
    }
}

const RAW: [&str; 10] = [
    "file-AbC123dEf456GhI789",
    "resp_68af1c2d3e4f5a6b7c8d",
    "vs_68af1c2d3e4f5a6b7c8d",
    "thread_AbC123dEf456GhI789",
    "run_AbC123dEf456GhI789",
    "batch_68af1c2d3e4f5a6b7c8d",
    "asst_AbC123dEf456GhI789",
    "ft:gpt-4o-mini:org::9AbCdE12f",
    "conv_68af1c2d3e4f5a6b7c8d",
    "msg_68af1c2d3e4f5a6b7c8d",
];

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (prop::sample::select(RAW.to_vec()), any::<u8>()).prop_map(|(raw, how)| {
            Value::from(id(&guard(Dialect::OpenAi), raw, how))
        }),
        2 => prop::sample::select(vec!["plain words", "file-manager", "run_all_tests", "", "gpt-4o", "\u{e4}\"\\\n"])
            .prop_map(|text| Value::from(text.to_owned())),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let names =
        [&ID_MEMBERS[..], &TEXT_MEMBERS, &MADE_UP_MEMBERS, &UNKNOWN_MEMBERS, &["id", "model", "tool_calls"]].concat();
    (prop::sample::select(names), any::<u8>()).prop_map(|(name, how)| spelt(name, how))
}

fn body() -> impl Strategy<Value = Value> {
    text().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => prop::collection::vec((name(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    names.iter().any(|known| plain(known) == plain(name))
}

/// What reaches the provider, by the rules as the documentation tells them; Err: the request is refused.
fn evaluate(guard: &Guard, value: &Value, member: &str, parent: &str) -> Result<Value, Refused> {
    let own = |text: &str| guard.keys.open(weir_sealed_ids::Use::Id, ACME, text).ok_or(Refused::NotOwn);
    let is_known = |text: &str| guard.dialect.kinds_of(text).is_some();
    match value {
        Value::Array(items) => items.iter().map(|item| evaluate(guard, item, member, parent)).collect(),
        Value::Object(members) => {
            let walked = members.iter().map(|(name, value)| {
                if is_one_of(&MADE_UP_MEMBERS, name) {
                    return Ok((name.clone(), value.clone()));
                }
                Ok((name.clone(), evaluate(guard, value, name, member)?))
            });
            walked.collect::<Result<_, _>>().map(Value::Object)
        }
        Value::String(text) if text.is_empty() => Ok(value.clone()),
        Value::String(text) if is_one_of(&ID_MEMBERS, member) => own(text).map(Value::from),
        Value::String(text) if is_one_of(&["id"], member) => {
            if is_one_of(&["tool_calls"], parent) {
                Ok(value.clone())
            } else {
                own(text).map(Value::from)
            }
        }
        Value::String(text) if is_one_of(&["model"], member) && text.starts_with("ft:") => own(text).map(Value::from),
        Value::String(text) if is_one_of(&UNKNOWN_MEMBERS, member) || member.is_empty() => {
            let looks_so =
                is_known(&text.trim().to_lowercase()) && text.trim().len() > 15 && !text.trim().contains(' ');
            if looks_so && text.contains(|c: char| c.is_ascii_digit()) {
                Err(Refused::UnknownPlace)
            } else {
                Ok(value.clone())
            }
        }
        other => Ok(other.clone()),
    }
}

/// A whole request: an object of several members.
fn request() -> impl Strategy<Value = Value> {
    prop::collection::vec((name(), body()), 1..5).prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn open(guard: &Guard, text: &str) -> Result<Vec<u8>, Refused> {
    let (mut rewriter, mut out) = (Rewriter::new(Dialect::OpenAi), Vec::new());
    rewriter.feed(text.as_bytes(), &mut Opener { guard, tenant: ACME }, &mut out)?;
    rewriter.finish(&mut out);
    Ok(out)
}

proptest! {
    #[test]
    fn only_own_ids_reach_the_provider(body in request(), spaced in any::<bool>()) {
        let guard = guard(Dialect::OpenAi);
        let text = if spaced { serde_json::to_string_pretty(&body).unwrap() } else { body.to_string() };
        match (open(&guard, &text), evaluate(&guard, &body, "", "")) {
            (Ok(out), Ok(expected)) => prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected),
            // Which of two faults is met first depends on the order of members.
            (Err(_), Err(_)) => {}
            (found, expected) => prop_assert!(false, "{found:?} instead of {expected:?} of {text}"),
        }
    }
}

#[test]
fn the_requests_are_good_and_bad() {
    let (guard, mut runner) = (guard(Dialect::OpenAi), TestRunner::deterministic());
    let (mut opened, mut same, mut refused) = (0, 0, 0);
    for _ in 0..2_000 {
        let text = request().new_tree(&mut runner).unwrap().current().to_string();
        match open(&guard, &text) {
            Ok(out) if out == text.as_bytes() => same += 1,
            Ok(_) => opened += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(opened > 200 && same > 200 && refused > 600, "{opened} opened, {same} the same, {refused} refused");
}
