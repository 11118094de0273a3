//! Decoys beside the cap of the output: another API's name, `null`, -1. The plan allows 100 tokens of output.
use crate::common::{ACME, CHAT, chat, config, used};
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{GatewayBuilder, ok, post};

/// The body that the upstream receives.
fn sent(gateway: &GatewayBuilder, path: &str, body: &str) -> Value {
    let gateway = gateway.clone().config(config(json!({"output_tokens_max": 100}))).start();
    let sent = gateway.send(post(path).bearer(ACME).body(body));
    sent.upstream(ok().json(&used(1, 1))).upstream_request().json()
}

on_both_gateways! {
    fn a_cap_under_another_apis_name_is_taken_out_and_the_real_one_put_in(gateway) {
        let decoys = [
            "n_predict", "max_gen_len", "maxTokens", "max_output_tokens", "max_tokens_to_sample", "max_new_tokens",
            "num_predict", "maxOutputTokens",
        ];
        for decoy in decoys {
            for value in ["1", "5000", "null", "-1", "\"9\"", "1e300"] {
                let body = format!("{{\"model\":\"m\",\"{decoy}\":{value},\"messages\":[]}}");
                let expected = json!({"model": "m", "messages": [], "max_tokens": 100});
                assert_eq!(sent(&gateway, CHAT, &body), expected, "{decoy} {value}");
            }
        }
    }

    fn a_cap_in_another_apis_object_is_taken_out_and_the_real_one_put_in(gateway) {
        for (object, name) in [
            ("options", "num_predict"), ("parameters", "max_new_tokens"), ("generationConfig", "maxOutputTokens"),
            ("generation_config", "max_output_tokens"), ("inferenceConfig", "maxTokens"), ("extra_body", "max_tokens"),
            ("textGenerationConfig", "maxTokenCount"), ("sampling_params", "max_new_tokens"),
        ] {
            let mut body = json!({"model": "m", "messages": [], object: {name: 5, "x": 1}});
            let sent = sent(&gateway, CHAT, &body.to_string());
            body["max_tokens"] = json!(100);
            body[object] = json!({"x": 1});
            assert_eq!(sent, body, "{object}");
        }
    }

    fn every_api_gets_its_own_cap_whatever_else_stands_there(gateway) {
        for (path, cap) in [
            ("/v1/completions", "/max_tokens"),
            ("/v1/messages", "/max_tokens"),
            ("/v1/responses", "/max_output_tokens"),
            ("/v1beta/models/g:generateContent", "/generationConfig/maxOutputTokens"),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict", "/max_tokens"),
            ("/model/m/converse", "/inferenceConfig/maxTokens"),
            ("/model/meta.llama3/invoke", "/max_gen_len"),
            ("/model/amazon.titan-text/invoke", "/textGenerationConfig/maxTokenCount"),
            ("/api/chat", "/options/num_predict"),
            ("/api/generate", "/options/num_predict"),
            ("/generate", "/parameters/max_new_tokens"),
            ("/generate", "/sampling_params/max_new_tokens"),
            ("/generate_stream", "/parameters/max_new_tokens"),
            ("/v2/chat", "/max_tokens"),
        ] {
            for decoy in ["n_predict", "max_completion_length", "maxTokens"] {
                let body = json!({"model": "m", "messages": [], "prompt": "x", decoy: 1});
                assert_eq!(sent(&gateway, path, &body.to_string()).pointer(cap), Some(&json!(100)), "{path} {decoy}");
            }
        }
    }

    fn a_path_that_nobody_knows_gets_every_cap_lowered(gateway) {
        let body = json!({"model": "m", "messages": [], "n_predict": 5_000, "options": {"num_predict": -1}});
        let expected = json!({"model": "m", "messages": [], "n_predict": 100, "options": {"num_predict": 100}, "max_tokens": 100});
        assert_eq!(sent(&gateway, "/ask", &body.to_string()), expected);
    }

    fn a_decoy_reserves_nothing_less(gateway) {
        for body in [
            r#"{"model":"m","n_predict":1}"#, r#"{"model":"m","max_output_tokens":1}"#,
            r#"{"model":"m","options":{"num_predict":1}}"#, r#"{"model":"m","max_tokens":1,"n_predict":5000}"#,
        ] {
            let gateway = gateway.clone().config(config(json!({"tokens": {"rate": "1500/min"}}))).start();
            let first = gateway.send(chat(body));
            gateway.send(chat(r#"{"model":"m","max_tokens":600}"#)).reply().assert_status(429);
            first.upstream(ok().json(&used(1, 1))).assert_status(200);
        }
    }
}
