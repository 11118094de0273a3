//! Requests that go up with the tenant's own key at a provider, from the delivery by the server to the provider's refusal.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_contract::vault::RECIPIENT_HEADER;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, Request, get, ok, post, secs, status};
use weir_key_delivery::{Label, Sender};

use crate::common::{ACME, answer, config, usage_event};

const SECRET: &str = "sk-proj-acme-0123456789abcdef";

fn own_keys() -> Value {
    let mut config = config();
    config.as_object_mut().expect("an object").remove("tenants");
    config["plans"]["starter"] = json!({});
    config["directory"] = json!({"cluster": "tenants", "token": "t", "wait": "0s", "refresh": "10s",
                                 "receive_keys_seed": "0123456789abcdef0123456789abcdef"});
    config["routes"] = json!([{"name": "openai", "match": {"path_prefix": "/v1"},
                               "tenant_key": {"provider": "openai", "clusters": ["openai"]}}]);
    config
}

/// The server hands acme's key over to each worker that asks.
fn hand_over(gateway: &Gateway) {
    gateway.answer_all("tenants", |call| {
        let mut sender = Sender::new([9; 32], call.header(RECIPIENT_HEADER).expect("a key")).expect("a key");
        let sealed = sender.seal(Label { tenant: "acme", provider: "openai", version: 1 }, SECRET).expect("sealed");
        let key = json!({"provider": "openai", "version": 1, "sealed_bytes": sealed.len(), "sealed": sealed});
        let tenant = json!({"id": "acme", "plan": "starter", "provider_keys": [key],
                            "keys": [{"id": "key_acme", "sha256": KeyHash::of(ACME.as_bytes())}]});
        status(200).json(&json!({"version": "v1", "tenants": [tenant], "sealed_by": sender.public()}))
    });
    gateway.run_for(secs(1));
}

/// On its way to a cluster of Envoy or a service of Kong.
fn to(name: &str, request: Request) -> Request {
    let request = request.property(&["xds", "cluster_name"], name).property(&["kong", "service_name"], name);
    request.property(&["ngx", "upstream_host"], "")
}

fn chat() -> Request {
    to("openai", post("/v1/chat/completions").bearer(ACME).json(&json!({"model": "gpt-4o", "messages": []})))
}

on_both_gateways! {
    fn a_request_goes_up_with_the_tenants_key_and_nothing_that_leaves_the_gateway_names_it(gateway) {
        let gateway = gateway.config(own_keys()).start();
        hand_over(&gateway);
        let reply = gateway.send(chat().header("x-api-key", "sk-of-the-client")).upstream(ok().json(&answer()));
        let sent = reply.upstream_request();
        assert_eq!(sent.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert!(sent.header("x-api-key").unwrap_or_default().is_empty());
        let event = usage_event(&gateway);
        assert_eq!(event["data"]["paid_by"], "tenant");
        assert!(!event.to_string().contains("0123456789"));
        gateway.assert_never_logged(SECRET);
    }

    fn a_key_goes_nowhere_else(gateway) {
        let gateway = gateway.config(own_keys()).start();
        hand_over(&gateway);
        let reply = gateway.send(to("groq", get("/v1/models").bearer(ACME))).reply();
        reply.assert_status(403);
        assert!(reply.text().contains("provider_key_misrouted"), "{}", reply.text());
        let nowhere = gateway.send(get("/v1/models").bearer(ACME)).reply();
        nowhere.assert_status(403);
    }

    fn the_providers_words_about_a_refused_key_do_not_reach_the_client(gateway) {
        let gateway = gateway.config(own_keys()).start();
        hand_over(&gateway);
        let words = json!({"error": {"message": format!("Incorrect API key provided: {SECRET}")}});
        let reply = gateway.send(chat()).upstream(status(401).json(&words));
        let told = reply.text();
        assert!(told.contains("provider_key_refused") && !told.contains("sk-proj"), "{told}");
    }
}

#[test]
fn kong_sends_no_key_where_something_has_put_another_host_in_the_services_place() {
    let gateway = Gateway::kong().config(own_keys()).start();
    hand_over(&gateway);
    let service = || get("/v1/models").bearer(ACME).property(&["kong", "service_name"], "openai");
    gateway.send(service().property(&["ngx", "upstream_host"], "elsewhere.example")).reply().assert_status(403);
    gateway.send(service()).reply().assert_status(403);
    gateway.send(service().property(&["ngx", "upstream_host"], "")).upstream(ok()).assert_status(200);
}

#[test]
fn kong_without_a_seed_refuses_the_configuration() {
    let mut config = own_keys();
    config["directory"].as_object_mut().expect("an object").remove("receive_keys_seed");
    let gateway = Gateway::kong().config(config).start();
    gateway.send(get("/v1/models").bearer(ACME)).reply().assert_status(503);
    gateway.assert_logged(weir_host_tests::host::LogLevel::Error, "receive_keys_seed");
}
