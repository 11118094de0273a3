//! Models that stand in the path: Azure's deployments, Gemini, Bedrock.
use crate::common::{ACME, config, event, used};
use serde_json::{Value, json};
use weir_host_tests::host::Profile;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Request, ok, post};

const AZURE: &str = "/openai/deployments/large/chat/completions?api-version=2024-10-21";
const GEMINI: &str = "/v1beta/models/large:generateContent";
const BEDROCK: &str = "/model/large.v1%3A0/converse";

fn replacing() -> Value {
    config(json!({"models": {"allow": ["mini", "small-*"], "otherwise": {"replace": "mini"}}}))
}

fn ask(path: &str, body: &str) -> Request {
    post(path).bearer(ACME).header("content-type", "application/json").body(body)
}

on_both_gateways! {
    fn a_model_in_the_path_is_replaced_where_the_gateway_takes_another_path(gateway) {
        let rows = [
            (AZURE, r#"{"model":"large","messages":[]}"#, "/openai/deployments/mini/chat/completions?api-version=2024-10-21", r#"{"model":"mini","messages":[]}"#),
            (GEMINI, r#"{"contents":[]}"#, "/v1beta/models/mini:generateContent", r#"{"contents":[]}"#),
            (BEDROCK, r#"{"messages":[]}"#, "/model/mini/converse", r#"{"messages":[]}"#),
        ];
        let takes = gateway.profile() == Profile::Envoy;
        for (path, body, new_path, new_body) in rows {
            let gateway = gateway.clone().config(replacing()).start();
            let sent = gateway.send(ask(path, body));
            if !takes {
                sent.reply().assert_status(403);
                assert_eq!(gateway.metric("weir_requests.result.model_not_allowed"), 1, "Kong cannot change a path");
                continue;
            }
            let upstream = sent.upstream(ok().json(&used(1, 1))).upstream_request();
            assert_eq!((upstream.path(), upstream.text().as_str()), (new_path, new_body));
            assert_eq!(upstream.header("x-model"), Some("mini"));
            let asked = event(&gateway)["request_model"].clone();
            assert!(asked.as_str().is_some_and(|model| model.starts_with("large")), "{asked}");
            assert_eq!(gateway.metric("weir_changes.what.model"), 1);
        }
    }

    fn a_model_in_the_path_that_the_plan_has_goes_on_as_it_is(gateway) {
        let gateway = gateway.config(replacing()).start();
        let path = "/openai/deployments/small%2D1/chat/completions?x=%20";
        let upstream = gateway.send(ask(path, r#"{"messages":[]}"#)).upstream(ok().json(&used(1, 1))).upstream_request();
        assert_eq!((upstream.path(), upstream.header("x-model")), (path, Some("small-1")));
    }

    fn a_path_that_the_client_has_signed_is_not_changed_but_refused(gateway) {
        let mut config = replacing();
        config["identity"]["sources"] = json!([{"api_key": {"header": "x-api-key", "prefix": "sk_weir_"}}]);
        let gateway = gateway.config(config).start();
        let signature = "AWS4-HMAC-SHA256 Credential=AKID/20261121/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=ab";
        let signed = |path: &str| post(path).header("x-api-key", ACME).header("authorization", signature).body("{}");
        gateway.send(signed(BEDROCK)).reply().assert_status(403);
        gateway.send(signed("/model/small-1/converse")).upstream(ok().json(&used(1, 1))).assert_status(200);
        let presigned = format!("{BEDROCK}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=ab");
        gateway.send(post(&presigned).header("x-api-key", ACME).body("{}")).reply().assert_status(403);
    }

    fn a_model_behind_another_spelling_of_the_path(gateway) {
        for plan in [json!({"allow": ["mini"]}), json!({"allow": ["mini"], "otherwise": {"replace": "mini"}})] {
            let gateway = gateway.clone().config(config(json!({ "models": plan }))).start();
            for path in [
                "/v1beta/%6Dodels/large:generateContent",
                "/v1beta/Models/large:generateContent",
                "/v1beta/models//large:generateContent",
                "/openai/deployments;x=1/large/chat/completions",
                "/openai/deployments/mini;x/chat/completions",
            ] {
                let reply = gateway.send(ask(path, r#"{"model":"mini","contents":[]}"#)).reply();
                assert!(!reply.reached_upstream(), "{path}");
                reply.assert_status(400);
            }
            assert_eq!(gateway.metric("weir_requests.result.ambiguous_path"), 5);
        }
    }
}
