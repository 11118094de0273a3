//! The manifests for Istio and Envoy Gateway: what those would do with them is done to a plain listener, and the result
//! runs in the real Envoy.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::workspace;

const KEY: &str = "sk_weir_acme";
const HCM: &str = "/filter_chains/0/filters/0/typed_config";

fn manifest(file: &str) -> Value {
    let text = std::fs::read_to_string(workspace::root().join(file)).expect("the shipped manifest");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A gateway as it is without weir: the sidecar's bootstrap, with nothing of weir's in its listener.
fn plain() -> Value {
    let file = std::fs::read_to_string(workspace::root().join("envoy/sidecar.yaml")).expect("the shipped file");
    let mut config: Value = serde_saphyr::from_str(&file).expect("YAML");
    let hcm = config["static_resources"]["listeners"][0].pointer_mut(HCM).and_then(Value::as_object_mut).expect("HCM");
    hcm.retain(|name, _| ["@type", "stat_prefix", "route_config", "http_filters"].contains(&name.as_str()));
    let host = hcm["route_config"]["virtual_hosts"][0].as_object_mut().expect("a virtual host");
    host.remove("request_body_buffer_limit").expect("the sidecar's buffer");
    hcm["http_filters"].as_array_mut().expect("filters").retain(|filter| filter["name"] != "weir");
    config
}

/// As protobuf merges messages: fields one by one, lists by appending.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

/// RFC 6902 `add`.
fn add(into: &mut Value, path: &str, value: &Value) {
    let (parent, last) = path.rsplit_once('/').expect("a pointer");
    match into.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}")) {
        Value::Object(fields) => drop(fields.insert(last.to_owned(), value.clone())),
        Value::Array(items) => items.insert(last.parse().expect("an index"), value.clone()),
        other => panic!("{other} takes nothing"),
    }
}

/// Runs it and asks what a gateway with weir must answer.
async fn runs(config: Value, events_cluster: &str) {
    let llm = Llm::start().expect("a provider");
    let key = json!({"id": "key_1", "sha256": KeyHash::of(KEY.as_bytes())});
    let bootstrap = Bootstrap::from_yaml(&config.to_string()).expect("a bootstrap").on_free_ports();
    let bootstrap = bootstrap.cluster("upstream", llm.address()).expect("upstream");
    let bootstrap = bootstrap.cluster(events_cluster, llm.address()).expect("the cluster that the manifest names");
    let bootstrap = bootstrap.code(&workspace::weir_wasm().expect("the built module")).expect("a filter");
    let mut holds = false;
    let inline = |wasm: &mut Value| {
        let filter = &mut wasm["configuration"]["value"];
        assert_eq!(filter["events"]["cluster"], events_cluster);
        let directory = filter.as_object_mut().expect("fields").remove("directory").expect("a polled directory");
        assert_eq!(directory["cluster"], events_cluster);
        filter["tenants"] = json!([{"id": "acme", "plan": "starter", "keys": [key]}]);
        if filter["hold"] != false {
            filter["plans"]["starter"]["models"] = json!({"allow": ["gpt-*"]});
        }
        holds = filter["hold"] != false;
    };
    let bootstrap = bootstrap.each_wasm_filter(inline).expect("a filter");
    let envoy = Envoy::start(&bootstrap, &Options::default()).expect("Envoy");
    let client = Client::new();
    let chat = |model: &str, key: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "How are you?"}]});
        let call = Call::post(format!("{}/v1//chat/completions", envoy.url()), &body);
        call.header("authorization", &format!("Bearer {key}")).header("x-tenant-id", "globex")
    };
    assert_eq!(client.send(chat("gpt-4o", "sk_weir_nobody")).await.status, 401);
    assert_eq!(client.send(chat("gpt-4o", KEY)).await.status, 200);
    let seen = llm.seen().into_iter().find(|seen| seen.path.contains("chat")).expect("a request");
    assert_eq!(seen.tenant(), "acme");
    if holds {
        assert_eq!(client.send(chat("claude-3", KEY)).await.status, 403, "the body was read before the head went on");
        assert_eq!(seen.path, "/v1/chat/completions", "one spelling of the path");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn istio_with_the_envoy_filter_runs() {
    let manifest = manifest("envoy/istio/envoyfilter.yaml");
    let mut config = plain();
    let cluster = "outbound|8090||weir.weir.svc.cluster.local";
    let weir = config["static_resources"]["clusters"].as_array_mut().expect("clusters").iter_mut();
    weir.filter(|cluster| cluster["name"] == "weir").for_each(|found| found["name"] = json!(cluster));
    let hcm = config["static_resources"]["listeners"][0].pointer_mut("/filter_chains/0/filters/0").expect("a filter");
    for patch in manifest["spec"]["configPatches"].as_array().expect("patches") {
        let value = &patch["patch"]["value"];
        match (patch["applyTo"].as_str(), patch["patch"]["operation"].as_str()) {
            (Some("NETWORK_FILTER"), Some("MERGE")) => merge(hcm, value),
            (Some("VIRTUAL_HOST"), Some("MERGE")) => {
                merge(hcm.pointer_mut("/typed_config/route_config/virtual_hosts/0").expect("a virtual host"), value);
            }
            (Some("HTTP_FILTER"), Some("INSERT_BEFORE")) => add(hcm, "/typed_config/http_filters/0", value),
            other => panic!("what would Istio do with {other:?}?"),
        }
    }
    runs(config, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_gateway_with_the_patch_policy_runs() {
    let manifest = manifest("envoy/envoy-gateway/envoypatchpolicy.yaml");
    let mut config = plain();
    // Envoy Gateway's listeners have their chain under another name.
    let listener = config["static_resources"]["listeners"][0].as_object_mut().expect("a listener");
    let chains = listener.remove("filter_chains").expect("chains");
    listener.insert("default_filter_chain".to_owned(), chains[0].clone());
    for patch in manifest["spec"]["jsonPatches"].as_array().expect("patches") {
        let (operation, kind) = (&patch["operation"], patch["type"].as_str().expect("a type"));
        assert_eq!(operation["op"], "add");
        let path = operation["path"].as_str().expect("a path");
        let listener = &mut config["static_resources"]["listeners"][0];
        if kind.ends_with(".Listener") {
            add(listener, path, &operation["value"]);
        } else {
            assert!(kind.ends_with(".RouteConfiguration"), "what would Envoy Gateway do with {kind}?");
            let routes = listener.pointer_mut("/default_filter_chain/filters/0/typed_config/route_config");
            add(routes.expect("routes"), path, &operation["value"]);
        }
    }
    as_the_proxies_of_envoy_gateway(&mut config);
    runs(config, "weir").await;
}

/// The bootstrap and the environment that `envoyproxy.yaml` gives to the proxies.
fn as_the_proxies_of_envoy_gateway(config: &mut Value) {
    let proxy = manifest("envoy/envoy-gateway/envoyproxy.yaml");
    assert_eq!(proxy["spec"]["bootstrap"]["type"], "Merge");
    let text = proxy["spec"]["bootstrap"]["value"].as_str().expect("a bootstrap as text");
    let bootstrap: Value = serde_saphyr::from_str(text).expect("YAML");
    config["static_resources"]["clusters"]
        .as_array_mut()
        .expect("clusters")
        .retain(|cluster| cluster["name"] != "weir");
    merge(config, &bootstrap);
    let container = &proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"];
    assert_eq!(names(&container["env"]), secrets());
}

/// The variables that a list of `env` names.
fn names(env: &Value) -> Vec<&str> {
    env.as_array().expect("variables").iter().filter_map(|variable| variable["name"].as_str()).collect()
}

fn secrets() -> Vec<&'static str> {
    vec!["WEIR_GATEWAY_TOKEN", "WEIR_SIGNING_KEY"]
}

/// Puts the filter in as Istio and Envoy Gateway do for their own resources: neither lets a request be held.
fn insert(config: &mut Value, filter: &Value, variables: &[&str]) {
    let wasm = json!({"name": "weir", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {"name": "weir", "vm_config": {"runtime": "envoy.wasm.runtime.v8",
                                                 "environment_variables": {"host_env_keys": variables}},
                   "configuration": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": filter}}}});
    let hcm = config["static_resources"]["listeners"][0].pointer_mut(HCM).expect("a connection manager");
    add(hcm, "/http_filters/0", &wasm);
}

#[tokio::test(flavor = "multi_thread")]
async fn istio_with_the_plugin_runs() {
    let plugin = manifest("envoy/istio/wasmplugin.yaml");
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_CLOSE");
    let env = plugin["spec"]["vmConfig"]["env"].as_array().expect("variables");
    assert!(env.iter().all(|variable| variable["valueFrom"] == "HOST"), "no secret stands in the resource");
    let patch = manifest("envoy/istio/secrets.yaml");
    assert_eq!(names(&patch["spec"]["template"]["spec"]["containers"][0]["env"]), secrets());
    let (mut config, cluster) = (plain(), "outbound|8090||weir.weir.svc.cluster.local");
    let weir = config["static_resources"]["clusters"].as_array_mut().expect("clusters").iter_mut();
    weir.filter(|cluster| cluster["name"] == "weir").for_each(|found| found["name"] = json!(cluster));
    insert(&mut config, &plugin["spec"]["pluginConfig"], &names(&plugin["spec"]["vmConfig"]["env"]));
    runs(config, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_gateway_with_the_extension_policy_runs() {
    let extension = manifest("envoy/envoy-gateway/extensionpolicy.yaml");
    let wasm = &extension["spec"]["wasm"][0];
    assert_eq!(wasm["failOpen"], false);
    let keys = wasm["env"]["hostKeys"].as_array().expect("variables").iter().filter_map(Value::as_str);
    let mut config = plain();
    insert(&mut config, &wasm["config"], &keys.collect::<Vec<_>>());
    as_the_proxies_of_envoy_gateway(&mut config);
    runs(config, "weir").await;
}
