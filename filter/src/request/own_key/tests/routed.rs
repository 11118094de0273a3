//! Tenants' own keys at providers of a catalogue.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::request::{BodyAction, Edits};
use crate::routing::told;

/// Two models: that of `mine` is cheaper and takes the tenant's own key.
fn catalogue(required: bool) -> Value {
    let model = |name: &str, provider: &str, price: u64| {
        json!({"name": name, "provider": provider, "context_max_tokens": 10_000, "output_max_tokens": 1_000,
               "price": {"input": price, "output": price}})
    };
    let mut config = config("enforce", &Value::Null);
    config["routes"] = json!([]);
    config["providers"] = json!([
        {"name": "mine", "dialect": "openai", "tenant_key": {"provider": "openai", "required": required}},
        {"name": "house", "dialect": "openai"},
    ]);
    config["models"] = json!([model("small", "mine", 1), model("large", "house", 2)]);
    config["routing"] = json!({"rules": [{"model": "auto", "candidates": ["small", "large"]}]});
    config
}

fn nobody() -> Delivery {
    Delivery { members: json!({}), sealed_for: None }
}

fn started_with(required: bool, delivery: &Delivery) -> Gateway {
    let mut gateway = started(&catalogue(required));
    gateway.take(delivery);
    gateway
}

impl Gateway {
    fn chat(&mut self, model: &str) -> Result<Edits, Refusal> {
        self.chat_with(&mut Open, model)
    }

    fn chat_with(&mut self, limiter: &mut impl Limiter, model: &str) -> Result<Edits, Refusal> {
        let pairs: [Pair<'_>; 4] = [
            (b":method", b"POST"),
            (b":path", b"/v1/chat/completions"),
            (b"authorization", b"Bearer sk_acme"),
            (b"content-type", b"application/json"),
        ];
        let arrival = Arrival { pairs: &pairs, ends: false, route: None };
        self.request = Request::default();
        self.request.head(&mut self.worker, &mut self.state, limiter, &arrival, NOW);
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        match self.request.body(&mut self.worker, limiter, Ok(body.as_bytes()), NOW).expect("awaited") {
            (_, BodyAction::Forward(edits, _)) => Ok(edits),
            (Decided::Refused(refusal), _) => Err(refusal),
            (decided, _) => panic!("{decided:?}"),
        }
    }

    /// The key that the upstream role finds for a provider.
    fn key_for(&self, edits: &Edits, provider: &str) -> Option<String> {
        let choice = told::read_choice(edits.choice.as_deref()?)?;
        let keys = self.worker.handed.get(choice.terms.keys?).expect("the request is under way");
        keys.iter().find(|key| *key.provider == *provider).map(|key| key.value.as_str().to_owned())
    }
}

#[test]
fn the_upstream_role_finds_the_tenants_key_for_its_provider_and_nowhere_else() {
    let mut gateway = started_with(true, &Delivery::of_openai());
    let edits = gateway.chat("auto").expect("sent");
    assert_eq!(gateway.key_for(&edits, "mine"), Some(format!("Bearer {SECRET}")));
    assert_eq!(gateway.key_for(&edits, "house"), None);
    assert!(!format!("{edits:?} {:?}", gateway.worker).contains("0123456789"), "the gateway is told a number");
    assert!(!edits.set.iter().any(|(name, _)| *name == "authorization"));
}

#[test]
fn a_model_drops_out_where_the_tenant_has_no_key_for_its_provider() {
    let edits = started_with(true, &nobody()).chat("auto").expect("sent");
    assert_eq!(edits.choice.as_deref(), Some("openai large"));
    assert_eq!(started_with(true, &nobody()).chat("small"), Err(Refusal::ProviderKey(KeyFault::Missing)));
    let optional = started_with(false, &nobody()).chat("auto").expect("sent");
    assert_eq!(optional.choice.as_deref(), Some("openai small large"), "the operator's key serves");
    let withheld = Delivery { sealed_for: None, ..Delivery::of_openai() };
    assert_eq!(started_with(false, &withheld).chat("small"), Err(Refusal::ProviderKey(KeyFault::Unavailable)));
}

#[test]
fn the_event_says_who_paid_by_who_has_served() {
    for (served, by_tenant) in [(&b"mine;small;1"[..], true), (b"house;large;2", false)] {
        let mut gateway = started_with(true, &Delivery::of_openai());
        gateway.chat("auto").expect("sent");
        let head: [Pair<'_>; 3] =
            [(b":status", b"200"), (b"content-type", b"application/json"), (b"x-weir-served", served)];
        gateway.request.response_head(&head, true, || NOW);
        let told = gateway.told();
        assert_eq!(told.contains(r#""paid_by":"tenant""#), by_tenant, "{told}");
        assert!(!told.contains("0123456789"), "{told}");
    }
}

#[test]
fn a_key_that_the_provider_refuses_is_told_in_the_place_of_its_answer() {
    let mut gateway = started_with(true, &Delivery::of_openai());
    gateway.chat("auto").expect("sent");
    let head: [Pair<'_>; 2] = [(b":status", b"401"), (b"x-weir-served", b"mine;small;1")];
    assert!(gateway.request.response_head(&head, false, || NOW).holds);
    let answer = gateway.request.answer(Some(b"wrong key sk-proj-acme"), || NOW).expect("an answer");
    assert_eq!(answer.status, Some(403));
    let body = String::from_utf8(answer.body.expect("a body")).expect("UTF-8");
    assert!(body.contains("provider_key_refused") && !body.contains("sk-proj"), "{body}");
}

/// Has requests of a tenant with its own key at `mine` end with these attempts, and others without a key; says which models the next
/// request of each would try.
struct Accounts {
    own: Gateway,
    other: Gateway,
    limiter: Remembering,
}

impl Accounts {
    fn new() -> Self {
        let (own, other) = (started_with(false, &Delivery::of_openai()), started_with(false, &nobody()));
        Accounts { own, other, limiter: Remembering::default() }
    }

    fn chain(gateway: &mut Gateway, limiter: &mut Remembering) -> String {
        let edits = gateway.chat_with(limiter, "auto").expect("sent");
        let choice = edits.choice.expect("a choice");
        choice.split_once(' ').expect("models").1.to_owned()
    }

    fn end(gateway: &mut Gateway, limiter: &mut Remembering, attempts: &str) {
        let facts = EndFacts { attempts: Some(attempts.as_bytes()), ..EndFacts::default() };
        let head: [Pair<'_>; 1] = [(b":status", b"200")];
        gateway.request.response_head(&head, true, || NOW);
        gateway.request.end(&mut gateway.worker, limiter, &facts, NOW).expect("an event");
    }

    /// A request of the tenant with its own key.
    fn by_own(&mut self, attempts: &str) -> String {
        let chain = Self::chain(&mut self.own, &mut self.limiter);
        Self::end(&mut self.own, &mut self.limiter, attempts);
        chain
    }

    /// A request with the operator's key.
    fn by_house(&mut self, attempts: &str) -> String {
        let chain = Self::chain(&mut self.other, &mut self.limiter);
        Self::end(&mut self.other, &mut self.limiter, attempts);
        chain
    }
}

#[test]
fn what_befalls_a_tenants_own_account_keeps_nobody_else_away() {
    let mut accounts = Accounts::new();
    for status in [429, 401, 402, 403] {
        for _ in 0..10 {
            assert_eq!(accounts.by_own(&format!("mine;small;{status};")), "small large", "{status}");
        }
        assert_eq!(accounts.by_house("mine;small;200;"), "small large", "{status}");
    }
    accounts.by_own("mine;small;429;600 house;large;200;");
    assert_eq!(accounts.by_own("house;large;200;"), "large", "its own account is left alone");
    assert_eq!(accounts.by_house("mine;small;429;600"), "small large");
    assert_eq!(accounts.by_house("house;large;200;"), "large", "the operator's account is left alone");
}

#[test]
fn an_own_account_that_serves_leaves_the_operators_alone_and_is_not_kept_away_with_it() {
    let mut accounts = Accounts::new();
    accounts.by_house("mine;small;429;600");
    for _ in 0..3 {
        assert_eq!(accounts.by_own("mine;small;200;"), "small large");
        assert_eq!(accounts.by_house("house;large;200;"), "large");
    }
}

#[test]
fn a_provider_that_fails_is_left_alone_whosever_key_the_attempts_had() {
    let mut accounts = Accounts::new();
    for _ in 0..5 {
        accounts.by_own("mine;small;503;");
    }
    assert_eq!([accounts.by_own("house;large;200;"), accounts.by_house("house;large;200;")], ["large", "large"]);
}

#[test]
fn an_event_says_that_the_budget_of_retries_refused_another_attempt() {
    for (attempts, refused) in [("mine;small;503; -", true), ("mine;small;503;", false)] {
        let mut gateway = started_with(true, &Delivery::of_openai());
        gateway.chat("auto").expect("sent");
        let told = gateway.told_after(Some(attempts.as_bytes()));
        assert_eq!(told.contains(r#""attempts":1,"retry_refused":true"#), refused, "{told}");
        assert_eq!(told.contains(r#""retries_refused":1"#), refused, "{told}");
    }
}

#[test]
fn a_client_that_leaves_a_request_with_the_tenants_key_leaves_it_to_the_tenant() {
    for (attempts, by_tenant) in [("mine;small;;", true), ("mine;small;503; house;large;;", false), ("", false)] {
        let mut gateway = started_with(true, &Delivery::of_openai());
        gateway.chat("auto").expect("sent");
        let told = gateway.told_after(Some(attempts.as_bytes()));
        assert_eq!(told.contains(r#""paid_by":"tenant""#), by_tenant, "{attempts}: {told}");
    }
}
