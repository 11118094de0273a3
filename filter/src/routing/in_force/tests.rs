use std::rc::Rc;

use serde_json::{Value, json};
use weir_config::Environment;
use weir_contract::Class;
use weir_contract::catalogue::ModelFigures;
use weir_contract::flags::Flags;
use weir_llm_translate::Dialect;

use crate::hash::Keyed;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::routing::tests::{BODY, asked, chosen};
use crate::routing::told::Terms;
use crate::routing::{Asked, Chosen, Misfit, Why, check_delivered, unread_of_delivered};
use crate::upstream::{Attempt, Given, Upstream};

fn gateway(routing: &Value) -> Result<Policy, String> {
    let file = json!({
        "version": 1, "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]}, "plans": {"p": {}},
        "providers": [{"name": "one", "dialect": "anthropic"}, {"name": "two", "dialect": "openai", "region": "eu"}],
        "directory": {"cluster": "weir", "token": "a-token-of-the-directory"},
        "routing": routing,
    });
    Policy::read(file.to_string().as_bytes(), &Environment::Elsewhere, Keyed::new([0; 16]))
        .map_err(|error| error.to_string())
}

fn following() -> Policy {
    gateway(&json!({"from": "directory", "attempts_max": 2})).expect("a policy")
}

fn delivered() -> Value {
    json!({
        "providers": [{"name": "one", "dialect": "anthropic"}, {"name": "two", "dialect": "openai", "region": "eu"}],
        "models": [
            {"name": "haiku", "provider": "one", "upstream": "claude-haiku-4-5", "context_max_tokens": 200_000,
             "output_max_tokens": 64_000, "price": {"input": 1, "output": 5}, "thinking": "budget"},
            {"name": "mini", "provider": "two", "context_max_tokens": 128_000, "output_max_tokens": 16_384,
             "price": {"input": 2, "output": 8}, "sampling": false}],
        "routing": {"rules": [{"model": "auto", "match": {"plans": ["other"]}, "candidates": ["mini"]},
                              {"model": "auto", "candidates": ["haiku", "mini"]}], "attempts_max": 4},
    })
}

fn take(policy: &Policy, version: &str, content: &Value) -> Result<(), String> {
    policy.routing.as_ref().expect("it routes").take(version, content.to_string().as_bytes())
}

fn models(policy: &Policy) -> Vec<String> {
    policy.catalogue().expect("it routes").models.iter().map(|model| model.name.to_string()).collect()
}

#[test]
fn a_catalogue_of_the_directory_is_in_force_until_it_is_taken_away() {
    let policy = following();
    assert_eq!(models(&policy), [""; 0]);
    take(&policy, "v1", &delivered()).expect("good");
    assert_eq!(models(&policy), ["haiku", "mini"]);
    take(&policy, "none", &Value::Null).expect("good");
    assert_eq!(models(&policy), [""; 0]);
}

#[test]
fn a_catalogue_that_this_gateway_cannot_use_changes_nothing_and_says_why() {
    let policy = following();
    take(&policy, "v1", &delivered()).expect("good");
    let refused = |change: fn(&mut Value)| {
        let mut other = delivered();
        change(&mut other);
        let problem = take(&policy, "v2", &other).expect_err("refused");
        assert_eq!(models(&policy), ["haiku", "mini"]);
        problem
    };
    let unknown = refused(|other| other["providers"][1]["name"] = json!("three"));
    assert!(unknown.starts_with("providers[1]: this gateway has no provider \"three\": add it"), "{unknown}");
    let elsewhere = refused(|other| other["providers"][1]["region"] = json!("us"));
    assert!(elsewhere.contains("another dialect, region or endpoint"), "{elsewhere}");
    let candidate = refused(|other| other["routing"]["rules"][1]["candidates"] = json!(["opus"]));
    assert!(candidate.starts_with("routing.rules[1]: no model"), "{candidate}");
    let newer = refused(|other| other["routing"]["rules"][1]["order"] = json!("by_moon"));
    assert!(newer.contains("unknown field `order`") || newer.contains("by_moon"), "{newer}");
}

#[test]
fn no_delivered_rule_tries_more_providers_than_the_gateway_has_routes_for() {
    let policy = following();
    take(&policy, "v1", &delivered()).expect("good");
    assert_eq!(policy.catalogue().expect("it routes").attempts_max, 2);
    let chains = policy.routing.as_ref().expect("it routes").chains().expect("few");
    assert_eq!(chains, ["one", "one.two", "two", "two.one"], "each order, since rules may change");
}

#[test]
fn the_upstream_role_is_told_all_it_needs_of_a_delivered_model() {
    let policy = following();
    take(&policy, "v1", &delivered()).expect("good");
    let catalogue = policy.catalogue().expect("it routes");
    let chosen = Chosen {
        models: vec!["mini".into(), "haiku".into()],
        chain: "two.one".to_owned(),
        why: Why::Cheapest,
        dropped: Vec::new(),
    };
    let choice = catalogue.told(&chosen, Dialect::OpenAi, &Terms::default());
    assert_eq!(choice, "openai mini;two;mini;16384;never;0 haiku;one;claude-haiku-4-5;64000;budget;1");
    let role =
        json!({"version": 1, "role": "upstream", "provider": {"name": "one", "dialect": "anthropic"}, "models": []});
    let role = Upstream::compile(&serde_json::from_value(role).expect("a shape")).expect("a role");
    let mut attempt = Attempt::default();
    let given = Given { choice: Some(choice.as_bytes()), attempts: None };
    attempt.begin(&role, &given, &[]);
    assert!(attempt.attempts(&role).is_some(), "its own model is the second of the chain");
    let (_, body) = attempt
        .request(&role, br#"{"model":"auto","messages":[{"role":"user","content":"Hi"}]}"#)
        .expect("it can be said");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["model"], "claude-haiku-4-5");
}

#[test]
fn a_catalogue_is_refused_with_its_place_before_it_is_handed_out() {
    let check = |change: fn(&mut Value)| {
        let mut catalogue = delivered();
        change(&mut catalogue);
        let catalogue = serde_json::from_value(catalogue).expect("a shape");
        check_delivered(&catalogue, &Flags::default()).map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| {}), Ok(()));
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 8] = [
        (
            |all| all["providers"][0]["tenant_key"] = json!({"provider": "anthropic"}),
            "providers[0].tenant_key: no gateway reads it here: give it to the provider of this name in the gateway's own",
        ),
        (
            |all| all["providers"][1]["attempt_ms_max"] = json!(1),
            "providers[1].attempt_ms_max: no gateway reads it here",
        ),
        (|all| all["providers"][1]["first_token_ms_max"] = json!(1), "providers[1].first_token_ms_max: no gateway"),
        (|all| all["providers"][1]["pool"] = json!("p"), "providers[1].pool: no gateway reads it here"),
        (|all| all["models"][0]["provider"] = json!("three"), "models[0].provider: no provider is named \"three\""),
        (|all| all["models"][1]["upstream"] = json!("a b"), "models[1].upstream: expected 1 to 256 characters"),
        (|all| all["routing"]["from"] = json!("directory"), "routing.from: here is the directory"),
        (
            |all| all["routing"]["rules"][0]["match"]["flag"] = json!("beta"),
            "routing.rules[0].match.flag: no flag is named",
        ),
    ];
    for (change, expected) in cases {
        let problem = check(change).expect_err("refused");
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn a_cloud_needs_no_path_in_a_catalogue_of_the_directory_and_one_there_is_told_to_be_unread() {
    let mut catalogue = delivered();
    catalogue["providers"][0]["dialect"] = json!("vertex_anthropic");
    let read = |catalogue: &Value| serde_json::from_value(catalogue.clone()).expect("a shape");
    assert_eq!(check_delivered(&read(&catalogue), &Flags::default()).map_err(|error| error.to_string()), Ok(()));
    assert_eq!(unread_of_delivered(&read(&catalogue)), [""; 0]);
    catalogue["providers"][0]["path"] = json!("/v1/{model}");
    catalogue["providers"][1]["authority"] = json!("a.example");
    assert_eq!(unread_of_delivered(&read(&catalogue)), ["providers[0].path", "providers[1].authority"]);
}

#[test]
fn figures_are_those_of_the_catalogue_that_is_in_force() {
    let policy = following();
    let routing = policy.routing.as_ref().expect("it routes");
    let row = |model: &str, p99_ms| ModelFigures {
        model: model.to_owned(),
        class: Class::Chat,
        requests: 100,
        errors: 0,
        p50_ms: None,
        p99_ms,
        first_token_p50_ms: None,
        first_token_p99_ms: None,
    };
    routing.measure(Rc::from(vec![row("mini", Some(900)), row("haiku", None), row("opus", Some(1))]));
    take(&policy, "v1", &delivered()).expect("good");
    let p99 = |at| policy.catalogue().expect("it routes").p99_ms(at, Class::Chat);
    assert_eq!([0, 1, 2].map(p99), [None, Some(900), None]);
    routing.measure(Rc::from(Vec::new()));
    assert_eq!(p99(1), None, "figures that are not told again are over");
}

#[test]
fn a_model_that_has_been_too_slow_lately_drops_out_and_one_that_nobody_measured_stays() {
    let policy = following();
    let mut catalogue = delivered();
    catalogue["routing"]["rules"][1]["latency_p99_ms_max"] = json!(1_000);
    take(&policy, "v1", &catalogue).expect("good");
    let first = |p99_ms: Option<u64>| {
        let slow = ModelFigures {
            model: "haiku".to_owned(),
            class: Class::Chat,
            requests: 100,
            errors: 0,
            p50_ms: None,
            p99_ms,
            first_token_p50_ms: None,
            first_token_p99_ms: None,
        };
        policy.routing.as_ref().expect("it routes").measure(Rc::from(vec![slow]));
        let plan = Plan::default();
        let asked = Asked { body: BODY, ..asked(&plan) };
        chosen(&policy.catalogue().expect("it routes"), &asked)
    };
    assert_eq!(&*first(None).models[0], "haiku", "nobody has measured it");
    assert_eq!(&*first(Some(1_000)).models[0], "haiku");
    let without = first(Some(1_001));
    assert_eq!((&*without.models[0], &without.dropped[0].1), ("mini", &Misfit::Latency));
}

#[test]
fn what_the_directory_brings_needs_a_directory() {
    let problem = |routing: Value| {
        let file = json!({
            "version": 1, "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]}, "plans": {"p": {}},
            "providers": [{"name": "one", "dialect": "openai"}],
            "models": [{"name": "a", "provider": "one", "context_max_tokens": 9, "output_max_tokens": 9,
                        "price": {"input": 1, "output": 1}}],
            "routing": routing,
        });
        let policy = Policy::read(file.to_string().as_bytes(), &Environment::Elsewhere, Keyed::new([0; 16]));
        policy.expect_err("refused").to_string()
    };
    let catalogue = problem(json!({"from": "directory"}));
    assert!(catalogue.starts_with("routing.from: `directory` is missing"), "{catalogue}");
    let figures = problem(json!({"rules": [{"model": "auto", "candidates": ["a"], "latency_p99_ms_max": 1}]}));
    assert!(figures.starts_with("routing.rules[0].latency_p99_ms_max: figures come from weir serve"), "{figures}");
}
