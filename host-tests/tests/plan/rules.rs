//! A plan's changes to the requests that it admits.
use crate::common::{ACME, CHAT, chat, config, event, only_mini, used};
use serde_json::{Value, json};
use weir_host_tests::host::Profile;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, get, ok, post, request};

const STREAM: [&str; 3] = [
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n",
    "data: [DONE]\n\n",
];

fn free() -> Value {
    config(json!({}))
}

on_both_gateways! {
    fn the_model_asked_for_is_told_upstream_and_in_the_event(gateway) {
        let gateway = gateway.config(free()).start();
        let body = r#"{ "model" : "gpt-4o", "messages":[] }"#;
        let reply = gateway.send(chat(body).header("x-model", "forged")).upstream(ok().json(&used(3, 4)));
        let upstream = reply.upstream_request();
        assert_eq!((upstream.header("x-model"), upstream.text().as_str()), (Some("gpt-4o"), body));
        assert_eq!(upstream.headers.all("x-model").filter(|value| *value == b"forged").count(), 0);
        assert_eq!(event(&gateway)["request_model"], "gpt-4o");
    }

    fn a_replaced_model_arrives_whole_with_the_right_length(gateway) {
        let plan = json!({"models": {"allow": ["mini"], "otherwise": {"replace": "mini"}}, "output_tokens_max": 20, "n_max": 1});
        let gateway = gateway.config(config(plan)).start();
        let request = chat("{\"model\":\"large-and-long\",\r\n \"n\": 9, \"messages\":[]}");
        let reply = gateway.send(request).upstream(ok().json(&used(3, 4)));
        let upstream = reply.upstream_request();
        let expected = "{\"max_tokens\":20,\"model\":\"mini\",\r\n \"n\": 1, \"messages\":[]}";
        assert_eq!(upstream.text(), expected);
        assert_eq!(upstream.header("content-length"), Some(expected.len().to_string().as_str()));
        assert_eq!(upstream.header("x-model"), Some("mini"));
        assert_eq!(event(&gateway)["request_model"], "large-and-long");
    }

    fn a_body_in_many_pieces_is_read_whole(gateway) {
        let gateway = gateway.config(only_mini()).start();
        let body = r#"{"messages":[{"role":"user","content":"hello"}],"model":"mini"}"#;
        let request = post(CHAT).bearer(ACME).body_in_chunks_of(7, body);
        let reply = gateway.send(request).upstream(ok().json(&used(3, 4)));
        assert_eq!(reply.upstream_request().text(), body);
        assert_eq!(event(&gateway)["request_bytes"], body.len());
    }

    fn a_body_that_ends_with_trailers_is_read_whole(gateway) {
        let on_kong = gateway.profile() == Profile::Kong;
        let gateway = gateway.config(only_mini()).start();
        if on_kong {
            return assert_eq!(gateway.metric("weir_requests.result.admitted"), 0, "Kong shows no trailers");
        }
        let sent = gateway.send(post(CHAT).bearer(ACME).chunk(r#"{"model":"large"}"#).trailer("x-sum", "1"));
        sent.reply().assert_status(403);
    }

    fn a_request_without_a_body_is_not_held(gateway) {
        let gateway = gateway.config(only_mini()).start();
        gateway.send(get("/v1/models").bearer(ACME)).upstream(ok().json(&json!({"data": []}))).assert_status(200);
    }

    fn a_websocket_is_never_held(gateway) {
        let mut config = only_mini();
        config["routes"] = json!([{"match": {"path": "/v1/realtime"}, "upgrade": true}]);
        let gateway = gateway.config(config).start();
        let sent = gateway.send(request("GET", "/v1/realtime").bearer(ACME).header("upgrade", "websocket").open_ended());
        assert!(!sent.is_paused());
    }

    fn an_upload_that_no_rule_needs_passes_and_is_counted(gateway) {
        let gateway = gateway.config(config(json!({"output_tokens_max": 9}))).start();
        let upload = post("/v1/audio/transcriptions").bearer(ACME).header("content-type", "multipart/form-data; boundary=b");
        gateway.send(upload.body("--b--")).upstream(ok().json(&json!({"text": "hi"}))).assert_status(200);
        assert_eq!(gateway.metric("weir_bodies_unseen.why.body_not_json"), 1);
    }

    fn a_stream_is_asked_for_its_usage_and_the_client_sees_what_it_asked_for(gateway) {
        let gateway = gateway.config(free()).start();
        let reply = gateway.send(chat(r#"{"model":"m","stream":true,"messages":[]}"#)).upstream(ok().sse(&STREAM));
        assert_eq!(reply.upstream_request().json()["stream_options"], json!({"include_usage": true}));
        // On Kong an empty comment takes the place of the chunk.
        let instead = if gateway.profile() == Profile::Kong { ":\n\n" } else { "" };
        assert_eq!(reply.text(), [STREAM[0], instead, STREAM[2]].concat());
        let data = event(&gateway);
        assert_eq!((&data["usage"]["status"], &data["usage"]["output_tokens"]), (&json!("complete"), &json!(4)));
    }

    fn a_client_that_asked_for_usage_gets_it(gateway) {
        let gateway = gateway.config(free()).start();
        let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
        let reply = gateway.send(chat(body)).upstream(ok().sse(&STREAM));
        assert_eq!((reply.upstream_request().text(), reply.text()), (body.to_owned(), STREAM.concat()));
    }

    fn observing_changes_nothing_and_records_what_it_would_have_refused(gateway) {
        let mut config = config(json!({"models": {"allow": ["mini"]}, "output_tokens_max": 5}));
        config["mode"] = json!("observe");
        let gateway = gateway.config(config).start();
        let body = r#"{"model":"large","stream":true}"#;
        let reply = gateway.send(chat(body)).upstream(ok().json(&used(3, 4)));
        assert_eq!(reply.upstream_request().text(), body);
        assert_eq!(event(&gateway)["decision"], "observed");
        assert_eq!(gateway.metric("weir_requests.result.observed"), 1);
        gateway.send(post(CHAT).body(body)).reply().assert_status(401);
    }

    fn a_plan_sets_the_time_of_whole_answers_and_leaves_streams_alone(gateway) {
        let gateway = gateway.config(config(json!({"timeout": "5s"}))).start();
        let timeout = |body: &str| {
            let reply = gateway.send(chat(body)).upstream(ok().json(&used(1, 1)));
            reply.upstream_request().header("x-envoy-upstream-rq-timeout-ms").map(str::to_owned)
        };
        assert_eq!(timeout(r#"{"model":"m"}"#).as_deref(), Some("5000"));
        assert_eq!(timeout(r#"{"model":"m","stream":true}"#), None);
    }

    fn rules_of_classes_look_at_header_method_model_and_size(gateway) {
        let mut config = config(json!({"classes": ["chat", "rag"]}));
        config["classification"] = json!([
            {"class": "rag", "match": {"header": {"name": "x-kind", "value": "search*"}}},
            {"class": "batch", "match": {"model": "night-*"}},
            {"class": "batch", "match": {"method": "put"}},
            {"class": "batch", "match": {"path_prefix": "/v1", "size_min_bytes": 100}}]);
        let gateway = gateway.config(config).start();
        let class = |request| gateway.send(request).upstream(ok().json(&used(1, 1))).upstream_request();
        assert_eq!(class(chat("{}").header("x-kind", "search-1")).header("x-request-class"), Some("rag"));
        assert_eq!(class(chat("{}")).header("x-request-class"), Some("chat"));
        gateway.send(chat(r#"{"model":"night-1"}"#)).reply().assert_status(403);
        gateway.send(request("PUT", CHAT).bearer(ACME).body("{}")).reply().assert_status(403);
        gateway.send(chat(&format!("{{\"x\":\"{}\"}}", "x".repeat(100)))).reply().assert_status(403);
    }

    fn without_holding_the_head_alone_decides(gateway) {
        let mut config = config(json!({"tokens": {"rate": "5000/min"}, "requests": {"rate": "9/min"}}));
        config["hold"] = json!(false);
        let gateway = gateway.config(config).allow_on_headers_stop_iteration(false).start();
        let sent = gateway.send(chat(r#"{"model":"m"}"#));
        assert!(!sent.is_paused());
        sent.upstream(ok().json(&used(3, 4))).assert_status(200);
        assert_eq!(gateway.metric("weir_bodies_unseen.why.body_not_asked"), 1);
    }
}

#[test]
fn a_gateway_route_names_a_route_and_never_grants_bypass() {
    let mut config = config(json!({"classes": ["rag"]}));
    config["routes"] =
        json!([{"name": "search", "class": "rag"}, {"name": "open", "match": {"path": "/open"}, "bypass": true}]);
    let gateway = Gateway::envoy().config(config).start();
    let named = |name: &str| chat("{}").route_metadata("weir", "route", name);
    let reply = gateway.send(named("search")).upstream(ok().json(&used(1, 1)));
    assert_eq!(reply.upstream_request().header("x-request-class"), Some("rag"));
    gateway.send(named("open")).reply().assert_status(403);
    gateway.send(post(CHAT).route_metadata("weir", "route", "open")).reply().assert_status(401);
}
