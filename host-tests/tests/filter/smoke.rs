//! The main job: a request is identified, limited, metered, and its event leaves.

use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{get, ok, post, secs, status};

/// Of `sk_weir_acme`.
const ACME_SHA256: &str = "8f32b3385d88cfbafd79d6328cfc90ef17f02c0e47dd6458c42af0c7cfa4e5ee";

fn config() -> Value {
    json!({
        "version": 1,
        "gateway": "gw-1",
        "identity": {"sources": [{"api_key": {"header": "authorization", "prefix": "sk_weir_"}}]},
        "tenants": [{"id": "acme", "plan": "starter", "keys": [{"id": "key_1", "sha256": ACME_SHA256}]}],
        "plans": {"starter": {"requests": {"rate": "3/min"}}},
        "routes": [{"match": {"path": "/healthz"}, "bypass": true}],
        "events": {"cluster": "weir", "token": "gateway-token-0123456789", "flush": "1s"},
    })
}

fn answer() -> Value {
    json!({"id": "chatcmpl-1", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 30}})
}

on_both_gateways! {
    fn a_request_without_a_credential_is_refused(gateway) {
        let gateway = gateway.config(config()).start();
        gateway.send(get("/v1/models")).reply().assert_status(401);
    }

    fn the_tenant_is_told_to_the_upstream(gateway) {
        let gateway = gateway.config(config()).start();
        let request = post("/v1/chat/completions").bearer("sk_weir_acme").json(&json!({"model": "gpt-4o"}));
        let reply = gateway.send(request.header("x-tenant-id", "spoofed")).upstream(ok().json(&answer()));
        reply.assert_status(200);
        let upstream = reply.upstream_request();
        let tenants: Vec<&[u8]> = upstream.headers.all("x-tenant-id").collect();
        assert_eq!(tenants, [b"acme"]);
        assert_eq!(reply.json(), answer());
    }

    fn one_usage_event_leaves_and_stays_until_it_is_acknowledged(gateway) {
        let gateway = gateway.config(config()).start();
        let request = post("/v1/chat/completions").bearer("sk_weir_acme").json(&json!({"model": "gpt-4o"}));
        gateway.send(request).upstream(ok().json(&answer()));
        gateway.run_for(secs(2));
        let call = gateway.next_call("weir").expect_path("/v1/events");
        assert_eq!(call.json()[0]["subject"], "acme");
        assert_eq!(call.json()[0]["data"]["usage"]["output_tokens"], 30);
        let first = call.body().to_vec();
        call.time_out();
        gateway.run_for(secs(30));
        let again = gateway.next_call("weir");
        assert_eq!(again.body(), first);
        again.answer(202, r#"{"accepted":1,"rejected":[]}"#);
        gateway.run_for(secs(60));
        assert!(gateway.calls().iter().all(|call| call.json()[0]["type"] != "weir.usage.v1"));
    }

    fn the_limit_holds_across_workers(gateway) {
        let gateway = gateway.config(config()).workers(2).start();
        let send = |worker: usize| {
            let request = get("/v1/models").bearer("sk_weir_acme");
            gateway.worker(worker).send(request).upstream(status(204)).status()
        };
        assert_eq!([send(0), send(1), send(0), send(1), send(0)], [204, 204, 204, 429, 429]);
        gateway.advance(secs(20));
        assert_eq!([send(1), send(0)], [204, 429]);
    }

    fn a_configuration_written_as_yaml_is_read(gateway) {
        gateway.config_in_yaml(&config()).start().send(get("/healthz")).upstream(ok()).assert_status(200);
    }
}
