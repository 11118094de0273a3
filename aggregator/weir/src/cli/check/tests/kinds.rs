//! What a document is taken for.
use super::*;

#[test]
fn other_yaml_is_refused_with_what_is_known() {
    for other in [
        "services: {web: {image: nginx}}\nversion: '3.9'\n",
        "name: build\non: push\njobs: {}\n",
        "global: {scrape_interval: 15s}\nscrape_configs: []\n",
        "- just\n- a list\n",
        "a word\n",
        "replicaCount: 2\nimage: {}\ntls: []\n",
    ] {
        let errors = of(other).expect_err(other);
        assert!(
            errors[0].contains("weir does not know what this is") && errors[0].contains("a tenants file"),
            "{errors:?}"
        );
    }
    let objects = of("apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: ConfigMap\ndata: {a.txt: b}\n")
        .expect_err("none");
    assert!(objects[0].contains("nothing here is weir's"), "{objects:?}");
}

#[test]
fn a_tenants_file_is_checked_as_the_server_reads_it() {
    let good = "tenants:\n- {id: acme, plan: starter}\n";
    assert_eq!(of(good).expect("good"), "a tenants file");
    let twice = of(&format!("{good}- {{id: acme, plan: starter}}\n")).expect_err("twice");
    assert!(twice[0].contains("a.yaml:1:1: tenants: ") && twice[0].contains("acme"), "{twice:?}");
    let number = of("tenants:\n- {id: 7, plan: starter}\n").expect_err("a number");
    assert!(number[0].contains("a.yaml:2:") && number[0].contains("in quotes"), "{number:?}");
}

#[test]
fn every_document_is_checked_and_places_are_those_of_the_file() {
    let first = "# a comment\n---\napiVersion: v1\nkind: Service\n---\n";
    let map = "apiVersion: v1\nkind: ConfigMap\ndata:\n  readme.txt: hello\n  weir.yaml: |\n    listen: 127.0.0.1:1\n    grce: 5m\n";
    let errors = of(&format!("{first}{map}")).expect_err("misspelt");
    assert!(errors[0].contains("a.yaml:12:5: data.weir.yaml: ") && errors[0].contains("grce"), "{errors:?}");
    let tenants = "apiVersion: v1\nkind: Secret\nstringData:\n  tenants.yaml: |\n    tenants:\n    - {id: acme}\n";
    let errors = of(&format!("{first}{tenants}")).expect_err("no plan");
    assert!(errors[0].contains("stringData.tenants.yaml: ") && errors[0].contains("plan"), "{errors:?}");
    let broken = of("grace: 5m\n---\ntenants: [\n").expect_err("broken");
    assert!(broken[0].contains("a.yaml:"), "{broken:?}");
    assert_eq!(of("grace: 5m\n---\ntenants: []\n").expect("good"), "the server's configuration, a tenants file");
}

#[test]
fn other_wasm_filters_beside_weir_are_left_alone() {
    let other = format!(
        "- name: envoy.filters.http.wasm\n  typed_config:\n    config:\n      name: cors\n      vm_config: {{code: {{local: {{filename: cors.wasm}}}}}}\n      \
         configuration: {{'@type': {TEXT}, value: 'any words'}}\n"
    );
    let ours = format!(
        "- name: weir\n  typed_config:\n    config:\n      failure_policy: FAIL_RELOAD\n      allow_on_headers_stop_iteration: true\n      \
         vm_config: {{}}\n      configuration: {{'@type': {STRUCT}, value: {{version: 1, {IDENTITY}, plans: {{}}}}}}\n"
    );
    let indented = format!("{other}{ours}").replace('\n', "\n  ");
    let file = format!("static_resources: {{}}\nhttp_filters:\n  {indented}\n");
    assert_eq!(of(&file).expect("good"), "Envoy's configuration, with one weir filter");
    let alone = judge_text(&format!("static_resources: {{}}\nhttp_filters:\n{other}"));
    assert_eq!((alone.errors, alone.warnings), (0, 1), "{alone:?}");
    assert!(alone.problems[0].text.contains("there is no weir filter in this file"), "{alone:?}");
}

#[test]
fn a_weir_filter_without_a_readable_configuration_is_an_error() {
    let plugin = |configuration: &str| {
        let code = "vm_config: {code: {local: {filename: /etc/envoy/weir.wasm}}}";
        of(&format!(
            "static_resources: {{}}\nhttp_filters:\n- typed_config:\n    config:\n      failure_policy: FAIL_RELOAD\n      {code}\n      {configuration}\n"
        ))
    };
    let none = plugin("fail_open: false").expect_err("none");
    assert!(none[0].contains("configuration: there is none, and weir refuses to start without"), "{none:?}");
    let bytes = plugin("configuration: {'@type': type.googleapis.com/google.protobuf.BytesValue, value: AAAA}")
        .expect_err("bytes");
    assert!(bytes[0].contains("weir reads it only as"), "{bytes:?}");
    let words = plugin(&format!("configuration: {{'@type': {TEXT}, value: 'version: 1'}}")).expect_err("not JSON");
    assert!(words[0].contains("configuration.value"), "{words:?}");
}

#[test]
fn kong_is_told_which_rules_of_routing_it_cannot_keep() {
    let judged = |providers: &str| {
        let catalogue = format!(
            "providers: [{providers}], models: [{{name: a, provider: one, context_max_tokens: 9, output_max_tokens: 9, \
             price: {{input: 1, output: 1}}}}], routing: {{rules: [{{model: auto, candidates: [a]}}]}}"
        );
        let config = format!("{{version: 1, {IDENTITY}, plans: {{}}, {catalogue}}}");
        judge_text(&format!("filter_chains: [{{filters: [{{name: weir, config: {config}}}]}}]"))
    };
    let one = judged("{name: one, dialect: openai}");
    assert_eq!(one.errors, 0, "{:?}", one.problems);
    let two = judged("{name: one, dialect: openai}, {name: two, dialect: openai}");
    assert_eq!(two.errors, 1, "{:?}", two.problems);
    assert!(two.problems[0].text.contains("give the one provider of that service"), "{:?}", two.problems);
}

#[test]
fn a_limit_of_the_fleet_needs_a_server_and_kong_cannot_hold_requests_for_it() {
    let plans = "plans: {p: {requests: {rate: 10/s, scope: fleet}}}";
    let nobody = of(&format!("version: 1\n{IDENTITY}\n{plans}\n")).expect_err("nobody grants leases");
    assert!(nobody[0].contains("give `leases` or `directory`"), "{nobody:?}");
    let config =
        format!("{{version: 1, {IDENTITY}, leases: {{cluster: '127.0.0.1:8090', token: {{env: T}}}}, {plans}}}");
    let kong = judge_text(&format!("filter_chains: [{{filters: [{{name: weir, config: {config}}}]}}]"));
    assert_eq!((kong.errors, kong.warnings), (0, 1), "{:?}", kong.problems);
    assert!(kong.problems[0].text.contains("first request"), "{:?}", kong.problems);
}
