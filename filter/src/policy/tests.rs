use super::*;
use crate::hash::Keyed;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::shared::Shared;

fn minimal() -> Value {
    json!({"version": 1, "identity": {"sources": [{"api_key": {}}]}, "plans": {}})
}

fn full() -> Value {
    json!({
        "version": 1, "mode": "observe", "gateway": "gw-1",
        "identity": {"sources": [
            {"jwt": {"issuer": "https://auth.example.com", "audiences": ["api"], "tenant_claim": "org.id", "plan_claim": "plan",
                     "user_claim": "sub", "leeway": "10s",
                     "keys": [{"kid": "k", "algorithm": "HS256", "secret": "0123456789abcdef0123456789abcdef"}],
                     "jwks": {"url": "https://auth.example.com/jwks.json", "cluster": "auth", "refresh": "1m", "refetch": "5s",
                              "timeout": "2s", "rsa_algorithm": "PS256"}}},
            {"api_key": {"header": "X-Api-Key", "prefix": "sk_"}},
            {"header": {"header": "x-edge-tenant", "plan_header": "x-edge-plan", "user_header": "x-edge-user",
                        "networks": ["10.0.0.0/8"], "peers": ["spiffe://example.com/edge"]}}],
            "subdomain": {"domain": "api.example.com"}, "unknown_tenant": "not_found"},
        "revoked": {"tokens": ["t-1"], "keys": ["old"]},
        "tenants": [{"id": "acme", "plan": "p", "state": "suspended",
                     "keys": [{"id": "k", "sha256": "0".repeat(64), "plan": "p", "environment": "test", "feature": "f",
                               "expires": "2030-01-01T00:00:00Z"}]}],
        "plans": {"p": {
            "requests": {"rate": "10/s", "capacity": 20}, "tokens": {"rate": "1000/min"},
            "limits": [{"name": "chat-per-user", "count": "tokens", "rate": "9/s", "capacity": 9, "per": ["user", "key", "model", "route", "class"],
                        "classes": ["chat"], "models": ["gpt-*"], "routes": ["r"]}],
            "classes": ["chat"], "models": {"allow": ["gpt-*"], "otherwise": {"replace": "gpt-4o"}},
            "output_tokens_max": 100, "n_max": 2, "request_max_bytes": 1000, "timeout": "5s", "stream_timeout": "1m"}},
        "hold": true, "body_max_bytes": 5000, "ask_for_usage": false,
        "limit_headers": {"on": "all", "x_ratelimit": true, "vendor": true},
        "classification": [{"class": "rag", "match": {"path_prefix": "/s", "method": "post", "model": "r*", "size_min_bytes": 5,
                                                      "header": {"name": "X-Kind", "value": "rag*"}}}],
        "routes": [{"name": "by-gateway"}, {"name": "r", "match": {"path_prefix": "/v1/"}, "class": "rag", "feature": "f", "environment": "test",
                    "usage": "read", "ask_for_usage": "when_readable", "input_includes_cache": true,
                    "anonymous": true, "upgrade": true, "permit": ["files", "stored_responses"]},
                   {"match": {"path": "/healthz"}, "bypass": true}],
        "events": {"cluster": "weir", "path": "/e", "authority": "a", "token": "t", "flush": "2s", "timeout": "3s",
                   "queue_max_events": 5, "queue_max_bytes": 1000, "signing_key": "0123456789abcdef0123456789abcdef"},
    })
}

/// What the gateway hands to the module.
fn environment() -> Environment {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Environment::Of(
        [
            variable("WEIR_SET", "a value of at least 64 bytes that nobody but this test and its reader knows"),
            variable("WEIR_SHORT", "short"),
            variable("WEIR_KNOWN", "the token that weir serve knows under ingest"),
        ]
        .into(),
    )
}

fn compile(config: &Value) -> Result<Policy, ConfigError> {
    Policy::read(config.to_string().as_bytes(), &environment(), Keyed::new([0; 16]))
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut config = full();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let parent = config.pointer_mut(parent).expect("a place");
    match parent {
        Value::Array(list) => list[field.parse::<usize>().expect("an index")] = value,
        other => other[field] = value,
    }
    config
}

#[test]
fn minimal_and_full_configurations_compile() {
    for config in [minimal(), full()] {
        assert!(compile(&config).is_ok(), "{config}");
    }
}

#[test]
fn whether_streams_are_asked_is_true_false_or_a_word() {
    for (value, ask) in [
        (json!(true), AskForUsage::Always),
        (json!(false), AskForUsage::Never),
        (json!("when_readable"), AskForUsage::WhenReadable),
    ] {
        assert_eq!(compile(&changed("/ask_for_usage", value)).expect("a configuration").ask_for_usage, ask);
    }
    for value in [json!("always"), json!(1), json!({})] {
        let error = compile(&changed("/ask_for_usage", value.clone())).expect_err("refused");
        assert!(error.path == "ask_for_usage" && error.problem.contains("`when_readable`"), "{value}: {error}");
    }
    let error = compile(&changed("/routes/1/usage", json!("never"))).expect_err("refused");
    assert!(error.path == "routes[1].usage" && error.problem.contains("ignore"), "{error}");
}

#[test]
fn an_empty_configuration_says_what_is_needed() {
    for bytes in [&b""[..], b"  \n"] {
        let error = parse(bytes).expect_err("refused");
        assert!(error.to_string().contains("needs one"), "{error}");
    }
}

#[test]
fn the_version_follows_from_what_is_configured_and_not_from_how_it_is_written() {
    let version = |config: &Value| compile(config).expect("compiles").version;
    let mut spelt_out = minimal();
    spelt_out["mode"] = json!("enforce");
    spelt_out["tenants"] = json!([]);
    assert_eq!(version(&minimal()), version(&spelt_out));
    assert_ne!(version(&minimal()), version(&full()));
}

#[test]
fn every_mistake_is_named_by_its_path_and_says_what_would_be_right() {
    let cases = [
        ("/version", json!(2), "version", "this is version 1"),
        ("/mod", json!("observe"), "mod", "unknown field `mod`"),
        ("/mode", json!("Observe"), "mode", "expected `enforce` or `observe`"),
        ("/gateway", json!("gw 1"), "gateway", "A-Z a-z 0-9"),
        ("/identity", json!({"sources": []}), "identity.sources", "jwt, api_key or header"),
        ("/identity/subdomain", Value::Null, "routes[1].anonymous", "identity.subdomain"),
        ("/identity/subdomain/domain", json!("localhost"), "identity.subdomain.domain", "api.example.com"),
        ("/identity/unknown_tenant", json!("404"), "identity.unknown_tenant", "not_found"),
        ("/identity/sources/0/jwt/jwks/url", Value::Null, "identity.sources[0].jwt.jwks", "go together"),
        ("/identity/sources/0/jwt/jwks/refresh", json!("0s"), "identity.sources[0].jwt.jwks.refresh", "1s"),
        ("/identity/sources/0/jwt/tenant_claim", json!([]), "identity.sources[0].jwt.tenant_claim", "org.id"),
        ("/identity/sources/0/jwt/tenant_claim", json!("a..b"), "identity.sources[0].jwt.tenant_claim", "org.id"),
        (
            "/identity/sources/2/header/networks/0",
            json!("10.0.0.0"),
            "identity.sources[2].header.networks[0]",
            "10.0.0.0/8",
        ),
        (
            "/identity/sources/2/header/header",
            json!("x-tenant-id"),
            "identity.sources[2].header.header",
            "does not set",
        ),
        ("/revoked/tokens/0", json!(""), "tenants", "1 to 128 bytes"),
        ("/directory", json!({"cluster": "weir", "token": "t"}), "directory", "contradict"),
        ("/routes/1/permit/0", json!("everything"), "routes[1].permit[0]", "files"),
        ("/identity/sources/0/jwt/keys/0/secret", json!("short"), "identity.sources[0].jwt.keys[0].secret", "32 bytes"),
        (
            "/identity/sources/0/jwt/keys/0/algorithm",
            json!("none"),
            "identity.sources[0].jwt.keys[0].algorithm",
            "EdDSA",
        ),
        ("/identity/sources/0/jwt/leeway", json!("10"), "identity.sources[0].jwt.leeway", "10s"),
        ("/tenants/0/plan", json!("q"), "tenants[0].plan", "plans are: p"),
        ("/tenants/0/keys/0/plan", json!("q"), "tenants[0].keys[0].plan", "plans are: p"),
        ("/tenants/0/keys/0/sha256", json!("12"), "tenants[0].keys[0].sha256", "64 hex digits"),
        ("/tenants/0/id", json!("a b"), "tenants[0].id", "tenant id"),
        ("/plans/p/requests/rate", json!("10"), "plans.p.requests.rate", "1000/min"),
        ("/plans/p/requests/capacity", json!(0), "plans.p.requests.capacity", "1 to 4000000000"),
        ("/routes/0/name", Value::Null, "routes[0].match", "or a name"),
        ("/routes/0/bypass", json!(true), "routes[0].bypass", "exact path"),
        ("/routes/1/match", json!({}), "routes[1].match", "either path or path_prefix"),
        ("/routes/1/bypass", json!(true), "routes[1].bypass", "exact path"),
        ("/routes/1/class", json!("chats"), "routes[1].class", "unknown variant"),
        ("/events/queue_max_events", json!(0), "events.queue_max_events", "at least 1"),
        ("/events/signing_key", json!("short"), "events.signing_key", "32 bytes"),
        ("/events/token", Value::Null, "events.token", "expected {env: NAME} or a text"),
    ];
    refused(&cases);
}

#[test]
fn every_mistake_in_a_plan_is_named_by_its_path() {
    refused(&[
        ("/plans/p/tokens/rate", json!("0/s"), "plans.p.tokens.rate", "1000/min"),
        ("/plans/p/limits/0/name", json!("tokens"), "plans.p.limits[0].name", "not `requests` or `tokens`"),
        ("/plans/p/limits/0/name", json!("A b"), "plans.p.limits[0].name", "a-z 0-9"),
        ("/plans/p/limits/0/capacity", json!(0), "plans.p.limits[0].capacity", "1 to 4000000000"),
        ("/plans/p/limits/0/per", json!(["tenant"]), "plans.p.limits[0].per[0]", "unknown variant"),
        ("/plans/p/models/allow", json!([]), "plans.p.models.allow", "at least one model"),
        (
            "/plans/p/models/otherwise",
            json!({"replace": "o3"}),
            "plans.p.models.otherwise.replace",
            "not among the models",
        ),
        ("/plans/p/output_tokens_max", json!(0), "plans.p.output_tokens_max", "at least 1"),
        ("/plans/p/n_max", json!(0), "plans.p.n_max", "at least 1"),
        ("/plans/p/timeout", json!("5"), "plans.p.timeout", "10s"),
        ("/hold", json!(false), "plans.p", "with `hold: false` no body is read"),
        ("/limit_headers/on", json!("some"), "limit_headers.on", "expected `refused` or `all`"),
        ("/classification/0/match", json!({}), "classification[0].match", "at least one thing"),
        ("/classification/0/class", json!("chats"), "classification[0].class", "unknown variant"),
    ]);
}

/// Each: a place in [`full`], what is put there, the path and the remedy that the error names.
#[track_caller]
fn refused(cases: &[(&str, Value, &str, &str)]) {
    for (pointer, value, path, remedy) in cases {
        let error = compile(&changed(pointer, value.clone())).expect_err(pointer);
        assert!(error.path == *path && error.problem.contains(remedy), "{pointer}: {error}");
    }
}

#[test]
fn a_guard_that_could_not_hold_is_refused_with_its_place() {
    let guarded = |guard: Value| {
        let mut config = minimal();
        config["routes"] = json!([{"name": "vectors", "guard": guard}]);
        config
    };
    let by = |store: &str, by: &str| guarded(json!({"store": store, "by": by}));
    for (store, way) in
        [("qdrant", "filter"), ("chroma", "filter"), ("milvus", "collection"), ("weaviate", "namespace")]
    {
        assert!(compile(&by(store, way)).is_ok(), "{store} {way}");
    }
    let keyed = |versions: &[u8]| {
        let keys = versions.iter().map(|version| json!({"version": version, "secret": "x".repeat(32)}));
        let mut config = by("chroma", "namespace");
        config["sealed_ids"] = json!({"keys": keys.collect::<Vec<_>>()});
        config
    };
    assert!(compile(&keyed(&[1])).is_ok() && compile(&keyed(&[2, 1])).is_ok());
    let mut unheld = by("qdrant", "filter");
    unheld["hold"] = json!(false);
    let mut upgraded = by("qdrant", "filter");
    upgraded["routes"][0]["upgrade"] = json!(true);
    for (config, remedy) in [
        (by("pinecone", "filter"), "by namespace"),
        (guarded(json!({"store": "qdrant", "by": "filter", "field": "a.b"})), "letters, digits"),
        (guarded(json!({"store": "qdrant", "by": "filter", "root": "/q/"})), "without a slash at its end"),
        (by("chroma", "namespace"), "set `sealed_ids.keys`"),
        (keyed(&[3, 1]), "one version is odd"),
        (unheld, "leave it out, or hold"),
        (upgraded, "neither bypass nor upgrade"),
    ] {
        let error = compile(&config).expect_err(remedy);
        assert!(error.path == "routes[0].guard" && error.problem.contains(remedy), "{error}");
    }
}

#[test]
fn a_polled_directory_is_checked_too() {
    let problem = |field: &str, value: Value| {
        let mut config = minimal();
        config["directory"] = json!({"cluster": "weir", "token": "t", "refresh": "10s", "staleness_max": "1m"});
        config["directory"][field] = value;
        compile(&config).err().map(|error| error.path)
    };
    assert_eq!(problem("path", json!("/d")), None);
    assert_eq!(problem("refresh", json!("0s")).as_deref(), Some("directory.refresh"));
    assert_eq!(problem("staleness_max", json!("19s")).as_deref(), Some("directory.staleness_max"));
    assert_eq!(problem("token", json!("")).as_deref(), Some("directory.token"));
    assert_eq!(problem("since", json!("")).as_deref(), Some("directory.since"));
    assert_eq!(problem("at_start", json!("inline")).as_deref(), Some("directory.at_start"), "no tenants to start with");
}

#[test]
fn a_key_or_secret_never_stands_in_an_error_or_in_debug_output() {
    let config = changed("/identity/sources/0/jwt/keys/0/secret", json!("0123456789abcdef0123456789abcdef-SECRET"));
    let shape = parse(config.to_string().as_bytes()).expect("a shape");
    let policy = compile(&config).expect("compiles");
    for text in [format!("{shape:?}"), format!("{policy:?}")] {
        assert!(!text.contains("SECRET") && !text.contains("Bearer t"), "{text}");
    }
}

#[test]
fn a_secret_that_everybody_knows_is_refused_with_its_place() {
    let test = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    for (pointer, secret, path) in [
        ("/events/token", "CHANGE-ME", "events.token"),
        ("/events/signing_key", "change-me: at least 32 random bytes", "events.signing_key"),
        ("/tenants/0/keys/0/sha256", test, "tenants[0].keys[0].sha256"),
        (
            "/identity/sources/0/jwt/keys/0/secret",
            "put-the-secret-of-your-issuer-here",
            "identity.sources[0].jwt.keys[0].secret",
        ),
    ] {
        let error = compile(&changed(pointer, json!(secret))).expect_err(pointer);
        assert_eq!(error.path, path);
        assert!(error.problem.contains("everybody knows") && !error.problem.contains(secret), "{}", error.problem);
    }
}

/// The fields that take a secret, in [`full`] with a directory.
const SECRETS: [(&str, &str); 5] = [
    ("/events/token", "events.token"),
    ("/events/signing_key", "events.signing_key"),
    ("/events/user_key", "events.user_key"),
    ("/directory/token", "directory.token"),
    ("/identity/sources/0/jwt/keys/0/secret", "identity.sources[0].jwt.keys[0].secret"),
];

/// [`full`], with its tenants from a directory, and `secret` in one field.
fn with_secret(pointer: &str, secret: Value) -> Value {
    let mut config = full();
    config["directory"] = json!({"cluster": "weir", "token": "t"});
    let fields = config.as_object_mut().expect("fields");
    fields.retain(|field, _| field != "tenants" && field != "revoked");
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    config.pointer_mut(parent).expect("a place")[field] = secret;
    config
}

#[test]
fn every_secret_is_taken_from_the_gateways_environment() {
    for (pointer, path) in SECRETS {
        let env = |name: &str| compile(&with_secret(pointer, json!({"env": name})));
        assert!(env("WEIR_SET").is_ok(), "{pointer}: {:?}", env("WEIR_SET").err());
        let missing = env("WEIR_UNSET").expect_err("not set");
        assert!(missing.path == path && missing.problem.contains("WEIR_UNSET is not set"), "{missing}");
        let known = env("WEIR_KNOWN").expect_err("everybody knows it");
        assert!(known.path == path && known.problem.contains("everybody knows"), "{known}");
        let plain = compile(&with_secret(pointer, json!("the-token-that-weir-serve-knows"))).expect_err("known");
        assert!(plain.path == path && plain.problem.contains("everybody knows"), "{plain}");
    }
}

#[test]
fn a_secret_of_the_environment_is_checked_like_one_that_is_written() {
    let short = compile(&with_secret("/events/signing_key", json!({"env": "WEIR_SHORT"}))).expect_err("short");
    assert!(short.path == "events.signing_key" && !short.problem.contains("short\""), "{short}");
}

#[test]
fn a_secret_of_the_environment_stands_in_no_output_and_not_in_the_version() {
    let config = with_secret("/events/token", json!({"env": "WEIR_SET"}));
    let policy = compile(&config).expect("compiles");
    assert!(!format!("{policy:?}").contains("nobody but this test"));
    let elsewhere = Policy::read(config.to_string().as_bytes(), &Environment::Elsewhere, Keyed::new([0; 16]));
    assert_eq!(elsewhere.expect("compiles").version, policy.version);
}

#[test]
fn tenants_stand_beside_a_directory_only_to_start_with() {
    let mut config = full();
    config["directory"] = json!({"cluster": "weir", "token": "t"});
    assert_eq!(compile(&config).expect_err("two places").path, "directory");
    config["directory"]["at_start"] = json!("inline");
    assert_eq!(compile(&config).expect("compiles").directory.len(), 1);
}

#[test]
fn a_route_for_readiness_has_an_exact_path_and_no_bypass() {
    refused(&[
        ("/routes/2", json!({"match": {"path_prefix": "/"}, "readiness": true}), "routes[2].readiness", "exact path"),
        (
            "/routes/2",
            json!({"match": {"path": "/r"}, "readiness": true, "bypass": true}),
            "routes[2].readiness",
            "no bypass",
        ),
    ]);
    assert!(compile(&changed("/routes/2", json!({"match": {"path": "/r"}, "readiness": true}))).is_ok());
}

fn sealing(permit: Value, change: impl FnOnce(&mut Value)) -> Result<Policy, ConfigError> {
    let mut config = minimal();
    config["sealed_ids"] = json!({"keys": [{"version": 1, "secret": "a secret of more than thirty-two bytes"}]});
    config["routes"] = json!([{"match": {"path_prefix": "/v1"}, "provider": "openai", "permit": permit}]);
    change(&mut config);
    Policy::read(config.to_string().as_bytes(), &environment(), Keyed::new([0; 16]))
}

#[test]
fn a_route_seals_some_kinds_and_lets_tenants_share_others() {
    let policy = sealing(json!({"files": "sealed", "batches": "shared"}), |_| {}).expect("good");
    let route = policy.routes.find(None, b"/v1/files").expect("a route");
    assert_eq!(route.permit, [Shared::Batches, Shared::Files]);
    assert!(route.seal.is_some());
}

#[test]
fn a_route_that_cannot_seal_says_why() {
    let key = |version: u8, secret: &str| json!({"version": version, "secret": secret});
    let long = "another secret of more than thirty-two bytes";
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(Value, Change<'_>, &str, &str); 10] = [
        (json!("sealed"), &|config| config["sealed_ids"] = Value::Null, "routes[0].permit", "sealed_ids.keys"),
        (
            json!("sealed"),
            &|config| config["routes"][0]["provider"] = json!("mistral"),
            "routes[0].permit",
            "azure_openai",
        ),
        (json!("sealed"), &|config| config["routes"][0]["upgrade"] = json!(true), "routes[0].permit", "upgrade"),
        (json!("sealed"), &|config| config["hold"] = json!(false), "hold", "no route can seal"),
        (json!("closed"), &|_| {}, "routes[0].permit.files", "sealed"),
        (
            json!("sealed"),
            &|config| config["routes"][0]["permit"] = json!({"unlisted": "sealed"}),
            "routes[0].permit",
            "cannot be sealed",
        ),
        (json!("sealed"), &|config| config["sealed_ids"]["keys"] = json!([]), "sealed_ids.keys", "one key, or two"),
        (
            json!("sealed"),
            &|config| config["sealed_ids"]["keys"][0] = key(32, long),
            "sealed_ids.keys[0].version",
            "0 to 31",
        ),
        (
            json!("sealed"),
            &|config| config["sealed_ids"]["keys"][0] = key(1, "short"),
            "sealed_ids.keys[0].secret",
            "32 bytes",
        ),
        (
            json!("sealed"),
            &|config| config["sealed_ids"]["keys"] = json!([key(1, long), key(1, long)]),
            "sealed_ids.keys",
            "two versions",
        ),
    ];
    for (access, change, path, part) in cases {
        let error = sealing(json!({"files": access}), change).expect_err(part);
        assert!(error.path == path && error.problem.contains(part), "{error}");
    }
}

#[test]
fn a_limit_of_the_fleet_is_the_same_bucket_in_every_stage_and_while_a_flag_holds() {
    let plan = json!({
        "requests": {"rate": "10/s", "scope": "fleet"}, "stages": {"warn": {}, "contain": {"n_max": 1}},
        "flags": [{"flag": "beta", "n_max": 2}],
    });
    let config = json!({
        "version": 1, "identity": {"sources": [{"api_key": {}}]}, "plans": {"p": plan},
        "flags": {"beta": {"type": "bool", "default": false}}, "leases": {"cluster": "weir", "token": "t"},
    });
    let policy =
        Policy::read(config.to_string().as_bytes(), &Environment::Elsewhere, Keyed::new([0; 16])).expect("good");
    let plan = policy.plans.get("p").expect("a plan");
    assert!(plan.others().count() > 6 && plan.others().all(|other| other.limits[0] == plan.limits[0]));
}
