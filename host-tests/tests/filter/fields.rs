//! Every field of an event besides the numbers, and its source.
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, Request, get, ms, ok, post};

use crate::common::{ACME, answer, chat, config_with, unlimited, usage_event};

const USER_KEY: &str = "a key for users of more than 32 bytes";

/// acme's key with a feature and an environment, users by a header of a trusted hop, labels by headers.
fn labelled() -> Value {
    let mut config = unlimited();
    let key = &mut config["tenants"][0]["keys"][0];
    (key["environment"], key["feature"]) = (json!("test"), json!("support-bot"));
    let trusted =
        json!({"header": {"header": "x-edge-tenant", "user_header": "x-edge-user", "networks": ["10.0.0.0/8"]}});
    config["identity"]["sources"].as_array_mut().expect("sources").push(trusted);
    config["routes"].as_array_mut().expect("routes").push(json!({
        "name": "search", "match": {"path_prefix": "/v1/search"}, "class": "rag", "feature": "search", "environment": "staging",
    }));
    config["events"]["prompt_version_header"] = json!("X-Prompt-Version");
    config["events"]["feature_header"] = json!("x-feature");
    config["events"]["user_key"] = json!(USER_KEY);
    config
}

fn data(gateway: &Gateway, request: Request) -> Value {
    gateway.send(request).upstream(ok().json(&json!({"hits": []})));
    usage_event(gateway)["data"].clone()
}

on_both_gateways! {
    fn an_event_says_who_asked_for_what_and_how_it_went(gateway) {
        let gateway = gateway.config(labelled()).start();
        let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
        let request = post("/v1/chat/completions").bearer(ACME).json(&body).header("x-request-id", "req-1");
        let request = request.header("idempotency-key", "k").header("x-prompt-version", "v12").header("x-feature", "spoofed")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let answer = json!({"id": "chatcmpl-9", "object": "chat.completion", "model": "gpt-4o-2024-08-06", "service_tier": "flex",
            "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42,
                      "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 7}}});
        let length = answer.to_string().len();
        let text = answer.to_string();
        let (first, second) = text.split_at(40);
        let slow = ok().header("content-type", "application/json").header("content-length", length.to_string());
        gateway.send(request).upstream(slow.wait(ms(400)).chunk(first).wait(ms(600)).chunk(second)).assert_status(200);
        let event = usage_event(&gateway);
        let mut data = event["data"].clone();
        let version = data["config_version"].take();
        assert_eq!(version.as_str().map(str::len), Some(16), "{version}");
        assert_eq!(data, json!({
            "request_id": "req-1", "response_id": "chatcmpl-9", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "span_id": "00f067aa0ba902b7", "credential_id": "key_acme",
            "idempotency_key_hash": "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
            "plan": "free", "class": "chat", "feature": "support-bot", "prompt_version": "v12", "environment": "test",
            "provider": "openai", "request_model": "gpt-4o", "response_model": "gpt-4o-2024-08-06", "service_tier": "flex",
            "stream": false, "status": 200, "outcome": "ok", "decision": "admitted", "config_version": null,
            "usage": {"status": "complete", "input_tokens": 12, "output_tokens": 30, "cache_read_tokens": 8, "reasoning_tokens": 7,
                      "details": {"audio_input_tokens": 2}},
            "duration_ms": 1000, "time_to_first_token_ms": 400,
            "request_bytes": body.to_string().len(), "response_bytes": length,
        }));
        assert_eq!((&event["subject"], &event["type"], &event["specversion"]), (&json!("acme"), &json!("weir.usage.v1"), &json!("1.0")));
    }

    fn labels_of_the_client_come_last_and_the_environment_is_never_the_clients(gateway) {
        let gateway = gateway.config(labelled()).start();
        let search = get("/v1/search").bearer(ACME).header("x-feature", "spoofed").header("x-environment", "test");
        let with_key = data(&gateway, search);
        assert_eq!((&with_key["feature"], &with_key["environment"]), (&json!("support-bot"), &json!("test")));
        let trusted = |path| get(path).header("x-edge-tenant", "acme").from_address("10.1.2.3:4000");
        let by_route = data(&gateway, trusted("/v1/search").header("x-feature", "spoofed").header("x-environment", "test"));
        assert_eq!((&by_route["feature"], &by_route["environment"]), (&json!("search"), &json!("staging")));
        let by_header = data(&gateway, trusted("/v1/models").header("x-feature", "sidebar").header("x-environment", "test"));
        assert_eq!((&by_header["feature"], &by_header["environment"]), (&json!("sidebar"), &Value::Null));
        assert_eq!(by_header["route"], Value::Null);
    }

    fn a_user_is_told_by_an_hmac_and_never_by_name(gateway) {
        let gateway = gateway.config(labelled()).start();
        let of = |user: &str| {
            let request = get("/v1/models").header("x-edge-tenant", "acme").header("x-edge-user", user);
            data(&gateway, request.from_address("10.1.2.3:4000"))["user"].as_str().unwrap_or_default().to_owned()
        };
        let (ann, bob) = (of("ann@example.com"), of("bob@example.com"));
        assert!(ann.starts_with("hmac:") && ann.len() == 37 && ann != bob, "{ann} {bob}");
        assert_eq!(of("ann@example.com"), ann);
        gateway.assert_never_logged("ann@example.com");
        gateway.assert_never_logged(USER_KEY);
    }

    fn a_malformed_or_repeated_traceparent_names_no_trace(gateway) {
        let gateway = gateway.config(labelled()).start();
        let traced = |request: Request| data(&gateway, request.bearer(ACME))["trace_id"].clone();
        let one = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traced(get("/v1/models").header("Traceparent", other)), json!("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(traced(get("/v1/models").header("traceparent", one.to_uppercase())), Value::Null);
        assert_eq!(traced(get("/v1/models").header("traceparent", one).header("traceparent", other)), Value::Null);
        assert_eq!(traced(get("/v1/models")), Value::Null);
    }

    fn a_route_may_say_who_answers(gateway) {
        let mut config = labelled();
        config["routes"] = json!([{"match": {"path_prefix": "/v1/chat"}, "provider": "mistral"}]);
        let gateway = gateway.config(config).start();
        gateway.send(chat()).upstream(ok().json(&answer()));
        let data = usage_event(&gateway)["data"].clone();
        assert_eq!((&data["provider"], &data["usage"]["output_tokens"]), (&json!("mistral"), &json!(30)));
    }

    fn without_a_key_no_user_is_told(gateway) {
        let mut config = labelled();
        config["events"].as_object_mut().expect("events").remove("user_key");
        let gateway = gateway.config(config).start();
        let request = get("/v1/models").header("x-edge-tenant", "acme").header("x-edge-user", "ann@example.com");
        let told = data(&gateway, request.from_address("10.1.2.3:4000"));
        assert_eq!(told["user"], Value::Null);
        assert!(!told.to_string().contains("ann"), "{told}");
    }
}

#[test]
fn short_keys_and_an_unsigned_access_log_are_refused() {
    for (field, value) in [("user_key", json!("short")), ("signing_key", json!("short")), ("access_log", json!(true))] {
        let mut config = config_with("/events/signing_key", Value::Null);
        config["events"][field] = value;
        let error = Gateway::envoy().config(config).try_start().expect_err(field);
        assert!(error.to_string().contains(&format!("events.{field}")), "{error}");
    }
}

#[test]
fn an_unknown_provider_is_refused_and_the_known_ones_are_named() {
    let config = config_with("/routes/0/provider", json!("openay"));
    let error = Gateway::envoy().config(config).try_start().expect_err("refused").to_string();
    assert!(error.contains("routes[0].provider") && error.contains("azure_openai"), "{error}");
}
