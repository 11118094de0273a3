mod kong;
mod pools;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;
use weir_contract::directory::KeyHash;
use weir_contract::{Payload, Timestamp};

use crate::fetch::{Fetched, Target};
use crate::head::Pair;
use crate::limit::{Charge, Fault, Limiter, Settlement, Standing, Unit, Verdict};
use crate::refusal::Refusal;
use crate::request::{Arrival, BodyAction, Decided, Edits, EndFacts, HeadAction, Request};
use crate::routing::breaker::{self, Account};
use crate::routing::told::Attempted;
use crate::store::{Read, Store, Write};
use crate::worker::{FilterState, Worker};

/// 2027-01-15T08:00:00Z
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const CHAT: &str = "/v1/chat/completions";

/// The gateway's shared data.
#[derive(Default)]
pub(in crate::request) struct Shared(HashMap<String, (Vec<u8>, u32)>);

impl Store for &mut Shared {
    fn read(&mut self, key: &str) -> Read {
        self.0.get(key).map_or(Read::Missing, |(value, generation)| Read::Found(value.clone(), *generation))
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        let generation = self.0.get(key).map_or(cas, |(_, generation)| *generation);
        if generation != cas {
            return Write::Mismatch;
        }
        self.0.insert(key.to_owned(), (value.to_vec(), cas + 1));
        Write::Written
    }
}

/// Admits what is drawn, or limits it: the tenant's own, or pools.
#[derive(Default)]
struct Limits {
    limits: bool,
    /// Pools that are saturated, each with the wait for it.
    saturated: Vec<(&'static str, u64)>,
    /// Tokens that were reserved, each with the record.
    tokens: Vec<(String, u64)>,
    /// What was drawn of budgets of cost, and what was used of them in the end, each with its record.
    reserved: Vec<(String, u64)>,
    used: Vec<(String, u64)>,
    /// Charges that are drawn and not given back, by record.
    drawn: BTreeMap<String, i64>,
    shared: Shared,
}

impl Limiter for Limits {
    fn take(&mut self, tenant: &str, charges: &[Charge], _now: Timestamp) -> Verdict {
        if let Some((_, wait_ms)) = self.saturated.iter().find(|(pool, _)| tenant.contains(&format!("*{pool}*"))) {
            return Verdict::Limited(Standing { wait_ms: *wait_ms, ..Standing::default() });
        }
        if self.limits && !tenant.contains('*') {
            return Verdict::Limited(Standing::default());
        }
        let of_tokens = charges.iter().filter(|charge| charge.unit == Unit::Tokens);
        self.tokens.extend(of_tokens.map(|charge| (tenant.to_owned(), charge.cost)));
        let of_cost = charges.iter().filter(|charge| charge.unit == Unit::Cost);
        self.reserved.extend(of_cost.map(|charge| (tenant.to_owned(), charge.cost)));
        *self.drawn.entry(tenant.to_owned()).or_default() += charges.len() as i64;
        Verdict::Admitted(charges.iter().map(|_| Standing::default()).collect())
    }

    fn settle(&mut self, tenant: &str, settlements: &[Settlement], _now: Timestamp) -> Result<(), Fault> {
        let of_cost = settlements.iter().filter(|settled| settled.reserved.unit == Unit::Cost);
        self.used.extend(of_cost.map(|settled| (tenant.to_owned(), settled.used)));
        *self.drawn.entry(tenant.to_owned()).or_default() -= settlements.len() as i64;
        Ok(())
    }

    fn shared(&mut self) -> Option<Box<dyn Store + '_>> {
        Some(Box::new(&mut self.shared))
    }
}

struct Gateway {
    worker: Worker,
    state: FilterState,
    limiter: Limits,
    request: Request,
    /// Values of `x-tier`.
    caller: Vec<String>,
}

fn model(name: &str, provider: &str, price: u64) -> Value {
    json!({"name": name, "provider": provider, "context_max_tokens": 10_000, "output_max_tokens": 1_000,
           "price": {"input": price, "output": price}})
}

impl Gateway {
    /// Two models: `large` of `one` is cheaper, `mini` of `two` is in the EU.
    fn new(mode: &str, plan: &str, stages: &Value) -> Self {
        Self::with(mode, plan, stages, &json!({}))
    }

    /// The same with further fields.
    fn with(mode: &str, plan: &str, stages: &Value, more: &Value) -> Self {
        let degrade = json!({"degrade": {"models": {"allow": ["mini"], "otherwise": {"replace": "mini"}}}});
        let mut config = json!({
            "version": 1, "mode": mode, "gateway": "gw",
            "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
            "tenants": [{"id": "acme", "plan": plan, "stages": stages, "keys": [{"id": "k1", "sha256": KeyHash::of(b"sk_acme")}]}],
            "plans": {"p": {"tokens": {"rate": "100000/s"}, "stages": degrade}, "eu": {"region": "eu"}},
            "providers": [{"name": "one", "dialect": "anthropic"}, {"name": "two", "dialect": "openai", "region": "eu"}],
            "models": [model("large", "one", 1), model("mini", "two", 2)],
            "routing": {"rules": [{"model": "auto", "candidates": ["large", "mini"]}]},
            "events": {"cluster": "weir", "token": "t"},
        });
        for (field, value) in more.as_object().expect("fields") {
            config[field] = value.clone();
        }
        let mut worker = Worker::new([3; 32]);
        let mut state = worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("good");
        state.edits_every_copy = true;
        Gateway { worker, state, limiter: Limits::default(), request: Request::default(), caller: Vec::new() }
    }

    fn head(&mut self, path: &str) -> (Decided, HeadAction) {
        let pairs: Vec<Pair<'_>> = [
            (":method", "POST"),
            (":path", path),
            (":authority", "api"),
            ("authorization", "Bearer sk_acme"),
            ("content-type", "application/json"),
        ]
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .into_iter()
        .chain(self.caller.iter().map(|value| (&b"x-tier"[..], value.as_bytes())))
        .collect();
        self.request = Request::default();
        let arrival = Arrival { pairs: &pairs, ends: false, route: None };
        self.request.head(&mut self.worker, &mut self.state, &mut self.limiter, &arrival, NOW)
    }

    /// A chat for a model: what goes on, or why nothing does.
    fn chat(&mut self, model: &str) -> Result<Edits, Refusal> {
        if let (Decided::Refused(refusal), _) = self.head(CHAT) {
            return Err(refusal);
        }
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        match self.request.body(&mut self.worker, &mut self.limiter, Ok(body.as_bytes()), NOW).expect("awaited") {
            (Decided::Refused(refusal), _) => Err(refusal),
            (_, BodyAction::Forward(edits, _)) => Ok(edits),
            (decided, BodyAction::Answer(_)) => panic!("{decided:?}"),
        }
    }

    /// How the breakers stand: which providers are open, and which are due.
    fn breakers(&mut self) -> (u32, u32) {
        let catalogue = self.state.policy.catalogue().expect("a catalogue");
        let standing = breaker::standing(&mut &mut self.limiter.shared, &catalogue, NOW);
        (standing.open, standing.due)
    }

    /// Lets the provider `one` fail until its breaker opens, so long ago that it is due.
    fn fail_one(&mut self) {
        let failed =
            Attempted { provider: "one", model: "large", status: Some(500), retry_after_secs: None, failure: None };
        for _ in 0..5 {
            let ago = Timestamp::from_secs(NOW.as_secs() - 10);
            let told = std::iter::once((failed.clone(), Account::House));
            breaker::learn(&mut &mut self.limiter.shared, told, true, ago);
        }
        assert_eq!(self.breakers(), (0, 1));
    }
}

/// The chain, and the choice in the state of the stream.
fn lead(edits: &Edits) -> (Option<&str>, Option<&str>) {
    let chain = edits.set.iter().find(|(name, _)| *name == "x-weir-chain").map(|(_, value)| &**value);
    (chain, edits.choice.as_deref())
}

fn degrade(scope: &Value) -> Value {
    let ends = NOW.plus_millis(90_000).to_string();
    json!([{"budget": "b", "stage": "degrade", "scope": scope, "used_permille": 930, "ends": ends}])
}

#[test]
fn the_gateway_learns_the_chain_and_the_upstream_role_the_models() {
    let edits = Gateway::new("enforce", "p", &json!([])).chat("auto").expect("sent");
    assert_eq!(lead(&edits), (Some("one.two"), Some("openai large mini")));
    assert!(edits.set.contains(&("x-model", "large".into())));
    let edits = Gateway::new("enforce", "p", &json!([])).chat("unheard-of").expect("sent");
    assert_eq!(lead(&edits), (None, None));
}

#[test]
fn a_budget_of_the_chosen_model_brings_its_plan_before_the_choice_stands() {
    let edits = Gateway::new("enforce", "p", &degrade(&json!({"model": "large"}))).chat("auto").expect("sent");
    assert_eq!(lead(&edits), (Some("two"), Some("openai mini")));
}

#[test]
fn a_model_that_the_plan_replaces_is_routed_as_the_other() {
    let edits = Gateway::new("enforce", "p", &degrade(&json!("tenant"))).chat("large").expect("sent");
    assert_eq!(lead(&edits), (Some("two"), Some("openai mini")));
}

#[test]
fn a_plan_with_a_region_goes_nowhere_else_also_where_weir_observes() {
    for mode in ["enforce", "observe"] {
        let mut gateway = Gateway::new(mode, "eu", &json!([]));
        assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some("two"));
        for elsewhere in ["large", "unheard-of"] {
            assert_eq!(gateway.chat(elsewhere), Err(Refusal::NoModelFits), "{mode} {elsewhere}");
        }
        let (decided, _) = gateway.head("/v1/messages/count_tokens");
        assert_eq!(decided, Decided::Refused(Refusal::NoModelFits), "its body is a prompt, too");
        assert!(matches!(gateway.head("/orders").1, HeadAction::Forward(_)), "{mode}: no provider's");
    }
}

#[test]
fn a_probe_is_claimed_by_one_request_and_given_back_by_one_that_is_refused() {
    let mut gateway = Gateway::new("enforce", "p", &json!([]));
    gateway.fail_one();
    gateway.limiter.limits = true;
    assert!(matches!(gateway.chat("auto"), Err(Refusal::RateLimited(_))));
    assert_eq!(gateway.breakers(), (0, 1), "what is refused probes nobody");
    gateway.limiter.limits = false;
    assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some("one.two"));
    assert_eq!(gateway.breakers(), (1, 0), "the probe is claimed");
    assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some("two"));
}

#[test]
fn a_probe_that_never_reached_its_provider_is_given_back_at_the_end_and_a_failed_one_is_not() {
    for (attempts, expected) in [("", (0, 1)), ("one;large;503; two;mini;200;", (1, 0)), ("one;large;200;", (0, 0))] {
        let mut gateway = Gateway::new("enforce", "p", &json!([]));
        gateway.fail_one();
        gateway.chat("auto").expect("sent");
        let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"x-weir-served", b"two;mini;2")];
        gateway.request.response_head(&head, true, || NOW);
        let facts = EndFacts { attempts: Some(attempts.as_bytes()), ..EndFacts::default() };
        gateway.request.end(&mut gateway.worker, &mut gateway.limiter, &facts, NOW).expect("an event");
        assert_eq!(gateway.breakers(), expected, "{attempts}");
        let emitter = gateway.worker.emitter().expect("a configuration");
        emitter.flush(NOW);
        let batch = emitter.dispatch(NOW.plus_millis(2_000));
        let events: Vec<Value> = serde_json::from_slice(&batch.expect("a batch").body).expect("JSON");
        let text = events[0].to_string();
        let event = weir_contract::Event::parse(text.as_bytes()).expect("an event");
        let Payload::Usage(data) = event.payload else { panic!("no usage") };
        let routed = data.routed.expect("a choice");
        assert_eq!(
            (data.request_model.as_deref(), &*routed.chosen, routed.served.as_deref()),
            (Some("auto"), "large", Some("mini"))
        );
        let sums = events.iter().find(|event| event["type"] == "weir.attempts.v1").map(|event| event["data"].clone());
        assert_eq!(sums, expected_sums(attempts));
    }
}

/// What is told of the attempts of that test, in which the breaker of `one` was due.
fn expected_sums(attempts: &str) -> Option<Value> {
    let two = json!({"provider": "two", "model": "mini", "made": 1});
    let one = |failed: Value| {
        let mut sums = json!({"provider": "one", "model": "large", "made": 1});
        sums.as_object_mut().expect("sums").extend(failed.as_object().expect("fields").clone());
        sums
    };
    match attempts {
        "" => None,
        "one;large;200;" => {
            Some(json!({"models": [one(json!({}))], "breakers": [{"provider": "one", "at": NOW.to_string()}]}))
        }
        _ => {
            let last = json!({"at": NOW.to_string(), "reason": "overloaded", "status": 503});
            let failed = json!({"failed": {"overloaded": 1}, "last_failure": last});
            let open =
                json!({"provider": "one", "at": NOW.to_string(), "open_until": NOW.plus_millis(10_000).to_string()});
            Some(json!({"models": [one(failed), two], "breakers": [open]}))
        }
    }
}

const EVENTS: [Pair<'static>; 2] = [(b":status", b"200"), (b"content-type", b"text/event-stream")];

/// The sums of attempts that leave with the end of a request.
fn sums_at_the_end(gateway: &mut Gateway, facts: &EndFacts<'_>) -> Value {
    gateway.request.end(&mut gateway.worker, &mut gateway.limiter, facts, NOW).expect("an event");
    let emitter = gateway.worker.emitter().expect("a configuration");
    emitter.flush(NOW);
    let batch = emitter.dispatch(NOW.plus_millis(2_000)).expect("a batch");
    let events: Vec<Value> = serde_json::from_slice(&batch.body).expect("JSON");
    events.iter().find(|event| event["type"] == "weir.attempts.v1").expect("sums")["data"].clone()
}

#[test]
fn a_stream_in_the_clients_own_dialect_that_ends_too_early_ends_with_an_error() {
    let complete = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for (body, is_cut) in [("data: {\"choices\":[{\"delta\":{\"content\":\"Hel", true), (complete, false)] {
        let mut gateway = Gateway::new("enforce", "p", &json!([]));
        gateway.chat("auto").expect("sent");
        let edits = gateway.request.response_head(&EVENTS, false, || NOW);
        assert!(edits.shortens, "its length is open");
        let changed = gateway.request.response_body(body.as_bytes(), true, || NOW);
        let text = String::from_utf8(changed.unwrap_or_default()).expect("a text");
        assert_eq!(text.ends_with("\n\n") && text.contains("\n\ndata: {\"error\":{\"message\""), is_cut, "{text}");
        let sums = sums_at_the_end(&mut gateway, &EndFacts { attempts: Some(b"two;mini;200;"), ..EndFacts::default() });
        assert_eq!(sums["models"][0]["failed"] == json!({"cut_off": 1}), is_cut, "{sums}");
    }
}

#[test]
fn an_error_that_no_client_reads_becomes_one_of_its_dialect() {
    let local: [Pair<'_>; 2] = [(b":status", b"503"), (b"content-type", b"text/plain")];
    let own: [Pair<'_>; 2] = [(b":status", b"503"), (b"content-type", b"application/json")];
    for (head, is_replaced) in [(local, true), (own, false)] {
        let mut gateway = Gateway::new("enforce", "p", &json!([]));
        gateway.chat("auto").expect("sent");
        let edits = gateway.request.response_head(&head, false, || NOW);
        let changed = gateway.request.response_body(b"upstream connect error", false, || NOW);
        let rest = gateway.request.response_body(b" or disconnect", true, || NOW);
        assert_eq!(changed.is_some(), is_replaced);
        if let Some(body) = changed {
            assert!(edits.set.contains(&("content-length", body.len().to_string())));
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!((&body["error"]["code"], rest.as_deref()), (&json!("overloaded"), Some(&b""[..])));
        }
        let details = Some(&b"upstream_reset_before_response_started{connection_timeout}"[..]);
        let facts = EndFacts { attempts: Some(b"one;large;;"), details, ..EndFacts::default() };
        assert_eq!(sums_at_the_end(&mut gateway, &facts)["models"][0]["failed"], json!({"unreachable": 1}));
    }
}

#[test]
fn each_attempt_has_a_time_until_its_first_byte() {
    let routing = json!({"rules": [{"model": "auto", "candidates": ["large", "mini"]}], "first_token_ms_max": 700, "attempt_ms_max": 9_000});
    let mut gateway = Gateway::with("enforce", "p", &json!([]), &json!({"routing": routing}));
    for (streams, ms) in [(true, "700"), (false, "9000")] {
        gateway.head(CHAT);
        let body =
            json!({"model": "auto", "stream": streams, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let found = gateway.request.body(&mut gateway.worker, &mut gateway.limiter, Ok(body.as_bytes()), NOW);
        let Some((_, BodyAction::Forward(edits, _))) = found else { panic!("{found:?}") };
        assert!(edits.set.contains(&("x-envoy-upstream-rq-per-try-timeout-ms", ms.into())), "{edits:?}");
        assert_eq!(edits.choice, Some(format!("openai;t{ms} large mini")), "the upstream role is told, too");
    }
}

#[test]
fn a_less_good_model_than_the_chosen_one_is_told() {
    let graded = |name: &str, provider: &str, price: u64, quality: u64| {
        let mut model = model(name, provider, price);
        model["quality"] = json!({"chat": quality});
        model
    };
    let models = json!({"models": [graded("large", "one", 1, 80), graded("mini", "two", 2, 60)]});
    for (served, is_told) in [(&b"one;large;1"[..], false), (b"two;mini;2", true)] {
        let mut gateway = Gateway::with("enforce", "p", &json!([]), &models);
        gateway.chat("auto").expect("sent");
        let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"x-weir-served", served)];
        let edits = gateway.request.response_head(&head, true, || NOW);
        assert_eq!(edits.set.contains(&("x-weir-downgraded", "?1".to_owned())), is_told);
        gateway.request.end(&mut gateway.worker, &mut gateway.limiter, &EndFacts::default(), NOW).expect("an event");
        let batch =
            gateway.worker.emitter().and_then(|emitter| emitter.dispatch(NOW.plus_millis(2_000))).expect("a batch");
        let events: Vec<Value> = serde_json::from_slice(&batch.body).expect("JSON");
        assert_eq!(events[0]["data"]["routed"]["downgraded"] == true, is_told);
    }
}

#[test]
fn a_tenant_with_a_region_of_its_own_goes_nowhere_else() {
    let keys = json!([{"id": "k1", "sha256": KeyHash::of(b"sk_acme")}]);
    for (placement, chain) in
        [(json!({"region": "eu"}), Some("two")), (json!({"region": "us"}), None), (json!({"endpoint": "x"}), None)]
    {
        let tenants = json!({"tenants": [{"id": "acme", "plan": "p", "keys": keys, "placement": placement}]});
        let mut gateway = Gateway::with("enforce", "p", &json!([]), &tenants);
        let found = gateway.chat("auto");
        assert_eq!(found.as_ref().ok().and_then(|edits| lead(edits).0), chain, "{placement}: {found:?}");
        assert_eq!(gateway.chat("unheard-of"), Err(Refusal::NoModelFits), "{placement}");
        assert!(!matches!(gateway.head("/orders").0, Decided::Refused(_)), "no provider's");
    }
}

#[test]
fn headers_choose_a_model_for_callers_that_are_believed_alone() {
    let rules = json!([{"model": "auto", "match": {"headers": {"x-tier": "gold"}}, "candidates": ["mini"]},
                       {"model": "auto", "candidates": ["large"]}]);
    let sources = json!([{"api_key": {"prefix": "sk_"}}, {"header": {"header": "x-who", "networks": ["10.0.0.0/8"]}}]);
    let config = json!({"routing": {"rules": rules}, "identity": {"sources": sources}});
    let inside = |path: &[&str]| (path == ["source", "address"]).then(|| b"10.1.2.3:4000".to_vec());
    let outside = |path: &[&str]| (path == ["source", "address"]).then(|| b"192.0.2.1:4000".to_vec());
    for (property, values, chain) in [
        (inside as fn(&[&str]) -> Option<Vec<u8>>, &["gold"][..], "two"),
        (inside, &["silver"], "one"),
        (inside, &["gold", "gold"], "one"),
        (outside, &["gold"], "one"),
    ] {
        let mut gateway = Gateway::with("enforce", "p", &json!([]), &config);
        gateway.state.identity.ports.property = property;
        gateway.caller = values.iter().map(|value| (*value).to_owned()).collect();
        assert_eq!(lead(&gateway.chat("auto").expect("sent")).0, Some(chain), "{values:?}");
    }
}

#[test]
fn the_longest_time_of_a_chain_bounds_each_of_its_attempts_and_a_providers_own_counts_before_that_of_all() {
    let with = |of_one: Value, of_all: Value| {
        let one = json!({"name": "one", "dialect": "anthropic", "first_token_ms_max": of_one});
        let routing = json!({"rules": [{"model": "auto", "candidates": ["large", "mini"]},
                                       {"model": "first", "candidates": ["large"]}], "first_token_ms_max": of_all});
        json!({"providers": [one, {"name": "two", "dialect": "openai"}], "routing": routing, "plans": {"p": {}}})
    };
    let body = |model: &str| {
        json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Hi"}]}).to_string()
    };
    for (of_one, of_all, model, expected) in [
        (json!(300), json!(700), "first", Some("300")),
        (json!(300), json!(700), "auto", Some("700")),
        (json!(900), json!(700), "auto", Some("900")),
        (json!(300), Value::Null, "auto", None),
        (json!(300), Value::Null, "first", Some("300")),
    ] {
        let mut gateway = Gateway::with("enforce", "p", &json!([]), &with(of_one.clone(), of_all.clone()));
        gateway.head(CHAT);
        let body = body(model);
        let found = gateway.request.body(&mut gateway.worker, &mut gateway.limiter, Ok(body.as_bytes()), NOW);
        let Some((_, BodyAction::Forward(edits, _))) = found else { panic!("{found:?}") };
        let time = edits.set.iter().find(|(name, _)| *name == "x-envoy-upstream-rq-per-try-timeout-ms");
        assert_eq!(time.map(|(_, ms)| &**ms), expected, "{of_one} {of_all} {model}");
    }
}
