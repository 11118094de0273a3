use super::*;

const FILE: &str = r#"
listen: 127.0.0.1:8080
weir: 127.0.0.1:8090
providers:
  anthropic: {address: "api.anthropic.com:443", key: {env: ANTHROPIC_KEY, header: x-api-key}}
  own: {address: "127.0.0.1:8000", tls: false}
filter:
  version: 1
  identity: {sources: [{api_key: {prefix: sk_weir_}}]}
  plans: {p: {}}
  providers: [{name: anthropic, dialect: anthropic}, {name: own, dialect: vllm}]
  models:
    - {name: haiku, provider: anthropic, context_max_tokens: 200000, output_max_tokens: 8192, price: {input: 1000000, output: 5000000}}
    - {name: llama, provider: own, context_max_tokens: 128000, output_max_tokens: 4096, price: {input: 100000, output: 100000}}
  routing: {rules: [{model: auto, candidates: [haiku, llama]}]}
"#;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, text).expect("written");
    (folder, file)
}

#[test]
fn each_chain_has_a_route_and_each_provider_a_cluster_with_its_own_models() {
    let (_folder, file) = written(FILE);
    let config = generate(&file, Runner::Envoy).expect("a configuration");
    let manager = &config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().expect("routes");
    let names: Vec<&str> = routes.iter().filter_map(|route| route["name"].as_str()).collect();
    assert_eq!(names, ["anthropic", "anthropic.own", "own", "own.anthropic"]);
    assert_eq!(routes.last().expect("a route")["direct_response"]["status"], 404);
    let clusters = config["static_resources"]["clusters"].as_array().expect("clusters");
    let roles: Vec<String> = clusters
        .iter()
        .map(|cluster| {
            let options =
                &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
            let value = &options["http_filters"][0]["typed_config"]["config"]["configuration"]["value"];
            format!("{}:{}:{}", cluster["name"], value["models"][0]["name"], cluster["transport_socket"].is_object())
        })
        .collect();
    assert_eq!(roles, [r#""anthropic":"haiku":true"#, r#""own":"llama":false"#, r#""weir":null:false"#]);
}

#[test]
fn a_running_file_that_differs_is_told_by_its_paths() {
    let (folder, file) = written(FILE);
    let mut running = generate(&file, Runner::Envoy).expect("a configuration");
    let path = folder.path().join("envoy.json");
    std::fs::write(&path, running.to_string()).expect("written");
    assert_eq!(check(&file, &path, Runner::Envoy).expect("read"), EXIT_DONE);
    running["static_resources"]["clusters"][0]["connect_timeout"] = "9s".into();
    std::fs::write(&path, running.to_string()).expect("written");
    assert_eq!(check(&file, &path, Runner::Envoy).expect("read"), EXIT_FAILED);
    let mut differences = Vec::new();
    compare(&generate(&file, Runner::Envoy).expect("a configuration"), &running, String::new(), &mut differences);
    assert_eq!(differences, ["static_resources.clusters[0].connect_timeout: it differs from what is generated"]);
}

#[test]
fn more_orders_of_providers_than_envoy_shall_have_routes_for_are_refused() {
    let mut gateway: Value = serde_saphyr::from_str(FILE).expect("YAML");
    for at in 0..12 {
        let name = format!("p{at}");
        gateway["providers"][&name] = serde_json::json!({"address": "127.0.0.1:1", "tls": false});
        let mut model = gateway["filter"]["models"][1].clone();
        (model["name"], model["provider"]) = (name.clone().into(), name.clone().into());
        gateway["filter"]["models"].as_array_mut().expect("models").push(model);
        let provider = serde_json::json!({"name": name, "dialect": "openai"});
        gateway["filter"]["providers"].as_array_mut().expect("providers").push(provider);
        gateway["filter"]["routing"]["rules"][0]["candidates"].as_array_mut().expect("names").push(name.into());
    }
    let (_folder, file) = written(&gateway.to_string());
    let error = format!("{:#}", generate(&file, Runner::Envoy).expect_err("an error"));
    assert!(error.contains("in more than 1024 orders"), "{error}");
}

#[test]
fn providers_of_file_and_catalogue_are_the_same() {
    let own_key = "{name: anthropic, dialect: anthropic, tenant_key: {provider: anthropic, header: authorization}}";
    let directory = format!("  directory: {{cluster: weir, token: a-token-of-the-directory}}\n  providers: [{own_key}");
    for (from, to, expected) in [
        (
            "  providers: [{name: anthropic, dialect: anthropic}",
            directory.as_str(),
            "providers.anthropic.key.header: tenants' own keys go up in authorization, and both would",
        ),
        (
            "  own: {address: \"127.0.0.1:8000\", tls: false}\n",
            "",
            "providers.own: the catalogue has this provider; say how it is reached",
        ),
        ("  own: {", "  other: {address: \"h:1\"}\n  own: {", "providers.other: the catalogue has no such provider"),
        ("env: ANTHROPIC_KEY, ", "", "providers.anthropic.key: give either `file` or `env`"),
        (
            "header: x-api-key",
            "header: x-house-key",
            "providers.anthropic.key.header: expected one of authorization, x-api-key, api-key, x-goog-api-key",
        ),
        ("candidates: [haiku, llama]", "candidates: [gpt]", "no model of the catalogue is named \"gpt\""),
    ] {
        let (_folder, file) = written(&FILE.replacen(from, to, 1));
        let error = format!("{:#}", generate(&file, Runner::Envoy).expect_err("an error"));
        assert!(error.contains(expected), "{error}");
    }
}

/// What a gateway has without weir: a listener with a route of its own.
fn plain() -> Value {
    let manager = serde_json::json!({"@type": "HttpConnectionManager", "stat_prefix": "theirs",
        "route_config": {"virtual_hosts": [{"name": "theirs", "routes": [{"match": {"prefix": "/"}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router"}]});
    serde_json::json!({"listener": {"default_filter_chain": {"filters": [{"typed_config": manager}]}}, "clusters": [], "bootstrap": {}})
}

/// The parts of a configuration of Envoy that patches have to bring, whichever way.
fn brought(listener: &Value, chain: &str, clusters: &Value, secrets: &Value) -> Value {
    let manager = &listener.pointer(chain).expect("a chain")["filters"][0]["typed_config"];
    let host = &manager["route_config"]["virtual_hosts"][0];
    let routes =
        host["routes"].as_array().expect("routes").iter().filter(|route| route["match"].get("headers").is_some());
    serde_json::json!({
        "buffer": listener["per_connection_buffer_limit_bytes"], "host_buffer": host["request_body_buffer_limit"],
        "mutations": manager["early_header_mutation_extensions"], "paths": manager["path_with_escaped_slashes_action"],
        "filter": manager["http_filters"][0], "routes": routes.collect::<Vec<_>>(), "clusters": clusters, "secrets": secrets,
    })
}

fn expected() -> Value {
    let (_folder, file) = written(FILE);
    let envoy = generate(&file, Runner::Envoy).expect("a configuration");
    let parts = &envoy["static_resources"];
    brought(&parts["listeners"][0], "/filter_chains/0", &parts["clusters"], &parts["secrets"])
}

/// As protobuf merges messages: fields one by one, lists by appending.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.iter().for_each(|(name, value)| merge(into.entry(name).or_insert(Value::Null), value));
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

#[test]
fn istio_makes_of_a_gateway_what_the_static_file_says() {
    let (_folder, file) = written(FILE);
    let made = generate(&file, Runner::Istio).expect("a manifest");
    assert_eq!((&made["apiVersion"], &made["kind"]), (&"networking.istio.io/v1alpha3".into(), &"EnvoyFilter".into()));
    assert_eq!(made["spec"]["workloadSelector"]["labels"]["istio"], "ingressgateway");
    let mut have = plain();
    for patch in made["spec"]["configPatches"].as_array().expect("patches") {
        let (to, operation) = (patch["applyTo"].as_str().expect("a kind"), &patch["patch"]["operation"]);
        let value = &patch["patch"]["value"];
        assert_eq!(patch["match"].get("context").is_some(), to != "BOOTSTRAP");
        let manager = "/listener/default_filter_chain/filters/0";
        let (place, expected) = match to {
            "LISTENER" => ("/listener".to_owned(), "MERGE"),
            "NETWORK_FILTER" => (manager.to_owned(), "MERGE"),
            "VIRTUAL_HOST" => (format!("{manager}/typed_config/route_config/virtual_hosts/0"), "MERGE"),
            "HTTP_FILTER" => (format!("{manager}/typed_config/http_filters"), "INSERT_BEFORE"),
            "HTTP_ROUTE" => (format!("{manager}/typed_config/route_config/virtual_hosts/0/routes"), "INSERT_FIRST"),
            "CLUSTER" => ("/clusters".to_owned(), "ADD"),
            "BOOTSTRAP" => ("/bootstrap".to_owned(), "MERGE"),
            other => panic!("Istio knows no {other}"),
        };
        assert_eq!(operation, expected, "{to}");
        let place = have.pointer_mut(&place).expect("a place");
        match (expected, place) {
            ("MERGE", place) => merge(place, value),
            ("ADD", Value::Array(list)) => list.push(value.clone()),
            (_, Value::Array(list)) => list.insert(0, value.clone()),
            (_, other) => panic!("{other} takes nothing"),
        }
    }
    let secrets = &have["bootstrap"]["static_resources"]["secrets"];
    assert_eq!(brought(&have["listener"], "/default_filter_chain", &have["clusters"], secrets), expected());
}

#[test]
fn envoy_gateway_makes_of_a_gateway_what_the_static_file_says() {
    let (_folder, file) = written(FILE);
    let made = generate(&file, Runner::EnvoyGateway).expect("manifests");
    let [proxy, policy] = made["items"].as_array().expect("items").as_slice() else { panic!("{made}") };
    assert_eq!((&proxy["kind"], &policy["kind"]), (&"EnvoyProxy".into(), &"EnvoyPatchPolicy".into()));
    assert_eq!(policy["spec"]["targetRef"]["name"], "edge");
    let mut have = plain();
    let text = proxy["spec"]["bootstrap"]["value"].as_str().expect("a text");
    merge(&mut have["bootstrap"], &serde_json::from_str(text).expect("JSON"));
    for patch in policy["spec"]["jsonPatches"].as_array().expect("patches") {
        let (kind, path) =
            (patch["type"].as_str().expect("a type"), patch["operation"]["path"].as_str().expect("a path"));
        let value = patch["operation"]["value"].clone();
        assert_eq!(patch["operation"]["op"], "add");
        let root = match kind.strip_prefix("type.googleapis.com/envoy.config.") {
            Some("listener.v3.Listener") => "/listener",
            Some("route.v3.RouteConfiguration") => "/listener/default_filter_chain/filters/0/typed_config/route_config",
            Some("cluster.v3.Cluster") => {
                assert_eq!((&patch["name"], path), (&value["name"], ""));
                have["clusters"].as_array_mut().expect("clusters").push(value);
                continue;
            }
            _ => panic!("Envoy Gateway patches no {kind}"),
        };
        assert_eq!(patch["name"], "default/edge/http");
        let (parent, last) = path.rsplit_once('/').expect("a pointer");
        match have.pointer_mut(&format!("{root}{parent}")).expect("a place") {
            Value::Object(fields) => drop(fields.insert(last.to_owned(), value)),
            Value::Array(items) => items.insert(last.parse().expect("an index"), value),
            other => panic!("{other} takes nothing"),
        }
    }
    let secrets = &have["bootstrap"]["static_resources"]["secrets"];
    assert_eq!(brought(&have["listener"], "/default_filter_chain", &have["clusters"], secrets), expected());
}

#[test]
fn a_manifest_that_differs_is_told_by_its_paths() {
    let (folder, file) = written(FILE);
    let mut running = generate(&file, Runner::Istio).expect("a manifest");
    let path = folder.path().join("istio.json");
    std::fs::write(&path, running.to_string()).expect("written");
    assert_eq!(check(&file, &path, Runner::Istio).expect("read"), EXIT_DONE);
    running["spec"]["workloadSelector"]["labels"]["istio"] = "other".into();
    std::fs::write(&path, running.to_string()).expect("written");
    assert_eq!(check(&file, &path, Runner::Istio).expect("read"), EXIT_FAILED);
}

#[test]
fn rules_of_the_directory_have_a_route_for_each_order_of_the_providers() {
    let inline = "routing: {rules: [{model: auto, candidates: [haiku, llama]}]}";
    let directory = "routing: {from: directory}\n  directory: {cluster: weir, token: a-token-of-the-directory}";
    let (_folder, file) = written(&FILE.replace(inline, directory));
    let envoy = generate(&file, Runner::Envoy).expect("a configuration");
    let host = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
    let routes = envoy.pointer(host).expect("a host")["routes"].as_array().expect("routes");
    let names: Vec<&str> = routes.iter().filter_map(|route| route["name"].as_str()).collect();
    assert_eq!(names, ["anthropic", "anthropic.own", "own", "own.anthropic"]);
}

#[test]
fn the_house_key_leaves_that_of_a_tenant_in_its_place() {
    let overwrites = |text: &str| {
        let (_folder, file) = written(text);
        let config = generate(&file, Runner::Envoy).expect("a configuration");
        let options = &config["static_resources"]["clusters"][0]["typed_extension_protocol_options"];
        let filters = &options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"];
        assert_eq!(filters[1]["name"], "envoy.filters.http.credential_injector");
        filters[1]["typed_config"]["overwrite"].clone()
    };
    assert_eq!(overwrites(FILE), true);
    let own = "  directory: {cluster: weir, token: a-token-of-the-directory}\n  providers: [{name: anthropic, dialect: anthropic, \
               tenant_key: {provider: anthropic}}";
    assert_eq!(overwrites(&FILE.replacen("  providers: [{name: anthropic, dialect: anthropic}", own, 1)), false);
}

#[test]
fn the_shipped_file_for_several_providers_is_what_is_generated_of_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = root.join("examples/routing/gateway.yaml");
    let text = super::written(&example, &generate(&example, Runner::Envoy).expect("a configuration"), Format::Yaml);
    let shipped = std::fs::read_to_string(root.join("envoy/gateway.yaml")).expect("the file");
    assert!(shipped.trim_end() == text.expect("YAML"), "`make docs` writes envoy/gateway.yaml anew");
    assert_eq!(check(&example, &root.join("envoy/gateway.yaml"), Runner::Envoy).expect("read"), EXIT_DONE);
}

/// Fails for a member that the documentation does not name, and for one that it requires.
fn has_only(value: &Value, required: &[&str], optional: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    for name in object.keys() {
        assert!(required.contains(&name.as_str()) || optional.contains(&name.as_str()), "{name} in {value}");
    }
    required.iter().for_each(|name| assert!(object.contains_key(*name), "{name} is missing in {value}"));
}

fn is_one_of(value: &Value, known: &[&str]) {
    assert!(value.as_str().is_some_and(|text| known.contains(&text)), "{value} is none of {known:?}");
}

/// By the reference of `EnvoyFilter` (networking.istio.io/v1alpha3).
#[test]
fn the_manifest_for_istio_has_the_members_that_its_reference_names() {
    let (_folder, file) = written(FILE);
    let made = generate(&file, Runner::Istio).expect("a manifest");
    has_only(&made, &["apiVersion", "kind", "metadata", "spec"], &[]);
    has_only(&made["metadata"], &["name", "namespace"], &[]);
    has_only(&made["spec"], &["configPatches"], &["workloadSelector", "targetRefs", "priority"]);
    has_only(&made["spec"]["workloadSelector"], &["labels"], &[]);
    for patch in made["spec"]["configPatches"].as_array().expect("patches") {
        has_only(patch, &["applyTo", "patch"], &["match"]);
        has_only(&patch["patch"], &["operation", "value"], &["filterClass"]);
        assert!(patch["patch"]["value"].is_object(), "{patch}");
        let operations: &[&str] = match patch["applyTo"].as_str().expect("a kind") {
            "LISTENER" | "CLUSTER" | "VIRTUAL_HOST" => &["MERGE", "ADD", "REMOVE"],
            "BOOTSTRAP" | "ROUTE_CONFIGURATION" => &["MERGE"],
            "NETWORK_FILTER" | "HTTP_FILTER" => {
                &["MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE"]
            }
            // Istio ignores ADD here.
            "HTTP_ROUTE" => &["MERGE", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST"],
            other => panic!("Istio knows no {other}"),
        };
        is_one_of(&patch["patch"]["operation"], operations);
        let matches = &patch["match"];
        has_only(matches, &[], &["context", "proxy", "listener", "routeConfiguration", "cluster"]);
        if let Some(context) = matches.get("context") {
            is_one_of(context, &["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"]);
        }
        if let Some(chain) = matches.pointer("/listener/filterChain") {
            has_only(&matches["listener"], &["filterChain"], &[]);
            has_only(&chain["filter"], &["name"], &["subFilter"]);
        }
    }
}

/// By the reference of `EnvoyProxy` and `EnvoyPatchPolicy` (gateway.envoyproxy.io/v1alpha1).
#[test]
fn the_manifests_for_envoy_gateway_have_the_members_that_their_reference_names() {
    let (_folder, file) = written(FILE);
    let made = generate(&file, Runner::EnvoyGateway).expect("manifests");
    let [proxy, policy] = made["items"].as_array().expect("items").as_slice() else { panic!("{made}") };
    for item in [proxy, policy] {
        has_only(item, &["apiVersion", "kind", "metadata", "spec"], &[]);
        has_only(&item["metadata"], &["name", "namespace"], &[]);
        assert_eq!(item["apiVersion"], "gateway.envoyproxy.io/v1alpha1");
    }
    let bootstrap = &proxy["spec"]["bootstrap"];
    has_only(bootstrap, &["value"], &["type"]);
    is_one_of(&bootstrap["type"], &["Merge", "Replace"]);
    has_only(&policy["spec"], &["type", "targetRef", "jsonPatches"], &["priority"]);
    assert_eq!(policy["spec"]["type"], "JSONPatch");
    has_only(&policy["spec"]["targetRef"], &["group", "kind", "name"], &[]);
    for patch in policy["spec"]["jsonPatches"].as_array().expect("patches") {
        has_only(patch, &["type", "name", "operation"], &[]);
        let operation = &patch["operation"];
        has_only(operation, &["op"], &["path", "jsonPath", "from", "value"]);
        is_one_of(&operation["op"], &["add", "remove", "replace", "move", "copy", "test"]);
        assert!(operation.get("value").is_some(), "to add takes a value: {patch}");
        let path = operation["path"].as_str().expect("a path");
        assert!(path.is_empty() || path.starts_with('/'), "a JSON pointer: {path}");
    }
}
