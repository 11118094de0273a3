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
    let config = generate(&file).expect("a configuration");
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
    let mut running = generate(&file).expect("a configuration");
    let path = folder.path().join("envoy.json");
    std::fs::write(&path, running.to_string()).expect("written");
    assert_eq!(check(&file, &path).expect("read"), EXIT_DONE);
    running["static_resources"]["clusters"][0]["connect_timeout"] = "9s".into();
    std::fs::write(&path, running.to_string()).expect("written");
    assert_eq!(check(&file, &path).expect("read"), EXIT_FAILED);
    let mut differences = Vec::new();
    compare(&generate(&file).expect("a configuration"), &running, String::new(), &mut differences);
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
    let error = format!("{:#}", generate(&file).expect_err("an error"));
    assert!(error.contains("in more than 1024 orders"), "{error}");
}

#[test]
fn providers_of_file_and_catalogue_are_the_same() {
    for (from, to, expected) in [
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
        let error = format!("{:#}", generate(&file).expect_err("an error"));
        assert!(error.contains(expected), "{error}");
    }
}
