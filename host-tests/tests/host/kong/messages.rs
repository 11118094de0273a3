//! Requests and responses on Kong.

use weir_host_tests::scenario::{get, head, ok, post};

use crate::probe::{callbacks, kong, outcome};

#[test]
fn the_body_comes_whole_in_one_call() {
    let gateway = kong("request_body: get_body request").start();
    let reply = gateway.send(post("/").body_in_chunks_of(2, "hello")).upstream(ok());
    assert_eq!(callbacks(&gateway, &["request_body"]), ["request_body(5, true)"]);
    assert_eq!(reply.upstream_request().text(), "hello");
}

#[test]
fn an_empty_body_is_not_shown() {
    let gateway = kong("").start();
    gateway.send(post("/").body("")).upstream(ok());
    assert_eq!(callbacks(&gateway, &["request_body"]), [""; 0]);
}

#[test]
fn a_spooled_body_has_a_size_and_no_bytes_and_still_arrives() {
    let gateway = kong("request_body: get_body request").body_buffer_bytes(10).start();
    let body = "more than ten bytes";
    let reply = gateway.send(post("/").body(body)).upstream(ok());
    assert_eq!(callbacks(&gateway, &["request_body"]), ["request_body(19, true)"]);
    assert_eq!(outcome(&gateway, "request_body: get_body request"), "Ok none");
    assert_eq!(reply.upstream_request().text(), body);
}

#[test]
fn a_replaced_body_gets_its_content_length() {
    let gateway = kong("request_body: set_body request hi").start();
    let reply = gateway.send(post("/").body("hello")).upstream(ok());
    assert_eq!(reply.upstream_request().header("content-length"), Some("2"));
    assert_eq!(reply.upstream_request().text(), "hi");
}

#[test]
fn a_content_length_that_the_filter_sets_stays() {
    let gateway = kong("request_body: set_body request hi; set_header request content-length 9").start();
    let sent = gateway.send(post("/").body("hello"));
    assert_eq!(sent.seen_upstream().unwrap().header("content-length"), Some("9"));
}

#[test]
fn data_beyond_the_size_that_it_replaces_is_cut() {
    let gateway = kong("request_body: edit_body request 0 5 hello-world").start();
    assert_eq!(gateway.send(post("/").body("hello")).upstream(ok()).upstream_request().text(), "hello");
    let gateway = kong("request_body: edit_body request 0 0 hello-").start();
    assert_eq!(gateway.send(post("/").body("world")).upstream(ok()).upstream_request().text(), "hello-world");
    let gateway = kong("request_body: edit_body request 0 99 hello-world").start();
    assert_eq!(gateway.send(post("/").body("hello")).upstream(ok()).upstream_request().text(), "hello-world");
}

#[test]
#[should_panic(expected = "hangs this host's worker")]
fn replacing_several_chunks_by_nothing_hangs_the_worker() {
    let gateway = kong("response_body: empty_body response").start();
    gateway.send(get("/")).upstream(ok().chunk("one").chunk("two"));
}

#[test]
#[should_panic(expected = "loses its end on this host")]
fn replacing_the_last_chunk_by_nothing_loses_the_end() {
    let gateway = kong("response_body: empty_body response").start();
    gateway.send(get("/")).upstream(ok().chunk("one").ending_with_last_chunk());
}

#[test]
fn a_chunk_can_be_replaced_by_nothing_where_responses_are_not_buffered() {
    let gateway = kong("response_body: empty_body response").unbuffered_responses().start();
    assert_eq!(gateway.send(get("/")).upstream(ok().chunk("one").chunk("two").open_ended()).text(), "");
}

#[test]
fn headers_set_in_the_body_phase_reach_the_upstream() {
    let gateway = kong("request_body: set_header request x-model gpt-4o").start();
    let reply = gateway.send(post("/").body("hello")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-model"), Some("gpt-4o"));
}

#[test]
fn an_overwritten_header_reaches_the_upstream_empty() {
    let gateway = kong("request_headers: set_header request x-spoof").start();
    let reply = gateway.send(get("/").header("x-spoof", "1")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-spoof"), Some(""));
}

#[test]
fn setting_the_whole_map_duplicates_headers() {
    let gateway = kong("request_headers: set_headers request x-a=2").start();
    let reply = gateway.send(get("/").header("x-a", "1")).upstream(ok());
    let values: Vec<Vec<u8>> = reply.upstream_request().headers.all("x-a").map(<[u8]>::to_vec).collect();
    assert_eq!(values, [b"1", b"2"]);
}

#[test]
fn the_authority_is_the_machine_and_host_is_what_the_client_asked_for() {
    let script = "request_headers: get_header request :authority; get_header request host; get_property request/host";
    let gateway = kong(script).start();
    gateway.send(get("/").authority("acme.example.com")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_header request :authority"), "Ok \"kong-host:8000\"");
    assert_eq!(outcome(&gateway, "request_headers: get_property request/host"), "Ok \"kong-host:8000\"");
    assert_eq!(outcome(&gateway, "request_headers: get_header request host"), "Ok \"acme.example.com\"");
}

#[test]
fn setting_the_path_has_no_effect() {
    let gateway = kong("request_headers: set_header request :path /other").start();
    let reply = gateway.send(get("/mine")).upstream(ok());
    assert_eq!(reply.upstream_request().path(), "/mine");
}

#[test]
fn request_trailers_are_hidden() {
    let gateway = kong("").start();
    gateway.send(post("/").chunk("hello").trailer("x-t", "1")).upstream(ok());
    let shown = callbacks(&gateway, &["request_body", "request_trailers"]);
    assert_eq!(shown, ["request_body(5, true)"]);
}

#[test]
fn reading_a_buffer_ignores_the_offset() {
    let gateway = kong("request_body: get_body request 3 2").start();
    gateway.send(post("/").body("hello")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_body: get_body request 3 2"), "Ok \"he\"");
}

#[test]
fn end_of_stream_never_comes_for_a_response_with_content_length() {
    let gateway = kong("").start();
    gateway.send(get("/")).upstream(ok().body("hello"));
    assert_eq!(callbacks(&gateway, &["response_body", "log"]), ["response_body(5, false)", "log()"]);
    gateway.send(get("/")).upstream(ok().chunk("hello"));
    assert_eq!(callbacks(&gateway, &["response_body"]).last().unwrap(), "response_body(0, true)");
}

#[test]
fn an_answer_to_head_shows_no_body() {
    let gateway = kong("").start();
    let reply = gateway.send(head("/")).upstream(ok().chunk("").header("content-length", "5"));
    assert_eq!(
        callbacks(&gateway, &["response_headers", "response_body", "log"]),
        ["response_headers(false)", "log()"]
    );
    assert!(reply.response().ended);
}

#[test]
fn an_upstream_without_an_answer_leads_to_the_error_page_and_the_filter_hears_only_on_delete() {
    let gateway = kong("").start();
    gateway.send(get("/")).upstream(ok().reset()).assert_status(502);
    gateway.send(get("/")).upstream(ok().timed_out()).assert_status(504);
    assert_eq!(callbacks(&gateway, &["response_headers", "log", "done", "delete"]), ["delete()", "delete()"]);
}

#[test]
fn reading_a_property_in_on_delete_crashes_the_worker() {
    let gateway = kong("delete: get_property request/path").expect_traps().start();
    gateway.send(get("/")).upstream(ok().reset());
    assert!(gateway.traps()[0].cause.contains("in on_delete"), "{:?}", gateway.traps());
}

#[test]
fn without_an_error_page_the_filter_sees_how_the_stream_ends() {
    let gateway = kong("").without_error_page().start();
    gateway.send(get("/")).upstream(ok().reset()).assert_status(502);
    assert_eq!(callbacks(&gateway, &["response_headers", "log"]), ["response_headers(false)", "log()"]);
}

#[test]
fn a_pause_in_response_headers_is_ignored() {
    let gateway = kong("response_headers: pause").start();
    gateway.send(get("/")).upstream(ok().chunk("hello")).assert_status(200);
}

#[test]
fn a_paused_response_body_shows_its_first_chunk_twice() {
    let gateway = kong("response_body: pause_until_end").start();
    let reply = gateway.send(get("/")).upstream(ok().chunk("one").chunk("two"));
    assert_eq!(reply.text(), "oneonetwo");
}

#[test]
#[should_panic(expected = "a local reply in response headers hangs on this host")]
fn a_local_reply_in_response_headers_hangs() {
    kong("response_headers: reply 500 no").start().send(get("/")).upstream(ok()).status();
}

#[test]
fn a_local_reply_in_the_response_body_traps() {
    let gateway = kong("response_body: reply 500 no").expect_traps().start();
    gateway.send(get("/")).upstream(ok().chunk("x"));
    assert!(gateway.traps()[0].cause.contains("response already sent"), "{:?}", gateway.traps());
}

#[test]
fn on_done_comes_before_on_log() {
    let gateway = kong("").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(callbacks(&gateway, &["log", "done", "delete"]), ["done()", "log()", "delete()"]);
}

#[test]
fn the_request_map_can_be_read_in_the_response_phase() {
    let gateway = kong("response_headers: get_header request :path").start();
    gateway.send(get("/x")).upstream(ok());
    assert_eq!(outcome(&gateway, "response_headers: get_header request :path"), "Ok \"/x\"");
}

#[test]
fn the_route_is_known_by_its_name() {
    let gateway = kong("request_headers: get_property kong/route_name").start();
    gateway.send(get("/").on_route("chat")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_property kong/route_name"), "Ok \"chat\"");
}
