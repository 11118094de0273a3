//! Ways to get to what all tenants of one provider account share, by name: paths, verbs, names in bodies, headers.
use crate::common::{ACME, config_with, unlimited};
use serde_json::{Value, json};
use weir_host_tests::host::Profile;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Request, get, ok, post, request};

fn start(gateway: &GatewayBuilder) -> Gateway {
    gateway.clone().config(unlimited()).start()
}

/// Refused with this status, and nothing reaches the upstream.
#[track_caller]
fn refused(gateway: &Gateway, name: &str, request: Request, status: u16) {
    let reply = gateway.send(request).reply();
    assert_eq!(reply.status(), status, "{name}: {}", reply.text());
    assert!(!reply.reached_upstream(), "{name}");
}

fn ask(path: &str, body: &Value) -> Request {
    post(path).bearer(ACME).json(body)
}

on_both_gateways! {
    fn verbs_that_are_not_listed(gateway) {
        let gateway = start(&gateway);
        for path in [
            "/v1beta/models/g:predict", "/v1beta/models/g:predictLongRunning", "/v1beta/models/g:generateImages",
            "/v1beta/models/g:madeUp", "/v1beta1/models/g:predict", "/google/models/g:predict", "/v1beta/models/g",
            "/model/m/invoke-with-bidirectional-stream", "/model/m/invoke-made-up", "/async-invoke",
            "/v1/projects/p/locations/l/endpoints/e:predict",
        ] {
            refused(&gateway, path, ask(path, &json!({})), 403);
        }
        assert_eq!(gateway.metric("weir_requests.result.operation_not_permitted"), 11);
        for path in ["/v1beta/models/g:generateContent", "/v1beta/models/g:countTokens", "/model/m/converse"] {
            gateway.send(ask(path, &json!({"contents": []}))).upstream(ok()).assert_status(200);
        }
    }

    fn a_model_in_the_path_counts_behind_every_verb(gateway) {
        let mut config = config_with("/plans/free", json!({"models": {"allow": ["mini"]}}));
        config["tenants"][0]["plan"] = json!("free");
        config["routes"] = json!([{"match": {"path_prefix": "/v1beta"}, "permit": ["unlisted"]}]);
        let gateway = gateway.config(&config).start();
        for verb in ["predict", "predictLongRunning", "countTokens", "generateContent", "madeUp"] {
            let path = |model: &str| format!("/v1beta/models/{model}:{verb}");
            refused(&gateway, verb, ask(&path("large"), &json!({"contents": []})), 403);
            gateway.send(ask(&path("mini"), &json!({"contents": []}))).upstream(ok()).assert_status(200);
        }
    }

    fn other_versions_and_spellings_of_a_providers_paths(gateway) {
        let gateway = start(&gateway);
        for (path, status) in [
            ("/v1beta1/projects/p/locations/l/cachedContents", 403), ("/v1p1beta1/files", 403), ("/v1beta2/files", 403),
            ("/v1;x/files", 400), ("/v1%3bx/files", 400), ("/v1/chat/completions;x", 400), ("/v1%20/files", 403),
        ] {
            refused(&gateway, path, get(path).bearer(ACME), status);
        }
        for method in ["GET", "POST", "DELETE"] {
            for path in ["/v1/audio/voice_consents", "/v1/audio/voice_consents/c1", "/v1/audio/voices"] {
                refused(&gateway, path, request(method, path).bearer(ACME), 403);
            }
        }
        gateway.send(get("/app;matrix=1/x").bearer(ACME)).upstream(ok()).assert_status(200);
    }

    fn names_in_a_body_that_is_too_large_to_hold(gateway) {
        let mut config = unlimited();
        config["body_max_bytes"] = json!(1_000);
        config["routes"] = json!([{"match": {"path_prefix": "/shared"},
                                   "permit": ["files", "assistants", "stored_responses", "vector_stores"]}]);
        let gateway = gateway.config(&config).body_buffer_bytes(1 << 20).start();
        let chat = |part: &Value| {
            let words = json!({"type": "text", "text": "word ".repeat(4_000)});
            json!({"model": "m", "messages": [{"role": "user", "content": [words, part]}]}).to_string()
        };
        let file = json!({"type": "file", "file": {"file_id": "file-AbC123dEf456"}});
        let large = |path: &str, body: &str| {
            post(path).bearer(ACME).header("content-type", "application/json").body_in_chunks_of(1_500, body)
        };
        let path = "/v1/chat/completions";
        // The upstream may have its beginning, and never has it whole.
        gateway.send(large(path, &chat(&file))).reply().assert_status(403);
        gateway.send(large(path, &chat(&file).replacen(',', "'", 1))).reply().assert_status(400);
        gateway.send(large("/shared/v1/chat/completions", &chat(&file))).upstream(ok()).assert_status(200);
        let plain = chat(&json!({"type": "text", "text": "file_id"}));
        let reply = gateway.send(large(path, &plain)).upstream(ok());
        assert_eq!(reply.upstream_request().text(), plain);
    }

    fn another_method_or_path_in_a_header(gateway) {
        let gateway = start(&gateway);
        for name in [
            "X-HTTP-Method-Override", "x-http-method", "x-method-override", "x_http_method_override", "x-original-url",
            "x-rewrite-url",
        ] {
            refused(&gateway, name, ask("/v1/chat/completions", &json!({})).header(name, "DELETE"), 400);
            refused(&gateway, name, get("/healthz").header(name, "DELETE"), 400);
        }
        assert_eq!(gateway.metric("weir_requests.result.forbidden_header"), 12);
    }

    fn names_of_shared_things_in_bodies(gateway) {
        let gateway = start(&gateway);
        for (path, body) in [
            ("/v1/responses", json!({"model": "m", "input": "x", "previous_response_id": "resp_1"})),
            ("/v1/responses", json!({"model": "m", "input": "x", "conversation": {"id": "conv_1"}})),
            ("/v1/responses", json!({"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]})),
            ("/v1/responses", json!({"model": "m", "input": [{"id": "msg_1"}]})),
            ("/v1/responses", json!({"model": "m", "input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs"]}]})),
            ("/openai/responses", json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]})),
            ("/v1/chat/completions", json!({"model": "m", "messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]})),
            ("/v1/messages", json!({"model": "m", "messages": [{"content": [{"source": {"type": "file", "file_id": "f"}}]}]})),
            ("/v1/messages", json!({"model": "m", "container": "c", "messages": []})),
            ("/v1/responses", json!({"model": "m", "prompt": {"id": "pmpt_1"}})),
            ("/v1/responses", json!({"model": "m", "input": "x", "agent": {"name": "a", "type": "agent_reference"}})),
            ("/openai/deployments/d/chat/completions", json!({"messages": [], "data_sources": [{"type": "azure_search"}]})),
            ("/v1beta/models/g:generateContent", json!({"contents": [], "cachedContent": "cachedContents/c"})),
            ("/v1beta/models/g:generateContent", json!({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/f"}}]}]})),
            ("/model/m/converse", json!({"messages": [{"content": [{"image": {"source": {"s3Location": {"uri": "s3://b/f"}}}}]}]})),
        ] {
            refused(&gateway, &body.to_string(), ask(path, &body), 403);
        }
        assert_eq!(gateway.metric("weir_requests.result.operation_not_permitted"), 15);
        let tool = json!({"model": "m", "messages": [], "metadata": {"file_id": "mine"},
            "tools": [{"function": {"parameters": {"properties": {"file_id": {"type": "string"}}}}}]});
        gateway.send(ask("/v1/chat/completions", &tool)).upstream(ok()).assert_status(200);
        let app = json!({"conversation": "mine", "file_id": "mine"});
        gateway.send(ask("/app", &app)).upstream(ok()).assert_status(200);
    }

    fn a_route_permits_names_in_bodies_as_it_permits_paths(gateway) {
        let mut config = unlimited();
        config["mode"] = json!("observe");
        config["routes"] = json!([{"match": {"path_prefix": "/v1/responses"}, "permit": ["stored_responses"]}]);
        let gateway = gateway.config(&config).start();
        let stored = json!({"model": "m", "input": "x", "previous_response_id": "resp_1"});
        gateway.send(ask("/v1/responses", &stored)).upstream(ok()).assert_status(200);
        let both = json!({"model": "m", "input": "x", "previous_response_id": "resp_1", "conversation": "conv_1"});
        refused(&gateway, "another kind, and observing waives nothing", ask("/v1/responses", &both), 403);
    }

    fn a_preflight_proves_nobody_and_carries_nothing(gateway) {
        let on_envoy = gateway.profile() == Profile::Envoy;
        let mut config = unlimited();
        config["identity"]["sources"] = json!([{"api_key": {"prefix": "sk_weir_"}},
            {"header": {"header": "x-edge-tenant", "networks": ["10.0.0.0/8"]}}]);
        let gateway = gateway.config(&config).start();
        let preflight = || request("OPTIONS", "/v1/chat/completions").header("origin", "https://app.example.com")
            .header("access-control-request-method", "POST").header("access-control-request-headers", "authorization");
        let carrying = preflight().bearer(ACME).header("x-edge-tenant", "globex").header("cookie", "a=b")
            .header("openai-organization", "org").header("x-tenant-id", "globex");
        let upstream = gateway.send(carrying).upstream(ok()).upstream_request();
        for name in ["authorization", "x-edge-tenant", "cookie", "openai-organization", "x-tenant-id"] {
            assert!(upstream.header(name).unwrap_or_default().is_empty(), "{name}");
        }
        assert_eq!(upstream.header("access-control-request-headers"), Some("authorization"));
        refused(&gateway, "an override", preflight().header("x-http-method-override", "POST"), 400);
        refused(&gateway, "a body", preflight().body(r#"{"model":"m"}"#), 401);
        if on_envoy {
            refused(&gateway, "a body without a length", preflight().chunk(r#"{"model":"m"}"#), 401);
        }
    }

    fn a_bypassed_request_proves_nobody(gateway) {
        let mut config = unlimited();
        config["identity"]["sources"] = json!([{"api_key": {"prefix": "sk_weir_"}},
            {"header": {"header": "x-edge-tenant", "networks": ["10.0.0.0/8"]}}]);
        let gateway = gateway.config(&config).start();
        let probe = get("/healthz").bearer(ACME).header("x-edge-tenant", "globex").header("x-tenant-id", "globex")
            .header("openai-project", "p");
        let upstream = gateway.send(probe).upstream(ok()).upstream_request();
        for name in ["authorization", "x-edge-tenant", "x-tenant-id", "openai-project"] {
            assert!(upstream.header(name).unwrap_or_default().is_empty(), "{name}");
        }
        let own = get("/healthz").header("authorization", "Basic cHJvYmU6eA==");
        let upstream = gateway.send(own).upstream(ok()).upstream_request();
        assert_eq!(upstream.header("authorization"), Some("Basic cHJvYmU6eA=="), "a credential of the probe's own");
    }

    fn a_tenant_chooses_nobodys_account_at_a_provider(gateway) {
        let gateway = start(&gateway);
        let names = ["OpenAI-Organization", "openai-project", "x-goog-user-project", "x-hf-bill-to", "x-dashscope-workspace"];
        let sent = names.into_iter().fold(ask("/v1/chat/completions", &json!({"model": "m"})), |sent, name| sent.header(name, "mine"));
        let upstream = gateway.send(sent.header("openai-beta", "x=y")).upstream(ok()).upstream_request();
        for name in names {
            assert!(upstream.header(name).unwrap_or_default().is_empty(), "{name}");
        }
        assert_eq!(upstream.header("openai-beta"), Some("x=y"));
    }

    fn awss_name_of_a_model_may_hold_an_escaped_slash(gateway) {
        if gateway.profile() == Profile::Kong {
            return;
        }
        let mut config = config_with("/plans/free", json!({"models": {"allow": ["arn:aws:bedrock:*:inference-profile/eu.amazon.*"]}}));
        config["tenants"][0]["plan"] = json!("free");
        let gateway = gateway.config(&config).start();
        let path = |name: &str| format!("/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2F{name}/converse");
        let good = path("eu.amazon.nova-pro-v1%3A0");
        let upstream = gateway.send(ask(&good, &json!({"messages": []}))).upstream(ok()).upstream_request();
        assert_eq!(upstream.path(), good);
        refused(&gateway, "another model", ask(&path("us.meta.llama"), &json!({"messages": []})), 403);
        refused(&gateway, "dots", ask(&path("..%2F..%2Fx"), &json!({"messages": []})), 400);
        refused(&gateway, "elsewhere", ask("/v1%2Ffiles", &json!({})), 400);
    }
}
