//! Tenants' own keys at providers of a catalogue.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::request::{BodyAction, Edits, Stage};
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
        let pairs: [Pair<'_>; 4] = [
            (b":method", b"POST"),
            (b":path", b"/v1/chat/completions"),
            (b"authorization", b"Bearer sk_acme"),
            (b"content-type", b"application/json"),
        ];
        let arrival = Arrival { pairs: &pairs, ends: false, route: None };
        self.request = Request::default();
        self.request.head(&mut self.worker, &mut self.state, &mut Open, &arrival, NOW);
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        match self.request.body(&mut self.worker, &mut Open, Ok(body.as_bytes()), NOW).expect("awaited") {
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

#[test]
fn the_limit_of_a_tenants_own_account_opens_no_breaker_for_others() {
    let mut gateway = started_with(true, &Delivery::of_openai());
    gateway.chat("auto").expect("sent");
    let attempts = crate::routing::told::attempts("mine;small;429;600 house;large;429;600").collect::<Vec<_>>();
    let Stage::Admitted(admitted) = &gateway.request.0 else { panic!("it is over") };
    let paid = admitted.routed.as_ref().and_then(|routed| routed.paid.as_ref()).expect("keys");
    assert_eq!(attempts.iter().map(|attempt| paid.excuses(attempt)).collect::<Vec<_>>(), [true, false]);
    let failed = crate::routing::told::attempts("mine;small;500;").next().expect("an attempt");
    assert!(!paid.excuses(&failed), "that is the provider's own fault");
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
