use serde_json::{Value, json};
use weir_config::{ForRole, parse_for_role};

use super::*;

fn upstream(dialect: &str) -> Upstream {
    let model = json!({"name": "a", "provider": "one", "upstream": "a-2026", "context_max_tokens": 10, "output_max_tokens": 10,
                       "price": {"input": 1, "output": 1}});
    let config = json!({"version": 1, "role": "upstream", "models": [model],
                        "provider": {"name": "one", "dialect": dialect, "authority": "one.example.com"}});
    match parse_for_role(config.to_string().as_bytes()).expect("a configuration") {
        ForRole::Upstream(config) => Upstream::compile(&config).expect("a role"),
        ForRole::Downstream(_) => panic!("the other role"),
    }
}

const HEAD: [Pair<'static>; 5] = [
    (b":path", b"/v1/chat/completions"),
    (b"authorization", b"Bearer of-another-provider"),
    (b"X-Tenant-Id", b"acme"),
    (b"x-model", b"auto"),
    (b"accept", b"*/*"),
];
const BODY: &[u8] = br#"{"model":"auto","messages":[{"role":"user","content":"Hi"}]}"#;
const NOW: Timestamp = Timestamp::from_millis(0);

/// An attempt after one that failed elsewhere, with its request sent.
fn sent(upstream: &Upstream) -> Attempt {
    let mut attempt = Attempt::default();
    let (changes, awaits) = attempt.begin(upstream, Some(b"openai z a"), Some(b"two;z;503;"), &HEAD);
    assert!(awaits);
    assert_eq!(changes.remove, ["authorization", "x-tenant-id", "x-model"]);
    let (changes, body) = attempt.request(upstream, BODY).expect("a body");
    assert!(changes.set.contains(&(":path", "/v1/messages".to_owned())));
    assert!(changes.set.contains(&(":authority", "one.example.com".to_owned())));
    assert!(changes.set.contains(&("content-length", body.len().to_string())));
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["model"], "a-2026");
    attempt
}

#[test]
fn an_answer_goes_back_in_the_clients_dialect_with_who_served() {
    let upstream = upstream("anthropic");
    let mut attempt = sent(&upstream);
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("two;z;503; one;a;;"));
    let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    let changes = attempt.answer_head(&upstream, &head, false, NOW);
    assert!(changes.holds && changes.set.contains(&("x-weir-served".to_owned(), "one;a;2".to_owned())));
    let answer =
        br#"{"id":"m","type":"message","role":"assistant","model":"a-2026","content":[{"type":"text","text":"Yes."}],
        "stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}"#;
    assert_eq!(attempt.answer_chunk(&answer[..20], false), Piece { holds: true, ..Piece::default() });
    let piece = attempt.answer_chunk(&answer[20..], true);
    let body: Value = serde_json::from_slice(&piece.bytes).expect("JSON");
    assert_eq!(
        (&body["choices"][0]["message"]["content"], &body["usage"]["total_tokens"]),
        (&json!("Yes."), &json!(5))
    );
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("two;z;503; one;a;200;"));
}

#[test]
fn an_answer_that_cannot_be_read_becomes_a_502_that_the_gateway_retries() {
    let upstream = upstream("anthropic");
    let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    let mut attempt = sent(&upstream);
    attempt.answer_head(&upstream, &head, false, NOW);
    let piece = attempt.answer_chunk(b"no answer", true);
    assert!(piece.set.contains(&(":status", "502".to_owned())));
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("two;z;503; one;a;502;"));
    let mut empty = sent(&upstream);
    assert!(empty.answer_head(&upstream, &head, true, NOW).set.contains(&(":status".to_owned(), "502".to_owned())));
}

#[test]
fn a_request_that_the_provider_cannot_take_is_the_clients_fault_and_opens_no_breaker() {
    let upstream = upstream("openai");
    let mut attempt = Attempt::default();
    attempt.begin(&upstream, Some(b"openai a"), None, &HEAD);
    attempt.request(&upstream, b"no object").expect_err("unfit");
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("one;a;400;"));
    let reply = attempt.refusal();
    assert!(reply.status == 400 && reply.body.contains("no_model_fits"), "{}", reply.body);
}

#[test]
fn an_answer_in_the_clients_own_dialect_is_left_as_it_is() {
    let upstream = upstream("openai");
    let mut attempt = Attempt::default();
    attempt.begin(&upstream, Some(b"openai a"), None, &HEAD);
    attempt.request(&upstream, BODY).expect("a body");
    let head: [Pair<'_>; 2] = [(b":status", b"429"), (b"retry-after", b"7")];
    let changes = attempt.answer_head(&upstream, &head, false, NOW);
    assert_eq!((changes.holds, changes.set.len(), attempt.translates()), (false, 1, false));
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("one;a;429;7"));
}

#[test]
fn a_request_that_weir_has_not_routed_loses_what_is_ours_and_passes() {
    let upstream = upstream("anthropic");
    for choice in [None, Some(&b"openai z"[..]), Some(b"klingon a"), Some(b"\xff")] {
        let mut attempt = Attempt::default();
        let (changes, awaits) = attempt.begin(&upstream, choice, None, &HEAD);
        assert_eq!((changes.remove.len(), awaits, attempt.attempts(&upstream)), (3, false, None));
    }
}
