//! The shipped configuration before any filter runs: clients cannot pick a route, and each path has one spelling.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::workspace;

use crate::wire::open;

const KEY: &str = "authorization: Bearer sk_weir_acme\r\n";

/// The shipped configuration with a route without weir in front. Only weir may lead a request to it.
fn start(llm: &Llm, change: impl FnOnce(&mut Value)) -> Envoy {
    let key = json!({"id": "key_1", "sha256": KeyHash::of(b"sk_weir_acme")});
    let filter = json!({
        "version": 1, "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]}, "plans": {"p": {}},
        "tenants": [{"id": "acme", "plan": "p", "keys": [key]}],
        "routes": [{"match": {"path": "/healthz"}, "bypass": true}],
    });
    let gold = json!({"match": {"prefix": "/", "headers": [{"name": "x-tenant-plan", "string_match": {"exact": "gold"}}]},
                      "route": {"cluster": "upstream"},
                      "typed_per_filter_config": {"weir": {
                          "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}}});
    let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
        .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|config| config.configuration(&filter))
        .expect("the shipped configuration");
    let bootstrap = bootstrap.edit(|config| {
        let manager = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes");
        routes.insert(0, gold);
        change(manager);
    });
    Envoy::start(&bootstrap, &Options::default()).expect("Envoy")
}

fn status(envoy: &Envoy, path: &str, headers: &str) -> String {
    let (_, first) = open(envoy, &format!("GET {path}"), headers);
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_pick_its_route_by_a_header_of_ours() {
    let llm = Llm::start().expect("a provider");
    let spoofed = "X-Tenant-Plan: gold\r\n";
    let envoy = start(&llm, |_| {});
    assert_eq!(status(&envoy, "/v1/models", spoofed), "401");
    assert_eq!(status(&envoy, "/v1/models", &format!("{KEY}{spoofed}{spoofed}")), "200");
    // Without the shipped removal it is picked before weir sees the request: what `weir check` refuses.
    let open_to_all = start(&llm, |manager| {
        manager.as_object_mut().expect("a map").remove("early_header_mutation_extensions");
    });
    assert_eq!(status(&open_to_all, "/v1/models", spoofed), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_has_one_spelling() {
    let llm = Llm::start().expect("a provider");
    let envoy = start(&llm, |_| {});
    for (path, expected) in [
        ("/healthz/../v1/models", "401"),
        ("/healthz/%2e%2e/v1/models", "401"),
        ("/HEALTHZ", "401"),
        ("/healthz/", "401"),
        ("/healthz%2f..%2fv1/models", "401"),
        ("/v1/models%5c..", "401"),
    ] {
        assert_eq!(status(&envoy, path, ""), expected, "{path}");
    }
    for path in ["/healthz%2f..%2fv1/models", "/v1/models%5c..", "/v1%2fmodels", "/v1;x/models"] {
        assert_eq!(status(&envoy, path, KEY), "400", "{path}");
    }
    assert_eq!(status(&envoy, "//v1///models", KEY), "200");
    let seen = llm.seen();
    assert_eq!(seen.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["/v1/models"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn awss_name_of_a_model_arrives_as_it_was_sent() {
    let llm = Llm::start().expect("a provider");
    let envoy = start(&llm, |_| {});
    let arn = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-pro-v1%3A0";
    let path = format!("/model/{arn}/converse");
    // The stand-in's own answer to no body plays no part here.
    open(&envoy, &format!("POST {path}"), &format!("{KEY}content-length: 0\r\n"));
    assert_eq!(llm.seen().iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), [path.as_str()]);
    for path in [format!("/model/{arn}%2F..%2Fx/converse"), format!("/models/{arn}/converse")] {
        assert_eq!(status(&envoy, &path, KEY), "400", "{path}");
    }
}
