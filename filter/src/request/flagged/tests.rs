use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;
use weir_contract::stage::KNOWS_HEADER;

use crate::fetch::{Fetched, Target};
use crate::head::Pair;
use crate::limit::{Charge, Fault, Limiter, Settlement, Verdict};
use crate::request::{Arrival, BodyAction, EndFacts, HeadAction, Request};
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

struct Gateway {
    worker: Worker,
    state: FilterState,
    request: Request,
}

fn tenants() -> Value {
    let key = |id: &str, key: &str, environment: Option<&str>| json!({"id": id, "sha256": KeyHash::of(key.as_bytes()), "environment": environment});
    json!([{"id": "acme", "plan": "p", "keys": [key("k1", "sk_acme", None), key("k2", "sk_test", Some("test"))]},
           {"id": "globex", "plan": "q", "keys": [key("k1", "sk_globex", None)]}])
}

fn gateway(more: &Value) -> Gateway {
    let mut config = json!({
        "version": 1, "gateway": "gw",
        "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
        "plans": {"p": {}, "q": {}},
        "events": {"cluster": "weir", "token": "t", "flush": "1s"},
    });
    for (name, value) in more.as_object().expect("members") {
        config[name] = value.clone();
    }
    if config.get("directory").is_none() {
        config["tenants"] = tenants();
    }
    let mut worker = Worker::new([3; 32]);
    let state = worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("a configuration");
    Gateway { worker, state, request: Request::default() }
}

impl Gateway {
    fn ask(&mut self, key: &str, more: &[Pair<'_>], ends: bool) -> HeadAction {
        let credential = format!("Bearer {key}");
        let mut pairs: Vec<Pair<'_>> = vec![
            (b":method", b"POST"),
            (b":path", b"/v1/chat/completions"),
            (b"content-type", b"application/json"),
            (b"authorization", credential.as_bytes()),
        ];
        pairs.extend_from_slice(more);
        (self.state.sets_path, self.state.edits_every_copy) = (true, true);
        self.request = Request::default();
        let arrival = Arrival { pairs: &pairs, ends, route: None };
        self.request.head(&mut self.worker, &mut self.state, &mut Open, &arrival, NOW).1
    }

    /// What the upstream is told.
    fn told(&mut self, key: &str) -> Option<String> {
        match self.ask(key, &[], true) {
            HeadAction::Forward(edits) | HeadAction::Hold(edits) => {
                edits.set.iter().find(|(name, _)| *name == "x-weir-flags").map(|(_, value)| value.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The model that a chat goes on with.
    fn model(&mut self, key: &str) -> String {
        assert!(matches!(self.ask(key, &[], false), HeadAction::Hold(_)));
        let body: &[u8] = br#"{"model":"gpt-4o","messages":[]}"#;
        let (_, action) = self.request.body(&mut self.worker, &mut Open, Ok(body), NOW).expect("awaited");
        let BodyAction::Forward(_, changed) = action else { panic!("{action:?}") };
        let body: Value = serde_json::from_slice(changed.as_deref().unwrap_or(body)).expect("JSON");
        body["model"].as_str().unwrap_or_default().to_owned()
    }

    /// The event of the request.
    fn event(&mut self) -> Value {
        let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
        self.request.response_head(&head, true, || NOW);
        self.request.end(&mut self.worker, &mut Open, &EndFacts::default(), NOW).expect("an event");
        let batch = self.worker.emitter().and_then(|emitter| emitter.dispatch(NOW.plus_millis(2_000)));
        let events: Vec<Value> = serde_json::from_slice(&batch.expect("a batch").body).expect("JSON");
        events[0]["data"].clone()
    }

    /// Has the server answer the call of a minute with these flags.
    fn serve(&mut self, minute: u64, flags: &Value) {
        let (later, version) = (NOW.plus_millis(60_000 * minute), format!("v{minute}"));
        let fetch = self.state.next_fetch(later).expect("a call");
        let knows = fetch.headers.iter().find(|(name, _)| *name == KNOWS_HEADER).map(|(_, value)| value.clone());
        assert!(knows.is_some_and(|words| words.split(',').any(|word| word == "flags")));
        let mut page = json!({"version": version, "tenants": tenants(), "flags": flags});
        if let Some(since) = fetch.path.split("since=").nth(1) {
            page["since"] = json!(since);
            page["tenants"] = json!([]);
        }
        let body = page.to_string();
        let answer = Fetched::Answer { status: 200, etag: None, cache_control: None, body: body.as_bytes() };
        self.state.answered(Target::Directory, &answer, later).expect("taken");
        (0..10).find_map(|_| self.state.step(later)).expect("a state");
    }
}

fn flags() -> Value {
    json!({"use-claude": {"type": "bool", "default": false, "rules": [{"tenants": ["acme"], "value": true}]},
           "tone": {"type": "string", "default": "long", "rules": [{"environments": ["test"], "value": "short"}]}})
}

#[test]
fn the_upstream_is_told_the_flags_of_the_tenant_and_the_event_has_them() {
    let mut gateway = gateway(&json!({"flags": flags(), "flags_header": true}));
    assert_eq!(gateway.told("sk_acme").as_deref(), Some(r#"tone="long", use-claude"#));
    assert_eq!(gateway.event()["flags"], json!(r#"tone="long", use-claude"#));
    assert_eq!(gateway.told("sk_test").as_deref(), Some(r#"tone="short", use-claude"#));
    assert_eq!(gateway.told("sk_globex").as_deref(), Some(r#"tone="long", use-claude=?0"#));
}

#[test]
fn a_clients_own_copy_never_goes_up() {
    for more in [json!({}), json!({"flags": flags(), "flags_header": true})] {
        let forged: [Pair<'_>; 1] = [(b"X-Weir-Flags", b"use-claude")];
        let HeadAction::Forward(edits) = gateway(&more).ask("sk_globex", &forged, true) else { panic!("refused") };
        assert!(edits.remove.iter().any(|name| **name == *"x-weir-flags"), "{more}");
    }
}

#[test]
fn a_route_that_tells_no_flags_decides_none() {
    let route = json!([{"name": "r", "match": {"path_prefix": "/v1"}, "flags": false}]);
    let mut gateway = gateway(&json!({"flags": flags(), "flags_header": true, "routes": route}));
    assert_eq!(gateway.told("sk_acme"), None);
    assert_eq!(gateway.event().get("flags"), None);
}

#[test]
fn a_plan_has_other_rules_while_its_flag_holds() {
    let models = |model: &str| json!({"allow": [model], "otherwise": {"replace": model}});
    let plan = json!({"models": models("gpt-mini"), "flags": [{"flag": "use-claude", "models": models("claude")}]});
    let mut gateway = gateway(&json!({"flags": flags(), "plans": {"p": plan, "q": plan}}));
    assert_eq!(gateway.model("sk_acme"), "claude");
    assert_eq!(gateway.event()["plan"], json!("p"), "the plan keeps its name");
    assert_eq!(gateway.model("sk_globex"), "gpt-mini");
}

#[test]
fn a_change_at_the_server_is_in_force_with_the_next_difference() {
    let directory = json!({"cluster": "weir", "token": "t"});
    let mut gateway = gateway(&json!({"directory": directory, "flags_header": true}));
    let beta = |default: bool| json!({"beta": {"type": "bool", "default": default}});
    gateway.serve(1, &beta(false));
    assert_eq!(gateway.told("sk_acme").as_deref(), Some("beta=?0"));
    gateway.serve(2, &beta(true));
    assert_eq!(gateway.told("sk_acme").as_deref(), Some("beta"));
    gateway.serve(3, &json!({}));
    assert_eq!(gateway.told("sk_acme"), None);
}

#[test]
fn a_configuration_that_asks_for_flags_anew_fetches_them_whatever_the_version() {
    let directory = json!({"cluster": "weir", "token": "t"});
    let told = json!({"directory": directory, "flags_header": true});
    let mut before = gateway(&json!({"directory": directory}));
    let page = json!({"version": "v1", "tenants": tenants()}).to_string();
    before.state.next_fetch(NOW).expect("a call");
    let answer = Fetched::Answer { status: 200, etag: None, cache_control: None, body: page.as_bytes() };
    before.state.answered(Target::Directory, &answer, NOW).expect("taken");
    (0..10).find_map(|_| before.state.step(NOW)).expect("a state");
    let mut after = gateway(&told);
    after.state.inherit(&before.state);
    assert_eq!(after.told("sk_acme"), None, "it goes on with what is known");
    let fetch = after.state.next_fetch(NOW).expect("a call");
    assert!(
        fetch.path == "/v1/directory" && fetch.headers.iter().all(|(name, _)| *name != "if-none-match"),
        "{fetch:?}"
    );
}
