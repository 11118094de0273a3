use serde_json::{Value, json};
use weir_config::{ForRole, parse_for_role};

use super::clouds::in_path;
use super::*;
use crate::hash::Keyed;
use crate::routing::handed::{Handed, HandedKey, RequestKeys, Secret};
use crate::routing::retries::Retries;

fn upstream(dialect: &str) -> Upstream {
    upstream_of(dialect, &json!({}))
}

/// The same with further fields of the provider.
fn upstream_of(dialect: &str, more: &Value) -> Upstream {
    let mut provider = json!({"name": "one", "dialect": dialect, "authority": "one.example.com"});
    for (field, value) in more.as_object().expect("fields") {
        provider[field] = value.clone();
    }
    let model = json!({"name": "a", "provider": "one", "upstream": "a-2026", "context_max_tokens": 10, "output_max_tokens": 10,
                       "price": {"input": 1, "output": 1}});
    let config = json!({"version": 1, "role": "upstream", "models": [model],
                        "provider": provider});
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

fn given(choice: &'static str, attempts: &'static str) -> Given<'static> {
    Given { choice: Some(choice.as_bytes()), attempts: Some(attempts.as_bytes()) }
}

fn handed() -> Handed {
    Handed::new(Keyed::new([5; 16]))
}

/// The tenant's own key with which an attempt goes to its provider, or why it does not go.
fn admit(
    attempt: &mut Attempt,
    upstream: &Upstream,
    retries: &mut Retries,
) -> Result<Option<(&'static str, String)>, NotTried> {
    let admitted = attempt.admit(upstream, (&handed(), retries), None, NOW);
    admitted.map(|admission| admission.key).map_err(|(why, _)| why)
}

/// An attempt after one that failed elsewhere, with its request sent.
fn sent(upstream: &Upstream) -> Attempt {
    let mut attempt = Attempt::default();
    let changes = attempt.begin(upstream, &given("openai z a", "two;z;503;"), &HEAD);
    assert_eq!(admit(&mut attempt, upstream, &mut Retries::default()), Ok(None));
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
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("two;z;503; one;a;502;;unreadable"));
    let mut empty = sent(&upstream);
    assert!(empty.answer_head(&upstream, &head, true, NOW).set.contains(&(":status".to_owned(), "502".to_owned())));
}

#[test]
fn a_request_that_the_provider_cannot_take_is_the_clients_fault_and_opens_no_breaker() {
    let upstream = upstream("openai");
    let mut attempt = Attempt::default();
    attempt.begin(&upstream, &given("openai a", ""), &HEAD);
    attempt.request(&upstream, b"no object").expect_err("unfit");
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("one;a;400;"));
    let reply = attempt.refusal();
    assert!(reply.status == 400 && reply.body.contains("no_model_fits"), "{}", reply.body);
}

/// An attempt at a provider that speaks the client's dialect, with its request sent.
fn sent_to_own(upstream: &Upstream) -> Attempt {
    let mut attempt = Attempt::default();
    attempt.begin(upstream, &given("openai a", ""), &HEAD);
    attempt.request(upstream, BODY).expect("a body");
    attempt
}

const EVENTS: [Pair<'static>; 2] = [(b":status", b"200"), (b"content-type", b"text/event-stream; charset=utf-8")];
const JSON: [Pair<'static>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];

#[test]
fn a_stream_is_held_until_its_first_byte_so_that_another_provider_can_still_answer() {
    let upstream = upstream("anthropic");
    let mut attempt = sent(&upstream);
    assert!(attempt.answer_head(&upstream, &EVENTS, false, NOW).holds);
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("two;z;503; one;a;;"), "it may still fail");
    assert!(attempt.answer_chunk(b"event: message_start\n", false).holds, "nothing to say yet");
    let piece = attempt.answer_chunk(
        b"data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"a\",\"usage\":{\"input_tokens\":1}}}\n\n",
        false,
    );
    assert!(!piece.holds && piece.tells && piece.set.is_empty() && piece.bytes.starts_with(b"data: "));
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("two;z;503; one;a;200;"));
    let cut = attempt.answer_chunk(b"", true);
    assert!(cut.tells && cut.bytes.windows(7).any(|part| part == b"\"error\""), "{cut:?}");
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("two;z;503; one;a;200;;cut_off"));
    attempt.chosen = 9;
    assert_eq!(attempt.follow(&mut Retries::default(), NOW), Ok(None), "the client has a part of it");
}

#[test]
fn a_stream_that_fails_with_its_first_event_becomes_a_502_that_the_gateway_retries() {
    let upstream = upstream("anthropic");
    let overloaded = br#"data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for (event, reason) in [(&overloaded[..], "server_error"), (b"data: nonsense", "unreadable"), (b"", "unreadable")] {
        let mut attempt = sent(&upstream);
        attempt.answer_head(&upstream, &EVENTS, false, NOW);
        let piece = attempt.answer_chunk(&[event, b"\n\n"].concat(), true);
        assert!(piece.set.contains(&(":status", "502".to_owned())), "{reason}");
        let body: Value = serde_json::from_slice(&piece.bytes).expect("an error");
        assert!(body["error"]["message"].is_string(), "{body}");
        assert_eq!(attempt.attempts(&upstream), Some(format!("two;z;503; one;a;502;;{reason}")));
        assert_eq!((attempt.drops_rest(), attempt.is_unanswered()), (true, false));
    }
}

#[test]
fn an_answer_in_the_clients_own_dialect_is_held_and_looked_at_no_further_than_its_ends() {
    let upstream = upstream("openai");
    let html = b"<html>Bad gateway</html>";
    for (head, good, bad) in [
        (&JSON, vec![&br#" {"id":"x"} "#[..]], vec![&html[..], b"{\"id\":\"x", b""]),
        (&EVENTS, vec![b"data: {}\n\n", b"\xEF\xBB\xBF: ping\n", b"eve"], vec![html, b"{\"error\":{}}"]),
    ] {
        for (bytes, is_good) in
            good.into_iter().map(|bytes| (bytes, true)).chain(bad.into_iter().map(|bytes| (bytes, false)))
        {
            let mut attempt = sent_to_own(&upstream);
            assert!(attempt.answer_head(&upstream, head, false, NOW).holds && attempt.holds_own());
            let is_stream = head == &EVENTS;
            assert!(
                attempt.waits_with(0, false)
                    && attempt.waits_with(5, false) != is_stream
                    && !attempt.waits_with(5, true)
            );
            let piece = attempt.look(bytes, !is_stream);
            assert_eq!(piece.is_none(), is_good, "{}", String::from_utf8_lossy(bytes));
            let expected = if is_good { "one;a;200;" } else { "one;a;502;;unreadable" };
            assert_eq!(attempt.attempts(&upstream).as_deref(), Some(expected));
        }
    }
    let mut long = sent_to_own(&upstream);
    long.answer_head(&upstream, &JSON, false, NOW);
    assert!(!long.waits_with(256 * 1024 + 1, false), "a long answer goes on");
    assert_eq!(long.look(b"{\"a\":", false), None);
}

#[test]
fn an_attempt_without_an_answer_says_why_by_its_connection_and_its_time() {
    let mut upstream = upstream("openai");
    upstream.silence_ms = Some(2_000);
    for (is_connected, passed_ms, choice, reason) in [
        (false, 2_500, "openai a", "unreachable"),
        (true, 1_900, "openai a", "reset"),
        (true, 1_960, "openai a", "silent"),
        (true, 700, "openai;t700 a", "silent"),
        (true, 600, "openai;t700 a", "reset"),
    ] {
        let mut attempt = Attempt::at(NOW);
        attempt.begin(&upstream, &given(choice, ""), &HEAD);
        assert!(attempt.is_unanswered());
        attempt.end(&upstream, is_connected, NOW.plus_millis(passed_ms));
        assert_eq!(attempt.attempts(&upstream), Some(format!("one;a;;;{reason}")), "{passed_ms}");
    }
    let mut held = sent_to_own(&upstream);
    held.answer_head(&upstream, &JSON, false, NOW);
    assert!(held.is_unanswered(), "a head alone is no answer");
    held.end(&upstream, true, NOW);
    assert_eq!(held.attempts(&upstream).as_deref(), Some("one;a;;;reset"));
    let mut done = sent_to_own(&upstream);
    done.answer_head(&upstream, &JSON, false, NOW);
    done.look(b"{}", true);
    assert!(!done.is_unanswered());
}

#[test]
fn an_error_in_the_clients_own_dialect_is_left_as_it_is() {
    let upstream = upstream("openai");
    let mut attempt = sent_to_own(&upstream);
    let head: [Pair<'_>; 2] = [(b":status", b"429"), (b"retry-after", b"7")];
    let changes = attempt.answer_head(&upstream, &head, false, NOW);
    assert_eq!((changes.holds, changes.set.len(), attempt.translates()), (false, 1, false));
    assert_eq!(attempt.attempts(&upstream).as_deref(), Some("one;a;429;7"));
}

#[test]
fn a_request_that_weir_has_not_routed_loses_what_is_ours_and_passes() {
    let upstream = upstream("anthropic");
    for choice in [None, Some(&b"klingon a"[..]), Some(b"\xff")] {
        let mut attempt = Attempt::default();
        let changes = attempt.begin(&upstream, &Given { choice, attempts: None }, &HEAD);
        assert_eq!((changes.remove.len(), attempt.attempts(&upstream)), (3, None));
        let admitted = attempt.admit(&upstream, (&handed(), &mut Retries::default()), None, NOW).expect("it passes");
        assert_eq!(admitted, Admission { awaits_body: false, key: None });
    }
}

#[test]
fn a_model_that_the_role_does_not_know_goes_nowhere() {
    let upstream = upstream("anthropic");
    let mut attempt = Attempt::default();
    attempt.begin(&upstream, &given("openai;k7 z", ""), &HEAD);
    let admitted = attempt.admit(&upstream, (&handed(), &mut Retries::default()), None, NOW);
    let (why, reply) = admitted.expect_err("neither with the operator's key nor as the client wrote it");
    assert_eq!((why, reply.status), (NotTried::Model, 503));
}

#[test]
fn a_provider_whose_answer_is_translated_has_no_say_in_whether_another_is_tried() {
    let upstream = upstream("anthropic");
    let mut attempt = sent(&upstream);
    let failing: [Pair<'_>; 2] = [(b":status", b"429"), (b"x-envoy-ratelimited", b"true")];
    let changes = attempt.answer_head(&upstream, &failing, false, NOW);
    assert!(changes.remove.iter().any(|name| name == LAST), "{changes:?}");
}

#[test]
fn attempts_beyond_the_first_draw_from_the_budget_and_the_last_answer_stands_once_it_is_used_up() {
    let upstream = upstream("openai");
    let failing: [Pair<'_>; 2] = [(b":status", b"503"), (b"x-envoy-ratelimited", b"true")];
    let mut retries = Retries::default();
    let mut fail = |choice| {
        let mut attempt = Attempt::default();
        attempt.begin(&upstream, &given(choice, ""), &HEAD);
        attempt.request(&upstream, BODY).expect("a body");
        let changes = attempt.answer_head(&upstream, &failing, false, NOW);
        assert_eq!(changes.remove, [LAST], "the provider has no say in whether another is tried");
        attempt.follow(&mut retries, NOW)
    };
    assert_eq!([fail("openai;p0;f2 a z"), fail("openai;p0;f2 a z")], [Ok(Some(2)), Ok(Some(2))]);
    assert_eq!(fail("openai;p0;f2 a z"), Err(NotTried::Retries));
    assert_eq!(fail("openai;p0;f2 a"), Ok(None), "nobody else is there to be tried");
}

#[test]
fn a_retry_that_is_refused_stands_behind_the_attempts() {
    let upstream = upstream("openai");
    let none = "openai;p0;f0 z a b";
    let failing: [Pair<'_>; 1] = [(b":status", b"503")];
    let mut failed = Attempt::default();
    failed.begin(&upstream, &given("openai;p0;f0 a z", ""), &HEAD);
    failed.request(&upstream, BODY).expect("a body");
    failed.answer_head(&upstream, &failing, false, NOW);
    assert_eq!(failed.attempts(&upstream).as_deref(), Some("one;a;503;"));
    failed.follow(&mut Retries::default(), NOW).expect_err("nothing is left");
    assert_eq!(failed.attempts(&upstream).as_deref(), Some("one;a;503; -"));
    let mut unmade = Attempt::default();
    unmade.begin(&upstream, &given(none, "two;z;;;reset"), &HEAD);
    assert_eq!(admit(&mut unmade, &upstream, &mut Retries::default()), Err(NotTried::Retries));
    assert_eq!(unmade.attempts(&upstream).as_deref(), Some("two;z;;;reset -"));
    assert!(!unmade.is_unanswered(), "it was not made");
    let listed: Vec<_> = told::attempts("two;z;;;reset -").map(|attempt| attempt.provider).collect();
    assert_eq!((listed, told::is_retry_refused("two;z;;;reset")), (vec!["two"], false));
}

#[test]
fn the_limit_of_a_tenants_own_account_draws_nothing_that_others_need() {
    let value = Secret::new("Bearer own".to_owned());
    let keys: RequestKeys = [HandedKey { provider: "one".into(), header: "authorization", value }].into();
    let mut handed = handed();
    let number = handed.keep(&keys).expect("room");
    let upstream = upstream("openai");
    let mut retries = Retries::default();
    let mut fail = |status: &'static [u8], key: &str| {
        let choice = format!("openai;p0;f1{key} a z");
        let mut attempt = Attempt::default();
        attempt.begin(&upstream, &Given { choice: Some(choice.as_bytes()), attempts: None }, &HEAD);
        attempt.admit(&upstream, (&handed, &mut retries), None, NOW).expect("it goes");
        attempt.request(&upstream, BODY).expect("a body");
        attempt.answer_head(&upstream, &[(b":status", status)], false, NOW);
        attempt.follow(&mut retries, NOW)
    };
    let own = format!(";k{number}");
    for _ in 0..100 {
        assert_eq!(fail(b"429", &own), Ok(Some(2)));
    }
    assert_eq!([fail(b"503", &own), fail(b"503", "")], [Ok(Some(2)), Err(NotTried::Retries)], "all others share it");
    assert_eq!([fail(b"429", &own), fail(b"429", "")], [Ok(Some(2)), Err(NotTried::Retries)]);
}

#[test]
fn an_attempt_after_one_without_an_answer_draws_as_it_begins_unless_it_was_granted_before() {
    let upstream = upstream("openai");
    let mut attempt = Attempt::default();
    attempt.begin(&upstream, &given("openai;p0;f1 z a", "two;z;;;reset"), &HEAD);
    let mut retries = Retries::default();
    for (granted, expected) in
        [(Some(&b"2"[..]), true), (None, true), (None, false), (Some(b"1"), false), (Some(b"2"), true)]
    {
        let admitted = attempt.admit(&upstream, (&handed(), &mut retries), granted, NOW);
        assert_eq!(admitted.is_ok(), expected, "{granted:?}");
        if let Err((why, reply)) = admitted {
            assert_eq!((why, reply.status), (NotTried::Retries, 503));
        }
    }
}

#[test]
fn the_tenants_own_key_goes_to_its_provider_alone_and_one_that_is_gone_ends_the_request() {
    let key = |provider: &str, value: &str| HandedKey {
        provider: provider.into(),
        header: "authorization",
        value: Secret::new(value.to_owned()),
    };
    let keys: RequestKeys = [key("two", "Bearer of-two"), key("one", "Bearer of-one")].into();
    let others: RequestKeys = [key("two", "Bearer of-two")].into();
    let mut handed = handed();
    let (number, other) = (handed.keep(&keys).expect("room"), handed.keep(&others).expect("room"));
    let upstream = upstream("openai");
    let admit = |number: u64| {
        let mut attempt = Attempt::default();
        let choice = format!("openai;k{number} a");
        attempt.begin(&upstream, &Given { choice: Some(choice.as_bytes()), attempts: None }, &HEAD);
        let admitted = attempt.admit(&upstream, (&handed, &mut Retries::default()), None, NOW);
        admitted.map(|admission| admission.key)
    };
    assert_eq!(admit(number).expect("it goes"), Some(("authorization", "Bearer of-one".to_owned())));
    assert_eq!(admit(other).expect("it goes"), None, "the operator's key serves here");
    let (why, reply) = admit(number ^ other).expect_err("never with the operator's key");
    assert_eq!((why, reply.status), (NotTried::Key, 403));
    assert!(reply.body.contains("provider_key_unavailable"), "{}", reply.body);
}

#[test]
fn the_paths_of_clouds_name_the_model_and_their_bodies_the_version() {
    let place = "/v1/projects/p/locations/l/publishers/anthropic/models/{model}";
    let vertex = json!({"path": format!("{place}:rawPredict"), "stream_path": format!("{place}:streamRawPredict"),
        "betas": ["of-ours-2026"]});
    for (dialect, more, streams, path) in [
        (
            "vertex_anthropic",
            &vertex,
            false,
            "/v1/projects/p/locations/l/publishers/anthropic/models/a-2026:rawPredict",
        ),
        (
            "vertex_anthropic",
            &vertex,
            true,
            "/v1/projects/p/locations/l/publishers/anthropic/models/a-2026:streamRawPredict",
        ),
        ("bedrock_anthropic", &json!({"betas": ["of-ours-2026"]}), false, "/model/a-2026/invoke"),
    ] {
        let upstream = upstream_of(dialect, more);
        for client in ["openai a", "anthropic a"] {
            let mut attempt = Attempt::default();
            let head: [Pair<'_>; 2] = [
                (b"anthropic-beta", b"context-1m-2025-08-07, prompt-caching-2024-07-31"),
                (b"Anthropic-Beta", b"of-ours-2026,interleaved-thinking-2025-05-14"),
            ];
            attempt.begin(&upstream, &given(client, ""), &head);
            let body = json!({"model": "auto", "max_tokens": 9, "stream": streams, "messages": [{"role": "user", "content": "Hi"}]});
            let (changes, body) = attempt.request(&upstream, body.to_string().as_bytes()).expect("a body");
            assert!(changes.set.contains(&(":path", path.to_owned())), "{changes:?}");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert!(body.get("model").is_none() && body["anthropic_version"].is_string(), "{body}");
            let is_bedrock = dialect == "bedrock_anthropic";
            let betas = ["context-1m-2025-08-07", "of-ours-2026", "interleaved-thinking-2025-05-14"];
            assert_eq!(body.get("anthropic_beta"), is_bedrock.then(|| json!(betas)).as_ref(), "{body}");
            assert_eq!(changes.set.contains(&("anthropic-beta", betas.join(","))), !is_bedrock, "{changes:?}");
            assert_eq!(body.get("stream").is_some_and(|stream| stream == true), streams, "{body}");
        }
    }
    let mut attempt = Attempt::default();
    attempt.begin(&upstream_of("bedrock_anthropic", &json!({})), &given("openai a", ""), &HEAD);
    let stream = br#"{"model":"auto","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    assert_eq!(
        attempt.request(&upstream_of("bedrock_anthropic", &json!({})), stream).expect_err("frames").field,
        "stream"
    );
    assert_eq!(in_path("arn:aws:bedrock:eu/a b"), "arn:aws:bedrock:eu%2Fa%20b");
}

fn vertex() -> Upstream {
    let place = "/v1/projects/p/locations/l/publishers/anthropic/models/{model}";
    let paths = json!({"path": format!("{place}:rawPredict"), "stream_path": format!("{place}:streamRawPredict")});
    upstream_of("vertex_anthropic", &paths)
}

#[test]
fn a_feature_that_a_cloud_does_not_know_goes_to_no_cloud() {
    let body = br#"{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    for upstream in [vertex(), upstream_of("bedrock_anthropic", &json!({}))] {
        for value in [&b"files-api-2025-04-14"[..], b"context-1m-2025-08-07,t\"wo", b"\xff"] {
            let mut attempt = Attempt::default();
            attempt.begin(&upstream, &given("anthropic a", ""), &[(b"anthropic-beta", value)]);
            let unfit = attempt.request(&upstream, body).expect_err("unknown");
            assert!(unfit.field.starts_with("anthropic-beta."), "{unfit}");
        }
    }
    let mut attempt = Attempt::default();
    let head: [Pair<'_>; 1] = [(b"anthropic-beta", b"prompt-caching-2024-07-31")];
    attempt.begin(&vertex(), &given("anthropic a", ""), &head);
    let (changes, _) = attempt.request(&vertex(), body).expect("a body");
    assert_eq!(changes.remove, ["anthropic-beta"], "all models have it by now");
}

/// What becomes of an error of a provider: its status, the body, and the list of attempts.
fn error_of(upstream: &Upstream, client: &'static str, head: &[Pair<'_>], body: &[u8]) -> (String, Value, String) {
    let mut attempt = Attempt::default();
    attempt.begin(upstream, &given(client, ""), &HEAD);
    let request = br#"{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    attempt.request(upstream, request).expect("a body");
    let changes = attempt.answer_head(upstream, head, false, NOW);
    assert!(changes.holds, "{changes:?}");
    let piece = attempt.answer_chunk(body, true);
    let told = changes.set.into_iter().find(|(name, _)| name == ":status").map(|(_, status)| status);
    let status = told.unwrap_or_else(|| String::from_utf8_lossy(head[0].1).into_owned());
    let body = serde_json::from_slice(&piece.bytes).expect("JSON");
    (status, body, attempt.attempts(upstream).expect("attempts"))
}

#[test]
fn errors_of_clouds_reach_clients_of_either_dialect_in_its_own_form() {
    let bedrock = upstream_of("bedrock_anthropic", &json!({}));
    let said = br#"{"message":"That went wrong."}"#;
    for (status, name, told, of_messages, of_chats, attempts) in [
        ("429", "ThrottlingException", "429", "rate_limit_error", "rate_limit_error", "one;a;429;"),
        (
            "400",
            "ValidationException:http://a.amazon.com/b/",
            "400",
            "invalid_request_error",
            "invalid_request_error",
            "one;a;400;",
        ),
        (
            "400",
            "ServiceQuotaExceededException",
            "429",
            "rate_limit_error",
            "rate_limit_error",
            "one;a;400;;rate_limited",
        ),
        ("403", "AccessDeniedException", "403", "permission_error", "invalid_request_error", "one;a;403;"),
        ("403", "UnrecognizedClientException", "401", "authentication_error", "invalid_request_error", "one;a;403;"),
        ("408", "ModelTimeoutException", "504", "timeout_error", "server_error", "one;a;408;;server_error"),
        ("424", "ModelErrorException", "502", "api_error", "server_error", "one;a;424;;server_error"),
        ("500", "InternalServerException", "500", "api_error", "server_error", "one;a;500;"),
    ] {
        let head: [Pair<'_>; 2] = [(b":status", status.as_bytes()), (b"x-amzn-ErrorType", name.as_bytes())];
        for (client, kind) in [("anthropic a", of_messages), ("openai a", of_chats)] {
            let found = error_of(&bedrock, client, &head, said);
            assert_eq!((&found.0[..], &found.2[..]), (told, attempts), "{name} {client}");
            assert_eq!(
                (&found.1["error"]["type"], &found.1["error"]["message"]),
                (&json!(kind), &json!("That went wrong."))
            );
            assert_eq!(found.1["type"] == "error", client == "anthropic a", "{}", found.1);
        }
    }
    let openai_at_bedrock = upstream_of("openai", &json!({"path": "/openai/v1/chat/completions"}));
    let head: [Pair<'_>; 2] = [(b":status", b"424"), (b"x-amzn-errortype", b"ModelErrorException")];
    let found = error_of(&openai_at_bedrock, "openai a", &head, said);
    assert_eq!((&found.0[..], &found.1["error"]["type"]), ("502", &json!("server_error")));
}

#[test]
fn errors_of_google_are_told_apart_from_those_of_the_model_behind_it() {
    let of_google =
        br#"[{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[]}}]"#;
    let head: [Pair<'_>; 2] = [(b":status", b"429"), (b"content-type", b"application/json")];
    let found = error_of(&vertex(), "anthropic a", &head, of_google);
    assert_eq!(found.1, json!({"type": "error", "error": {"type": "rate_limit_error", "message": "Quota exceeded."}}));
    let of_model = json!({"type": "error", "request_id": "req_vrtx_1",
        "error": {"type": "invalid_request_error", "message": "max_tokens: too many"}});
    let head: [Pair<'_>; 1] = [(b":status", b"400")];
    let found = error_of(&vertex(), "anthropic a", &head, of_model.to_string().as_bytes());
    assert_eq!(found.1, of_model, "it is the client's dialect already");
    let chats =
        upstream_of("openai", &json!({"path": "/v1/projects/p/locations/l/endpoints/openapi/chat/completions"}));
    let head: [Pair<'_>; 1] = [(b":status", b"403")];
    let of_google = br#"{"error":{"code":403,"message":"No.","status":"PERMISSION_DENIED"}}"#;
    let found = error_of(&chats, "openai a", &head, of_google);
    assert_eq!(
        (&found.1["error"]["type"], &found.1["error"]["message"]),
        (&json!("invalid_request_error"), &json!("No."))
    );
}

#[test]
fn what_a_model_at_bedrock_fails_at_is_another_providers_turn() {
    let bedrock = upstream_of("bedrock_anthropic", &json!({}));
    for (status, name, follows) in [
        ("408", "ModelTimeoutException", true),
        ("424", "ModelErrorException", true),
        ("400", "ServiceQuotaExceededException", true),
        ("400", "ValidationException", false),
    ] {
        let mut attempt = Attempt::default();
        attempt.begin(&bedrock, &given("openai a z", ""), &HEAD);
        attempt.request(&bedrock, BODY).expect("a body");
        let head: [Pair<'_>; 2] = [(b":status", status.as_bytes()), (b"x-amzn-errortype", name.as_bytes())];
        attempt.answer_head(&bedrock, &head, false, NOW);
        attempt.answer_chunk(b"{}", true);
        assert_eq!(attempt.follow(&mut Retries::default(), NOW), Ok(follows.then_some(2)), "{name}");
    }
}
