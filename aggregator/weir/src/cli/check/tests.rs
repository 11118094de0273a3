use super::*;

const IDENTITY: &str = "identity: {sources: [{api_key: {header: authorization, prefix: sk_weir_}}]}";

fn judge_text(text: &str) -> Judged {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.yaml");
    std::fs::write(&path, text).expect("written");
    judge(&path, CheckedFor::Envoy)
}

/// What a good file is, or the errors of one that is not, as people see them.
fn of(text: &str) -> Result<String, Vec<String>> {
    let judged = judge_text(text);
    let of_severity = |wanted| {
        let problems = judged.problems.iter().filter(|problem| problem.severity == wanted);
        problems.map(|problem| problem.text.clone()).collect::<Vec<_>>()
    };
    if judged.errors > 0 { Err(of_severity(Severity::Error)) } else { Ok(judged.kind.expect("a kind")) }
}

#[test]
fn rules_that_kong_cannot_keep_are_told_of_a_filters_configuration_that_is_meant_for_kong() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("filter.yaml");
    let of = |providers: &str, more: &str| {
        let model = |name: &str, provider: &str| {
            format!(
                "{{name: {name}, provider: {provider}, context_max_tokens: 9, output_max_tokens: 9, price: {{input: 1, output: 1}}}}"
            )
        };
        let text = format!(
            "version: 1\n{IDENTITY}\nplans: {{}}\nproviders: [{providers}]\nmodels: [{}, {}]\n\
             routing: {{rules: [{{model: fast, candidates: [haiku]}}, {{model: auto, candidates: [haiku, sonnet]}}]{more}}}\n",
            model("haiku", "one"),
            model("sonnet", if providers.contains("two") { "two" } else { "one" }),
        );
        std::fs::write(&path, text).expect("written");
        assert_eq!(judge(&path, CheckedFor::Envoy).errors, 0);
        judge(&path, CheckedFor::Kong).problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let one = "{name: one, dialect: anthropic}";
    assert_eq!(of(one, ""), Vec::<String>::new(), "a choice among the models of one provider");
    let several = of(&format!("{one}, {{name: two, dialect: openai}}"), "");
    assert!(several[0].starts_with("routing.rules[1]: the rule for auto names models of one, two"), "{several:?}");
    assert!(several[1].starts_with("providers: Kong sends all requests"), "{several:?}");
    let timed = of(one, ", first_token_ms_max: 900");
    assert!(timed[0].starts_with("routing.first_token_ms_max: Kong makes one attempt"), "{timed:?}");
}

#[test]
fn a_file_is_checked_as_what_it_is() {
    assert!(of(" \n").expect_err("empty")[0].contains("empty; there is nothing to check"));
    assert_eq!(of("grace: 5m").expect("good"), "the server's configuration");
    let filter = of(&format!("version: 1\n{IDENTITY}\nplans: {{}}\n"));
    assert!(filter.is_ok_and(|what| what == "the filter's configuration"));
}

#[test]
fn a_filters_error_has_line_and_column() {
    let problems = of(&format!("version: 1\n{IDENTITY}\nplans: {{}}\nrouts: []\n")).expect_err("wrong");
    assert!(problems[0].contains("a.yaml:4:1: ") && problems[0].contains("routs"), "{problems:?}");
}

#[test]
fn a_filter_within_a_gateways_file_is_found_by_its_path() {
    let envoy = format!(
        "filters:\n- config:\n    vm_config: {{}}\n    configuration:\n      '@type': {STRUCT}\n      \
         value: {{version: 2, identity: {{sources: []}}, plans: {{}}}}\n"
    );
    let problems = of(&envoy).expect_err("version 2");
    assert!(problems[0].contains("filters[0].config.configuration.value.version"), "{problems:?}");
    assert!(problems[0].contains("a.yaml:6:24: "), "{problems:?}");
    let config = format!("{{version: 1, hold: false, {IDENTITY}, plans: {{}}}}");
    let kong = format!("filter_chains: [{{filters: [{{name: weir, config: {config}}}]}}]");
    let istio = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec: {{url: 'oci://r/weir:1', pluginConfig: {config}}}"
    );
    assert_eq!(of(&kong).expect("good"), "Kong's configuration, with one weir filter");
    assert_eq!(of(&istio).expect("good"), "Kubernetes WasmPlugin, with one weir filter");
}

/// Returns the problem of an Envoy file whose filter has this text as its configuration, in YAML.
fn of_envoy_text(text: &str) -> String {
    let envoy = format!(
        "filters:\n- config:\n    vm_config: {{vm_id: weir}}\n    configuration:\n      '@type': {TEXT}\n      value: {text}\n"
    );
    of(&envoy).expect_err("wrong").remove(0)
}

#[test]
fn an_error_in_a_text_within_a_gateways_file_has_its_line_and_column_in_the_file() {
    let block = "|\n        {\n          \"version\": 1,\n          \"identity\": {\"sources\": [{\"api_key\": {}}]},\n          \
                 \"plans\": {\"p\": {\"requests\": {\"rate\": \"5/fortnight\"}}}\n        }";
    let problem = of_envoy_text(block);
    assert!(problem.contains("a.yaml:10:48: "), "the rate itself: {problem}");
    assert!(problem.contains("plans.p.requests.rate") && problem.contains("1000/min"), "{problem}");
    let broken = of_envoy_text("|\n        {\n          \"version\": 1,,\n        }");
    assert!(broken.contains("a.yaml:8:"), "no JSON: {broken}");
    let quoted =
        of_envoy_text(r#"'{"version": 1, "identity": {"sources": [{"api_key": {}}]}, "plans": {}, "rout": 1}'"#);
    assert!(quoted.contains("a.yaml:6:") && quoted.contains("`rout`") && quoted.contains("routes"), "{quoted}");
}

#[test]
fn an_error_in_kongs_text_has_its_line_and_column_in_the_file() {
    let kong = "services:\n- filter_chains:\n  - filters:\n    - name: weir\n      config: |\n        {\"version\": 1,\n         \
                \"identity\": {\"sources\": []}, \"plans\": {}}\n";
    let problem = of(kong).expect_err("no source").remove(0);
    assert!(problem.contains("a.yaml:7:") && problem.contains("name at least one source"), "{problem}");
}

#[test]
fn a_plain_filters_mistake_is_shown_with_its_line() {
    let text = format!("version: 1\n{IDENTITY}\nplans:\n  p: {{requests: {{rate: 0/s}}}}\n");
    let problem = of(&text).expect_err("no rate").remove(0);
    assert!(problem.contains("a.yaml:4:24: "), "{problem}");
    assert!(problem.lines().last().is_some_and(|line| line.trim_start().starts_with('|') && line.ends_with('^')));
}

#[test]
fn a_servers_mistake_has_its_line() {
    let problem = of("listen: 127.0.0.1:1\nstripe:\n  secret_key: {env: K}\n  meters: {}\n  concurrency: 0\n");
    let problem = problem.expect_err("no concurrency").remove(0);
    assert!(problem.contains("a.yaml:5:16: ") && problem.contains("stripe.concurrency"), "{problem}");
}

mod faults;
mod kinds;
mod shipped;
