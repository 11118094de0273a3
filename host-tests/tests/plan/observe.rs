//! `mode: observe` decides and records, and changes nothing.
use crate::common::{ACME, CHAT, chat, config, event, used};
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, get, ok, post};

fn observing(plan: Value) -> Value {
    let mut config = config(plan);
    config["mode"] = json!("observe");
    config["limit_headers"] = json!({"on": "all", "x_ratelimit": true, "vendor": true});
    config
}

/// Sends a chat that must pass as it is, and says what it would have been refused for.
fn observed(gateway: &Gateway, body: &str) -> Option<String> {
    let before = gateway.metrics();
    let reply = gateway.send(chat(body)).upstream(ok().json(&used(1, 1)));
    let upstream = reply.upstream_request();
    assert_eq!(upstream.text(), body);
    for name in ["ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining-requests", "retry-after"]
    {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(upstream.header("x-envoy-upstream-rq-timeout-ms"), None);
    reply.assert_status(200);
    let after = gateway.metrics();
    let mut risen = after.iter().filter(|(name, now)| before.get(*name).is_some_and(|then| then < *now));
    risen.find_map(|(name, _)| Some(name.strip_prefix("weir_observed.would.")?.to_owned()))
}

on_both_gateways! {
    fn nothing_that_a_plan_says_is_done(gateway) {
        let rows = [
            (json!({"classes": ["embedding"]}), "class_not_allowed"),
            (json!({"models": {"allow": ["mini"]}}), "model_not_allowed"),
            (json!({"request_max_bytes": 10}), "request_too_large"),
            (json!({"requests": {"rate": "1/h", "capacity": 1}}), "rate_limited"),
            (json!({"tokens": {"rate": "1/h", "capacity": 1}}), "rate_limited"),
        ];
        let body = r#"{"model":"large","messages":[],"max_tokens":500,"n":7}"#;
        for (plan, code) in rows {
            let gateway = gateway.clone().config(observing(plan)).start();
            // The first may find a bucket full.
            let told = [observed(&gateway, body), observed(&gateway, body)];
            assert_eq!(told[1].as_deref(), Some(code));
            assert!(gateway.metric("weir_requests.result.observed") > 0);
        }
        let edits = json!({"output_tokens_max": 5, "n_max": 1, "timeout": "1s",
                           "models": {"allow": ["mini"], "otherwise": {"replace": "mini"}}});
        let gateway = gateway.config(observing(edits)).start();
        assert_eq!(observed(&gateway, body), None, "nothing would be refused");
        assert_eq!(gateway.metric("weir_changes.what.model"), 0);
        let path = "/openai/deployments/large/chat/completions";
        let reply = gateway.send(post(path).bearer(ACME).body(body)).upstream(ok().json(&used(1, 1)));
        assert_eq!((reply.upstream_request().path(), reply.upstream_request().text()), (path, body.to_owned()));
    }

    fn what_would_have_been_refused_draws_nothing(gateway) {
        let plan = json!({"requests": {"rate": "2/h"}, "models": {"allow": ["mini"]}});
        let gateway = gateway.config(observing(plan)).start();
        for _ in 0..5 {
            assert_eq!(observed(&gateway, r#"{"model":"large"}"#).as_deref(), Some("model_not_allowed"));
        }
        assert_eq!(event(&gateway)["decision"], "observed");
        let minis: Vec<_> = (0..3).map(|_| observed(&gateway, r#"{"model":"mini"}"#)).collect();
        assert_eq!(minis, [None, None, Some("rate_limited".to_owned())], "as enforcing would");
    }

    fn identity_is_never_waived(gateway) {
        let gateway = gateway.config(observing(json!({}))).start();
        gateway.send(post(CHAT).body("{}")).reply().assert_status(401);
        gateway.send(get("/v1/models").bearer("sk_weir_nobody")).reply().assert_status(401);
        gateway.send(get("/v1/models").bearer(ACME).header("x_tenant_id", "globex")).reply().assert_status(400);
    }
}
