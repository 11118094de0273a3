use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::directory::KeyHash;
use weir_contract::stage::Stage;
use weir_contract::user::UserKey;
use weir_contract::{Event, Payload, TenantId, Timestamp};

use crate::head::Pair;
use crate::limit::{Charge, Fault, Limiter, Settlement, Standing, Verdict};
use crate::refusal::{LocalReply, Refusal};
use crate::request::{Arrival, BodyAction, Decided, EndFacts, HeadAction, Request};
use crate::worker::{FilterState, Worker};

/// 2027-01-15T08:00:00Z
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const CHAT: &str = "/v1/chat/completions";

/// Admits every draw, and remembers the places of the limits that were drawn from.
#[derive(Default)]
struct Drawn(Vec<usize>);

impl Limiter for Drawn {
    fn take(&mut self, _tenant: &str, charges: &[Charge], _now: Timestamp) -> Verdict {
        self.0.extend(charges.iter().map(|charge| charge.limit));
        Verdict::Admitted(charges.iter().map(|_| Standing::default()).collect())
    }

    fn settle(&mut self, _tenant: &str, _settlements: &[Settlement], _now: Timestamp) -> Result<(), Fault> {
        Ok(())
    }
}

/// A stage that ends 90 seconds from now.
fn stage(budget: &str, stage: &str, scope: Value) -> Value {
    let ends = NOW.plus_millis(90_000).to_string();
    json!({"budget": budget, "stage": stage, "scope": scope, "used_permille": 930, "ends": ends})
}

struct Gateway {
    worker: Worker,
    state: FilterState,
    limiter: Drawn,
    request: Request,
}

impl Gateway {
    /// A tenant on a plan that degrades to `mini`, contains searches and refuses what is over.
    fn new(mode: &str, stages: Value) -> Self {
        Gateway::of(&Gateway::config(mode, &stages))
    }

    fn config(mode: &str, stages: &Value) -> Value {
        let rules = json!({
            "degrade": {"models": {"allow": ["mini", "pinned-*"], "otherwise": {"replace": "mini"}}, "output_tokens_max": 64},
            "contain": {"requests": {"rate": "1/s"}, "refuse": {"status": 429, "features": ["search"]}},
            "exceeded": {"refuse": {"status": 402}},
        });
        json!({
            "version": 1, "mode": mode, "gateway": "gw",
            "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
            "tenants": [{"id": "acme", "plan": "p", "stages": stages,
                         "keys": [{"id": "k1", "sha256": KeyHash::of(b"sk_acme")}]}],
            "plans": {"p": {"requests": {"rate": "10/s"}, "stages": rules}},
            "routes": [{"name": "search", "match": {"path_prefix": "/v1/rag"}, "class": "rag", "feature": "search"}],
            "limit_headers": {"budget": true},
            "events": {"cluster": "weir", "token": "t"},
        })
    }

    fn of(config: &Value) -> Self {
        let mut worker = Worker::new([3; 32]);
        let state = worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("good");
        Gateway { worker, state, limiter: Drawn::default(), request: Request::default() }
    }

    fn head(&mut self, path: &str, ends: bool, now: Timestamp) -> (Decided, HeadAction) {
        let pairs: Vec<Pair<'_>> = [
            (":method", "POST"),
            (":path", path),
            (":authority", "api"),
            ("authorization", "Bearer sk_acme"),
            ("content-type", "application/json"),
        ]
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .to_vec();
        let arrival = Arrival { pairs: &pairs, ends, route: None };
        self.request.head(&mut self.worker, &mut self.state, &mut self.limiter, &arrival, now)
    }

    /// A chat for a model: what was decided, and the body that goes on.
    fn chat(&mut self, model: &str) -> (Decided, Result<String, LocalReply>) {
        let (decided, action) = self.head(CHAT, false, NOW);
        if let HeadAction::Answer(reply) = action {
            return (decided, Err(reply));
        }
        let body = json!({"model": model, "messages": []}).to_string();
        let (worker, limiter) = (&mut self.worker, &mut self.limiter);
        let (decided, action) = self.request.body(worker, limiter, Ok(body.as_bytes()), NOW).expect("awaited");
        match action {
            BodyAction::Forward(_, changed) => (decided, Ok(changed.map_or(body, |body| text(&body)))),
            BodyAction::Answer(reply) => (decided, Err(reply)),
        }
    }

    /// The request's event, once the model has answered.
    fn event(&mut self) -> String {
        let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
        self.request.response_head(&head, false, || NOW);
        let answer = r#"{"model":"mini-1","usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
        self.request.response_body(answer.as_bytes(), true, || NOW);
        let facts = EndFacts::default();
        self.request.end(&mut self.worker, &mut self.limiter, &facts, NOW).expect("an event");
        let batch = self.worker.emitter().and_then(|emitter| emitter.dispatch(NOW.plus_millis(2_000)));
        let events: Vec<Value> = serde_json::from_slice(&batch.expect("a batch").body).expect("JSON");
        events[0].to_string()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn header<'a>(reply: &'a LocalReply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
}

#[test]
fn with_room_a_request_goes_on_as_it_came() {
    let (decided, body) = Gateway::new("enforce", json!([])).chat("large");
    assert_eq!(decided, Decided::Admitted);
    assert_eq!(body.expect("sent"), r#"{"messages":[],"model":"large"}"#);
}

#[test]
fn from_degrade_on_a_cheaper_model_serves_and_the_event_says_why() {
    let mut gateway = Gateway::new("enforce", json!([stage("monthly", "degrade", json!("tenant"))]));
    let (decided, body) = gateway.chat("large");
    assert_eq!(decided, Decided::Admitted);
    let body = body.expect("sent");
    assert!(body.contains(r#""model":"mini""#) && body.contains("64"), "{body}");
    let event = gateway.event();
    let event = Event::parse(event.as_bytes()).expect("an event");
    let Payload::Usage(data) = event.payload else { panic!("no usage") };
    assert_eq!((data.request_model.as_deref(), data.response_model.as_deref()), (Some("large"), Some("mini-1")));
    assert_eq!(data.budget.as_deref(), Some("monthly"));
    assert_eq!(data.budget_stage.map(Stage::as_str), Some("degrade"));
}

#[test]
fn a_pinned_model_is_not_replaced() {
    let mut gateway = Gateway::new("enforce", json!([stage("monthly", "degrade", json!("tenant"))]));
    assert!(gateway.chat("pinned-large").1.expect("sent").contains("pinned-large"));
}

#[test]
fn what_is_over_is_refused_before_its_body_with_the_time_that_the_period_lasts() {
    let mut gateway = Gateway::new("enforce", json!([stage("monthly", "exceeded", json!("tenant"))]));
    let (decided, reply) = gateway.chat("large");
    assert!(matches!(decided, Decided::Refused(Refusal::Budget(_))), "{decided:?}");
    let reply = reply.expect_err("refused");
    assert_eq!((reply.status, header(&reply, "retry-after")), (402, Some("90")));
    assert_eq!(header(&reply, "x-weir-budget"), Some("monthly;stage=exceeded;used=0.93;resets=@1800000090"));
    assert!(reply.body.contains("insufficient_quota"), "{}", reply.body);
    assert!(gateway.limiter.0.is_empty(), "a refused request draws nothing");
}

#[test]
fn a_stage_ends_with_its_period() {
    let mut gateway = Gateway::new("enforce", json!([stage("monthly", "exceeded", json!("tenant"))]));
    let (decided, _) = gateway.head(CHAT, true, NOW.plus_millis(90_000));
    assert_eq!(decided, Decided::Admitted);
}

#[test]
fn the_most_severe_stage_counts_and_the_longest_period_is_told() {
    let mut longer = stage("weekly", "exceeded", json!("tenant"));
    longer["ends"] = json!(NOW.plus_millis(600_000).to_string());
    let stages =
        json!([stage("daily", "exceeded", json!("tenant")), longer, stage("monthly", "warn", json!("tenant"))]);
    let reply = Gateway::new("enforce", stages).chat("large").1.expect_err("refused");
    assert_eq!(header(&reply, "retry-after"), Some("600"));
}

#[test]
fn a_contained_feature_is_refused_and_others_pass() {
    let stages = || json!([stage("monthly", "contain", json!("tenant"))]);
    let (decided, action) = Gateway::new("enforce", stages()).head("/v1/rag/query", true, NOW);
    assert!(matches!(action, HeadAction::Answer(LocalReply { status: 429, .. })), "{decided:?}");
    let mut gateway = Gateway::new("enforce", stages());
    assert!(gateway.chat("mini").1.is_ok());
    assert_eq!(gateway.limiter.0, [0, 1], "the plan's limit, and that of the stage");
}

#[test]
fn a_budget_of_a_feature_leaves_the_others_alone() {
    let stages = json!([stage("search", "exceeded", json!({"feature": "search"}))]);
    let mut gateway = Gateway::new("enforce", stages);
    assert!(gateway.chat("large").1.expect("sent").contains("large"));
    assert!(!gateway.event().contains("budget"));
    assert!(matches!(gateway.head("/v1/rag/query", true, NOW).0, Decided::Refused(Refusal::Budget(_))));
}

#[test]
fn a_group_of_keys_shares_a_budget_and_other_keys_pass() {
    let team = |keys: [&str; 2]| json!([stage("team", "exceeded", json!({"keys": keys}))]);
    assert_eq!(Gateway::new("enforce", team(["k0", "k1"])).chat("large").1.expect_err("refused").status, 402);
    assert!(Gateway::new("enforce", team(["k2", "k3"])).chat("large").1.is_ok());
}

#[test]
fn a_budget_of_an_end_user_is_of_the_name_that_events_have() {
    const USER_KEY: &str = "a key of more than thirty-two bytes";
    let key = UserKey::new(USER_KEY.as_bytes()).expect("long enough");
    let name = key.name(&TenantId::new("acme").expect("an id"), "ann");
    let mut config = Gateway::config("enforce", &json!([]));
    config["tenants"][0]["further_stages"] = json!([stage("person", "exceeded", json!({"user": name}))]);
    config["events"]["user_key"] = json!(USER_KEY);
    let trusted = json!({"header": "x-who", "user_header": "x-user", "networks": ["10.0.0.0/8"]});
    config["identity"]["sources"] = json!([{"header": trusted}]);
    for (user, is_refused) in [("ann", true), ("bob", false)] {
        let mut gateway = Gateway::of(&config);
        let inside = |path: &[&str]| (path == ["source", "address"]).then(|| b"10.1.2.3:4000".to_vec());
        gateway.state.identity.ports.property = inside;
        let pairs =
            [(":method", "GET"), (":path", "/v1/models"), (":authority", "api"), ("x-who", "acme"), ("x-user", user)];
        let pairs: Vec<Pair<'_>> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let arrival = Arrival { pairs: &pairs, ends: true, route: None };
        let (worker, state, limiter) = (&mut gateway.worker, &mut gateway.state, &mut gateway.limiter);
        let (decided, _) = gateway.request.head(worker, state, limiter, &arrival, NOW);
        assert_eq!(matches!(decided, Decided::Refused(Refusal::Budget(_))), is_refused, "{user}: {decided:?}");
    }
}

#[test]
fn a_budget_of_a_model_counts_once_the_body_has_named_it() {
    let stages = json!([stage("large", "contain", json!({"model": "large*"}))]);
    let mut gateway = Gateway::new("enforce", stages);
    assert!(gateway.chat("large-2").1.expect("sent").contains("mini"));
    assert_eq!(gateway.limiter.0, [0, 1], "the stage's limit is drawn from although the first draw was done");
}

#[test]
fn observing_records_what_would_have_been_refused() {
    let mut gateway = Gateway::new("observe", json!([stage("monthly", "exceeded", json!("tenant"))]));
    let (decided, body) = gateway.chat("large");
    assert!(matches!(decided, Decided::Observed(Refusal::Budget(_))), "{decided:?}");
    assert!(body.expect("sent").contains("large"));
    let event = gateway.event();
    assert!(event.contains(r#""budget":"monthly","budget_stage":"exceeded""#), "{event}");
    assert!(event.contains(r#""decision":"observed""#), "{event}");
}
