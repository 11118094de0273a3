use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;
use weir_contract::stage::KNOWS_HEADER;
use weir_contract::vault::RECIPIENT_HEADER;
use weir_key_delivery::{Label, Sender};

use crate::fetch::{Fetch, Fetched, Target};
use crate::head::Pair;
use crate::limit::{Charge, Fault, Limiter, Settlement, Standing, Verdict};
use crate::refusal::Refusal;
use crate::request::routed::tests::Shared;
use crate::request::{Arrival, Decided, EndFacts, HeadAction, Request};
use crate::store::Store;
use crate::vault::KeyFault;
use crate::worker::{FilterState, Worker};

mod routed;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const SECRET: &str = "sk-proj-acme-0123456789abcdef";

/// Lets everything pass, in a gateway whose breakers are remembered.
#[derive(Default)]
struct Remembering(Shared);

impl Limiter for Remembering {
    fn take(&mut self, _tenant: &str, _charges: &[Charge], _now: Timestamp) -> Verdict {
        Verdict::Admitted(Vec::new())
    }

    fn settle(&mut self, _tenant: &str, _settlements: &[Settlement], _now: Timestamp) -> Result<(), Fault> {
        Ok(())
    }

    fn shared(&mut self) -> Option<Box<dyn Store + '_>> {
        Some(Box::new(&mut self.0))
    }
}

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

/// Admits every draw, and counts the charges.
struct Counted(usize);

impl Limiter for Counted {
    fn take(&mut self, _tenant: &str, charges: &[Charge], _now: Timestamp) -> Verdict {
        self.0 += charges.len();
        Verdict::Admitted(charges.iter().map(|_| Standing::default()).collect())
    }

    fn settle(&mut self, _tenant: &str, _settlements: &[Settlement], _now: Timestamp) -> Result<(), Fault> {
        Ok(())
    }
}

fn config(mode: &str, rule: &Value) -> Value {
    json!({
        "version": 1, "gateway": "gw", "mode": mode,
        "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
        "directory": {"cluster": "weir", "token": "t"},
        "plans": {"p": {}},
        "routes": [{"name": "openai", "match": {"path_prefix": "/v1"}, "tenant_key": rule}],
        "events": {"cluster": "weir", "token": "t", "flush": "1s"},
    })
}

fn rule() -> Value {
    json!({"provider": "openai", "clusters": ["openai"]})
}

struct Gateway {
    worker: Worker,
    state: FilterState,
    request: Request,
}

/// What the server hands over.
struct Delivery {
    /// Members of acme's entry.
    members: Value,
    /// The provider and version that the key is sealed for; None where the gateway may not have it.
    sealed_for: Option<(&'static str, u64)>,
}

impl Delivery {
    fn of_openai() -> Self {
        let keys = json!([{"provider": "openai", "version": 1, "sealed_bytes": 64}]);
        Delivery { members: json!({ "provider_keys": keys }), sealed_for: Some(("openai", 1)) }
    }

    fn with(mut self, member: &str, value: Value) -> Self {
        self.members[member] = value;
        self
    }

    /// The page that answers a call.
    fn page(&self, fetch: &Fetch) -> Vec<u8> {
        let header = |name| fetch.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str());
        assert!(header(KNOWS_HEADER).is_some_and(|words| words.contains("vault")), "{fetch:?}");
        let mut sender = Sender::new([9; 32], header(RECIPIENT_HEADER).expect("a key")).expect("a key");
        let mut tenant = json!({"id": "acme", "plan": "p", "keys": [{"id": "k", "sha256": KeyHash::of(b"sk_acme")}]});
        for (name, value) in self.members.as_object().expect("members") {
            tenant[name] = value.clone();
        }
        if let Some((provider, version)) = self.sealed_for {
            let sealed = sender.seal(Label { tenant: "acme", provider, version }, SECRET).expect("sealed");
            tenant["provider_keys"][0]["sealed"] = json!(sealed);
        }
        json!({"version": "v1", "tenants": [tenant], "sealed_by": sender.public()}).to_string().into_bytes()
    }
}

fn gateway(mode: &str, rule: &Value, delivery: &Delivery) -> Gateway {
    let mut gateway = started(&config(mode, rule));
    gateway.take(delivery);
    gateway
}

/// A gateway that the server has not answered yet.
fn started(config: &Value) -> Gateway {
    let mut worker = Worker::new([3; 32]);
    let read = worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW);
    let mut state = read.expect("a configuration");
    (state.sets_path, state.edits_every_copy) = (true, true);
    state.identity.ports.property = |path| (*path == ["xds", "cluster_name"]).then(|| b"openai".to_vec());
    assert!(state.needs_keys() && state.unsupported().is_some_and(|error| error.problem.contains("randomness")));
    state.receive_keys([7; 32]);
    assert_eq!(state.unsupported(), None);
    Gateway { worker, state, request: Request::default() }
}

impl Gateway {
    /// Has the server answer.
    fn take(&mut self, delivery: &Delivery) {
        let fetch = self.state.next_fetch(NOW).expect("a call");
        let body = delivery.page(&fetch);
        let answer = Fetched::Answer { status: 200, etag: None, cache_control: None, body: &body };
        self.state.answered(Target::Directory, &answer, NOW).expect("taken");
        (0..10).find_map(|_| self.state.step(NOW)).expect("a state");
    }

    fn ask(&mut self, more: &[Pair<'_>], now: Timestamp) -> (Decided, HeadAction) {
        self.ask_with(&mut Open, more, now)
    }

    fn ask_with(&mut self, limiter: &mut impl Limiter, more: &[Pair<'_>], now: Timestamp) -> (Decided, HeadAction) {
        let mut pairs: Vec<Pair<'_>> =
            vec![(b":method", b"GET"), (b":path", b"/v1/models"), (b"authorization", b"Bearer sk_acme")];
        pairs.extend_from_slice(more);
        let arrival = Arrival { pairs: &pairs, ends: true, route: None };
        self.request = Request::default();
        self.request.head(&mut self.worker, &mut self.state, limiter, &arrival, now)
    }

    /// What goes up in a header.
    fn sent(&mut self, name: &str) -> Option<String> {
        match self.ask(&[], NOW).1 {
            HeadAction::Forward(edits) => {
                edits.set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    fn fault(&mut self, now: Timestamp) -> Option<KeyFault> {
        match self.ask(&[], now).0 {
            Decided::Refused(Refusal::ProviderKey(fault)) => Some(fault),
            _ => None,
        }
    }

    /// Ends the request, and returns everything that leaves the worker.
    fn told(&mut self) -> String {
        self.told_after(None)
    }

    /// The same, where the state of the stream lists these attempts.
    fn told_after(&mut self, attempts: Option<&[u8]>) -> String {
        let facts = EndFacts { attempts, ..EndFacts::default() };
        self.request.end(&mut self.worker, &mut Open, &facts, NOW);
        let later = NOW.plus_millis(120_000);
        let emitter = self.worker.emitter().expect("an emitter");
        emitter.tick(later);
        let batch = emitter.dispatch(later).expect("a batch");
        String::from_utf8(batch.body).expect("UTF-8")
    }
}

#[test]
fn a_request_goes_up_with_the_tenants_own_key_and_the_event_says_who_paid() {
    let mut gateway = gateway("enforce", &rule(), &Delivery::of_openai());
    assert_eq!(gateway.sent("authorization"), Some(format!("Bearer {SECRET}")));
    let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    gateway.request.response_head(&head, true, || NOW);
    let told = gateway.told();
    assert!(told.contains(r#""paid_by":"tenant""#) && !told.contains("0123456789"), "{told}");
    assert!(!format!("{:?} {:?}", gateway.state, gateway.worker).contains("0123456789"));
}

#[test]
fn each_provider_has_its_header_and_a_route_may_name_another() {
    for (provider, header, value) in [
        ("anthropic", "x-api-key", SECRET.to_owned()),
        ("google", "x-goog-api-key", SECRET.to_owned()),
        ("azure_openai", "api-key", SECRET.to_owned()),
        ("groq", "authorization", format!("Bearer {SECRET}")),
    ] {
        let keys = json!([{"provider": provider, "version": 1, "sealed_bytes": 64}]);
        let delivery = Delivery { members: json!({ "provider_keys": keys }), sealed_for: Some((provider, 1)) };
        let rule = json!({"provider": provider, "clusters": ["openai"]});
        assert_eq!(gateway("enforce", &rule, &delivery).sent(header), Some(value), "{provider}");
    }
    let rule = json!({"provider": "openai", "clusters": ["openai"], "header": "api-key"});
    assert_eq!(gateway("enforce", &rule, &Delivery::of_openai()).sent("api-key").as_deref(), Some(SECRET));
}

#[test]
fn keys_that_the_client_sends_along_end_at_the_gateway() {
    let mut gateway = gateway("enforce", &rule(), &Delivery::of_openai());
    let (_, action) = gateway.ask(&[(b"X-Api-Key", b"other"), (b"api-key", b"other")], NOW);
    let HeadAction::Forward(edits) = action else { panic!("{action:?}") };
    for name in ["authorization", "x-api-key", "api-key"] {
        assert!(edits.remove.iter().any(|removed| **removed == *name), "{name}: {edits:?}");
    }
}

#[test]
fn a_key_that_is_missing_broken_or_over_is_refused_also_where_weir_observes() {
    for mode in ["enforce", "observe"] {
        let fault = |delivery: &Delivery, now| gateway(mode, &rule(), delivery).fault(now);
        let none = Delivery { members: json!({}), sealed_for: None };
        assert_eq!(fault(&none, NOW), Some(KeyFault::Missing));
        let withheld = Delivery { sealed_for: None, ..Delivery::of_openai() };
        assert_eq!(fault(&withheld, NOW), Some(KeyFault::Unavailable), "the token has no scope for it");
        let swapped = Delivery { sealed_for: Some(("groq", 1)), ..Delivery::of_openai() };
        assert_eq!(fault(&swapped, NOW), Some(KeyFault::Unavailable), "sealed as another one's");
        let keys = json!([{"provider": "openai", "version": 1, "sealed_bytes": 64, "expires": NOW.to_string()}]);
        let over = Delivery::of_openai().with("provider_keys", keys);
        assert_eq!(fault(&over, NOW), Some(KeyFault::Expired));
    }
}

#[test]
fn the_operators_key_serves_only_where_the_record_or_the_route_says_so() {
    let withheld = || Delivery { sealed_for: None, ..Delivery::of_openai() };
    let none = || Delivery { members: json!({}), sealed_for: None };
    let optional = json!({"provider": "openai", "clusters": ["openai"], "required": false});
    assert_eq!(gateway("enforce", &rule(), &withheld().with("house_key", json!(true))).sent("authorization"), None);
    assert_eq!(gateway("enforce", &rule(), &none().with("house_key", json!(true))).sent("authorization"), None);
    assert_eq!(gateway("enforce", &optional, &none()).sent("authorization"), None);
    assert_eq!(gateway("enforce", &optional, &withheld()).fault(NOW), Some(KeyFault::Unavailable), "it has one");
}

#[test]
fn the_operators_key_does_not_serve_before_the_server_has_told_who_has_keys() {
    let mut config = config("enforce", &json!({"provider": "openai", "clusters": ["openai"], "required": false}));
    config["directory"]["at_start"] = json!("inline");
    config["tenants"] = json!([{"id": "acme", "plan": "p", "keys": [{"id": "k", "sha256": KeyHash::of(b"sk_acme")}]}]);
    let mut gateway = started(&config);
    assert_eq!(gateway.fault(NOW), Some(KeyFault::Unavailable));
    gateway.take(&Delivery { members: json!({}), sealed_for: None });
    assert_eq!(gateway.sent("authorization"), None, "now it is known that it has none");
}

#[test]
fn a_request_with_the_tenants_own_key_draws_nothing_from_the_operators_pool() {
    let mut config = config("enforce", &rule());
    config["pools"] = json!({"account": {"requests": {"rate": "1000/min"}}});
    config["routes"][0]["pool"] = json!("account");
    let drawn = |delivery: &Delivery| {
        let (mut gateway, mut limiter) = (started(&config), Counted(0));
        gateway.take(delivery);
        let (decided, action) = gateway.ask_with(&mut limiter, &[], NOW);
        assert!(matches!(action, HeadAction::Forward(_)), "{decided:?}");
        limiter.0
    };
    assert_eq!(drawn(&Delivery::of_openai()), 0);
    let none = Delivery { members: json!({"house_key": true}), sealed_for: None };
    assert_eq!(drawn(&none), 1, "the operator's key draws from it");
}

#[test]
fn no_key_goes_to_a_cluster_that_is_not_the_providers() {
    let mut gateway = gateway("enforce", &rule(), &Delivery::of_openai());
    gateway.state.identity.ports.property = |path| (*path == ["xds", "cluster_name"]).then(|| b"anthropic".to_vec());
    assert_eq!(gateway.fault(NOW), Some(KeyFault::Misrouted));
    gateway.state.identity.ports.property = |_| None;
    assert_eq!(gateway.fault(NOW), Some(KeyFault::Misrouted), "the gateway does not say");
}

#[test]
fn a_401_of_the_provider_becomes_a_403_in_the_apis_shape_and_is_told() {
    let mut gateway = gateway("enforce", &rule(), &Delivery::of_openai());
    gateway.sent("authorization");
    let head: [Pair<'_>; 2] = [(b":status", b"401"), (b"content-type", b"application/json")];
    assert!(gateway.request.response_head(&head, false, || NOW).holds);
    let words = format!(r#"{{"error":{{"message":"Incorrect API key provided: {SECRET}"}}}}"#);
    let action = gateway.request.answer(Some(words.as_bytes()), || NOW).expect("an action");
    let body: Value = serde_json::from_slice(&action.body.expect("a body")).expect("JSON");
    assert_eq!((action.status, &body["error"]["code"]), (Some(403), &json!("provider_key_refused")));
    let told = gateway.told();
    assert!(told.contains("refused_provider_key") && told.contains(r#""status":403"#), "{told}");
    assert!(!told.contains("0123456789") && !body.to_string().contains("0123456789"));
}

#[test]
fn a_401_without_a_body_and_one_to_the_operators_key_are_told_apart() {
    let mut own = gateway("enforce", &rule(), &Delivery::of_openai());
    own.sent("authorization");
    let edits = own.request.response_head(&[(b":status", b"401")], true, || NOW);
    assert!(!edits.holds && edits.set.contains(&(":status", "403".to_owned())), "{edits:?}");
    let none = Delivery { members: json!({"house_key": true}), sealed_for: None };
    let mut house = gateway("enforce", &rule(), &none);
    house.sent("authorization");
    let edits = house.request.response_head(&[(b":status", b"401")], false, || NOW);
    assert!(!edits.holds && edits.set.is_empty(), "{edits:?}");
}

#[test]
fn a_new_configuration_does_not_take_a_state_without_keys_for_one_of_tenants_without_keys() {
    let (mut worker, text) = (Worker::new([3; 32]), config("enforce", &rule()).to_string());
    let mut plain = config("enforce", &rule());
    plain["routes"] = json!([]);
    let mut before = worker.configure(plain.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("good");
    before.next_fetch(NOW).expect("a call");
    let body = br#"{"version":"v1","tenants":[{"id":"acme","plan":"p"}]}"#;
    let answer = Fetched::Answer { status: 200, etag: None, cache_control: None, body };
    before.answered(Target::Directory, &answer, NOW);
    (0..10).find_map(|_| before.step(NOW)).expect("a state");
    let mut after = worker.configure(text.as_bytes(), &Environment::Elsewhere, NOW).expect("good");
    after.receive_keys([7; 32]);
    after.inherit(&before);
    assert!(before.tenants(NOW).is_some() && after.tenants(NOW).is_none());
}

#[test]
fn keys_that_are_lacking_are_asked_for_again_after_a_while() {
    let withheld = Delivery { sealed_for: None, ..Delivery::of_openai() };
    let mut gateway = gateway("enforce", &rule(), &withheld);
    let mut now = NOW.plus_millis(60_000);
    let known = |fetch: &Fetch| fetch.headers.iter().any(|(name, _)| *name == "if-none-match");
    let fetch = gateway.state.next_fetch(now).expect("a call");
    assert!(known(&fetch), "{fetch:?}");
    let same = Fetched::Answer { status: 304, etag: None, cache_control: None, body: b"" };
    gateway.state.answered(Target::Directory, &same, now);
    now = now.plus_millis(900_000);
    let fetch = gateway.state.next_fetch(now).expect("a call");
    assert!(!known(&fetch) && !fetch.path.contains("since"), "{fetch:?}");
    let body = Delivery::of_openai().page(&fetch);
    let answer = Fetched::Answer { status: 200, etag: None, cache_control: None, body: &body };
    gateway.state.answered(Target::Directory, &answer, now);
    (0..10).find_map(|_| gateway.state.step(now)).expect("a state");
    assert_eq!(gateway.fault(now), None);
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_field() {
    let problem = |change: &dyn Fn(&mut Value)| {
        let mut config = config("enforce", &rule());
        change(&mut config);
        let read = Worker::new([3; 32]).configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW);
        let error = read.expect_err("refused");
        format!("{}: {}", error.path, error.problem)
    };
    let of_rule = |member: &'static str, value: Value| {
        problem(&move |config| config["routes"][0]["tenant_key"][member] = value.clone())
    };
    assert!(of_rule("provider", json!("bedrock")).contains("SigV4"));
    assert!(of_rule("provider", json!("opnai")).contains("none of: openai"));
    assert!(of_rule("clusters", json!([])).contains("routes[0].tenant_key.clusters"));
    assert!(of_rule("header", json!("cookie")).contains("cookie"));
    assert!(problem(&|config| config["routes"][0]["provider"] = json!("anthropic")).contains("another one"));
    assert!(problem(&|config| drop(config.as_object_mut().expect("a map").remove("directory"))).contains("directory"));
    let guarded = |config: &mut Value| config["routes"][0]["guard"] = json!({"store": "qdrant", "by": "filter"});
    assert!(problem(&guarded).contains("guard"));
    let twice = |config: &mut Value| {
        let other = json!({"name": "b", "match": {"path_prefix": "/b"}, "tenant_key": {"provider": "groq", "clusters": ["openai"]}});
        config["routes"].as_array_mut().expect("a list").push(other);
    };
    assert!(problem(&twice).contains("another provider"));
    let inline = |config: &mut Value| {
        config["directory"]["at_start"] = json!("inline");
        config["tenants"] = json!([{"id": "acme", "plan": "p", "house_key": true}]);
    };
    assert!(problem(&inline).contains("no place for them"));
}

/// A gateway like Kong, with a seed, once the server has answered.
fn kong() -> Gateway {
    let mut config = config("enforce", &rule());
    config["directory"]["receive_keys_seed"] = json!("0123456789abcdef0123456789abcdef");
    let mut worker = Worker::new([3; 32]);
    let read = worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW);
    let mut state = read.expect("a configuration");
    state.identity.ports.property = |path| match path {
        ["kong", "service_name"] => Some(b"openai".to_vec()),
        ["ngx", "upstream_host"] => Some(Vec::new()),
        _ => None,
    };
    let seed = state.keys_seed().expect("a seed").to_vec();
    state.receive_keys(crate::vault::from_seed(&seed, &[b"start 1"]));
    assert_eq!(state.unsupported(), None);
    let mut gateway = Gateway { worker, state, request: Request::default() };
    gateway.take(&Delivery::of_openai());
    gateway
}

#[test]
fn on_kong_the_key_goes_up_to_the_service_of_its_provider() {
    let mut gateway = kong();
    assert_eq!(gateway.sent("authorization"), Some(format!("Bearer {SECRET}")));
    let more: [Pair<'_>; 1] = [(b"x-api-key", b"sk-of-the-client")];
    let HeadAction::Forward(edits) = gateway.ask(&more, NOW).1 else { panic!("refused") };
    assert!(edits.remove.iter().any(|name| **name == *"x-api-key"));
}

#[test]
fn on_kong_a_key_goes_to_no_other_service_and_to_no_other_host() {
    type Property = fn(&[&str]) -> Option<Vec<u8>>;
    let elsewhere: [Property; 4] = [
        |path| (*path == ["ngx", "upstream_host"]).then(Vec::new),
        |path| Some(if *path == ["kong", "service_name"] { b"groq".to_vec() } else { Vec::new() }),
        |path| (*path == ["kong", "service_name"]).then(|| b"openai".to_vec()),
        |path| Some(if *path == ["kong", "service_name"] { b"openai".to_vec() } else { b"evil.example".to_vec() }),
    ];
    for property in elsewhere {
        let mut gateway = kong();
        gateway.state.identity.ports.property = property;
        assert_eq!(gateway.fault(NOW), Some(KeyFault::Misrouted));
    }
}

#[test]
fn a_seed_that_is_short_or_that_nothing_uses_is_refused() {
    let problem = |seed: &str, routes: bool| {
        let mut config = config("enforce", &rule());
        config["directory"]["receive_keys_seed"] = json!(seed);
        if !routes {
            config["routes"] = json!([]);
        }
        let read = Worker::new([3; 32]).configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW);
        let error = read.expect_err("refused");
        assert_eq!(error.path, "directory.receive_keys_seed");
        error.problem
    };
    assert!(problem("short", true).contains("at least 32 bytes"));
    assert!(problem("0123456789abcdef0123456789abcdef", false).contains("nothing would use it"));
}
