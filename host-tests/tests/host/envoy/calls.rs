//! Dispatched calls on Envoy.

use weir_host_tests::scenario::{Gateway, get, ok};

use crate::probe::{callbacks, envoy, outcome};

const CALL_ON_TICK: &str = "configure: tick_every 1000\ntick: dispatch weir /x\n\
                            call_response: get_header call :status";
const STATUS: &str = "call_response: get_header call :status";

fn gateway_with_a_call() -> Gateway {
    let gateway = envoy(CALL_ON_TICK).start();
    gateway.worker(0).tick();
    gateway
}

#[test]
fn a_call_to_an_unknown_cluster_or_without_a_path_is_a_bad_argument() {
    let script = "request_headers: dispatch nosuch /x; dispatch weir none";
    let gateway = envoy(script).without_cluster("nosuch").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: dispatch nosuch /x"), "BadArgument");
    assert_eq!(outcome(&gateway, "request_headers: dispatch weir none"), "BadArgument");
}

#[test]
fn a_dead_cluster_answers_with_a_synthesized_503() {
    let gateway = gateway_with_a_call();
    gateway.next_call("weir").find_nobody();
    assert_eq!(outcome(&gateway, STATUS), "Ok \"503\"");
    assert_eq!(callbacks(&gateway, &["call_response"]), ["call_response(3, 98, 0)"]);
}

#[test]
fn a_call_that_times_out_answers_with_a_synthesized_504() {
    let gateway = gateway_with_a_call();
    gateway.next_call("weir").time_out();
    assert_eq!(outcome(&gateway, STATUS), "Ok \"504\"");
}

#[test]
fn a_call_that_is_reset_answers_with_no_header_at_all() {
    let gateway = gateway_with_a_call();
    gateway.next_call("weir").reset();
    assert_eq!(callbacks(&gateway, &["call_response"]), ["call_response(0, 0, 0)"]);
    assert_eq!(outcome(&gateway, STATUS), "NotFound");
}

#[test]
fn a_call_outlives_the_stream_that_made_it_and_answers_the_root() {
    let gateway = envoy("request_headers: dispatch weir /x\ncall_response: get_header call :status").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(callbacks(&gateway, &["delete"]).len(), 1);
    gateway.next_call("weir").answer(200, "");
    assert_eq!(outcome(&gateway, STATUS), "Ok \"200\"");
}

#[test]
fn the_answer_to_a_call_lets_a_held_request_go() {
    let script = "request_headers: dispatch auth /keys; pause\ncall_response: resume_all request";
    let gateway = envoy(script).start();
    let sent = gateway.send(get("/"));
    assert!(sent.is_paused());
    gateway.next_call("auth").answer(200, "{}");
    assert!(!sent.is_paused());
    sent.upstream(ok()).assert_status(200);
}

#[test]
fn a_call_can_be_answered_by_itself() {
    let gateway = envoy(CALL_ON_TICK).start();
    gateway.answer_all("weir", |call| {
        assert_eq!(call.path(), "/x");
        weir_host_tests::scenario::status(202)
    });
    gateway.tick();
    gateway.assert_no_calls();
    assert_eq!(outcome(&gateway, STATUS), "Ok \"202\"");
}
