use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;

use crate::head::Pair;
use crate::limit::{Charge, Fault, Limiter, Settlement, Verdict};
use crate::request::{Arrival, BodyAction, Decided, HeadAction, Request};
use crate::worker::{FilterState, Worker};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

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

fn gateway(mode: &str) -> (Worker, FilterState) {
    gateway_with(mode, None)
}

/// A gateway whose tenant has a key without scopes, one for chats, and one for a route. `named`: a route that the gateway's own routes name.
fn gateway_with(mode: &str, named: Option<Value>) -> (Worker, FilterState) {
    let key = |id: &str, scopes: Value| json!({"id": id, "sha256": KeyHash::of(format!("sk_{id}").as_bytes()), "scopes": scopes});
    let keys = [key("all", Value::Null), key("chat", json!(["chat"])), key("docs", json!(["route:docs", "other"]))];
    let mut config = json!({
        "version": 1, "gateway": "gw", "mode": mode,
        "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
        "plans": {"p": {}},
        "classification": [{"match": {"model": "rag-*"}, "class": "rag"}],
        "tenants": [{"id": "acme", "plan": "p", "keys": keys}],
        "routes": [{"name": "docs", "match": {"path_prefix": "/docs/"}, "class": "rag"},
                   {"name": "more", "match": {"path_prefix": "/docs-more/"}, "class": "rag"}],
    });
    config["routes"].as_array_mut().expect("routes").extend(named);
    let mut worker = Worker::new([3; 32]);
    let state = worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("a configuration");
    (worker, state)
}

/// The code of the refusal of a request whose body is sent; None if it goes up.
fn refused(mode: &str, key: &str, path: &str, headers: &[Pair<'_>], body: &[u8]) -> Option<&'static str> {
    refused_by(gateway(mode), None, key, (path, headers, body))
}

/// The same by a gateway whose own route has a name.
fn refused_by(
    (mut worker, mut state): (Worker, FilterState),
    route: Option<&[u8]>,
    key: &str,
    (path, headers, body): (&str, &[Pair<'_>], &[u8]),
) -> Option<&'static str> {
    (state.sets_path, state.edits_every_copy) = (true, true);
    let credential = format!("Bearer sk_{key}");
    let mut pairs: Vec<Pair<'_>> = vec![
        (b":method", b"POST"),
        (b":path", path.as_bytes()),
        (b"content-type", b"application/json"),
        (b"authorization", credential.as_bytes()),
    ];
    pairs.extend_from_slice(headers);
    let (mut request, mut limiter) = (Request::default(), Open);
    let arrival = Arrival { pairs: &pairs, ends: body.is_empty(), route };
    let (decided, action) = request.head(&mut worker, &mut state, &mut limiter, &arrival, NOW);
    let decided = match action {
        HeadAction::Hold(_) => {
            let (decided, action) = request.body(&mut worker, &mut limiter, Ok(body), NOW).expect("awaited");
            assert_eq!(matches!(decided, Decided::Refused(_)), matches!(action, BodyAction::Answer(_)));
            decided
        }
        HeadAction::Forward(_) => decided,
        HeadAction::Answer(reply) => {
            assert!(matches!(reply.status, 400 | 403), "{}", reply.status);
            decided
        }
    };
    match decided {
        Decided::Refused(refusal) => Some(refusal.code()),
        _ => None,
    }
}

const CHAT: &[u8] = br#"{"model":"gpt-4o","messages":[]}"#;
const EMBEDDING: &[u8] = br#"{"model":"text-embedding-3-small","input":"x"}"#;
const DENIED: Option<&str> = Some("insufficient_scope");

#[test]
fn a_key_serves_the_classes_and_routes_of_its_scopes_only() {
    for (key, path, body, expected) in [
        ("all", "/v1/embeddings", EMBEDDING, None),
        ("chat", "/v1/chat/completions", CHAT, None),
        ("chat", "/v1/embeddings", EMBEDDING, DENIED),
        ("chat", "/anything", b"", DENIED),
        ("docs", "/docs/search", b"{}", None),
        ("docs", "/docs-more/search", b"{}", DENIED),
        ("docs", "/anything", b"", None),
        ("docs", "/v1/chat/completions", CHAT, DENIED),
    ] {
        assert_eq!(refused("enforce", key, path, &[], body), expected, "{key} {path}");
    }
}

#[test]
fn observing_lets_no_key_exceed_its_scopes() {
    assert_eq!(refused("observe", "chat", "/v1/embeddings", &[], EMBEDDING), DENIED);
    assert_eq!(refused("observe", "chat", "/v1/chat/completions", &[], CHAT), None);
}

#[test]
fn what_a_request_says_of_itself_widens_no_scope() {
    let class: Pair<'_> = (b"x-request-class", b"chat");
    assert_eq!(refused("enforce", "chat", "/v1/embeddings", &[class], EMBEDDING), DENIED);
    let by_rule: &[u8] = br#"{"model":"rag-1","messages":[]}"#;
    assert_eq!(
        refused("enforce", "chat", "/v1/chat/completions", &[], by_rule),
        DENIED,
        "its model makes it another class, too"
    );
    // A body that looks like a chat makes a path without a class no chat: it may be taken for either.
    assert_eq!(refused("enforce", "chat", "/somewhere", &[], CHAT), DENIED);
    assert_eq!(refused("enforce", "docs", "/somewhere", &[], CHAT), DENIED);
    assert_eq!(refused("enforce", "docs", "/somewhere", &[], b"{}"), None);
}

#[test]
fn what_weir_does_not_see_of_a_body_its_key_may_not_do() {
    let (gzip, form): (Pair<'_>, Pair<'_>) =
        ((b"content-encoding", b"gzip"), (b"content-type", b"multipart/form-data; boundary=x"));
    let large = vec![b' '; 2 << 20];
    for mode in ["enforce", "observe"] {
        for (key, path, headers, body) in [
            ("docs", "/somewhere", &[gzip][..], &b"{}"[..]),
            ("docs", "/somewhere", &[form], b"--x--"),
            ("docs", "/somewhere", &[], b"no JSON"),
            ("docs", "/somewhere", &[], &large),
            ("chat", "/v1/chat/completions", &[], br#"{"model":"gpt-4o","model":"rag-1","messages":[]}"#),
        ] {
            assert_eq!(refused(mode, key, path, headers, body), DENIED, "{mode} {key} {path} {headers:?}");
        }
        assert_eq!(refused(mode, "docs", "/docs/x", &[gzip], b"{}"), None, "the key names the route");
        assert_eq!(refused(mode, "all", "/somewhere", &[gzip], b"{}"), None);
    }
}

#[test]
fn a_route_that_a_header_of_weirs_may_have_chosen_opens_nothing() {
    let named = || json!({"name": "docs", "class": "chat"});
    let asked = |key, route: Option<&'static [u8]>, headers: &[Pair<'_>]| {
        refused_by(gateway_with("observe", Some(named())), route, key, ("/v1/embeddings", headers, EMBEDDING))
    };
    let (model, own): (Pair<'_>, Pair<'_>) = ((b"x-model", b"rag-1"), (b"x-own", b"1"));
    assert_eq!(asked("docs", Some(b"docs"), &[own]), None, "the gateway's own route is the one that it names");
    for key in ["docs", "chat"] {
        assert_eq!(asked(key, Some(b"docs"), &[model]), Some("forbidden_header"), "{key}");
        // Without the header the gateway may choose a route that is not the key's.
        assert_eq!(asked(key, None, &[model]), Some("forbidden_header"), "{key}");
    }
    assert_eq!(asked("all", Some(b"docs"), &[model]), None, "a key that is not confined");
    let by_path = |headers: &[Pair<'_>]| refused("enforce", "docs", "/docs/search", headers, b"{}");
    assert_eq!(by_path(&[model]), None, "a path is the same whatever headers say");
}
