//! The harness itself: its messages when a scenario cannot continue.

use weir_host_tests::host::{FilterModule, LogLevel, Quirk};
use weir_host_tests::scenario::{Gateway, get, ok, post};

use crate::probe::{envoy, kong, probe};

#[test]
#[should_panic(expected = "set `allow_on_headers_stop_iteration: true`")]
fn a_pause_in_headers_that_stops_the_body_is_explained() {
    let gateway = envoy("request_headers: pause").allow_on_headers_stop_iteration(false).start();
    gateway.send(post("/").body("hello")).upstream(ok());
}

#[test]
#[should_panic(expected = "Kong shows the whole body without a pause")]
fn a_pause_in_headers_on_kong_is_explained() {
    kong("request_headers: pause").start().send(post("/").body("hello")).upstream(ok());
}

#[test]
#[should_panic(expected = "paused in headers with end_of_stream")]
fn a_pause_with_nothing_to_come_is_explained() {
    envoy("request_headers: pause").start().send(get("/")).upstream(ok());
}

#[test]
#[should_panic(expected = "paused in the last body callback (5 bytes held)")]
fn a_pause_at_the_end_of_the_body_is_explained() {
    envoy("request_body: pause").start().send(post("/").body("hello")).upstream(ok());
}

#[test]
#[should_panic(expected = "paused in trailers")]
fn a_pause_in_trailers_is_explained() {
    envoy("request_trailers: pause").start().send(post("/").chunk("x").trailer("a", "b")).upstream(ok());
}

#[test]
#[should_panic(expected = "answer one of these first")]
fn a_request_that_waits_for_a_call_names_the_call() {
    envoy("request_headers: dispatch auth /keys; pause").start().send(get("/")).upstream(ok());
}

#[test]
#[should_panic(expected = "the filter did not answer: the request went to the upstream")]
fn a_local_reply_that_did_not_come_is_explained() {
    envoy("").start().send(get("/")).reply();
}

#[test]
#[should_panic(expected = "no request reached the upstream")]
fn asking_for_an_upstream_request_that_never_was_is_explained() {
    envoy("request_headers: reply 401 no; pause").start().send(get("/")).upstream(ok()).upstream_request();
}

#[test]
#[should_panic(expected = "no call to `weir` is under way")]
fn a_call_that_did_not_come_is_explained() {
    envoy("").start().next_call("weir");
}

#[test]
#[should_panic(expected = "no metric `hits` was defined")]
fn a_metric_that_nobody_defined_is_no_zero() {
    envoy("").start().metric("hits");
}

#[test]
#[should_panic(expected = "a log line contains `sk_weir_123`")]
fn a_leaked_secret_is_found_at_every_level() {
    let gateway = envoy("request_headers: log sk_weir_123").start();
    gateway.send(get("/")).upstream(ok());
    gateway.assert_logged(LogLevel::Info, "sk_weir_");
    gateway.assert_never_logged("sk_weir_123");
}

#[test]
fn a_missing_filter_says_how_to_build_it() {
    let error = FilterModule::load("no/such/weir.wasm".as_ref()).unwrap_err();
    assert!(error.to_string().contains("make wasm"), "{error}");
}

#[test]
fn an_import_that_no_gateway_has_is_named() {
    let error = FilterModule::compile("clock.wasm", CLOCK_READER).unwrap_err();
    assert!(error.to_string().contains("`wasi_snapshot_preview1.clock_time_get`"), "{error}");
}

/// A module whose only content is an import of WASI's clock: type section `(i32, i64, i32) -> i32`, import section.
const CLOCK_READER: &[u8] = b"\0asm\x01\0\0\0\x01\x08\x01\x60\x03\x7f\x7e\x7f\x01\x7f\
    \x02\x29\x01\x16wasi_snapshot_preview1\x0eclock_time_get\0\0";

#[test]
fn fuel_does_not_depend_on_the_machine() {
    let spend = || {
        let gateway = envoy("request_headers: get_header request :path").start();
        gateway.send(get("/")).upstream(ok()).fuel()
    };
    assert_eq!(spend(), spend());
}

#[test]
fn a_quirk_can_be_switched_off() {
    let script = "request_headers: remove_header request x-spoof";
    let gateway = kong(script).without_quirk(Quirk::HeaderRemovalIsLost).start();
    let reply = gateway.send(get("/").header("x-spoof", "1")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-spoof"), None);
}

#[test]
fn a_response_can_go_on_by_hand() {
    let gateway = Gateway::envoy().filter(probe()).start();
    let reply = gateway.send(get("/")).upstream(ok().chunk("a").open_ended());
    assert_eq!(reply.text(), "a");
    reply.chunk("b").end();
    assert_eq!(reply.text(), "ab");
    assert!(reply.response().ended);
}

#[test]
fn every_quirk_is_in_the_readme() {
    let readme = include_str!("../../README.md");
    let missing: Vec<_> = Quirk::ALL.iter().filter(|quirk| !readme.contains(&format!("| `{quirk:?}` |"))).collect();
    assert!(missing.is_empty(), "not in the quirk table: {missing:?}");
}

/// Each row of the tables of quirks ends with the test that shows it, as `file::name` below `tests/host`.
#[test]
fn every_quirk_has_the_test_that_the_readme_names() {
    let readme = include_str!("../../README.md");
    for quirk in Quirk::ALL {
        let start = format!("| `{quirk:?}` |");
        let row = readme.lines().find(|row| row.starts_with(&start)).expect("checked above");
        let named = row.rsplit('`').nth(1).and_then(|test| test.split_once("::"));
        let (file, name) = named.unwrap_or_else(|| panic!("no test in: {row}"));
        let path = format!("{}/tests/host/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let tests = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(tests.contains(&format!("\nfn {name}() {{")), "{quirk:?} names {file}::{name}, which is no test");
    }
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    assert!(include_str!("../../README.md").contains(include_str!("../../examples/any_filter.rs")));
}
