//! Every configuration that is shipped or shown is loaded: the files in `envoy/` and `examples/`, and each YAML block of
//! README and docs, by the word behind ```` ```yaml ````: `filter`, `filter-part` (some fields of one), `weir`,
//! `tenants`, `envoy` or `prometheus`.
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_filter::config::{Environment, Policy};
use weir_filter::hash::Keyed;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder with that ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found
}

/// The fenced YAML blocks of a page: the word behind `yaml`, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("\n```yaml") {
        let (kind, after) = after.split_once('\n').expect("a fence ends its line");
        let (text, after) = after.split_once("\n```").expect("a fence is closed");
        found.push((kind.trim().to_owned(), text.to_owned()));
        rest = after;
    }
    found
}

fn filter_compiles(place: &str, config: &Value) {
    if let Err(error) = Policy::read(config.to_string().as_bytes(), &Environment::Elsewhere, Keyed::new([0; 16])) {
        panic!("{place}: {error}");
    }
}

fn yaml(place: &str, text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"))
}

/// The configurations of all weir filters in an Envoy file.
fn envoy_filters(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(fields) if value["name"] == "weir" && fields.contains_key("configuration") => {
            vec![&value["configuration"]["value"]]
        }
        Value::Object(fields) => fields.values().flat_map(envoy_filters).collect(),
        Value::Array(items) => items.iter().flat_map(envoy_filters).collect(),
        _ => Vec::new(),
    }
}

/// Every metric, each with a value: those that have none yet are not shown.
fn every_metric() -> String {
    let metrics = weir::metrics::Metrics::default();
    let error = weir_stripe::webhook::reports::ProviderError {
        event_name: "ai_requests".to_owned(),
        code: "archived_meter".to_owned(),
        errors: 1,
        unseen: 1,
        first_at: weir_contract::Timestamp::default(),
        last_at: weir_contract::Timestamp::default(),
        message: String::new(),
    };
    metrics.show_billing(&weir_stripe::status::StatusView { errors: vec![error], ..Default::default() });
    metrics.show_ledger(&weir_ledger::view::LedgerView::default());
    metrics.encode(weir::metrics::TextFormat::OpenMetrics).expect("metrics")
}

/// The alerts over gateways' metrics; the aggregator's own suite compares them with the plugin's.
const GATEWAY_GROUP: &str = "weir-gateway";

/// Alerts have a name, a summary, and go by metrics that the aggregator has.
fn prometheus_rules(place: &str, rules: &Value) {
    let metrics = every_metric();
    let groups = rules["groups"].as_array().unwrap_or_else(|| panic!("{place}: rules stand in groups"));
    let is_of_gateway = |rule: &Value| {
        let gateways = groups.iter().filter(|group| group["name"] == GATEWAY_GROUP);
        gateways.flat_map(|group| group["rules"].as_array().into_iter().flatten()).any(|one| one == rule)
    };
    let rules: Vec<&Value> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
    assert!(!rules.is_empty(), "{place}: no rules");
    for rule in rules {
        let (name, expr) = (&rule["alert"], rule["expr"].as_str().unwrap_or_default());
        assert!(name.is_string() && rule["annotations"]["summary"].is_string(), "{place}: {rule}");
        let mut named = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("weir_"));
        assert!(named.clone().count() > 0 || expr.starts_with("up{"), "{place}: {name} goes by no metric");
        if is_of_gateway(rule) {
            continue;
        }
        let known = |metric: &&str| metrics.contains(&format!("# TYPE {} ", metric.trim_end_matches("_total")));
        assert_eq!(named.find(|metric| !known(metric)), None, "{place}: {name} goes by a metric that is not there");
    }
}

fn load(kind: &str, place: &str, text: &str) {
    match kind {
        "filter" => filter_compiles(place, &yaml(place, text)),
        "filter-part" => {
            let mut config = serde_json::json!({"version": 1, "identity": {"sources": [{"api_key": {}}]}, "plans": {}});
            let Value::Object(part) = yaml(place, text) else { panic!("{place}: a part has fields") };
            part.into_iter().for_each(|(field, value)| config[field] = value);
            filter_compiles(place, &config);
        }
        "weir" => {
            let config = weir::config::Config::parse(Path::new(place), text);
            assert!(config.is_ok(), "{place}: {}", config.err().map(|error| error.to_string()).unwrap_or_default());
        }
        "tenants" => {
            let tenants = weir_tenants::Snapshot::parse(Path::new(place), text);
            assert!(tenants.is_ok(), "{place}: {}", tenants.err().map(|error| error.to_string()).unwrap_or_default());
        }
        "envoy" => {
            let config = yaml(place, text);
            let filters = envoy_filters(&config);
            assert!(!filters.is_empty(), "{place}: no weir filter");
            filters.into_iter().for_each(|filter| filter_compiles(place, filter));
        }
        "gateway" => filter_compiles(place, &yaml(place, text)["filter"]),
        "prometheus" => prometheus_rules(place, &yaml(place, text)),
        other => {
            panic!(
                "{place}: a YAML block says what it is: filter, filter-part, weir, tenants, envoy or prometheus, not {other:?}"
            )
        }
    }
}

#[test]
fn every_yaml_block_of_readme_and_docs_is_loaded() {
    let mut pages = files("docs", "md");
    pages.push(root().join("README.md"));
    let mut loaded = 0;
    for page in pages {
        for (kind, text) in blocks(&read(&page)) {
            load(&kind, &page.display().to_string(), &text);
            loaded += 1;
        }
    }
    assert!(loaded > 0, "README.md shows at least the filter's configuration");
}

#[test]
fn the_example_of_a_gateway_holds_a_good_filter_configuration() {
    let path = root().join("examples/routing/gateway.yaml");
    load("gateway", &path.display().to_string(), &read(&path));
}

#[test]
fn every_envoy_file_holds_a_good_filter_configuration() {
    // The manifests in the folders below are run by tests/envoy/manifests.rs.
    let shipped =
        files("envoy", "yaml").into_iter().filter(|path| path.parent().is_some_and(|at| at.ends_with("envoy")));
    let shipped: Vec<PathBuf> = shipped.chain(files("kong/sidecar", "yaml")).collect();
    assert!(!shipped.is_empty());
    for path in shipped {
        load("envoy", &path.display().to_string(), &read(&path));
    }
}

/// The configurations of all weir filters in a Kong file.
fn kong_filters(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(_) if value["name"] == "weir" => vec![&value["config"]],
        Value::Object(fields) => fields.values().flat_map(kong_filters).collect(),
        Value::Array(items) => items.iter().flat_map(kong_filters).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_kong_file_holds_good_filter_configurations_one_on_each_way() {
    let file = yaml("kong.yml", &read(&root().join("kong/kong.yml")));
    let filters = kong_filters(&file);
    assert_eq!(filters.len(), 3, "a chain of a service, and two of routes");
    filters.into_iter().for_each(|filter| filter_compiles("kong.yml", filter));
    for service in file["services"].as_array().expect("services") {
        let of_routes = kong_filters(&service["routes"]).len();
        let of_service = kong_filters(&service["filter_chains"]).len();
        assert!(of_service + of_routes > 0 && (of_service == 0 || of_routes == 0), "weir would run twice: {service}");
    }
}

/// Where a shipped Envoy file listens, and where its cluster `name` is.
fn envoy_addresses(file: &Value, name: &str) -> [String; 2] {
    let text = |address: &Value| {
        let address = &address["socket_address"];
        format!("{}:{}", address["address"].as_str().unwrap_or_default(), address["port_value"])
    };
    let resources = &file["static_resources"];
    let clusters = resources["clusters"].as_array().expect("clusters");
    let cluster = clusters.iter().find(|cluster| cluster["name"] == name).expect("the cluster");
    let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    [text(&resources["listeners"][0]["address"]), text(&endpoint["address"])]
}

/// The two halves of each way with a sidecar meet, and Kong's half has nothing that a Kong without Wasm would not know.
#[test]
fn kong_and_its_sidecar_find_each_other() {
    let load = |name: &str| yaml(name, &read(&root().join("kong/sidecar").join(name)));
    let [_, kong] = envoy_addresses(&load("envoy-before-kong.yaml"), "kong");
    let settings = read(&root().join("kong/sidecar/kong-behind-envoy.conf"));
    assert!(settings.contains(&format!("\nproxy_listen = {kong}\n")), "Envoy sends to {kong}");
    let behind = load("kong-behind-envoy.yml");
    assert_eq!(behind["services"][0]["routes"][0]["response_buffering"], false);

    let [sidecar, _] = envoy_addresses(&load("envoy-behind-kong.yaml"), "upstream");
    let before = load("kong-before-envoy.yml");
    let service = &before["services"][0];
    assert_eq!(service["url"], format!("http://{sidecar}"));
    assert_eq!((&service["retries"], &service["routes"][0]["response_buffering"]), (&0.into(), &false.into()));
    let plugins: Vec<&Value> = service["plugins"].as_array().expect("plugins").iter().map(|it| &it["name"]).collect();
    assert_eq!(plugins, ["pre-function", "key-auth"], "what a client forges goes before Kong says who it is");
    for file in [&behind, &before] {
        assert!(kong_filters(file).is_empty() && file["_format_version"] == "3.0", "{file}");
    }
}

/// What `kong.conf` must say: without it weir is not loaded, or not what it says it is.
#[test]
fn kongs_settings_are_those_that_weir_needs() {
    let text = read(&root().join("kong/kong.conf"));
    let settings = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let settings: std::collections::BTreeMap<&str, &str> = settings.collect();
    for (name, value) in [
        ("wasm", "on"),
        ("wasm_filters_path", "/etc/kong/wasm"),
        ("nginx_wasm_shm_kv", "10m"),
        ("nginx_http_client_body_buffer_size", "10m"),
        ("nginx_http_proxy_wasm_isolation", "none"),
    ] {
        assert_eq!(settings.get(name), Some(&value), "{name}");
    }
}

#[test]
fn the_examples_and_the_aggregators_own_example_are_good() {
    let files = [
        ("filter", "examples/demo/filter.yaml"),
        ("weir", "examples/demo/weir.yaml"),
        ("tenants", "examples/demo/tenants.yaml"),
        ("weir", "aggregator/weir/weir.example.yaml"),
        ("weir", "examples/docker/weir.yaml"),
        ("tenants", "examples/docker/tenants.yaml"),
    ];
    for (kind, file) in files {
        load(kind, file, &read(&root().join(file)));
    }
}

#[test]
fn the_alert_rules_go_by_metrics_that_there_are() {
    let file = "examples/prometheus/weir-alerts.yaml";
    load("prometheus", file, &read(&root().join(file)));
}

#[test]
fn every_gateway_file_signs_its_events_and_holds_no_secret() {
    let folders = ["envoy", "kong", "examples"];
    let secrets = ["token:", "signing_key:", "user_key:", "secret:"];
    let mut sending = 0;
    for file in folders.iter().flat_map(|folder| walk(&root().join(folder))) {
        let text = read(&file);
        // What stands behind a name, on its line or on the next one.
        let lines: Vec<&str> = text.lines().map(|line| line.trim().trim_start_matches("- ")).collect();
        let fields = |names: &[&str]| {
            let found = lines.iter().enumerate().filter_map(|(at, line)| {
                let (name, value) = line.split_once(' ').unwrap_or((line, lines.get(at + 1).unwrap_or(&"")));
                names.contains(&name).then(|| value.to_owned())
            });
            found.collect::<Vec<_>>()
        };
        let is_named = |value: &str| {
            let value = value.trim_start_matches('{');
            ["env: ", "file: ", "environment_variable: "].iter().any(|source| value.starts_with(source))
        };
        for value in fields(&secrets) {
            assert!(is_named(&value), "{}: a secret stands there: {value}", file.display());
        }
        let (events, signed) =
            (text.lines().filter(|line| line.trim() == "events:").count(), fields(&["signing_key:"]).len());
        let server = file.ends_with("weir.yaml");
        assert!(server || events == signed, "{}: {events} send events, {signed} sign them", file.display());
        sending += events;
    }
    assert!(sending > 10, "{sending} configurations send events");
}

#[test]
fn what_envoy_hands_over_is_what_the_filter_names() {
    for file in walk(&root().join("envoy")).into_iter().chain(walk(&root().join("kong/sidecar"))) {
        let text = read(&file);
        let is_variable = |after: &&str| after.starts_with(|letter: char| letter.is_ascii_uppercase());
        let named = text.split("env: ").skip(1).filter(is_variable).filter_map(|after| after.split(['}', '\n']).next());
        let named: std::collections::BTreeSet<&str> = named.collect();
        let names_one = |line: &str| line.split("env: ").nth(1).as_ref().is_some_and(is_variable);
        let hands = |name: &&str| {
            let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !names_one(line));
            lines.filter(|line| line.contains(*name)).count() > 0
        };
        let missing: Vec<&&str> = named.iter().filter(|name| !hands(name)).collect();
        assert!(missing.is_empty(), "{}: {missing:?} is not handed over", file.display());
    }
}

/// Every YAML file under a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_yaml = |path: &Path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).filter(|path| is_yaml(path)).collect()
}

#[test]
fn the_configuration_in_the_kubernetes_manifest_is_good() {
    let text = read(&root().join("examples/kubernetes/weir.yaml"));
    let config =
        text.split("\n---\n").next().map(|first| yaml("weir.yaml", first)).expect("the config map comes first");
    load("weir", "examples/kubernetes/weir.yaml", config["data"]["weir.yaml"].as_str().expect("a configuration"));
}

#[test]
fn every_attack_in_the_docs_has_the_test_it_names() {
    let page = read(&root().join("docs/identity.md"));
    let (_, table) = page.split_once("## Attacks").expect("a chapter about attacks");
    let named = table.split('`').filter_map(|word| word.split_once("::"));
    let tests = |folder: &str, module: &str| {
        std::fs::read_to_string(root().join(format!("host-tests/tests/{folder}/{module}.rs"))).unwrap_or_default()
    };
    let mut found = 0;
    for (module, name) in named {
        let test = format!("fn {name}(");
        let there = ["filter", "envoy", "plan"].iter().any(|folder| tests(folder, module).contains(&test));
        assert!(there, "docs/identity.md names {module}::{name}, which is no test");
        found += 1;
    }
    assert!(found >= 25, "{found} tests are named");
}

#[test]
fn the_page_of_refusals_lists_every_code_that_the_filter_answers_and_no_other() {
    let page = read(&root().join("docs/refusals.md"));
    let (_, table) = page.split_once("|---|").expect("a table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let listed: Vec<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            (cells[1].trim_matches('`').to_owned(), cells[0].trim_start_matches("| ").to_owned())
        })
        .collect();
    // The plugin's own answer where it cannot ask the filter.
    let mut answered = vec![("unavailable".to_owned(), 503)];
    for refusal in weir_filter::refusal::Refusal::one_of_each_code() {
        answered.push((refusal.code().to_owned(), refusal.status()));
    }
    let mut codes: Vec<&String> = listed.iter().map(|(code, _)| code).collect();
    let mut wanted: Vec<&String> = answered.iter().map(|(code, _)| code).collect();
    codes.sort();
    wanted.sort();
    assert_eq!(codes, wanted);
    for (code, status) in &answered {
        let row = listed.iter().find(|(listed, _)| listed == code).expect("it is listed");
        assert!(row.1.starts_with(&status.to_string()), "{code}: {} is {status}", row.1);
    }
}
