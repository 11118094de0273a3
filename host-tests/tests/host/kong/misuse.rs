//! What traps, leaks and loses on Kong.

use weir_host_tests::host::LogLevel;
use weir_host_tests::scenario::{Gateway, get, ok, post};

use crate::probe::{callbacks, kong, outcome, outcomes};

/// Runs a request through a script that must trap, and says why it did.
#[track_caller]
fn why_it_trapped(script: &str) -> String {
    let gateway = kong(script).expect_traps().start();
    gateway.send(get("/")).upstream(ok().chunk("x"));
    gateway.traps().pop().expect("a trap").cause
}

fn ticking_gateway(script: &str) -> Gateway {
    kong(&format!("configure: tick_every 100\n{script}")).expect_traps().start()
}

#[test]
fn dispatching_in_request_headers_without_a_pause_crashes_the_worker() {
    assert!(why_it_trapped("request_headers: dispatch weir /x").contains("without pausing"));
}

#[test]
fn dispatching_in_request_headers_with_a_pause_works() {
    let gateway = kong("request_headers: dispatch weir /x; pause\ncall_response: continue request").start();
    let sent = gateway.send(post("/").body("hello"));
    gateway.next_call("weir").answer(200, "");
    sent.upstream(ok()).assert_status(200);
}

#[test]
fn dispatching_in_the_answer_to_a_call_crashes_the_worker() {
    let gateway = ticking_gateway("tick: dispatch weir /x\ncall_response: dispatch weir /y");
    gateway.tick();
    gateway.next_call("weir").answer(200, "");
    assert!(gateway.traps()[0].cause.contains("in the answer to a call"), "{:?}", gateway.traps());
}

#[test]
fn a_gauge_can_be_recorded_and_a_counter_incremented() {
    let script = "configure: gauge g; counter c\nrequest_headers: record 1 7; increment 2 3; get_metric 1";
    let gateway = kong(script).start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!((gateway.metric("g"), gateway.metric("c")), (7, 3));
    assert_eq!(outcome(&gateway, "request_headers: get_metric 1"), "Ok 7");
}

#[test]
fn misuse_traps() {
    for (script, reason) in [
        ("response_headers: dispatch weir /x", "dispatching in the response phase"),
        ("log: dispatch weir /x", "dispatching in the response phase"),
        ("configure: gauge g\nrequest_headers: increment 1 1", "metric not a counter"),
        ("configure: counter c\nrequest_headers: record 1 1", "metric is a counter"),
        ("request_headers: register_queue q", "could not find queue"),
        ("request_headers: foreign_function verify_signature", "does not implement"),
        ("request_headers: grpc", "does not implement"),
        ("request_headers: log_level", "does not implement"),
        ("request_headers: done", "does not implement"),
        ("request_headers: close request", "does not implement"),
        ("request_headers: tick_every 1; tick_every 2", "tick_period already set"),
    ] {
        assert!(why_it_trapped(script).contains(reason), "{script}: {}", why_it_trapped(script));
    }
}

#[test]
fn an_unknown_property_cannot_be_set_and_a_root_reads_none() {
    let script = "configure: get_property xds/node/id\nrequest_headers: set_property weir_event x";
    let gateway = kong(script).start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(outcome(&gateway, "configure: get_property xds/node/id"), "InternalFailure");
    assert_eq!(outcome(&gateway, "request_headers: set_property weir_event x"), "NotFound");
}

#[test]
fn properties_are_text() {
    let gateway = kong("response_headers: get_property response/code").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(outcome(&gateway, "response_headers: get_property response/code"), "Ok \"200\"");
}

#[test]
fn how_a_stream_broke_off_is_not_told() {
    let gateway = kong("log: get_property response/code_details; get_property response/code").start();
    gateway.send(get("/")).upstream(ok().chunk("x").reset());
    assert_eq!(outcome(&gateway, "log: get_property response/code_details"), "NotFound");
    gateway.assert_logged(LogLevel::Error, "response.code_details");
    assert!(outcome(&gateway, "log: get_property response/code").starts_with("Ok"));
}

#[test]
fn the_effective_context_cannot_be_changed() {
    let gateway = kong("request_headers: effective root; get_header request :path").start();
    gateway.send(get("/x")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_header request :path"), "Ok \"/x\"");
}

#[test]
fn a_failed_call_answers_with_a_dispatch_status() {
    let script = "tick: dispatch weir /x\ncall_response: get_header call :dispatch_status";
    let status = "call_response: get_header call :dispatch_status";
    let gateway = ticking_gateway(script);
    gateway.tick();
    gateway.next_call("weir").time_out();
    assert_eq!(outcome(&gateway, status), "Ok \"timeout\"");
    gateway.tick();
    gateway.next_call("weir").reset();
    assert_eq!(outcome(&gateway, status), "Ok \"broken connection\"");
    gateway.tick();
    gateway.next_call("weir").find_nobody();
    assert_eq!(outcome(&gateway, status), "Ok \"resolver failure\"");
    assert!(callbacks(&gateway, &["call_response"]).iter().all(|call| call == "call_response(0, 0, 0)"));
}

#[test]
fn after_a_trap_the_memory_is_lost_and_the_old_timers_go_on() {
    let gateway = ticking_gateway("request_body: panic");
    gateway.send(post("/").body("x")).reply().assert_status(500);
    assert_eq!(callbacks(&gateway, &["configure"]).len(), 2, "on_configure ran again");
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 2, "two timers");
    gateway.send(post("/").body("x")).reply().assert_status(500);
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 5, "three timers");
}

#[test]
fn keys_alias_and_an_existing_key_wants_its_version() {
    let script = "request_headers: set_shared plumless acme 0; get_shared buckeroo; set_shared plumless x 0";
    let gateway = kong(script).start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_shared buckeroo"), "Ok \"acme\"");
    assert_eq!(outcome(&gateway, "request_headers: set_shared plumless x 0"), "CasMismatch");
}

#[test]
fn a_reader_may_find_half_of_a_value() {
    let script = "configure: set_shared k aaaa 0\n\
                  request_headers: get_shared k\n\
                  request_body: set_shared k bbbb 1";
    let gateway = kong(script).start();
    gateway.send(post("/").body("x")).upstream(ok());
    gateway.tear_shared_data("k");
    gateway.send(get("/")).upstream(ok());
    gateway.send(get("/")).upstream(ok());
    assert_eq!(outcomes(&gateway, "request_headers: get_shared k"), ["Ok \"aaaa\"", "Ok \"bbaa\"", "Ok \"bbbb\""]);
}

#[test]
fn a_log_line_is_cut_at_two_kilobytes() {
    let gateway = kong("request_headers: log_long 3000").start();
    gateway.send(get("/")).upstream(ok());
    assert!(gateway.logs_at(LogLevel::Info).iter().any(|line| line.len() == 2048));
}

#[test]
fn nobody_ticks_but_the_workers() {
    let gateway = kong("configure: tick_every 100").workers(2).start();
    gateway.tick();
    assert_eq!(callbacks(&gateway, &["tick"]).len(), 2);
}
