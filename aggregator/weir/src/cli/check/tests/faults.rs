//! Each fault of a gateway's file, put into a file that is good.
use super::*;

/// A shipped file in which `what` is replaced.
fn with(file: &str, what: &str, by: &str) -> Judged {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    let text = std::fs::read_to_string(path).expect("a file");
    assert!(text.contains(what), "{file} has no {what}");
    judge_text(&text.replacen(what, by, 1))
}

fn with_error(file: &str, what: &str, by: &str, message: &str) {
    let judged = with(file, what, by);
    let told = judged
        .problems
        .iter()
        .find(|problem| problem.text.contains(message))
        .unwrap_or_else(|| panic!("{by}: {judged:?}"));
    assert!(told.severity == Severity::Error && told.line > 0, "{by}: {told:?}");
}

fn with_warning(file: &str, what: &str, by: &str, message: &str) {
    let judged = with(file, what, by);
    assert_eq!((judged.errors, judged.warnings), (0, 1), "{by}: {judged:?}");
    let told = &judged.problems[0].text;
    assert!(told.contains("warning: ") && told.contains(message), "{by}: {told}");
}

const SIDECAR: &str = "envoy/sidecar.yaml";
const WASMPLUGIN: &str = "envoy/istio/wasmplugin.yaml";
const EXTENSION: &str = "envoy/envoy-gateway/extensionpolicy.yaml";
const KONG: &str = "kong/kong.yml";

#[test]
fn a_filter_that_lets_everybody_in_after_a_fault_is_an_error_on_every_gateway() {
    let open = "every request would pass: unidentified, unlimited and not billed";
    let policy = "failure_policy: FAIL_RELOAD";
    with_error(SIDECAR, policy, "failure_policy: FAIL_OPEN", open);
    with_error(SIDECAR, policy, "failure_policy: 3", open);
    with_error(SIDECAR, policy, "fail_open: true", open);
    with_error("envoy/istio/envoyfilter.yaml", policy, "failure_policy: FAIL_OPEN", open);
    with_error("envoy/envoy-gateway/envoypatchpolicy.yaml", policy, "failure_policy: FAIL_OPEN", open);
    with_error(WASMPLUGIN, "failStrategy: FAIL_CLOSE", "failStrategy: FAIL_OPEN", open);
    with_error(EXTENSION, "failOpen: false", "failOpen: true", open);
    with_warning(SIDECAR, policy, "root_id: weir", "Envoy answers 503 until it is restarted");
    assert_eq!(with(SIDECAR, policy, "failure_policy: FAIL_CLOSED").warnings, 0, "that is a choice");
}

#[test]
fn a_gateway_that_cannot_hold_a_request_is_an_error_unless_weir_knows() {
    let hang = "requests with a body would hang";
    with_error(SIDECAR, "allow_on_headers_stop_iteration: true", "root_id: weir", hang);
    with_error(SIDECAR, "allow_on_headers_stop_iteration: true", "allow_on_headers_stop_iteration: false", hang);
    with_error("envoy/istio/envoyfilter.yaml", "allow_on_headers_stop_iteration: true", "root_id: weir", hang);
    with_error(WASMPLUGIN, "    hold: false\n", "    hold: true\n", hang);
    with_error(EXTENSION, "        hold: false\n", "", hang);
    let knows = with(SIDECAR, "allow_on_headers_stop_iteration: true", "root_id: weir").errors;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(SIDECAR);
    let text = std::fs::read_to_string(path).expect("a file");
    let told = text
        .replace("allow_on_headers_stop_iteration: true", "root_id: weir")
        .replace("version: 1\n", "version: 1\n                            hold: false\n");
    assert_eq!((knows, judge_text(&told).errors), (1, 0));
}

#[test]
fn a_filter_that_is_off_is_an_error() {
    let off = "every request passes unidentified, unlimited and not billed";
    with_error(
        SIDECAR,
        "- name: weir\n                    typed",
        "- name: weir\n                    disabled: true\n                    typed",
        off,
    );
    with_error(
        KONG,
        "- name: weir\n            config",
        "- name: weir\n            enabled: false\n            config",
        off,
    );
    with_error(KONG, "- name: app\n        filters", "- name: app\n        enabled: false\n        filters", off);
    with_error(
        SIDECAR,
        "- name: weir\n                    typed",
        "- name: weir\n                    is_optional: true\n                    typed",
        "leaves the filter out without a word",
    );
    let some = "static_resources: {}\nroutes:\n- match: {path: /chat}\n  typed_per_filter_config: {weir: {config: {}}}\nhttp_filters:\n- name: weir\n  disabled: true\n  \
                typed_config: {config: {failure_policy: FAIL_RELOAD, vm_config: {}, configuration: {'@type': type.googleapis.com/google.protobuf.Struct, \
                value: {version: 1, hold: false, identity: {sources: [{api_key: {}}]}, plans: {}}}}}\n";
    let judged = judge_text(some);
    assert_eq!((judged.errors, judged.warnings), (0, 1), "{judged:?}");
    assert!(judged.problems[0].text.contains("wherever no route turns it on"), "{judged:?}");
}

#[test]
fn a_filter_that_a_route_turns_off_for_more_than_one_path_is_a_warning() {
    with_warning(
        "envoy/per-route.yaml",
        "match: {path: /favicon.ico}",
        "match: {prefix: /static}",
        "weir is off for everything that this matches",
    );
}

#[test]
fn a_cluster_that_the_gateway_lacks_is_an_error() {
    with_error(
        SIDECAR,
        "cluster: weir\n",
        "cluster: wier\n",
        "there is no cluster \"wier\" in this file: no usage would arrive",
    );
    with_error(
        SIDECAR,
        "tenants: []",
        "directory: {cluster: nobody, token: a-token-of-some-length}",
        "no tenants would come",
    );
    let jwks = "- jwt: {issuer: 'https://a', tenant_claim: org, jwks: {url: 'https://a/jwks', cluster: nowhere}}\n                                - api_key:";
    with_error(SIDECAR, "- api_key:", jwks, "there is no cluster \"nowhere\" in this file: no keys would come");
    with_error(KONG, "cluster: 127.0.0.1:8090", "cluster: weir", "Kong needs host:port here");
    with_warning(
        WASMPLUGIN,
        "  events:\n      cluster: outbound|8090||weir.weir.svc.cluster.local",
        "  events:\n      cluster: weir",
        "Istio calls a service's cluster outbound|PORT||HOST",
    );
    let elsewhere = with(SIDECAR, "static_resources:", "dynamic_resources: {cds_config: {ads: {}}}\nstatic_resources:");
    assert_eq!(elsewhere.errors, 0, "{elsewhere:?}");
}

#[test]
fn a_rule_that_can_never_match_is_an_error() {
    let rule = "{match: {path: /healthz}, bypass: true}";
    for (path, why) in [
        ("healthz", "write /healthz"),
        ("/healthz?full=1", "write /healthz"),
        ("/a//b", "gateways resolve"),
        ("/a/../b", "gateways resolve"),
        ("/health*", "use path_prefix"),
        ("/a b", "write %20"),
    ] {
        let wrong = format!("{{match: {{path: '{path}'}}, bypass: true}}");
        with_error(SIDECAR, rule, &wrong, &format!("routes[0].match.path: no request ever matches: {}", ""));
        with_error(SIDECAR, rule, &wrong, why);
    }
    with_error(KONG, "path_prefix: /v1/search", "path_prefix: v1/search", "write /v1/search");
    with_error(
        "examples/demo/filter.yaml",
        "path: /healthz",
        "path: healthz",
        "routes[0].match.path: no request ever matches",
    );
    with_error(
        SIDECAR,
        "cluster: weir\n",
        "cluster: weir\n                              path: v1/events\n",
        "a path begins with a slash",
    );
}

#[test]
fn a_route_behind_one_that_takes_all_its_requests_is_an_error() {
    let rule = "- {match: {path: /healthz}, bypass: true}";
    let both = |first: &str, second: &str| {
        format!("- {{match: {first}}}\n                              - {{match: {second}}}")
    };
    for (first, second) in [
        ("{path_prefix: /}", "{path: /healthz}"),
        ("{path_prefix: /v1}", "{path_prefix: /v1/rag}"),
        ("{path: /a}", "{path: /a}"),
    ] {
        with_error(SIDECAR, rule, &both(first, second), "routes[1].match.");
    }
    for (first, second) in [("{path: /a}", "{path_prefix: /a}"), ("{path_prefix: /v1}", "{path_prefix: /v10}")] {
        assert_eq!(with(SIDECAR, rule, &both(first, second)).errors, 0, "{first} {second}");
    }
}

#[test]
fn a_filter_that_no_request_reaches_or_that_counts_twice_is_an_error() {
    let router = "- name: envoy.filters.http.router\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n";
    let weir = "http_filters:\n                  - name: weir";
    with_error(
        SIDECAR,
        weir,
        &format!("http_filters:\n                  {router}                  - name: weir"),
        "behind the router",
    );
    let kong = "    routes:\n      - {name: app, paths: [/]}\n";
    let nested = "    routes:\n      - {name: app, paths: [/], filter_chains: [{filters: [{name: weir, config: {version: 1, identity: {sources: [{api_key: {prefix: sk_}}]}, plans: {}}}]}]}\n";
    with_error(KONG, kong, nested, "each request would count twice");
    let per_route =
        "\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig\n                              config: {}\n";
    let refused = "config: {vm_config: {}, failure_policy: FAIL_RELOAD, allow_on_headers_stop_iteration: true, configuration: {'@type': type.googleapis.com/google.protobuf.Struct, value: {version: 1, identity: {sources: [{api_key: {}}]}, plans: {}}}}\n";
    with_error("envoy/per-route.yaml", per_route, refused, "Envoy refuses a Wasm filter's configuration here");
}

#[test]
fn sealed_ids_on_kong_are_an_error() {
    let plain = "                - {match: {path: /healthz}, bypass: true}\n";
    let sealed = format!(
        "{plain}                - {{match: {{path_prefix: /v1}}, provider: openai, permit: {{files: sealed}}}}\n"
    );
    let keys = "              plans:\n                starter: {requests: {rate: 100/min}}\n                enterprise: {requests: {rate: 1000/min}}\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(KONG);
    let text = std::fs::read_to_string(path).expect("a file");
    assert!(text.contains(plain) && text.contains(keys));
    let sealing = "              sealed_ids: {keys: [{version: 1, secret: {env: WEIR_SEALED_IDS_KEY}}]}\n";
    let errors =
        of(&text.replace(plain, &sealed).replacen(keys, &format!("{keys}{sealing}"), 1)).expect_err("sealed on Kong");
    assert!(errors.iter().any(|error| error.contains("routes[1].permit: Kong cannot seal ids")), "{errors:?}");
}

const BYPASS: &str = "- {match: {path: /healthz}, bypass: true}";

/// These routes behind the one for health checks, each on a line of its own.
fn routes(routes: &[&str]) -> String {
    routes.iter().fold(BYPASS.to_owned(), |all, route| format!("{all}\n                              - {route}"))
}

#[test]
fn a_route_of_the_gateway_that_names_none_of_weirs_is_an_error() {
    let metadata = "metadata: {filter_metadata: {weir: {route: search}}}";
    let misspelt = "metadata: {filter_metadata: {weir: {route: serach}}}";
    with_error("envoy/per-route.yaml", metadata, misspelt, "filter_metadata.weir.route: weir has no route \"serach\"");
}

#[test]
fn a_guard_that_nothing_leads_to_is_a_warning() {
    let guard = "{name: vectors, guard: {store: qdrant, by: filter}}";
    with_warning(SIDECAR, BYPASS, &routes(&[guard]), "no route of the gateway names it");
    let sealed = "{name: files, provider: openai, permit: {files: sealed}}";
    let keys =
        "sealed_ids: {keys: [{version: 1, secret: {env: WEIR_SIGNING_KEY}}]}\n                            plans:";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(SIDECAR);
    let text = std::fs::read_to_string(path).expect("a file").replacen("plans:", keys, 1);
    let judged = judge_text(&text.replacen(BYPASS, &routes(&[sealed]), 1));
    assert_eq!((judged.errors, judged.warnings), (0, 1), "{judged:?}");
}

#[test]
fn a_route_that_takes_requests_from_one_that_keeps_apart_is_a_warning() {
    let guarded = "{match: {path_prefix: /q}, guard: {store: qdrant, by: filter, root: /q}}";
    let plain = "{match: {path_prefix: /q/collections}}";
    with_warning(SIDECAR, BYPASS, &routes(&[plain, guarded]), "routes[1]: takes requests from routes[2], which guards");
    let elsewhere = "{match: {path_prefix: /q/v1}, provider: openai}";
    for good in [[guarded, plain.replace("/q/c", "/x").as_str()], [elsewhere, guarded]] {
        let judged = with(SIDECAR, BYPASS, &routes(&good));
        assert_eq!((judged.errors, judged.warnings), (0, 0), "{judged:?}");
    }
    let (shared, sealed) = (
        "{match: {path_prefix: /v1/files}, provider: openai, permit: [files]}",
        "{match: {path_prefix: /v1}, provider: openai, permit: {files: sealed}}",
    );
    let judged = with(SIDECAR, BYPASS, &routes(&[shared, sealed]));
    let told: Vec<&str> = judged.problems.iter().map(|problem| problem.text.as_str()).collect();
    assert!(told.iter().any(|text| text.contains("routes[1].permit: shares files among all tenants")), "{told:?}");
}

#[test]
fn settings_of_a_guard_that_do_nothing_are_told() {
    let guard = |guard: &str| routes(&[&format!("{{match: {{path_prefix: /p}}, guard: {{{guard}}}}}")]);
    with_error(SIDECAR, BYPASS, &guard("store: qdrant, by: filter, root: /q"), "routes[1].guard.root: no request");
    with_warning(SIDECAR, BYPASS, &guard("store: pinecone, by: namespace, field: owner"), "guard.field: does nothing");
    for field in ["true", "not", "count"] {
        let milvus = guard(&format!("store: milvus, by: filter, field: '{field}'"));
        with_error(SIDECAR, BYPASS, &milvus, "a field is 1 to 64 letters");
    }
}

#[test]
fn keys_and_names_that_cannot_do_what_they_are_for_are_told() {
    let config = |more: &str| {
        format!(
            "version: 1\n{IDENTITY}\nplans: {{p: {{}}}}\ntenants: [{{id: 'a|b', plan: p}}, {{id: apple, plan: p}}]\n{more}\n"
        )
    };
    let same = "sealed_ids: {keys: [{version: 2, secret: {env: K}}, {version: 1, secret: {env: K}}]}";
    assert!(of(&config(same)).expect_err("one key").iter().any(|error| error.contains("the secret of both keys")));
    let other = "sealed_ids: {keys: [{version: 2, secret: {env: K}}, {version: 1, secret: {env: L}}]}";
    assert!(of(&config(other)).is_ok());
    let weaviate = "routes: [{match: {path_prefix: /}, guard: {store: weaviate, by: namespace}}]";
    let judged = judge_text(&config(weaviate));
    assert!(judged.problems[0].text.contains("Weaviate takes no tenant \"a|b\""), "{judged:?}");
    let judged = judge_text(&config("redact: {identifiers: true}"));
    assert!(judged.problems[0].text.contains("tenant apple: its id is a common word"), "{judged:?}");
}

#[test]
fn a_secret_that_the_gateway_does_not_hand_over_is_an_error() {
    let (handed, other) = ("token: {env: WEIR_GATEWAY_TOKEN}", "token: {env: WEIR_OTHER_TOKEN}");
    let problem = "the gateway does not hand WEIR_OTHER_TOKEN over";
    with_error(SIDECAR, handed, other, problem);
    with_error("envoy/istio/envoyfilter.yaml", handed, other, problem);
    with_error(EXTENSION, handed, other, "name it in env.hostKeys");
    with_error(WASMPLUGIN, handed, other, "name it in vmConfig.env");
}
