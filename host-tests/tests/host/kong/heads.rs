//! Heads on Kong: what the filter sees of them, and which of its edits reach the upstream.

use weir_host_tests::scenario::{Request, get, ok};

use crate::probe::{callbacks, kong, outcome};

/// Every value that the upstream got under a name, in order.
fn values(reply: &weir_host_tests::scenario::Reply<'_>, name: &str) -> Vec<String> {
    reply.upstream_request().headers.all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

#[test]
fn names_come_in_the_case_of_the_peer() {
    let gateway = kong("request_headers: get_names request\nresponse_headers: get_names response").start();
    let request = get("/").header("x-feature", "a").header("X-AMZN-Trace", "b");
    gateway.send(request).upstream(ok().header("content-type", "text/plain"));
    let seen = outcome(&gateway, "request_headers: get_names request");
    assert!(seen.contains("X-Feature") && seen.contains("X-AMZN-Trace"), "{seen}");
    assert!(outcome(&gateway, "response_headers: get_names response").contains("Content-Type"));
}

#[test]
fn setting_a_repeated_header_leaves_its_other_copies() {
    let gateway = kong("request_headers: set_header request x-spoof ours").start();
    let request = get("/").header("x-spoof", "1").header("X-Spoof", "2").header("x-spoof", "3");
    assert_eq!(values(&gateway.send(request).upstream(ok()), "x-spoof"), ["ours", "2", "3"]);
}

#[test]
fn a_removed_header_is_only_hidden() {
    let script = "request_headers: remove_header request x-spoof; get_header request x-spoof";
    let gateway = kong(script).start();
    let reply = gateway.send(get("/").header("x-spoof", "1")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_header request x-spoof"), "NotFound");
    assert_eq!(values(&reply, "x-spoof"), ["1"]);
    let reply = gateway.send(get("/").header("x-spoof", "1").header("x-spoof", "2")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_header request x-spoof"), "Ok \"2\"");
    assert_eq!(values(&reply, "x-spoof"), ["1", "2"]);
}

#[test]
fn a_header_that_is_removed_and_then_set_is_there_twice() {
    let gateway = kong("request_headers: remove_header request x-spoof; set_header request x-spoof ours").start();
    let reply = gateway.send(get("/").header("x-spoof", "1")).upstream(ok());
    assert_eq!(values(&reply, "x-spoof"), ["1", "ours"]);
}

/// A request with this many headers, none of them a pseudo field.
fn headers(count: usize) -> Request {
    (1..count).fold(get("/"), |request, at| request.header(&format!("x-{at}"), "1"))
}

#[test]
fn a_map_is_cut_at_a_hundred_fields_and_the_count_is_of_all_real_ones() {
    let gateway = kong("request_headers: get_names request; get_header request x-97").start();
    let reply = gateway.send(headers(98)).upstream(ok());
    let seen = outcome(&gateway, "request_headers: get_names request");
    assert!(seen.contains("X-96") && !seen.contains("X-97"), "{seen}");
    assert_eq!(outcome(&gateway, "request_headers: get_header request x-97"), "Ok \"1\"");
    assert_eq!(values(&reply, "x-97"), ["1"]);
}

#[test]
fn the_count_of_headers_leaves_out_pseudo_fields() {
    let gateway = kong("").start();
    gateway.send(headers(98)).upstream(ok());
    assert_eq!(callbacks(&gateway, &["request_headers"]), ["request_headers(98, true)"]);
}

#[test]
fn reading_a_map_that_is_larger_overwrites_the_guest() {
    let gateway = kong("request_headers: get_headers request").expect_traps().start();
    gateway.send(headers(99)).reply().assert_status(500);
    assert!(gateway.traps()[0].cause.contains("more fields"), "{:?}", gateway.traps());
}

#[test]
fn the_path_is_decoded_for_the_filter_and_raw_for_the_upstream() {
    let script = "request_headers: get_header request :path; get_property request/path; get_property request/url_path";
    for (sent, shown) in [
        ("/v1/chat?x=%2f", "/v1/chat?x=%2f"),
        ("/healthz/..%2fv1/chat", "/v1/chat"),
        ("/healthz%3f/v1/chat", "/healthz?/v1/chat"),
        ("/a//b/./%63", "/a/b/c"),
    ] {
        let gateway = kong(script).start();
        let reply = gateway.send(get(sent)).upstream(ok());
        assert_eq!(outcome(&gateway, "request_headers: get_header request :path"), format!("Ok \"{shown}\""));
        assert_eq!(outcome(&gateway, "request_headers: get_property request/path"), format!("Ok \"{sent}\""));
        assert_eq!(reply.upstream_request().path(), sent);
    }
}
