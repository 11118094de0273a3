//! Real Envoy in front of the stand-in provider, without weir: what the rig itself promises.

use serde_json::json;
use weir_rig::envoy::{self, Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};

const PLAIN: &str = r#"
static_resources:
  listeners:
    - name: edge
      address: {socket_address: {address: 0.0.0.0, port_value: 8080}}
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: edge
                route_config:
                  virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: llm}}]}]
                http_filters:
                  - name: router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
    - name: llm
      load_assignment:
        cluster_name: llm
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9}}}}]}]
"#;

fn in_front_of(llm: &Llm) -> Bootstrap {
    Bootstrap::from_yaml(PLAIN).unwrap().on_free_ports().cluster("llm", llm.address()).unwrap()
}

#[tokio::test]
async fn a_request_passes_through_to_the_provider_and_is_counted() {
    let llm = Llm::start().unwrap();
    let envoy = Envoy::start(&in_front_of(&llm), &Options::default()).unwrap();
    let body = json!({"model": "gpt-4o", "messages": []});
    let reply = Client::new().send(Call::post(format!("{}/v1/chat/completions", envoy.url()), &body)).await;
    assert_eq!((reply.status, llm.seen().len()), (200, 1));
    assert_eq!(envoy.stats("edge.downstream_rq_2xx").unwrap()["http.edge.downstream_rq_2xx"], 1);
}

#[test]
fn two_envoys_run_side_by_side() {
    let llm = Llm::start().unwrap();
    let start = || Envoy::start(&in_front_of(&llm), &Options { concurrency: 1, ..Options::default() }).unwrap();
    let (one, two) = (start(), start());
    assert_ne!(one.listener("edge").unwrap(), two.listener("edge").unwrap());
}

#[test]
fn an_envoy_that_is_asked_to_ends_in_good_order() {
    let llm = Llm::start().unwrap();
    let envoy = Envoy::start(&in_front_of(&llm), &Options::default()).unwrap();
    let edge = envoy.listener("edge").unwrap();
    assert!(envoy.quit().unwrap().contains("exiting"));
    assert!(std::net::TcpStream::connect(edge).is_err());
}

#[test]
fn a_refused_configuration_says_what_envoy_said() {
    let wrong = Bootstrap::from_yaml("static_resources: {clusters: [{nome: x}]}").unwrap().on_free_ports();
    let started = Envoy::start(&wrong, &Options::default()).unwrap_err().to_string();
    assert!(started.contains("nome"), "{started}");
    let validated = envoy::validate(&wrong).unwrap_err().to_string();
    assert!(validated.contains("nome"), "{validated}");
}
