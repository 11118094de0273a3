//! Configurations on Kong: how they arrive, and what a new one costs.

use serde_json::json;
use weir_host_tests::scenario::{Gateway, get, ok, post};

use crate::probe::{callbacks, kong, outcome, probe};

#[test]
fn where_chains_change_without_a_reload_old_roots_tick_with_their_old_configuration() {
    let gateway = kong("configure: tick_every 100\ntick: log old").start();
    gateway.change_configuration("configure: tick_every 100\ntick: log new").unwrap();
    gateway.drain();
    gateway.tick();
    assert_eq!(outcome(&gateway, "tick: log old"), "Ok");
    assert_eq!(outcome(&gateway, "tick: log new"), "Ok");
}

#[test]
fn a_reload_starts_new_workers_and_forgets_the_calls_of_the_old_ones() {
    let gateway = kong("configure: tick_every 100\ntick: dispatch weir /old").start();
    gateway.tick();
    gateway.reload("configure: tick_every 100\ntick: log new").unwrap();
    gateway.assert_no_calls();
    gateway.tick();
    assert_eq!(outcome(&gateway, "tick: log new"), "Ok");
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 2, "one of each worker");
}

#[test]
fn a_reload_wipes_the_shared_data() {
    let gateway = kong("request_headers: add_shared n").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(gateway.shared_data("n"), Some(b"1".to_vec()));
    gateway.reload("").unwrap();
    assert_eq!(gateway.shared_data("n"), None);
}

#[test]
fn metrics_outlive_a_reload() {
    let gateway = kong("configure: counter c\nrequest_headers: increment 1 5").start();
    gateway.send(get("/")).upstream(ok());
    gateway.reload("configure: counter c").unwrap();
    assert_eq!(gateway.metric("c"), 5);
}

#[test]
#[should_panic(expected = "the worker died of its configuration, and its clients hang")]
fn a_configuration_that_is_refused_kills_the_worker() {
    let gateway = kong("").start();
    let _refused = gateway.reload("configure: refuse");
    gateway.send(get("/"));
}

#[test]
fn shared_data_without_a_zone_traps() {
    let started = kong("configure: get_shared k").without_shared_zone().try_start();
    assert!(started.unwrap_err().to_string().contains("nginx_wasm_shm_kv"));
    let gateway = kong("request_body: set_shared k v 0").without_shared_zone().expect_traps().start();
    gateway.send(post("/").body("x")).reply().assert_status(500);
}

#[test]
fn an_empty_list_arrives_as_an_object() {
    let gateway = Gateway::kong().filter(probe());
    let gateway = gateway.config_in_yaml(&json!({"tenants": [], "plans": {"a": [[], 1]}})).start();
    assert_eq!(gateway.configurations(), [r#"{"plans":{"a":[{},1]},"tenants":{}}"#]);
}

#[test]
fn words_of_yaml_1_1_arrive_as_truth_values() {
    let read = Gateway::kong().yaml("limit_headers: {on: all, x: 'no'}\n");
    assert_eq!(read, "limit_headers: {true: all, x: 'no'}\n");
    assert_eq!(Gateway::envoy().yaml("on: no\n"), "on: no\n");
}
