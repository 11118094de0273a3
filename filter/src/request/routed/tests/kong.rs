//! On Kong the filter writes the model itself.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn on_kong_the_filter_writes_the_model_into_the_body_itself_and_other_dialects_find_none() {
    let routing = json!({"rules": [{"model": "auto", "candidates": ["mini"]}]});
    let mut mini = model("mini", "two", 2);
    mini["upstream"] = json!("mini-2026");
    let config = json!({"providers": [{"name": "two", "dialect": "openai"}], "models": [mini], "routing": routing, "plans": {"p": {}}});
    let mut gateway = Gateway::with("enforce", "p", &json!([]), &config);
    gateway.state.edits_every_copy = false;
    assert_eq!(gateway.state.unsupported(), None);
    gateway.head(CHAT);
    let body = br#"{"model":"auto","messages":[{"role":"user","content":"Hi"}]}"#;
    let found = gateway.request.body(&mut gateway.worker, &mut gateway.limiter, Ok(body), NOW);
    let Some((_, BodyAction::Forward(edits, Some(body)))) = found else { panic!("{found:?}") };
    assert_eq!(lead(&edits), (None, None), "nobody there reads either");
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["model"], "mini-2026");
    let head: [Pair<'_>; 2] = [(b":status", b"200"), (b"x-weir-served", b"one;large;1")];
    gateway.request.response_head(&head, true, || NOW);
    assert!(!gateway.request.needs_attempts());
    let sums = sums_at_the_end(&mut gateway, &EndFacts::default());
    assert_eq!((&sums["models"][0]["provider"], &sums["models"][0]["made"]), (&json!("two"), &json!(1)), "{sums}");
    gateway.head("/v1/messages");
    let again = br#"{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    let found = gateway.request.body(&mut gateway.worker, &mut gateway.limiter, Ok(again), NOW);
    assert!(matches!(found, Some((Decided::Refused(Refusal::NoModelFits), _))), "{found:?}");
}

#[test]
fn on_kong_a_request_that_weir_only_observes_goes_to_the_chosen_model_as_well() {
    let routing = json!({"rules": [{"model": "auto", "candidates": ["mini"]}]});
    let limits = json!({"p": {"tokens": {"rate": "1/s"}}});
    let config = json!({"providers": [{"name": "two", "dialect": "openai"}], "models": [model("mini", "two", 2)], "routing": routing, "plans": limits});
    let mut gateway = Gateway::with("observe", "p", &json!([]), &config);
    gateway.state.edits_every_copy = false;
    gateway.limiter.limits = true;
    gateway.head(CHAT);
    let body = br#"{"model":"auto","messages":[{"role":"user","content":"Hi"}]}"#;
    let found = gateway.request.body(&mut gateway.worker, &mut gateway.limiter, Ok(body), NOW);
    let Some((Decided::Observed(_), BodyAction::Forward(_, Some(body)))) = found else { panic!("{found:?}") };
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["model"], "mini");
}

#[test]
fn what_kong_cannot_keep_is_refused_there_by_its_place() {
    let two = json!([{"name": "one", "dialect": "openai"}, {"name": "two", "dialect": "openai"}]);
    let with = |field: &str, value: Value| {
        let mut provider = json!({"name": "one", "dialect": "openai"});
        provider[field] = value;
        json!([provider])
    };
    for (providers, path) in [
        (two, "providers"),
        (with("path", json!("/x")), "providers[0].path"),
        (with("authority", json!("x")), "providers[0].authority"),
        (with("attempt_ms_max", json!(9)), "providers[0].attempt_ms_max"),
        (with("dialect", json!("bedrock_anthropic")), "providers[0].dialect"),
    ] {
        let models = json!([model("large", "one", 1)]);
        let routing = json!({"rules": [{"model": "auto", "candidates": ["large"]}]});
        let config = json!({"providers": providers, "models": models, "routing": routing, "plans": {"p": {}}});
        let mut gateway = Gateway::with("enforce", "p", &json!([]), &config);
        assert_eq!(gateway.state.unsupported(), None, "Envoy keeps it");
        gateway.state.edits_every_copy = false;
        assert_eq!(gateway.state.unsupported().map(|error| error.path), Some(path.to_owned()));
    }
}
