//! Classes that a client can set never loosen a rule.
use crate::common::{ACME, CHAT, chat, config, used};
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{GatewayBuilder, Request, ok, post};

/// A plan, and rules by which clients choose a class: by a header, a model, a method and the size.
fn with_rules(plan: Value) -> Value {
    let mut config = config(plan);
    config["classification"] = json!([
        {"class": "batch", "match": {"header": {"name": "x-kind", "value": "batch"}}},
        {"class": "other", "match": {"header": {"name": "x-kind", "value": "other"}}},
        {"class": "mcp", "match": {"model": "night-*"}},
        {"class": "moderation", "match": {"size_min_bytes": 3000}},
    ]);
    config
}

/// The same chat with every class that its client can choose.
fn chosen(body: &Value) -> Vec<Request> {
    let night = json!({"model": "night-1"}).as_object().cloned().unwrap_or_default();
    let by_model =
        body.as_object().cloned().unwrap_or_default().into_iter().chain(night).collect::<serde_json::Map<_, _>>();
    let mut padded = body.clone();
    padded["x"] = json!("x".repeat(3_000));
    vec![
        chat(&body.to_string()).header("x-kind", "batch"),
        chat(&body.to_string()).header("x-kind", "other"),
        chat(&Value::from(by_model).to_string()),
        chat(&padded.to_string()),
    ]
}

fn refused(gateway: &GatewayBuilder, plan: Value, requests: Vec<Request>, status: u16) {
    for request in requests {
        let reply = gateway.clone().config(with_rules(plan.clone())).start().send(request).reply();
        reply.assert_status(status);
        assert!(!reply.reached_upstream());
    }
}

on_both_gateways! {
    fn a_chosen_class_gets_around_no_model(gateway) {
        refused(&gateway, json!({"models": {"allow": ["mini"]}}), chosen(&json!({"model": "large", "messages": []})), 403);
    }

    fn a_chosen_class_gets_around_no_list_of_classes(gateway) {
        let plan = json!({"classes": ["batch", "other", "mcp", "moderation"]});
        refused(&gateway, plan, chosen(&json!({"model": "m", "messages": []})), 403);
    }

    fn a_chosen_class_gets_around_no_cap(gateway) {
        for request in chosen(&json!({"model": "m", "max_tokens": 900, "messages": []})) {
            let gateway = gateway.clone().config(with_rules(json!({"output_tokens_max": 5}))).start();
            let upstream = gateway.send(request).upstream(ok().json(&used(1, 1))).upstream_request();
            assert_eq!(upstream.json()["max_tokens"], 5);
        }
    }

    fn a_chosen_class_gets_around_no_limit(gateway) {
        let limits = json!([{"name": "chats", "count": "requests", "rate": "1/h", "classes": ["chat"]},
                            {"name": "each", "count": "requests", "rate": "1/h", "per": ["class"]}]);
        for (at, limit) in limits.as_array().into_iter().flatten().enumerate() {
            let gateway = gateway.clone().config(with_rules(json!({"limits": [limit]}))).start();
            gateway.send(chat(r#"{"model":"m"}"#)).upstream(ok().json(&used(1, 1))).assert_status(200);
            for request in chosen(&json!({"model": "m", "messages": []})) {
                let reply = gateway.send(request).reply();
                assert_eq!(reply.status(), 429, "limit {at}");
            }
        }
    }

    fn a_chosen_class_reserves_no_fewer_tokens(gateway) {
        let body = json!({"model": "m", "messages": [], "max_tokens": 900});
        refused(&gateway, json!({"tokens": {"rate": "500/h", "capacity": 500}}), Vec::new(), 429);
        for request in chosen(&body) {
            let gateway = gateway.clone().config(with_rules(json!({"tokens": {"rate": "1000/h"}}))).start();
            let sent = gateway.send(request);
            gateway.send(chat(r#"{"model":"m","max_tokens":900}"#)).reply().assert_status(429);
            sent.upstream(ok().json(&used(1, 1))).assert_status(200);
        }
    }

    fn members_of_another_api_get_around_no_rule(gateway) {
        for decoys in [r#""jsonrpc":"2.0","method":"x""#, r#""query":"q","documents":[]"#, r#""prompt":"x","input":"y""#] {
            let body = format!("{{\"model\":\"large\",\"messages\":[],\"max_tokens\":900,{decoys}}}");
            let ask = || post("/ask").bearer(ACME).header("content-type", "application/json").body(&body);
            let models = gateway.clone().config(config(json!({"models": {"allow": ["mini"]}}))).start();
            models.send(ask()).reply().assert_status(403);
            let capped = gateway.clone().config(config(json!({"output_tokens_max": 5}))).start();
            assert_eq!(capped.send(ask()).upstream(ok().json(&used(1, 1))).upstream_request().json()["max_tokens"], 5);
            let closed = gateway.clone().config(config(json!({"classes": ["mcp", "rerank", "completion", "embedding", "chat"]}))).start();
            closed.send(ask()).reply().assert_status(403);
        }
    }

    fn a_header_opens_no_operation(gateway) {
        let gateway = gateway.config(with_rules(json!({}))).start();
        for path in ["/v1/anything", "/v1beta/models/g:predict", "/v1/files"] {
            for kind in ["batch", "other"] {
                gateway.send(post(path).bearer(ACME).header("x-kind", kind).body("{}")).reply().assert_status(403);
            }
        }
    }

    fn a_rule_about_the_path_is_the_operators_word(gateway) {
        let mut config = config(json!({"classes": ["rag"]}));
        config["classification"] = json!([{"class": "rag", "match": {"path_prefix": "/search"}}]);
        let gateway = gateway.config(config).start();
        let search = |path: &str| post(path).bearer(ACME).body(r#"{"q":"x"}"#);
        gateway.send(search("/search/all")).upstream(ok().json(&used(1, 1))).assert_status(200);
        gateway.send(search(CHAT)).reply().assert_status(403);
    }
}
