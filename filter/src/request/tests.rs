use super::*;
use crate::limit::{Charge, Fault, Settlement, Standing, Verdict};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::directory::KeyHash;
use weir_contract::{Event, Outcome, Payload, UsageStatus};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Answers every draw alike and remembers how often it was asked.
struct Fixed(Verdict, usize);

impl Limiter for Fixed {
    fn take(&mut self, _tenant: &str, _charges: &[Charge], _now: Timestamp) -> Verdict {
        self.1 += 1;
        self.0.clone()
    }

    fn settle(&mut self, _tenant: &str, _settlements: &[Settlement], _now: Timestamp) -> Result<(), Fault> {
        Ok(())
    }
}

fn admit() -> Fixed {
    Fixed(Verdict::Admitted(vec![Standing::default()]), 0)
}

fn limited() -> Fixed {
    Fixed(Verdict::Limited(Standing { capacity: 1, wait_ms: 2_500, ..Standing::default() }), 0)
}

fn setup(mode: &str) -> (Worker, FilterState) {
    let key =
        |id: &str, key: &str| json!({"id": id, "sha256": KeyHash::of(key.as_bytes()), "environment": "production"});
    let config = json!({
        "version": 1, "mode": mode, "gateway": "gw",
        "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
        "tenants": [
            {"id": "acme", "plan": "starter", "keys": [key("k1", "sk_acme")]},
            {"id": "globex", "plan": "free", "state": "suspended", "keys": [key("k2", "sk_globex")]},
        ],
        "plans": {"starter": {"requests": {"rate": "1/min"}}, "free": {}},
        "routes": [{"match": {"path": "/healthz"}, "bypass": true},
                   {"name": "search", "match": {"path_prefix": "/v1/rag"}, "class": "rag", "feature": "search"}],
        "events": {"cluster": "weir", "token": "t", "flush": "1s"},
    });
    let mut worker = Worker::new([3; 32]);
    let state =
        worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("a valid configuration");
    (worker, state)
}

fn pairs<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<Pair<'a>> {
    let head = [(":method", "POST"), (":path", path), (":authority", "api"), ("x-request-id", "r-1")];
    head.iter().chain(more).map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

fn arrival<'a>(pairs: &'a [Pair<'a>]) -> Arrival<'a> {
    Arrival { pairs, ends: true, route: None }
}

fn decide(request: &mut Request, limiter: &mut Fixed, pairs: &[Pair<'_>]) -> (Decided, HeadAction, Worker) {
    let (mut worker, mut state) = setup("enforce");
    let (decided, action) = request.head(&mut worker, &mut state, limiter, &arrival(pairs), NOW);
    (decided, action, worker)
}

const ACME: (&str, &str) = ("authorization", "Bearer sk_acme");

#[test]
fn an_admitted_request_says_upstream_who_it_is_and_leaves_its_credential_behind() {
    let spoofed = [ACME, ("X-Tenant-Id", "globex"), ("accept-encoding", "gzip")];
    let (decided, action, _) = decide(&mut Request::default(), &mut admit(), &pairs("/v1/chat/completions", &spoofed));
    assert_eq!(decided, Decided::Admitted);
    let HeadAction::Forward(edits) = action else { panic!("answered") };
    assert_eq!(edits.remove.iter().map(|name| &**name).collect::<Vec<_>>(), ["x-tenant-id", "authorization"]);
    let set: Vec<_> = edits.set.iter().map(|(name, value)| (*name, &**value)).collect();
    let expected = [
        ("x-tenant-id", "acme"),
        ("x-tenant-plan", "starter"),
        ("accept-encoding", "identity"),
        ("x-request-class", "chat"),
    ];
    assert_eq!(set, expected);
}

#[test]
fn unknown_is_refused() {
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, &str, u16); 6] = [
        (&[], "missing_credential", 401),
        (&[("authorization", "Bearer sk_nobody")], "invalid_credential", 401),
        (&[("authorization", "Basic abc")], "invalid_credential", 401),
        (&[("authorization", "Bearer sk_globex")], "suspended_tenant", 403),
        (&[ACME, ("authorization", "Bearer sk_globex")], "suspended_tenant", 403),
        (&[ACME, ("x_tenant_id", "globex")], "forbidden_header", 400),
    ];
    for (headers, code, status) in cases {
        let mut limiter = admit();
        let (decided, action, _) = decide(&mut Request::default(), &mut limiter, &pairs("/v1/embeddings", headers));
        let (Decided::Refused(refusal), HeadAction::Answer(reply)) = (decided, action) else {
            panic!("{code}: let through")
        };
        assert_eq!((refusal.code(), reply.status, limiter.1), (code, status, 0), "{headers:?}");
    }
}

#[test]
fn over_the_limit_is_429_with_the_time_to_wait() {
    let mut request = Request::default();
    let (decided, action, _) = decide(&mut request, &mut limited(), &pairs("/v1/messages", &[ACME]));
    assert!(matches!(decided, Decided::Refused(Refusal::RateLimited(_))));
    let HeadAction::Answer(reply) = action else { panic!("let through") };
    assert!(reply.headers.contains(&("retry-after", "3".to_owned())), "{:?}", reply.headers);
    assert!(!request.is_watched());
}

#[test]
fn a_limit_that_cannot_be_asked_lets_traffic_through() {
    let mut limiter = Fixed(Verdict::Unavailable(Fault::Store), 0);
    let (decided, _, _) = decide(&mut Request::default(), &mut limiter, &pairs("/v1/messages", &[ACME]));
    assert_eq!(decided, Decided::Admitted);
}

#[test]
fn observe_records_what_the_plan_says_and_never_waives_identity() {
    let (mut worker, mut state) = setup("observe");
    let mut decide = |headers: &[(&str, &str)]| {
        let mut request = Request::default();
        request.head(&mut worker, &mut state, &mut limited(), &arrival(&pairs("/v1/messages", headers)), NOW).0
    };
    assert!(matches!(decide(&[ACME]), Decided::Observed(Refusal::RateLimited(_))));
    assert_eq!(decide(&[]), Decided::Refused(Refusal::MissingCredential));
}

#[test]
fn a_bypassed_path_is_exact_costs_nothing_and_still_loses_forged_headers() {
    let mut limiter = admit();
    let (decided, action, _) =
        decide(&mut Request::default(), &mut limiter, &pairs("/healthz?full=1", &[("x-tenant-id", "acme")]));
    assert_eq!((decided, limiter.1), (Decided::Bypassed, 0));
    assert_eq!(action, HeadAction::Forward(Edits { remove: vec!["x-tenant-id".into()], ..Edits::default() }));
    for path in ["/healthz/", "/healthz/../v1/x", "//healthz", "/HEALTHZ"] {
        let (decided, _, _) = decide(&mut Request::default(), &mut admit(), &pairs(path, &[]));
        assert_eq!(decided, Decided::Refused(Refusal::MissingCredential), "{path}");
    }
}

/// Runs a whole request and gives back its event.
fn run(path: &str, answer: &[(&str, &str)], chunks: &[&str], ends: bool, details: Option<&[u8]>) -> serde_json::Value {
    let mut request = Request::default();
    let (_, _, mut worker) = decide(&mut request, &mut admit(), &pairs(path, &[ACME]));
    assert_eq!(request.request_body(&mut worker, &mut admit(), 400, || NOW), None);
    let answer: Vec<Pair<'_>> = answer.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    request.response_head(&answer, false, || NOW);
    for (at, chunk) in chunks.iter().enumerate() {
        request.response_body(chunk.as_bytes(), ends && at + 1 == chunks.len(), || NOW.plus_millis(40));
    }
    request.end(&mut worker, &mut admit(), &EndFacts { details, ..EndFacts::default() }, NOW.plus_millis(90));
    assert_eq!(
        request.end(&mut worker, &mut admit(), &EndFacts::default(), NOW),
        None,
        "one event, however often it ends"
    );
    let batch = worker.emitter().and_then(|e| e.dispatch(NOW.plus_millis(2_000))).expect("a batch");
    let mut events: Vec<serde_json::Value> = serde_json::from_slice(&batch.body).expect("json");
    assert_eq!(events.len(), 1);
    let bytes = events[0].to_string();
    assert!(matches!(Event::parse(bytes.as_bytes()).map(|event| event.payload), Ok(Payload::Usage(_))), "{bytes}");
    events.remove(0)
}

const JSON: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/json")];
const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}"#;

#[test]
fn the_event_says_what_the_request_was_and_used() {
    let event = run("/v1/rag/query", JSON, &[ANSWER], true, None);
    let data = &event["data"];
    assert_eq!(
        (&event["subject"], &data["class"], &data["route"], &data["feature"]),
        (&json!("acme"), &json!("rag"), &json!("search"), &json!("search"))
    );
    assert_eq!(data["usage"], json!({"status": "complete", "input_tokens": 12, "output_tokens": 3}));
    assert_eq!((&data["response_model"], &data["environment"]), (&json!("gpt-4o-2024-08-06"), &json!("production")));
    assert_eq!(
        (&data["duration_ms"], &data["time_to_first_token_ms"], &data["request_bytes"]),
        (&json!(90), &json!(40), &json!(400))
    );
    assert_eq!((&data["outcome"], &data["credential_id"]), (&json!("ok"), &json!("k1")));
}

#[test]
fn the_outcome_tells_who_ended_it() {
    let cut = &ANSWER[..40];
    let outcome =
        |details: Option<&[u8]>| run("/v1/chat/completions", JSON, &[cut], false, details)["data"]["outcome"].clone();
    assert_eq!(outcome(Some(b"downstream_remote_disconnect")), json!("client_closed"));
    assert_eq!(
        outcome(Some(b"upstream_reset_after_response_started{connection_termination}")),
        json!("upstream_reset")
    );
    assert_eq!(outcome(Some(b"upstream_response_timeout")), json!("timeout"));
    let status =
        |code| run("/v1/chat/completions", &[(":status", code)], &["{}"], true, None)["data"]["outcome"].clone();
    assert_eq!((status("404"), status("502")), (json!("client_error"), json!("upstream_error")));
}

#[test]
fn a_whole_body_of_known_length_is_whole_though_nobody_says_so() {
    let length = ANSWER.len().to_string();
    let head = [(":status", "200"), ("content-type", "application/json"), ("content-length", length.as_str())];
    let event = run("/v1/chat/completions", &head, &[ANSWER], false, None);
    assert_eq!((&event["data"]["outcome"], &event["data"]["usage"]["status"]), (&json!("ok"), &json!("complete")));
}

#[test]
fn a_cut_inference_is_estimated_and_what_is_no_inference_used_nothing() {
    let event = run("/v1/chat/completions", JSON, &[&ANSWER[..100]], false, None);
    assert_eq!(event["data"]["usage"]["status"], json!("estimated"));
    assert_eq!(event["data"]["usage"]["input_tokens"], json!(8), "nobody has seen the body");
    assert_eq!(event["data"]["usage"]["estimate"], json!({"input": "request_unread", "output": "answer_text"}));
    let other = run("/models", JSON, &[r#"{"object":"list","data":[]}"#], true, None);
    assert_eq!(other["data"]["usage"], json!({"status": "none"}));
    let search = run("/v1/rag/search", JSON, &[r#"{"documents":["a","b"]}"#], true, None);
    assert_eq!((&search["data"]["class"], &search["data"]["usage"]), (&json!("rag"), &json!({"status": "none"})));
    assert_eq!(serde_json::from_value::<UsageStatus>(json!("none")).ok(), Some(UsageStatus::None));
    assert_eq!(serde_json::from_value::<Outcome>(other["data"]["outcome"].clone()).ok(), Some(Outcome::Ok));
}

/// A configuration with one tenant without limits, on which streams and undeclared routes are tried.
fn open(more: &serde_json::Value) -> (Worker, FilterState) {
    let mut config = json!({
        "version": 1, "gateway": "gw",
        "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
        "tenants": [{"id": "acme", "plan": "free", "keys": [{"id": "k1", "sha256": KeyHash::of(b"sk_acme")}]}],
        "plans": {"free": {}},
        "events": {"cluster": "weir", "token": "t", "flush": "1s"},
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    let mut worker = Worker::new([3; 32]);
    let state =
        worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("a valid configuration");
    (worker, state)
}

/// Sends a body; returns what becomes of it, and the request.
fn send(worker: &mut Worker, state: &mut FilterState, path: &str, body: &str) -> (Request, Option<BodyAction>) {
    let mut request = Request::default();
    let pairs = pairs(path, &[ACME, ("content-type", "application/json")]);
    let arrival = Arrival { pairs: &pairs, ends: false, route: None };
    match request.head(worker, state, &mut admit(), &arrival, NOW).1 {
        HeadAction::Hold(_) => {}
        HeadAction::Answer(reply) => return (request, Some(BodyAction::Answer(reply))),
        HeadAction::Forward(_) => return (request, None),
    }
    let action = request.body(worker, &mut admit(), Ok(body.as_bytes()), NOW).map(|(_, action)| action);
    (request, action)
}

/// Whether the request goes on with a question for its usage; None where it is refused.
fn is_asked(more: &serde_json::Value, path: &str, body: &str) -> Option<bool> {
    let (mut worker, mut state) = open(more);
    match send(&mut worker, &mut state, path, body).1? {
        BodyAction::Forward(_, changed) => {
            Some(changed.is_some_and(|body| String::from_utf8_lossy(&body).contains(r#""include_usage":true"#)))
        }
        BodyAction::Answer(_) => None,
    }
}

const CHAT_PATH: &str = "/v1/chat/completions";

#[test]
fn whatever_a_lenient_server_takes_for_a_stream_is_asked_for_its_usage() {
    for value in ["true", "1", "1.0", "\"true\"", "\"on\"", "\"yes\"", "[1]"] {
        let body = format!(r#"{{"model":"gpt-4o","stream":{value},"messages":[]}}"#);
        assert_eq!(is_asked(&json!({}), CHAT_PATH, &body), Some(true), "{value}");
    }
    for value in ["false", "null", "0", "0.0", "-0", "\"\""] {
        let body = format!(r#"{{"model":"gpt-4o","stream":{value},"messages":[]}}"#);
        assert_eq!(is_asked(&json!({}), CHAT_PATH, &body), Some(false), "{value}");
    }
}

#[test]
fn a_body_that_would_leave_a_stream_unasked_is_refused_unless_the_operator_lets_it_pass() {
    let deep = format!(r#"{{"stream":true,"messages":{}{}}}"#, "[".repeat(129), "]".repeat(129));
    let ambiguous = [r#"{"stream":true,"n":1,"n":1}"#, r#"{"Stream":true}"#, r#"{"stream":false,"stream":true}"#]
        .map(|body| (body, true));
    let unreadable =
        ["\u{feff}{\"stream\":true}", r#"{"stream":true,"temperature":NaN}"#, deep.as_str()].map(|body| (body, false));
    let shared = json!(["files", "assistants", "stored_responses", "vector_stores"]);
    for (body, shows_names) in ambiguous.into_iter().chain(unreadable) {
        assert_eq!(is_asked(&json!({}), CHAT_PATH, body), None, "{body}");
        assert_eq!(is_asked(&json!({}), "/v1/Chat/Completions;x", body), None, "{body}");
        for setting in [json!("when_readable"), json!(false)] {
            let passes = shows_names.then_some(false);
            assert_eq!(is_asked(&json!({"ask_for_usage": setting}), CHAT_PATH, body), passes, "{body}");
            let route = json!({"match": {"path_prefix": "/v1"}, "permit": shared, "ask_for_usage": setting});
            assert_eq!(is_asked(&json!({"routes": [route]}), CHAT_PATH, body), Some(false), "{body}: names may pass");
        }
    }
    assert_eq!(is_asked(&json!({}), CHAT_PATH, r#"{"n":1,"n":1}"#), Some(false), "no stream, nothing to ask");
}

#[test]
fn a_provider_that_refuses_the_question_is_not_asked() {
    let stream = |model: &str| format!(r#"{{"model":"{model}","stream":true,"messages":[]}}"#);
    assert_eq!(is_asked(&json!({}), CHAT_PATH, &stream("mistral-large-latest")), Some(false));
    assert_eq!(is_asked(&json!({}), CHAT_PATH, &stream("mistralai/mistral-large")), Some(true));
    let route = |more: serde_json::Value| {
        let mut route = json!({"match": {"path_prefix": "/v1"}});
        route.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        json!({"routes": [route]})
    };
    assert_eq!(is_asked(&route(json!({"provider": "mistral"})), CHAT_PATH, &stream("any")), Some(false));
    assert_eq!(is_asked(&route(json!({"ask_for_usage": false})), CHAT_PATH, &stream("gpt-4o")), Some(false));
    let always = route(json!({"provider": "mistral", "ask_for_usage": true}));
    assert_eq!(is_asked(&always, CHAT_PATH, &stream("any")), Some(true));
}

#[test]
fn a_refusal_that_names_the_question_is_learnt_and_one_that_the_client_provokes_is_not() {
    let refusal = r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#;
    let asked_again = |body: &str, status: &str, answer: &str| {
        let (mut worker, mut state) = open(&json!({}));
        let (mut request, _) = send(&mut worker, &mut state, CHAT_PATH, body);
        let head: [Pair<'_>; 2] = [(b":status", status.as_bytes()), (b"content-type", b"application/json")];
        request.response_head(&head, false, || NOW);
        let (first, last) = answer.split_at(answer.len() / 2);
        request.response_body(first.as_bytes(), false, || NOW);
        request.response_body(last.as_bytes(), true, || NOW);
        request.end(&mut worker, &mut admit(), &EndFacts::default(), NOW);
        let plain = r#"{"model":"m","stream":true,"messages":[]}"#;
        let Some(BodyAction::Forward(_, changed)) = send(&mut worker, &mut state, CHAT_PATH, plain).1 else { panic!() };
        changed.is_some()
    };
    let plain = r#"{"model":"m","stream":true,"messages":[]}"#;
    assert!(!asked_again(plain, "422", refusal) && !asked_again(plain, "400", refusal));
    assert!(asked_again(plain, "500", refusal) && asked_again(plain, "400", "{}"));
    for own in [
        r#"{"model":"m","stream":"maybe","messages":[]}"#,
        r#"{"model":"m","stream":true,"messages":[{"role":"stream_options"}]}"#,
        r#"{"model":"m","stream":true,"messages":[{"role":"stream\u005foptions"}]}"#,
    ] {
        assert!(asked_again(own, "422", refusal), "{own}");
    }
}

#[test]
fn a_providers_answer_on_an_undeclared_route_is_not_billed_but_told_once() {
    let (mut worker, mut state) = open(&json!({}));
    let mut told = |path: &str| {
        let (mut request, _) = send(&mut worker, &mut state, path, r#"{"model":"m","messages":[]}"#);
        let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
        request.response_head(&head, false, || NOW);
        ANSWER.as_bytes().chunks(7).for_each(|chunk| drop(request.response_body(chunk, false, || NOW)));
        let told = request.undeclared(&mut worker);
        request.end(&mut worker, &mut admit(), &EndFacts::default(), NOW);
        told.map(|undeclared| undeclared.warning.is_some())
    };
    assert_eq!((told("/ask"), told("/ask"), told(CHAT_PATH)), (Some(true), Some(false), None));
    let event = run("/ask", JSON, &[ANSWER], true, None);
    assert_eq!(event["data"]["usage"], json!({"status": "none"}));
}

#[test]
fn a_document_that_says_usage_costs_nobody_anything() {
    for (kind, answer) in [
        ("application/json", r#"{"usage":{"prompt_tokens":900000000,"completion_tokens":1}}"#),
        ("application/json", r#"{"id":7,"text":"a long article, and its words are no model's"}"#),
        ("image/png", ANSWER),
        ("text/html", ANSWER),
    ] {
        let event = run("/api/articles/7", &[(":status", "200"), ("content-type", kind)], &[answer], true, None);
        assert_eq!(event["data"]["usage"], json!({"status": "none"}), "{kind}");
    }
    for kind in ["image/png", "text/html", "text/plain"] {
        let event = run(CHAT_PATH, &[(":status", "200"), ("content-type", kind)], &[ANSWER], true, None);
        assert_eq!(event["data"]["usage"]["status"], json!("estimated"), "a model's words as {kind} are no usage");
    }
}

#[test]
fn a_client_that_leaves_before_the_head_owes_its_input_and_an_upstream_that_fails_does_not() {
    let usage = |details: &[u8]| {
        let (mut worker, mut state) = open(&json!({}));
        let body = r#"{"model":"m","messages":[{"role":"user","content":"The tide comes in twice a day."}]}"#;
        let (mut request, _) = send(&mut worker, &mut state, CHAT_PATH, body);
        let facts = EndFacts { details: Some(details), ..EndFacts::default() };
        request.end(&mut worker, &mut admit(), &facts, NOW);
        let batch = worker.emitter().and_then(|emitter| emitter.dispatch(NOW.plus_millis(2_000))).expect("a batch");
        let events: serde_json::Value = serde_json::from_slice(&batch.body).expect("json");
        events[0]["data"]["usage"].clone()
    };
    let left = usage(b"downstream_remote_disconnect");
    assert_eq!((&left["status"], &left["output_tokens"]), (&json!("estimated"), &json!(0)));
    assert!(left["input_tokens"].as_u64() > Some(12), "{left}");
    assert_eq!(usage(b"upstream_reset_before_response_started{connection_failure}"), json!({"status": "none"}));
}

#[test]
fn an_answer_that_is_read_again_counts_only_where_it_was_made_in_the_background() {
    let (mut worker, mut state) =
        open(&json!({"routes": [{"match": {"path_prefix": "/v1"}, "permit": ["stored_responses"]}]}));
    let mut get = |answer: &str| {
        let pairs = [(":method", "GET"), (":path", "/v1/responses/resp_1"), (":authority", "api"), ACME];
        let pairs: Vec<Pair<'_>> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let mut request = Request::default();
        request.head(&mut worker, &mut state, &mut admit(), &arrival(&pairs), NOW);
        let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
        request.response_head(&head, false, || NOW);
        request.response_body(answer.as_bytes(), true, || NOW);
        request.end(&mut worker, &mut admit(), &EndFacts::default(), NOW);
        let batch = worker.emitter().and_then(|emitter| emitter.dispatch(NOW.plus_millis(2_000))).expect("a batch");
        let all = crate::emit::Answer::Status { status: 202, retry_after_secs: None, body: br#"{"accepted":1}"# };
        worker.emitter().map(|emitter| emitter.answered(batch.batch, &all, NOW.plus_millis(2_100)));
        let events: serde_json::Value = serde_json::from_slice(&batch.body).expect("json");
        events[0]["data"].clone()
    };
    let done = r#"{"id":"resp_1","object":"response","status":"completed","background":true,"usage":{"input_tokens":5,"output_tokens":6,"total_tokens":11}}"#;
    let data = get(done);
    assert_eq!(
        (&data["usage"]["status"], &data["kept"], &data["class"]),
        (&json!("complete"), &json!(true), &json!("chat"))
    );
    assert_eq!(data["response_id"], json!("resp_1"));
    let stored = get(&done.replace("true", "false"));
    assert_eq!((&stored["usage"], &stored["kept"]), (&json!({"status": "none"}), &serde_json::Value::Null));
    let waiting = get(&done.replace("completed", "in_progress"));
    assert_eq!(waiting["usage"], json!({"status": "none"}));
}
