//! VMs, configurations and failures on Envoy.

use weir_host_tests::host::worker::StartError;
use weir_host_tests::host::{FailurePolicy, Place, Quirk};
use weir_host_tests::scenario::{get, ms, ok, secs};

use crate::probe::{callbacks, envoy, outcome, outcomes};

#[test]
fn a_canary_tries_every_configuration_first() {
    let gateway = envoy("").start();
    let places: Vec<Place> =
        gateway.logs().iter().filter(|line| line.message == "configure()").map(|line| line.place).collect();
    assert_eq!(places, [Place::Canary, Place::Main, Place::Worker(0)]);
}

#[test]
fn there_is_one_ticker_more_than_workers() {
    let gateway = envoy("configure: tick_every 100\ntick: log").workers(2).start();
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 3);
    let alone = envoy("configure: tick_every 100").without_quirk(Quirk::MainThreadTicks).start();
    alone.tick();
    assert_eq!(callbacks(&alone, &["tick"]).len(), 1);
}

#[test]
fn a_refused_configuration_aborts_the_start() {
    let error = envoy("configure: log; refuse").try_start().unwrap_err();
    assert!(matches!(error, StartError::Refused { place: Place::Canary, .. }), "{error}");
}

#[test]
fn a_refused_reload_keeps_the_old_configuration() {
    let gateway = envoy("request_headers: add_header request x-config old").start();
    assert!(gateway.reload("configure: refuse").is_err());
    let reply = gateway.send(get("/")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-config"), Some("old"));
}

#[test]
fn a_reload_keeps_the_vm_and_its_shared_data_and_drains_the_old_root() {
    let gateway =
        envoy("configure: tick_every 100; add_shared n\nrequest_headers: add_header request x-config old").start();
    gateway.reload("request_headers: add_header request x-config new").unwrap();
    let reply = gateway.send(get("/")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-config"), Some("new"));
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 2, "old roots tick until they are drained");
    gateway.drain();
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 2);
    assert_eq!(gateway.shared_data("n"), Some(b"3".to_vec()), "canary, main thread and worker counted");
}

#[test]
fn an_old_root_that_is_not_done_lives_until_its_call_is_answered() {
    let old = "configure: tick_every 100\ndone: dispatch weir /last; refuse\ncall_response: done";
    let gateway = envoy(old).without_quirk(Quirk::MainThreadTicks).start();
    gateway.reload("").unwrap();
    gateway.drain();
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 1, "it still lives");
    gateway.next_call("weir").expect_path("/last").answer(202, "");
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 1, "it is gone");
}

#[test]
#[should_panic(expected = "the filter trapped in RequestHeaders on worker 0")]
fn a_trap_fails_the_test_unless_it_is_expected() {
    envoy("request_headers: panic").start().send(get("/"));
}

#[test]
fn a_trap_answers_503_until_the_restart() {
    let gateway = envoy("request_headers: get_header request x-die\nrequest_body: panic").expect_traps().start();
    gateway.send(weir_host_tests::scenario::post("/").body("x")).reply().assert_status(503);
    gateway.advance(secs(60));
    gateway.send(get("/")).reply().assert_status(503);
    gateway.worker(0).restart();
    gateway.send(get("/")).upstream(ok()).assert_status(200);
    assert_eq!(gateway.traps().len(), 1);
}

#[test]
fn a_trap_ends_every_stream_of_the_vm() {
    let gateway = envoy("request_body: panic").expect_traps().start();
    let bystander = gateway.send(get("/")).upstream(ok().chunk("half").open_ended());
    gateway.send(weir_host_tests::scenario::post("/").body("x"));
    assert!(bystander.trap().is_some() && bystander.stream_end().is_some());
    assert!(!bystander.response().ended);
}

#[test]
fn fail_reload_recovers_after_a_second() {
    let gateway = envoy("").failure_policy(FailurePolicy::FailReload).start();
    gateway.worker(0).kill();
    gateway.advance(ms(500));
    gateway.send(get("/")).reply().assert_status(503);
    gateway.advance(ms(500));
    gateway.send(get("/")).upstream(ok()).assert_status(200);
}

#[test]
fn fail_open_lets_requests_pass_unfiltered() {
    let script = "request_headers: add_header request x-seen 1";
    let gateway = envoy(script).failure_policy(FailurePolicy::FailOpen).start();
    gateway.worker(0).kill();
    let reply = gateway.send(get("/")).upstream(ok().body("hello"));
    reply.assert_status(200);
    assert_eq!(reply.text(), "hello");
    assert_eq!(reply.upstream_request().header("x-seen"), None);
}

#[test]
fn fail_open_lets_the_request_pass_that_met_the_trap() {
    let gateway = envoy("request_headers: panic").failure_policy(FailurePolicy::FailOpen).expect_traps().start();
    let reply = gateway.send(weir_host_tests::scenario::post("/x").body("hello")).upstream(ok());
    assert_eq!(reply.upstream_request().path(), "/x");
    assert_eq!(reply.upstream_request().text(), "hello");
}

#[test]
fn an_endless_loop_is_a_trap() {
    let gateway = envoy("request_headers: loop").expect_traps().start();
    gateway.send(get("/")).reply().assert_status(503);
    assert!(gateway.traps()[0].cause.contains("endless loop"));
}

#[test]
fn shared_data_survives_a_vm_and_not_a_process() {
    let mut gateway = envoy("request_headers: add_shared n").start();
    gateway.send(get("/")).upstream(ok());
    gateway.worker(0).restart();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(gateway.shared_data("n"), Some(b"2".to_vec()));
    gateway.restart();
    assert_eq!(gateway.shared_data("n"), None);
}

#[test]
fn setting_a_missing_key_ignores_the_version_and_removing_one_only_empties_it() {
    let gateway =
        envoy("request_headers: set_shared k v 77; set_shared k w 77; remove_shared k 0; get_shared k").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: set_shared k v 77"), "Ok");
    assert_eq!(outcome(&gateway, "request_headers: set_shared k w 77"), "CasMismatch");
    assert_eq!(outcome(&gateway, "request_headers: get_shared k"), "Ok none");
}

#[test]
fn the_nodes_name_is_read_in_root_contexts() {
    let gateway = envoy("configure: get_property xds/node/id; set_property a b").node_id("gw-7").start();
    assert_eq!(outcomes(&gateway, "configure: get_property xds/node/id"), ["Ok \"gw-7\""; 3]);
    assert_eq!(outcome(&gateway, "configure: set_property a b"), "NotFound");
}

#[test]
fn metric_names_are_exported_with_a_prefix() {
    let gateway = envoy("").start();
    assert_eq!(gateway.exported_metric_name("hits"), "wasmcustom.hits");
}

#[test]
fn a_queue_tells_its_listener() {
    let gateway =
        envoy("configure: register_queue q; tick_every 100\ntick: enqueue 1 hello\nqueue_ready: dequeue 1").start();
    gateway.worker(0).tick();
    assert_eq!(outcome(&gateway, "queue_ready: dequeue 1"), "Ok \"hello\"");
}

#[test]
fn a_second_configuration_lives_in_the_same_vm() {
    let gateway = envoy("request_headers: add_header request x-chain one")
        .also_config("request_headers: add_header request x-chain two")
        .start();
    let reply = gateway.send(get("/").through_chain(1)).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-chain"), Some("two"));
}

#[test]
fn a_struct_reaches_the_filter_as_a_protobuf_message() {
    // In a message the text stands as it is; in JSON its line ends are escaped, so that the script has no line of its own.
    let config = serde_json::json!({"script": "\nrequest_headers: get_header request :path\n"});
    let gateway = envoy("").config_in_yaml(&config).start();
    gateway.send(get("/x")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_header request :path"), "Ok \"/x\"");
    let json = envoy("").without_quirk(Quirk::StructIsProtobuf).config_in_yaml(&config).start();
    json.send(get("/x")).upstream(ok());
    assert!(outcomes(&json, "request_headers: get_header request :path").is_empty());
}
