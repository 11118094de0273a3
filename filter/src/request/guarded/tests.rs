use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::directory::KeyHash;
use weir_contract::{SecurityKind, Timestamp};

use crate::head::Pair;
use crate::limit::{Charge, Fault, Limiter, Settlement, Verdict};
use crate::refusal::Refusal;
use crate::request::{
    ANSWER_MAX_BYTES, AnswerAction, Arrival, BodyAction, Decided, EndFacts, HeadAction, Kept, Request,
};
use crate::worker::{FilterState, Worker};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const JSON: [Pair<'static>; 2] = [(b":status", b"200"), (b"content-type", b"application/json; charset=utf-8")];

/// Lets everything pass.
struct Open;

impl Limiter for Open {
    fn take(&mut self, _tenant: &str, _charges: &[Charge], _now: Timestamp) -> Verdict {
        Verdict::Admitted(Vec::new())
    }

    fn settle(&mut self, _tenant: &str, _settlements: &[Settlement], _now: Timestamp) -> Result<(), Fault> {
        Ok(())
    }
}

fn setup() -> (Worker, FilterState) {
    setup_by("filter")
}

fn setup_by(by: &str) -> (Worker, FilterState) {
    let config = json!({
        "version": 1, "gateway": "gw", "mode": "observe",
        "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
        "tenants": [{"id": "acme", "plan": "p", "keys": [{"id": "k", "sha256": KeyHash::of(b"sk_acme")}]}],
        "plans": {"p": {}},
        "routes": [{"name": "vectors", "match": {"path_prefix": "/"}, "guard": {"store": "qdrant", "by": by}}],
        "events": {"cluster": "weir", "token": "t", "flush": "1s"},
    });
    let mut worker = Worker::new([3; 32]);
    let mut state =
        worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("a valid configuration");
    (state.sets_path, state.edits_every_copy) = (true, true);
    (worker, state)
}

fn ask(worker: &mut Worker, state: &mut FilterState, path: &str, ends: bool) -> (Request, Decided, HeadAction) {
    let pairs: [Pair<'_>; 4] = [
        (b":method", b"POST"),
        (b":path", path.as_bytes()),
        (b"authorization", b"Bearer sk_acme"),
        (b"content-type", b"application/json"),
    ];
    let mut request = Request::default();
    let arrival = Arrival { pairs: &pairs, ends, route: None };
    let (decided, action) = request.head(worker, state, &mut Open, &arrival, NOW);
    (request, decided, action)
}

/// A search that is on its way, and the body that went on.
fn search(worker: &mut Worker, state: &mut FilterState) -> (Request, Value) {
    let (mut request, decided, _) = ask(worker, state, "/collections/docs/points/query", false);
    assert_eq!(decided, Decided::Awaited);
    let decided = request.body(worker, &mut Open, Ok(br#"{"query":[1,2],"limit":3}"#), NOW);
    let Some((_, BodyAction::Forward(_, Some(sent)))) = decided else { panic!("{decided:?}") };
    (request, serde_json::from_slice(&sent).expect("JSON"))
}

fn found(owners: &[&str]) -> Vec<u8> {
    let point = |owner: &&str| json!({"id": 1, "payload": {"tenant_id": owner}});
    json!({"result": {"points": owners.iter().map(point).collect::<Vec<_>>()}}).to_string().into_bytes()
}

fn owners_left(body: &[u8]) -> usize {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    body["result"]["points"].as_array().expect("points").len()
}

#[test]
fn a_whole_answer_is_judged_at_once_and_what_was_taken_out_is_told_audited_and_metered() {
    let (mut worker, mut state) = setup();
    let (mut request, sent) = search(&mut worker, &mut state);
    assert_eq!(sent["filter"]["must"][0]["match"]["value"], "acme");
    assert!(request.response_head(&JSON, false, || NOW).holds && request.holds_answer());
    let body = found(&["acme", "globex", "acme"]);
    assert!(!request.answer_is_due(body.len() - 1, false) && request.answer_is_due(body.len(), true));
    let action = request.answer(Some(&body), || NOW).expect("held");
    let AnswerAction { status: None, body: Some(left), kept: Some(Kept::Changed), .. } = action else {
        panic!("{action:?}")
    };
    assert_eq!(owners_left(&left), 2);
    let emitted = request.end(&mut worker, &mut Open, &EndFacts::default(), NOW).expect("an event");
    assert!(emitted.search.is_some());
    let emitter = worker.emitter().expect("an emitter");
    assert_eq!(emitter.found()[0], 1);
    assert_eq!(emitter.counters().numbered, 2, "usage and search; findings wait for the minute's end");
}

#[test]
fn where_chunks_are_shown_one_by_one_blanks_go_on_until_the_answer_is_whole() {
    let (mut worker, mut state) = setup();
    let (mut request, _) = search(&mut worker, &mut state);
    let body = found(&["acme", "globex"]);
    let length = body.len().to_string();
    let head = [JSON[0], JSON[1], (&b"content-length"[..], length.as_bytes())];
    assert!(request.response_head(&head, false, || NOW).holds);
    let mut went_on = Vec::new();
    let mut kept = None;
    // Kong never says that a body of known length ends.
    for chunk in body.chunks(7) {
        let (bytes, what) = request.answer_chunk(chunk, false, || NOW).expect("held");
        assert!(!bytes.is_empty(), "Kong hangs on an empty chunk");
        went_on.extend(bytes);
        kept = kept.or(what);
    }
    assert_eq!((kept, owners_left(&went_on)), (Some(Kept::Changed), 1));
}

#[test]
fn what_is_no_json_or_too_long_is_withheld_whatever_follows() {
    let stream: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"text/event-stream")];
    let encoded = [JSON[0], JSON[1], (&b"content-encoding"[..], &b"gzip"[..])];
    for head in [&stream[..], &encoded] {
        let (mut worker, mut state) = setup();
        let (mut request, _) = search(&mut worker, &mut state);
        request.response_head(head, false, || NOW);
        assert!(request.answer_is_due(1, false), "nothing more is waited for");
        let action = request.answer(Some(b"secret"), || NOW).expect("held");
        assert_eq!((action.status, action.kept), (Some(502), Some(Kept::Refused)));
        let body: Value = serde_json::from_slice(&action.body.expect("a body")).expect("JSON");
        assert!(!body.to_string().contains("secret"));
        assert_eq!((&body["code"], &body["status"]), (&json!("answer_unchecked"), &json!(502)));
        assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "support asks for it");
        let rest = request.answer(Some(b"secret"), || NOW).expect("held");
        assert_eq!((rest.body, rest.kept), (Some(Vec::new()), None));
    }
    let (mut worker, mut state) = setup();
    let (mut request, _) = search(&mut worker, &mut state);
    request.response_head(&JSON, false, || NOW);
    let (first, kept) = request.answer_chunk(&vec![b' '; ANSWER_MAX_BYTES + 1], false, || NOW).expect("held");
    assert_eq!(kept, Some(Kept::Refused));
    assert!(String::from_utf8_lossy(&first).contains("answer_unchecked"));
    assert_eq!(request.answer_chunk(b"secret", true, || NOW).expect("held"), (b" ".to_vec(), None));
}

#[test]
fn what_cannot_be_proven_is_refused_although_weir_only_observes() {
    let (mut worker, mut state) = setup();
    let (_, decided, _) = ask(&mut worker, &mut state, "/collections/docs/snapshots", false);
    assert_eq!(decided, Decided::Refused(Refusal::Operation));
    let (_, decided, _) = ask(&mut worker, &mut state, "/collections/docs/points/query?timeout=1&timeout=2", false);
    assert!(matches!(decided, Decided::Refused(Refusal::Unproven(_))), "{decided:?}");
    let (_, decided, _) = ask(&mut worker, &mut state, "/collections/docs/points/query", true);
    assert!(matches!(decided, Decided::Refused(Refusal::Unproven(_))), "a search without a body: {decided:?}");
    let (mut request, ..) = ask(&mut worker, &mut state, "/collections/docs/points/query", false);
    let decided = request.body(&mut worker, &mut Open, Ok(br#"{"query":7}"#), NOW).map(|(decided, _)| decided);
    assert!(matches!(decided, Some(Decided::Refused(Refusal::Unproven(_)))), "{decided:?}");
    let emitter = worker.emitter().expect("an emitter");
    assert_eq!(emitter.found()[5..7], [1, 3], "refused operations, and requests that cannot be proven");
}

#[test]
fn a_gateway_that_sets_no_path_refuses_names_in_it() {
    for (by, is_refused) in [("filter", false), ("collection", true)] {
        let (mut worker, mut state) = setup_by(by);
        state.sets_path = false;
        let (_, decided, _) = ask(&mut worker, &mut state, "/collections/docs/points/query", false);
        assert_eq!(matches!(decided, Decided::Refused(Refusal::Unproven(_))), is_refused, "{by}: {decided:?}");
    }
}

/// What is found of a request whose answer holds these owners' records.
fn findings_of(request: &mut Request, worker: &mut Worker, body: &[u8]) -> [u64; 3] {
    request.response_head(&JSON, false, || NOW);
    let _answer = request.answer(Some(body), || NOW).expect("held");
    request.end(worker, &mut Open, &EndFacts::default(), NOW);
    let found = worker.emitter().expect("an emitter").found();
    let of = |kind: SecurityKind| found[kind as usize];
    [SecurityKind::ForeignRecord, SecurityKind::UnmarkedRecord, SecurityKind::ForeignId].map(of)
}

#[test]
fn a_guessed_id_is_no_fault_of_the_store() {
    let (mut worker, mut state) = setup();
    let (mut request, ..) = ask(&mut worker, &mut state, "/collections/docs/points", false);
    let decided = request.body(&mut worker, &mut Open, Ok(br#"{"ids":[1,2,3]}"#), NOW);
    assert!(matches!(decided, Some((_, BodyAction::Forward(..)))), "{decided:?}");
    let point = |owner: Value| json!({"id": 1, "payload": {"tenant_id": owner}});
    let body = json!({"result": [point(json!("globex")), point(json!("acme")), point(Value::Null)]}).to_string();
    assert_eq!(findings_of(&mut request, &mut worker, body.as_bytes()), [0, 0, 2]);
    let (mut worker, mut state) = setup();
    let (mut request, _) = search(&mut worker, &mut state);
    assert_eq!(findings_of(&mut request, &mut worker, &found(&["globex", "acme"])), [1, 0, 0]);
}

#[test]
fn where_the_status_goes_on_first_no_point_is_asked_for_by_its_id() {
    for (sets_path, is_refused) in [(true, false), (false, true)] {
        let (mut worker, mut state) = setup();
        state.sets_path = sets_path;
        let pairs: [Pair<'_>; 3] =
            [(b":method", b"GET"), (b":path", b"/collections/docs/points/2"), (b"authorization", b"Bearer sk_acme")];
        let arrival = Arrival { pairs: &pairs, ends: true, route: None };
        let (decided, _) = Request::default().head(&mut worker, &mut state, &mut Open, &arrival, NOW);
        assert_eq!(decided == Decided::Refused(Refusal::Operation), is_refused, "{decided:?}");
    }
}
