use proptest::prelude::*;
use serde_json::{Value, json};
use weir_config::Environment;
use weir_contract::placement::Placement;

use super::*;
use crate::hash::Keyed;
use crate::plan::Plan;
use crate::policy::Policy;

fn model(name: &str, provider: &str, price: u64) -> Value {
    json!({"name": name, "provider": provider, "context_max_tokens": 10_000, "output_max_tokens": 1_000,
           "quality": {"chat": 50}, "price": {"input": price, "output": price}})
}

fn config(rules: &Value) -> Value {
    json!({
        "version": 1, "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]},
        "plans": {"p": {}, "eu": {"region": "eu"}, "own": {"endpoint": "acme"}, "few": {"models": {"allow": ["b*"]}}},
        "providers": [{"name": "one", "dialect": "anthropic"}, {"name": "two", "dialect": "openai", "region": "eu"},
                      {"name": "acme", "dialect": "vllm", "endpoint": "acme"}],
        "models": [model("a", "one", 10), model("b", "two", 20), model("c", "acme", 1), model("b2", "two", 30)],
        "routing": {"rules": rules},
    })
}

fn read(config: &Value) -> Result<Policy, String> {
    Policy::read(config.to_string().as_bytes(), &Environment::Elsewhere, Keyed::new([0; 16]))
        .map_err(|error| error.to_string())
}

fn catalogue(rules: &Value) -> Rc<Catalogue> {
    read(&config(rules)).expect("a policy").catalogue().expect("a catalogue")
}

pub(super) const BODY: &[u8] = br#"{"model":"auto","messages":[{"role":"user","content":"Hi"}]}"#;

pub(super) fn asked(plan: &Plan) -> Asked<'_> {
    Asked {
        betas: "",
        dialect: Dialect::OpenAi,
        model: "auto",
        class: Class::Chat,
        plan,
        stage: Stage::Ok,
        placement: None,
        headers: &[],
        tenant: "acme",
        user: None,
        input_tokens: 100,
        output_tokens: 100,
        output_cap: None,
        tools: false,
        images: false,
        flags: None,
        body: BODY,
        saturated: 0,
        open: 0,
        keyless: 0,
        translates: true,
    }
}

pub(super) fn chosen(catalogue: &Catalogue, asked: &Asked<'_>) -> Chosen {
    match catalogue.choose(asked, &mut Habits::default()) {
        Choice::Chosen(chosen) => chosen,
        other => panic!("{other:?}"),
    }
}

fn dropped(catalogue: &Catalogue, asked: &Asked<'_>) -> Vec<(String, Misfit)> {
    let (Choice::NoneFits(dropped) | Choice::Chosen(Chosen { dropped, .. })) =
        catalogue.choose(asked, &mut Habits::default())
    else {
        return Vec::new();
    };
    dropped.iter().map(|(model, why)| (model.to_string(), *why)).collect()
}

fn plan(name: &str) -> std::rc::Rc<Plan> {
    let policy = read(&config(&json!([]))).expect("a policy");
    std::rc::Rc::clone(policy.plans.get(name).expect("the plan"))
}

#[test]
fn the_cheapest_that_fits_comes_first_and_each_provider_has_one_turn() {
    let catalogue = catalogue(&json!([{"model": "auto", "candidates": ["b2", "b", "a"]}]));
    let plan = Plan::default();
    let found = chosen(&catalogue, &asked(&plan));
    assert_eq!(found.models.iter().map(|model| &**model).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((&*found.chain, found.why), ("one.two", Why::Cheapest));
    assert!(catalogue.chains().expect("few chains").contains(&found.chain));
}

#[test]
fn what_does_not_fit_drops_out_with_its_reason() {
    let catalogue = catalogue(&json!([{"model": "auto", "candidates": ["a", "b", "c"], "quality_min": 40}]));
    let plan = plan("p");
    let with = |change: &dyn Fn(&mut Asked<'_>)| {
        let mut asked = asked(&plan);
        change(&mut asked);
        dropped(&catalogue, &asked)
            .into_iter()
            .filter(|(model, _)| model == "b")
            .map(|(_, why)| why)
            .collect::<Vec<_>>()
    };
    assert_eq!(with(&|_| ()), []);
    assert_eq!(with(&|asked| asked.input_tokens = 10_001), [Misfit::Context]);
    assert_eq!(with(&|asked| asked.output_cap = Some(1_001)), [Misfit::Output]);
    assert_eq!(with(&|asked| asked.class = Class::Completion), [Misfit::Quality]);
    assert_eq!(with(&|asked| asked.open = 0b10), [Misfit::Breaker]);
    assert_eq!(dropped(&catalogue, &asked(&plan)), [("c".to_owned(), Misfit::Endpoint)]);
}

#[test]
fn a_plan_is_served_in_its_region_at_its_endpoint_and_by_its_models_only() {
    let catalogue = catalogue(&json!([{"model": "auto", "candidates": ["a", "b", "c"]}]));
    for (name, serves, others) in [
        ("eu", "b", [("a", Misfit::Region), ("c", Misfit::Region)]),
        ("own", "c", [("a", Misfit::Endpoint), ("b", Misfit::Endpoint)]),
        ("few", "b", [("c", Misfit::Endpoint), ("a", Misfit::Plan)]),
    ] {
        let plan = plan(name);
        let found = chosen(&catalogue, &asked(&plan));
        assert_eq!(found.models.iter().map(|model| &**model).collect::<Vec<_>>(), [serves], "{name}");
        let dropped = dropped(&catalogue, &asked(&plan));
        assert!(
            others.iter().all(|(model, why)| dropped.contains(&((*model).to_owned(), *why))),
            "{name}: {dropped:?}"
        );
    }
}

#[test]
fn what_a_dialect_cannot_say_rules_its_models_out_before_they_are_tried() {
    let catalogue = catalogue(&json!([{"model": "auto", "candidates": ["a", "b"]}]));
    let plan = Plan::default();
    let body = br#"{"model":"auto","messages":[{"role":"user","content":"Hi"}],"n":3}"#;
    let asked = Asked { body, ..asked(&plan) };
    assert_eq!(&*chosen(&catalogue, &asked).chain, "two");
    assert_eq!(dropped(&catalogue, &asked), [("a".to_owned(), Misfit::Dialect)]);
}

/// Two clouds before a provider of Messages itself.
fn with_clouds() -> Value {
    let mut file = config(&json!([{"model": "auto", "candidates": ["a", "b", "c"], "order": "listed"}]));
    let place = "/v1/projects/p/locations/l/publishers/anthropic/models/{model}";
    file["providers"] = json!([
        {"name": "one", "dialect": "vertex_anthropic", "path": format!("{place}:rawPredict"), "stream_path": format!("{place}:streamRawPredict")},
        {"name": "two", "dialect": "bedrock_anthropic", "region": "eu", "betas": ["of-ours-2026"]},
        {"name": "acme", "dialect": "anthropic"},
    ]);
    file["plans"] = json!({"p": {}});
    file
}

#[test]
fn what_a_cloud_does_not_know_rules_its_models_out_before_they_are_tried() {
    let catalogue = read(&with_clouds()).expect("a policy").catalogue().expect("a catalogue");
    let plan = Plan::default();
    let image = |source: Value| json!([{"type": "image", "source": source}]);
    let at_url = json!({"type": "url", "url": "https://a.example/b.png"});
    let in_store = json!({"type": "file", "file_id": "file_1"});
    let base64 = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="});
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": image(at_url.clone())}]);
    for (content, betas, chain) in [
        (json!("Hi"), "", "one.two.acme"),
        (json!("Hi"), "interleaved-thinking-2025-05-14,prompt-caching-2024-07-31", "one.two.acme"),
        (json!("Hi"), "interleaved-thinking-2025-05-14, of-ours-2026", "two.acme"),
        (json!("Hi"), "files-api-2025-04-14", "acme"),
        (image(base64), "", "one.two.acme"),
        (image(at_url), "", "acme"),
        (image(in_store), "", "acme"),
        (result, "", "acme"),
    ] {
        let messages = json!([{"role": "user", "content": content}]);
        let body = json!({"model": "auto", "max_tokens": 9, "messages": messages}).to_string();
        let asked = Asked { dialect: Dialect::Anthropic, body: body.as_bytes(), betas, ..asked(&plan) };
        assert_eq!(&*chosen(&catalogue, &asked).chain, chain, "{betas} {body}");
    }
    let url = json!([{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]);
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": url}]}).to_string();
    assert_eq!(&*chosen(&catalogue, &Asked { body: body.as_bytes(), ..asked(&plan) }).chain, "acme", "also of a chat");
}

#[test]
fn a_tenants_key_goes_to_a_provider_of_its_own_in_the_header_that_this_reads() {
    let with = |dialect: &str, provider: &str, header: Option<&str>| {
        let mut file = with_clouds();
        file["identity"] = json!({"sources": [{"api_key": {"prefix": "sk_"}}]});
        file["directory"] = json!({"cluster": "weir", "token": "t"});
        let place = if dialect == "vertex_anthropic" { 0 } else { 2 };
        file["providers"][place]["dialect"] = json!(dialect);
        file["providers"][place]["tenant_key"] = json!({"provider": provider});
        if let Some(header) = header {
            file["providers"][place]["tenant_key"]["header"] = json!(header);
        }
        let catalogue = read(&file).map(|policy| policy.catalogue().expect("a catalogue"));
        catalogue.map(|catalogue| catalogue.own_keys().next().expect("a rule").2.header.as_str())
    };
    for (dialect, provider, header) in [
        ("vertex_anthropic", "google", "authorization"),
        ("openai", "google", "authorization"),
        ("openai", "openai", "authorization"),
        ("openai", "azure_openai", "api-key"),
        ("anthropic", "anthropic", "x-api-key"),
        ("mistral", "mistral", "authorization"),
    ] {
        assert_eq!(with(dialect, provider, None).as_deref(), Ok(header), "{dialect} {provider}");
    }
    assert_eq!(with("vertex_anthropic", "google", Some("x-goog-api-key")).as_deref(), Ok("x-goog-api-key"));
    for (dialect, provider) in [("anthropic", "openai"), ("openai", "anthropic"), ("vertex_anthropic", "anthropic")] {
        let problem = with(dialect, provider, None).expect_err("another provider's key");
        assert!(
            problem.contains("tenant_key.provider: this provider speaks") && problem.contains("expected one of"),
            "{problem}"
        );
    }
    for dialect in ["bedrock_anthropic", "anthropic", "openai"] {
        let problem = with(dialect, "bedrock", None).expect_err("no tenant's key");
        assert!(problem.contains("SigV4") && problem.contains("operator's API key of Bedrock's"), "{problem}");
    }
    let problem = with("bedrock_anthropic", "anthropic", None).expect_err("no tenant's key");
    assert!(problem.contains("leave `tenant_key` out"), "{problem}");
}

#[test]
fn names_of_features_stand_at_clouds_alone() {
    let broken = [
        (0, json!(["a b"]), "a name is 1 to 64"),
        (1, json!(vec!["x"; 65]), "at most 64"),
        (2, json!(["x"]), "only the clouds"),
    ];
    for (place, betas, expected) in broken {
        let mut file = with_clouds();
        file["providers"][place]["betas"] = betas;
        let problem = read(&file).expect_err("refused");
        assert!(problem.starts_with(&format!("providers[{place}].betas: {expected}")), "{problem}");
    }
}

#[test]
fn where_all_breakers_are_open_the_cheapest_is_tried_all_the_same() {
    let catalogue = catalogue(&json!([{"model": "auto", "candidates": ["a", "b"]}]));
    let plan = Plan::default();
    let found = chosen(&catalogue, &Asked { open: 0b11, ..asked(&plan) });
    assert_eq!((&*found.chain, found.why), ("one.two", Why::LastResort));
}

#[test]
fn a_tenant_keeps_its_model_until_another_is_enough_cheaper() {
    let mut file = config(&json!([{"model": "auto", "candidates": ["a", "b"]}]));
    file["models"][0]["price"] = json!({"input": 100, "output": 105});
    file["models"][1]["price"] = json!({"input": 105, "output": 100});
    let catalogue = read(&file).expect("a policy").catalogue().expect("a catalogue");
    let (plan, mut habits) = (Plan::default(), Habits::default());
    let mut first = |input_tokens, output_tokens| {
        let asked = Asked { input_tokens, output_tokens, ..asked(&plan) };
        let Choice::Chosen(found) = catalogue.choose(&asked, &mut habits) else { panic!("none fits") };
        (found.models[0].to_string(), found.why)
    };
    assert_eq!(first(100, 10), ("a".to_owned(), Why::Cheapest));
    assert_eq!(first(10, 100), ("a".to_owned(), Why::Kept), "b is 5 % cheaper");
    assert_eq!(first(100, 10), ("a".to_owned(), Why::Cheapest), "and so it is anew");
}

#[test]
fn a_split_is_stable_and_has_its_parts() {
    let rules = json!([{"model": "auto", "split": {"a": 90, "b": 10}, "split_by": "user"}]);
    let (catalogue, plan) = (catalogue(&rules), Plan::default());
    let of = |user: &str| chosen(&catalogue, &Asked { user: Some(user), ..asked(&plan) });
    let users: Vec<String> = (0..2_000).map(|at| format!("user-{at}")).collect();
    let second = users.iter().filter(|user| &*of(user).models[0] == "b").count();
    assert!((140..=260).contains(&second), "{second} of 2000 are in the tenth");
    assert!(users.iter().take(50).all(|user| of(user) == of(user) && of(user).why == Why::Split));
}

#[test]
fn the_first_rule_that_matches_counts_and_a_name_of_the_catalogue_needs_none() {
    let catalogue = catalogue(&json!([
        {"model": "auto", "match": {"prompt_tokens_max": 50, "plans": ["p"]}, "candidates": ["b"]},
        {"model": "auto", "match": {"tools": true}, "candidates": ["b2"]},
        {"model": "auto", "candidates": ["a"]},
    ]));
    let plan = plan("p");
    let first = |asked: Asked<'_>| chosen(&catalogue, &asked).models[0].to_string();
    assert_eq!(first(Asked { input_tokens: 50, ..asked(&plan) }), "b");
    assert_eq!(first(Asked { tools: true, ..asked(&plan) }), "b2");
    assert_eq!(first(asked(&plan)), "a");
    assert_eq!(chosen(&catalogue, &Asked { model: "b2", ..asked(&plan) }).why, Why::Named);
    let unknown = Asked { model: "gpt-9", ..asked(&plan) };
    assert_eq!(catalogue.choose(&unknown, &mut Habits::default()), Choice::Unasked);
}

#[test]
fn a_catalogue_that_cannot_hold_is_refused_with_its_path() {
    let broken: [(&str, Value, &str); 9] = [
        ("/routing/rules/0/candidates", json!(["a", "b", "a"]), "routing.rules[0].candidates: name each model once"),
        ("/models/0/provider", json!("three"), "models[0].provider: no provider is named \"three\""),
        ("/models/1/name", json!("a"), "models[1].name: another model has this name"),
        ("/models/0/quality", json!({"chat": 101}), "models[0].quality.chat: expected 0 to 100"),
        ("/providers/0/name", json!("One"), "providers[0].name: a name is 1 to 32 characters of a-z 0-9 -"),
        ("/routing/rules/0/candidates", json!(["z"]), "routing.rules[0]: no model of the catalogue is named \"z\""),
        ("/routing/rules/0/candidates", json!([]), "routing.rules[0]: give either `candidates` or `split`"),
        ("/routing/attempts_max", json!(9), "routing.attempts_max: expected 1 to 4"),
        ("/plans/eu/region", json!("mars"), "plans.eu.region: no provider has this region and this endpoint"),
    ];
    for (place, value, expected) in broken {
        let mut file = config(&json!([{"model": "auto", "candidates": ["a"]}]));
        file["routing"]["attempts_max"] = json!(3);
        *file.pointer_mut(place).expect("the place") = value;
        assert_eq!(read(&file).err().as_deref(), Some(expected), "{place}");
    }
    let mut without = config(&json!([]));
    without.as_object_mut().expect("fields").remove("routing");
    assert!(read(&without).is_err_and(|error| error.starts_with("plans.")), "a region that nothing keeps");
}

proptest! {
    #[test]
    fn a_chain_has_models_that_fit_one_for_each_provider_and_is_among_the_gateways_routes(
        prices in proptest::collection::vec(0..1_000_u64, 4), open in 0..8_u32, input in 0..20_000_u64,
        cap in proptest::option::of(0..2_000_u64),
    ) {
        let mut file = config(&json!([{"model": "auto", "candidates": ["a", "b", "c", "b2"]}]));
        for (at, price) in prices.iter().enumerate() {
            file["models"][at]["price"] = json!({"input": price, "output": price});
        }
        let catalogue = read(&file).expect("a policy").catalogue().expect("a catalogue");
        let plan = Plan::default();
        let asked = Asked { open, input_tokens: input, output_cap: cap, ..asked(&plan) };
        match catalogue.choose(&asked, &mut Habits::default()) {
            Choice::Chosen(found) => {
                prop_assert!(catalogue.chains().expect("few chains").contains(&found.chain));
                let of = |name: &str| catalogue.models.iter().find(|model| &*model.name == name).expect("known");
                let mut providers: Vec<usize> = found.models.iter().map(|name| of(name).provider).collect();
                let costs: Vec<u64> = found.models.iter().map(|name| of(name).price.input).collect();
                prop_assert!(costs.is_sorted());
                providers.dedup();
                prop_assert_eq!(providers.len(), found.models.len());
                prop_assert!(input + cap.unwrap_or(0) <= 10_000 && cap.is_none_or(|cap| cap <= 1_000));
                prop_assert!(found.why == Why::LastResort || providers.iter().all(|at| open & 1 << at == 0));
            }
            Choice::NoneFits(dropped) => prop_assert_eq!(dropped.len(), 4),
            Choice::Unasked => prop_assert!(false),
        }
    }
}

/// A catalogue with the providers `one` and `two`.
pub(super) fn catalogue_of_two() -> Rc<Catalogue> {
    catalogue(&json!([{"model": "auto", "candidates": ["a", "b"]}]))
}

#[test]
fn a_rule_may_depend_on_a_feature_flag() {
    let mut config = config(&json!([
        {"model": "auto", "match": {"flag": "beta"}, "candidates": ["b"]},
        {"model": "auto", "candidates": ["a"]},
    ]));
    config["flags"] =
        json!({"beta": {"type": "bool", "default": false, "rules": [{"tenants": ["acme"], "value": true}]}});
    let policy = read(&config).expect("a policy");
    let flags = std::rc::Rc::new(policy.flags.as_ref().expect("flags").with_served(None));
    let (catalogue, plan) = (policy.catalogue().expect("a catalogue"), plan("p"));
    let first = |tenant: &str| {
        let subject = weir_contract::flags::Subject { tenant, ..Default::default() };
        let flags = crate::flags::RequestFlags::decide(&flags, &subject);
        chosen(&catalogue, &Asked { flags: Some(&flags), ..asked(&plan) }).models[0].to_string()
    };
    assert_eq!((first("acme"), first("globex")), ("b".to_owned(), "a".to_owned()));
    assert_eq!(&*chosen(&catalogue, &asked(&plan)).models[0], "a", "no flag is decided");
}

#[test]
fn a_tenants_own_place_binds_as_the_plans_does_and_neither_widens_the_other() {
    let catalogue = catalogue(&json!([{"model": "auto", "candidates": ["a", "b", "c"]}]));
    let place = |region: Option<&str>, endpoint: Option<&str>| Placement {
        region: region.map(Into::into),
        endpoint: endpoint.map(Into::into),
        ..Placement::default()
    };
    for (name, placement, serves) in [
        ("p", place(None, None), &["a", "b"][..]),
        ("p", place(Some("eu"), None), &["b"]),
        ("p", place(None, Some("acme")), &["c"]),
        ("p", place(Some("mars"), None), &[]),
        ("p", place(None, Some("https://elsewhere.example")), &[]),
        ("eu", place(Some("eu"), None), &["b"]),
        ("eu", place(Some("us"), None), &[]),
        ("eu", place(None, Some("acme")), &[]),
        ("own", place(Some("eu"), None), &[]),
        ("own", place(None, Some("acme")), &["c"]),
        ("own", place(None, Some("other")), &[]),
    ] {
        let plan = plan(name);
        let asked = Asked { placement: Some(&placement), ..asked(&plan) };
        let found = match catalogue.choose(&asked, &mut Habits::default()) {
            Choice::Chosen(chosen) => chosen.models.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        assert_eq!(found, serves, "{name} {placement:?}");
    }
}

#[test]
fn listed_candidates_are_tried_in_their_order_while_they_fit() {
    let catalogue = catalogue(&json!([{"model": "auto", "candidates": ["b2", "a", "b"], "order": "listed"}]));
    let plan = Plan::default();
    let found = chosen(&catalogue, &asked(&plan));
    assert_eq!(found.models.iter().map(|model| &**model).collect::<Vec<_>>(), ["b2", "a"], "dearest first");
    assert_eq!((&*found.chain, found.why), ("two.one", Why::Listed));
    let found = chosen(&catalogue, &Asked { open: 0b10, ..asked(&plan) });
    assert_eq!((&*found.chain, found.why), ("one", Why::Listed), "its provider fails");
    let split = json!([{"model": "auto", "split": {"a": 1}, "order": "listed"}]);
    assert!(read(&config(&split)).expect_err("no order").contains("routing.rules[0].order"));
}

#[test]
fn a_rule_may_be_about_tenants_and_headers_of_a_believed_caller() {
    let mut config = config(&json!([
        {"model": "auto", "match": {"tenants": ["globex"]}, "candidates": ["b"]},
        {"model": "auto", "match": {"headers": {"X-Tier": "gold", "x-team": "ml"}}, "candidates": ["b2"]},
        {"model": "auto", "candidates": ["a"]},
    ]));
    assert!(read(&config).expect_err("nobody is believed").contains("routing.rules[1].match.headers"));
    config["identity"]["sources"] = json!([{"header": {"header": "x-tenant", "networks": ["10.0.0.0/8"]}}]);
    let catalogue = read(&config).expect("a policy").catalogue().expect("a catalogue");
    assert_eq!(catalogue.header_names().collect::<Vec<_>>(), ["x-tier", "x-team"]);
    let plan = Plan::default();
    let first = |asked: &Asked<'_>| chosen(&catalogue, asked).models[0].to_string();
    assert_eq!(first(&asked(&plan)), "a");
    assert_eq!(first(&Asked { tenant: "globex", ..asked(&plan) }), "b");
    let header = |name: &str, value: &str| (name.into(), value.into());
    let both = [header("x-tier", "gold"), header("x-team", "ml")];
    assert_eq!(first(&Asked { headers: &both, ..asked(&plan) }), "b2");
    assert_eq!(first(&Asked { headers: &both[..1], ..asked(&plan) }), "a", "one of two");
    assert_eq!(first(&Asked { headers: &[header("x-tier", "GOLD"), header("x-team", "ml")], ..asked(&plan) }), "a");
    for name in ["x-model", "x tier", ""] {
        config["routing"]["rules"][1]["match"]["headers"] = json!({ name: "gold" });
        assert!(read(&config).expect_err("no header").contains("match.headers"), "{name}");
    }
}

proptest! {
    #[test]
    fn candidates_that_come_too_late_change_nothing(
        prices in proptest::collection::vec((0..50_u64, 0..50_u64, 1..2_000_u64, 0..4_usize, any::<bool>()), 1..20),
        (input, output, cap, open, saturated) in (0..3_000_u64, 0..3_000_u64, proptest::option::of(1..2_000_u64), 0..16_u32, 0..16_u32),
        (attempts_max, split, kept) in (1..5_usize, any::<bool>(), any::<bool>()),
    ) {
        let names: Vec<String> = (0..prices.len()).map(|at| format!("m{at}")).collect();
        let model = |(name, (price, of_output, output_max, provider, tools)): (&String, &(u64, u64, u64, usize, bool))| {
            json!({"name": name, "provider": format!("p{provider}"), "context_max_tokens": 4_000, "output_max_tokens": output_max,
                   "price": {"input": price, "output": of_output}, "tools": tools})
        };
        let mut config = config(&json!([]));
        config["plans"] = json!({"p": {}});
        config["providers"] = (0..4).map(|at| json!({"name": format!("p{at}"), "dialect": "openai"})).collect();
        config["models"] = names.iter().zip(&prices).map(model).collect();
        let parts: std::collections::BTreeMap<&String, u32> = names.iter().map(|name| (name, 1)).collect();
        let rule = if split { json!({"model": "auto", "split": parts}) } else { json!({"model": "auto", "candidates": names}) };
        config["routing"] = json!({"rules": [rule], "attempts_max": attempts_max});
        let catalogue = read(&config).expect("a policy").catalogue().expect("a catalogue");
        let plan = Plan::default();
        let asked = Asked {
            input_tokens: input, output_tokens: cap.unwrap_or(output), output_cap: cap, tools: kept, open, saturated, ..asked(&plan)
        };
        let (mut habits, mut others) = (Habits::default(), Habits::default());
        // The second time a tenant has a model that it keeps.
        for (input_tokens, tools) in [(input, kept), (input / 2, false)] {
            let asked = Asked { input_tokens, tools, ..asked };
            let chosen = |reach, habits: &mut Habits| match catalogue.choose_among(reach, 0, &catalogue.rules[0], &asked, habits) {
                Choice::Chosen(Chosen { models, chain, why, .. }) => Some((models, chain, why)),
                _ => None,
            };
            prop_assert_eq!(chosen(choose::Reach::Cheapest, &mut habits), chosen(choose::Reach::All, &mut others));
        }
    }
}
