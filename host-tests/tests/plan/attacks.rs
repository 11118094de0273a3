//! Ways to get past a plan, by name. The plan allows the model `mini`, or little of something.
use crate::common::{ACME, CHAT, GLOBEX, chat, config, only_mini, used};
use serde_json::json;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{GatewayBuilder, Request, ok, post, request};

/// That the request is refused with this status and code, and nothing reaches the upstream.
#[track_caller]
fn refused(gateway: GatewayBuilder, request: Request, status: u16, code: &str) {
    // The largest bodies that gateways hold in the shipped configurations.
    let gateway = gateway.config(only_mini()).body_buffer_bytes(1 << 20).buffer_max_bytes(4 << 20).start();
    let reply = gateway.send(request).reply();
    reply.assert_status(status);
    assert_eq!(reply.json()["error"]["code"], code);
    assert!(!reply.reached_upstream());
    assert_eq!(gateway.metric(&format!("weir_requests.result.{code}")), 1);
}

on_both_gateways! {
    fn a_model_of_another_plan(gateway) {
        refused(gateway, chat(r#"{"model":"large","messages":[]}"#), 403, "model_not_allowed");
    }

    fn a_second_model_behind_the_first(gateway) {
        refused(gateway, chat(r#"{"model":"mini","messages":[],"model":"large"}"#), 400, "ambiguous_body");
    }

    fn a_second_model_behind_an_escape(gateway) {
        refused(gateway, chat(r#"{"model":"mini","mod\u0065l":"large"}"#), 400, "ambiguous_body");
    }

    fn a_model_in_capitals_for_readers_that_ignore_case(gateway) {
        refused(gateway, chat(r#"{"model":"mini","MODEL":"large"}"#), 400, "ambiguous_body");
    }

    fn a_list_of_models_to_fall_back_on(gateway) {
        refused(gateway, chat(r#"{"model":"mini","models":["large"]}"#), 403, "model_not_allowed");
    }

    fn a_tool_with_another_model(gateway) {
        let tool = r#"{"model":"mini","messages":[],"tools":[{"type":"image_generation","model":"large"}]}"#;
        refused(gateway, chat(tool), 403, "model_not_allowed");
    }

    fn padding_beyond_what_is_read(gateway) {
        let padded = format!("{{\"model\":\"large\",\"x\":\"{}\"}}", "x".repeat(1_000_001));
        refused(gateway, chat(&padded), 413, "body_too_large");
    }

    fn padding_beyond_what_is_read_without_a_length(gateway) {
        let request = (0..11).fold(post(CHAT).bearer(ACME), |request, _| request.chunk("x".repeat(100_000)));
        refused(gateway, request, 413, "body_too_large");
    }

    fn compression_that_hides_the_model(gateway) {
        refused(gateway, chat("\u{1f}").header("content-encoding", "gzip"), 415, "body_encoded");
    }

    fn multipart_that_hides_the_model(gateway) {
        let request = post(CHAT).bearer(ACME).header("content-type", "multipart/form-data; boundary=b").body("--b--");
        refused(gateway, request, 400, "body_not_json");
    }

    fn a_content_type_that_hides_the_json(gateway) {
        let request = post(CHAT).bearer(ACME).header("content-type", "text/plain").body(r#"{"model":"large"}"#);
        refused(gateway, request, 403, "model_not_allowed");
    }

    fn utf_16_that_only_some_readers_understand(gateway) {
        let body: Vec<u8> = r#"{"model":"large"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        refused(gateway, post(CHAT).bearer(ACME).body(body), 400, "body_not_json");
    }

    fn bytes_behind_the_json(gateway) {
        refused(gateway, chat(r#"{"model":"mini"}{"model":"large"}"#), 400, "body_not_json");
    }

    fn nesting_that_overflows_stacks(gateway) {
        refused(gateway, chat(&"[".repeat(200_000)), 400, "body_not_json");
    }

    fn another_spelling_of_the_path(gateway) {
        let request = post("/V1//chat/complet%69ons;x").bearer(ACME).body("not json");
        let gateway = gateway.config(only_mini()).start();
        gateway.send(request).reply().assert_status(400);
    }

    fn a_path_that_nobody_knows(gateway) {
        let gateway = gateway.config(only_mini()).start();
        let request = post("/secret-chat").bearer(ACME).body(r#"{"model":"large","messages":[]}"#);
        let reply = gateway.send(request).reply();
        reply.assert_status(403);
        assert_eq!(reply.json()["code"], "model_not_allowed");
    }

    fn an_upgrade_whose_body_never_ends(gateway) {
        let request = chat(r#"{"model":"large"}"#).header("connection", "upgrade").header("upgrade", "websocket");
        refused(gateway, request, 400, "upgrade_with_body");
    }

    fn a_websocket_to_an_inference(gateway) {
        let request = request("GET", "/v1/responses").bearer(ACME).header("upgrade", "websocket").open_ended();
        refused(gateway, request, 403, "upgrade_not_permitted");
    }

    fn an_output_cap_too_large_to_count(gateway) {
        let config = config(json!({"tokens": {"rate": "1000/min"}, "output_tokens_max": 50}));
        let gateway = gateway.config(config).start();
        for cap in ["1e300", "-1", "\"9999\"", "99999999999999999999999"] {
            let body = format!("{{\"model\":\"m\",\"max_tokens\":{cap}}}");
            let reply = gateway.send(chat(&body)).upstream(ok().json(&used(1, 1)));
            assert_eq!(reply.upstream_request().json()["max_tokens"], 50, "{cap}");
        }
    }

    fn many_answers_to_slip_under_a_reservation(gateway) {
        let gateway = gateway.config(config(json!({"tokens": {"rate": "1000/min"}}))).start();
        let body = r#"{"model":"m","messages":[],"max_tokens":100,"n":50}"#;
        gateway.send(chat(body)).upstream(ok().json(&used(5, 0)));
        let sent = gateway.send(chat(r#"{"model":"m","messages":[],"max_tokens":600,"n":1}"#));
        let second = gateway.send(chat(body)).reply();
        second.assert_status(429);
        assert_eq!(second.json()["error"]["type"], "tokens");
        sent.upstream(ok().json(&used(5, 0)));
    }

    fn a_huge_cap_to_slip_under_a_reservation(gateway) {
        for cap in ["1e300", "-1", "\"9\"", "99999999999999999999999", "1000000"] {
            let gateway = gateway.clone().config(config(json!({"tokens": {"rate": "1000/min"}}))).start();
            let sent = gateway.send(chat(&format!("{{\"model\":\"m\",\"max_tokens\":{cap}}}")));
            gateway.send(chat(r#"{"model":"m","max_tokens":1}"#)).reply().assert_status(429);
            sent.upstream(ok().json(&used(1, 1))).assert_status(200);
        }
    }

    fn a_list_of_prompts_to_slip_under_a_reservation(gateway) {
        let gateway = gateway.config(config(json!({"tokens": {"rate": "1000/min"}}))).start();
        let prompts = post("/v1/completions").bearer(ACME).body(r#"{"model":"m","prompt":["a","b","c","d","e"],"max_tokens":180}"#);
        let sent = gateway.send(prompts);
        gateway.send(chat(r#"{"model":"m","max_tokens":100}"#)).reply().assert_status(429);
        sent.upstream(ok().json(&used(1, 1))).assert_status(200);
    }

    fn null_where_the_cap_is_to_be_put(gateway) {
        let gateway = gateway.config(config(json!({"output_tokens_max": 5}))).start();
        let request = post("/v1beta/models/g:generateContent").bearer(ACME).body(r#"{"contents":[],"generationConfig":null}"#);
        let upstream = gateway.send(request).upstream(ok().json(&used(1, 1))).upstream_request();
        assert_eq!(upstream.text(), r#"{"contents":[],"generationConfig":{"maxOutputTokens":5}}"#);
    }

    fn a_second_spelling_of_the_container_of_caps(gateway) {
        let gateway = gateway.config(config(json!({"output_tokens_max": 5}))).start();
        let body = r#"{"contents":[],"generationConfig":null,"generation_config":{"maxOutputTokens":900}}"#;
        let request = post("/v1beta/models/g:generateContent").bearer(ACME).body(body);
        gateway.send(request).reply().assert_status(400);
    }

    fn one_tenant_emptying_anothers_bucket(gateway) {
        let gateway = gateway.config(config(json!({"requests": {"rate": "2/min"}}))).start();
        for _ in 0..50 {
            let forged = chat("{}").header("x-tenant-id", "globex");
            let sent = gateway.send(forged);
            if sent.seen_upstream().is_some() {
                sent.upstream(ok().json(&used(1, 1)));
            }
        }
        let globex = post(CHAT).bearer(GLOBEX).body("{}");
        gateway.send(globex).upstream(ok().json(&used(1, 1))).assert_status(200);
    }

    fn many_model_names_to_push_buckets_out(gateway) {
        let per_model = json!({"name": "per-model", "count": "requests", "rate": "1/min", "per": ["model"]});
        let plan = json!({"requests": {"rate": "200/min"}, "limits": [per_model]});
        let gateway = gateway.config(config(plan)).start();
        let mut admitted = 0;
        for at in 0..300 {
            let sent = gateway.send(chat(&format!("{{\"model\":\"m{at}\"}}")));
            if sent.seen_upstream().is_some() {
                sent.upstream(ok().json(&used(1, 1)));
                admitted += 1;
            }
        }
        assert_eq!(admitted, 33, "32 buckets of their own, one for all others");
        gateway.send(chat("{\"model\":\"m0\"}")).reply().assert_status(429);
    }
}
