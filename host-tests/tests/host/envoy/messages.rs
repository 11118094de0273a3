//! Requests and responses on Envoy.

use weir_host_tests::host::Quirk;
use weir_host_tests::host::worker::StreamEnd;
use weir_host_tests::scenario::{get, ms, ok, post, request, status};

use crate::probe::{callbacks, envoy, outcome, outcomes};

const HOLD_UNTIL_THE_END: &str = "request_headers: pause\nrequest_body: pause_until_end; get_body request";

#[test]
fn a_pause_in_headers_stops_body_callbacks_unless_the_configuration_allows_them() {
    let gateway = envoy(HOLD_UNTIL_THE_END).allow_on_headers_stop_iteration(false).start();
    let sent = gateway.send(post("/").body("hello"));
    assert!(sent.is_paused() && sent.seen_upstream().is_none());
    assert_eq!(callbacks(&gateway, &["request_body"]), [""; 0]);
}

#[test]
fn held_headers_go_with_the_body_that_the_filter_waited_for() {
    let script = format!("{HOLD_UNTIL_THE_END}; set_header request x-model gpt-4o");
    let gateway = envoy(&script).start();
    let reply = gateway.send(post("/").body_in_chunks_of(3, "hello")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-model"), Some("gpt-4o"));
    assert_eq!(reply.upstream_request().text(), "hello");
}

#[test]
fn the_body_size_is_cumulative_while_paused() {
    let gateway = envoy(HOLD_UNTIL_THE_END).start();
    gateway.send(post("/").body_in_chunks_of(3, "hello")).upstream(ok());
    let sizes = ["request_body(3, false)", "request_body(5, false)", "request_body(5, true)"];
    assert_eq!(callbacks(&gateway, &["request_body"]), sizes);
    assert_eq!(outcomes(&gateway, "request_body: get_body request").last().unwrap(), "Ok \"hello\"");
}

#[test]
fn the_body_size_is_that_of_the_chunk_without_a_pause() {
    let gateway = envoy("").start();
    gateway.send(post("/").body_in_chunks_of(3, "hello").ending_with_last_chunk()).upstream(ok());
    assert_eq!(callbacks(&gateway, &["request_body"]), ["request_body(3, false)", "request_body(2, true)"]);
}

#[test]
fn a_head_that_was_let_go_is_upstream_before_the_body() {
    let gateway = envoy("request_body: set_header request x-late 1").start();
    let sent = gateway.send(post("/").chunk("hello").open_ended());
    assert!(sent.seen_upstream().is_some());
    assert_eq!(sent.end().upstream(ok()).upstream_request().header("x-late"), None);
    assert_eq!(outcome(&gateway, "request_body: set_header request x-late 1"), "BadArgument");
}

#[test]
fn with_trailers_no_body_callback_ends_the_stream() {
    let script = format!("{HOLD_UNTIL_THE_END}\nrequest_trailers: set_body request edited");
    let gateway = envoy(&script).start();
    let reply = gateway.send(post("/").chunk("hello").trailer("x-t", "1")).upstream(ok());
    assert_eq!(
        callbacks(&gateway, &["request_body", "request_trailers"]),
        ["request_body(5, false)", "request_trailers(1)"]
    );
    assert_eq!(reply.upstream_request().text(), "edited");
    assert_eq!(reply.upstream_request().trailers.unwrap().get("x-t"), Some("1"));
}

#[test]
#[should_panic(expected = "content-length is 5, but 2 bytes were sent")]
fn a_stale_content_length_hangs_the_upstream() {
    let gateway = envoy("request_headers: pause\nrequest_body: set_body request hi; pause_until_end").start();
    gateway.send(post("/").body("hello")).upstream(ok());
}

#[test]
fn a_held_request_above_the_buffer_limit_is_refused_with_413() {
    let gateway = envoy(HOLD_UNTIL_THE_END).buffer_max_bytes(10).start();
    gateway.send(post("/").body("more than ten bytes")).reply().assert_status(413);
}

#[test]
fn what_comes_while_a_body_is_held_counts_before_the_filter_sees_it() {
    let gateway = envoy("request_headers: pause\nrequest_body: pause_until_end").buffer_max_bytes(10).start();
    let sent = gateway.send(post("/").chunk("eight by").chunk("and more"));
    sent.reply().assert_status(413);
    assert_eq!(callbacks(&gateway, &["request_body"]), ["request_body(8, false)"]);
}

#[test]
fn a_held_response_above_the_buffer_limit_becomes_a_500() {
    let gateway = envoy("response_headers: pause\nresponse_body: pause_until_end").buffer_max_bytes(10).start();
    gateway.send(get("/")).upstream(ok().body("more than ten bytes")).assert_status(500);
}

#[test]
fn the_request_map_is_closed_in_response_callbacks_and_open_in_on_log() {
    let gateway = envoy("response_headers: get_header request :path\nlog: get_header request :path").start();
    gateway.send(get("/x")).upstream(ok());
    assert_eq!(outcome(&gateway, "response_headers: get_header request :path"), "BadArgument");
    assert_eq!(outcome(&gateway, "log: get_header request :path"), "Ok \"/x\"");
}

#[test]
fn all_fields_of_a_closed_map_are_none_and_no_error() {
    let gateway = envoy("request_headers: get_headers response; get_headers call").start();
    gateway.send(get("/x")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_headers response"), "Ok");
    assert_eq!(outcome(&gateway, "request_headers: get_headers call"), "Ok");
}

#[test]
fn maps_cannot_be_changed_in_on_log() {
    let gateway = envoy("log: set_header request a b").start();
    gateway.send(get("/x")).upstream(ok());
    assert_eq!(outcome(&gateway, "log: set_header request a b"), "BadArgument");
}

#[test]
fn request_properties_are_missing_in_the_response_phase() {
    let script = "request_headers: get_property request/path\nresponse_headers: get_property request/path\n\
                  log: get_property request/path; get_property response/code_details";
    let gateway = envoy(script).start();
    gateway.send(get("/x")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: get_property request/path"), "Ok \"/x\"");
    assert_eq!(outcome(&gateway, "response_headers: get_property request/path"), "NotFound");
    assert_eq!(outcome(&gateway, "log: get_property request/path"), "Ok \"/x\"");
    assert_eq!(outcome(&gateway, "log: get_property response/code_details"), "Ok \"via_upstream\"");
}

#[test]
fn durations_exist_only_at_the_end() {
    let script = "response_headers: get_property request/duration\nlog: get_property response/backend_latency";
    let gateway = envoy(script).start();
    gateway.send(get("/").wait(ms(1))).upstream(ok().body("x"));
    assert_eq!(outcome(&gateway, "response_headers: get_property request/duration"), "NotFound");
    assert!(outcome(&gateway, "log: get_property response/backend_latency").starts_with("Ok \""));
}

#[test]
fn route_metadata_is_a_property_and_a_missing_key_is_an_error() {
    let script = "request_headers: get_property xds/route_metadata/filter_metadata/weir/route; \
                  get_property xds/route_metadata/filter_metadata/weir/other";
    let gateway = envoy(script).start();
    gateway.send(get("/").route_metadata("weir", "route", "search")).upstream(ok());
    let path = "request_headers: get_property xds/route_metadata/filter_metadata/weir";
    assert_eq!(outcome(&gateway, &format!("{path}/route")), "Ok \"search\"");
    assert_eq!(outcome(&gateway, &format!("{path}/other")), "NotFound");
}

#[test]
fn every_request_has_an_id() {
    let gateway = envoy("").start();
    let [first, second] = [(); 2].map(|()| gateway.send(get("/")).upstream(ok()).upstream_request());
    assert!(first.header("x-request-id").is_some_and(|id| !id.is_empty()));
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert!(first.header("x-forwarded-proto").is_some());
    let own = gateway.send(get("/").header("x-request-id", "mine")).upstream(ok()).upstream_request();
    assert_eq!(own.header("x-request-id"), Some("mine"));
}

#[test]
fn a_connect_request_has_no_path() {
    let gateway = envoy("request_headers: get_header request :path").start();
    gateway.send(request("CONNECT", "/").open_ended());
    assert_eq!(outcome(&gateway, "request_headers: get_header request :path"), "NotFound");
}

#[test]
fn informational_responses_are_not_shown() {
    let gateway = envoy("").start();
    let reply = gateway.send(get("/")).upstream(status(103).open_ended());
    assert_eq!(callbacks(&gateway, &["response_headers"]), [""; 0]);
    assert_eq!(reply.stream_end(), None);
}

#[test]
fn a_local_reply_runs_through_the_filters_own_response_callbacks() {
    let script = "request_headers: reply 401 no; pause\nresponse_headers: set_header response x-mine 1";
    let gateway = envoy(script).start();
    gateway.send(get("/")).reply().assert_status(401).assert_header("x-mine", "1");
    let shown = ["response_headers(false)", "response_body(2, true)"];
    assert_eq!(callbacks(&gateway, &["response_headers", "response_body"]), shown);
}

#[test]
fn of_two_local_replies_the_first_is_sent() {
    let gateway = envoy("request_headers: reply 401 one; reply 402 two; pause").start();
    gateway.send(get("/")).reply().assert_status(401);
    assert_eq!(outcome(&gateway, "request_headers: reply 402 two"), "Ok");
}

#[test]
fn a_local_reply_in_the_response_body_breaks_the_response() {
    let gateway = envoy("response_body: reply 500 late").start();
    let reply = gateway.send(get("/")).upstream(ok().chunk("a").chunk("b"));
    assert_eq!(reply.stream_end(), Some(StreamEnd::ClosedByFilter));
    assert!(!reply.response().ended);
}

#[test]
fn continuing_a_response_that_does_not_exist_crashes_the_process() {
    let gateway = envoy("request_headers: continue response").expect_traps().start();
    gateway.send(get("/")).reply().assert_status(503);
    assert!(gateway.traps()[0].cause.contains("crashes"), "{:?}", gateway.traps());
    let forgiving = envoy("request_headers: continue response").without_quirk(Quirk::ContinuingNoResponseCrashes);
    forgiving.start().send(get("/")).upstream(ok()).assert_status(200);
}

#[test]
fn on_log_comes_before_on_done_also_when_the_upstream_breaks() {
    let gateway = envoy("log: get_property response/code_details").start();
    let reply = gateway.send(get("/")).upstream(ok().chunk("half").reset());
    assert_eq!(callbacks(&gateway, &["log", "done", "delete"]), ["log()", "done()", "delete()"]);
    assert_eq!(reply.stream_end(), Some(StreamEnd::UpstreamReset));
    let details = "Ok \"upstream_reset_after_response_started{connection_termination}\"";
    assert_eq!(outcome(&gateway, "log: get_property response/code_details"), details);
}

#[test]
fn a_client_that_goes_away_is_told_in_the_code_details() {
    let gateway = envoy("log: get_property response/code_details").start();
    gateway.send(get("/")).upstream(ok().chunk("half").client_gone());
    let details = "Ok \"downstream_remote_disconnect\"";
    assert_eq!(outcome(&gateway, "log: get_property response/code_details"), details);
}

#[test]
fn an_upstream_that_never_answers_becomes_503_or_504() {
    let gateway = envoy("").start();
    gateway.send(get("/")).upstream(ok().reset()).assert_status(503);
    gateway.send(get("/")).upstream(ok().timed_out()).assert_status(504);
}

#[test]
fn state_set_in_on_log_is_left_for_the_access_log() {
    let gateway = envoy("log: set_property weir_event bytes").start();
    let reply = gateway.send(get("/")).upstream(ok());
    assert_eq!(reply.filter_state("weir_event"), Some(b"bytes".to_vec()));
}

#[test]
fn a_body_is_edited_in_front_behind_or_whole_but_not_within() {
    let script = "response_body: edit_body response 1 2 XX; prepend_body response A; append_body response Z";
    let gateway = envoy(script).start();
    let reply = gateway.send(get("/")).upstream(ok().chunk("hello").ending_with_last_chunk());
    assert_eq!(reply.text(), "AhelloZ");
    assert_eq!(outcome(&gateway, "response_body: edit_body response 1 2 XX"), "BadArgument");
}
