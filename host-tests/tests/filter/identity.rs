//! No tenant is ever mistaken for another.
use std::collections::BTreeSet;

use crate::common::{ACME, GLOBEX, answer, chat, config, config_with, unlimited, usage_event};
use serde_json::{Value, json};
use weir_host_tests::host::Profile;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Request, get, ok, post, request};

/// Values that a client makes up and that must not reach the upstream.
const FORGED: [&[u8]; 5] = [b"globex", b"initech", b"batch", b"platinum", b"Bearer sk_weir_acme"];

fn preflight() -> Request {
    let preflight = request("OPTIONS", "/v1/models").header("origin", "https://a.example");
    preflight.header("access-control-request-method", "GET")
}

/// Requests with two copies of something that weir changes.
fn with_copies() -> Vec<Request> {
    vec![
        get("/v1/models").bearer(ACME).header("x-tenant-id", "globex").header("X-Tenant-Id", "initech"),
        get("/v1/models").bearer(ACME).header("x-request-class", "batch").header("x-request-class", "batch"),
        post("/v1/chat/completions").bearer(ACME).header("accept-encoding", "br").header("accept-encoding", "gzip"),
        get("/healthz").header("x-tenant-id", "globex").header("x-tenant-id", "initech"),
        get("/healthz").bearer(ACME).bearer(ACME),
        preflight().header("x-tenant-plan", "platinum").header("x-tenant-plan", "platinum"),
    ]
}

on_both_gateways! {
    fn a_forged_tenant_header_never_reaches_the_upstream(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let request = get("/v1/models").bearer(ACME).header("x-tenant-id", "globex")
            .header("X-Tenant-User", "root").header("x-model", "gpt-4o");
        let upstream = gateway.send(request).upstream(ok()).upstream_request();
        assert_eq!(upstream.headers.all("x-tenant-id").collect::<Vec<_>>(), [b"acme"]);
        for name in ["x-tenant-user", "x-model"] {
            let values: Vec<&[u8]> = upstream.headers.all(name).filter(|value| !value.is_empty()).collect();
            assert!(values.is_empty(), "{name}: {values:?}");
        }
    }

    fn copies_of_what_weir_changes_are_gone_or_refused_on_every_path(gateway) {
        let gateway = gateway.config(unlimited()).start();
        for request in with_copies() {
            let reply = gateway.send(request).upstream(ok());
            if gateway.profile() == Profile::Kong {
                assert!(reply.assert_status(400).text().contains("repeated_header"), "{}", reply.text());
                assert!(!reply.reached_upstream());
                continue;
            }
            let upstream = reply.assert_status(200).upstream_request();
            let left: Vec<_> = upstream.headers.iter().filter(|(_, value)| FORGED.contains(value)).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    fn what_would_prove_a_tenant_does_not_pass_where_nobody_is_identified(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let bypassed = gateway.send(get("/healthz").bearer(ACME).header("x-tenant-id", "globex")).upstream(ok());
        let preflight = preflight().bearer(ACME).header("x-tenant-id", "globex");
        for reply in [bypassed, gateway.send(preflight).upstream(ok())] {
            let upstream = reply.upstream_request();
            for name in ["authorization", "x-tenant-id"] {
                assert!(upstream.headers.all(name).all(<[u8]>::is_empty), "{name}: {upstream:?}");
            }
        }
        let basic = gateway.send(get("/healthz").header("authorization", "Basic dTpw")).upstream(ok()).upstream_request();
        assert_eq!(basic.header("authorization"), Some("Basic dTpw"), "the upstream's own");
    }

    fn more_headers_than_the_gateway_hands_over_are_refused(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let headers = |count: usize| (0..count).fold(get("/v1/models").bearer(ACME), |request, at| request.header(&format!("x-{at}"), "1"));
        for (count, kong) in [(90, 200), (96, 400), (500, 400)] {
            let expected = if gateway.profile() == Profile::Kong { kong } else { 200 };
            gateway.send(headers(count)).upstream(ok()).assert_status(expected);
        }
        let expected = u64::from(gateway.profile() == Profile::Kong) * 2;
        assert_eq!(gateway.metric("weir_requests.result.too_many_headers"), expected);
    }

    fn an_answer_with_more_headers_than_the_gateway_hands_over_is_counted(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let answer = (0..200).fold(ok().json(&answer()), |response, at| response.header(&format!("x-{at}"), "1"));
        gateway.send(chat()).upstream(answer).assert_status(200);
        let data = &usage_event(&gateway)["data"];
        assert_eq!((&data["status"], &data["usage"]["output_tokens"]), (&json!(200), &json!(30)), "{data}");
    }

    fn where_a_tenant_is_kept_apart_is_told_to_the_upstream_and_a_clients_word_is_not(gateway) {
        let mut config = unlimited();
        config["tenants"][0]["placement"] = json!({"isolation": "silo", "endpoint": "https://acme.example:8443"});
        let gateway = gateway.config(config).start();
        let told = |key: &str| {
            let request = get("/v1/models").bearer(key).header("x-weir-isolation", "pool").header("X-Weir-Region", "forged");
            let upstream = gateway.send(request.header("x-weir-endpoint", "forged")).upstream(ok()).upstream_request();
            ["x-weir-isolation", "x-weir-region", "x-weir-endpoint"].map(|name| upstream.header(name).unwrap_or_default().to_owned())
        };
        assert_eq!(told(ACME), ["silo", "", "https://acme.example:8443"]);
        assert_eq!(told(GLOBEX), ["", "", ""]);
    }

    fn an_underscore_spelling_of_a_tenant_header_is_a_400(gateway) {
        let gateway = gateway.config(unlimited()).start();
        gateway.send(get("/v1/models").bearer(ACME).header("x_tenant_id", "globex")).reply().assert_status(400);
    }

    fn the_tenants_key_does_not_reach_the_upstream(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let upstream = gateway.send(get("/v1/models").bearer(ACME)).upstream(ok()).upstream_request();
        let sent: Vec<&[u8]> = upstream.headers.all("authorization").filter(|value| !value.is_empty()).collect();
        assert!(sent.is_empty(), "{sent:?}");
    }

    fn keys_of_two_tenants_are_refused(gateway) {
        let gateway = gateway.config(config()).start();
        let request = get("/v1/models").bearer(ACME).bearer(GLOBEX);
        gateway.send(request).reply().assert_status(401);
        assert_eq!(gateway.metric("weir_requests.result.conflicting_credentials"), 1);
    }

    fn refusals_have_the_shape_of_the_api(gateway) {
        let gateway = gateway.config(config()).start();
        let refusal = |path: &str| -> Value {
            let reply = gateway.send(post(path).bearer("sk_weir_forged").json(&json!({}))).reply();
            reply.assert_status(401).assert_header("content-type", if path.starts_with("/v1") { "application/json" } else { "application/problem+json" });
            reply.json()
        };
        assert_eq!(refusal("/v1/chat/completions")["error"]["code"], "invalid_api_key");
        assert_eq!(refusal("/v1/messages")["error"]["type"], "authentication_error");
        assert_eq!(refusal("/search")["code"], "invalid_credential");
    }

    fn a_suspended_tenant_is_a_403(gateway) {
        let gateway = gateway.config(config_with("/tenants/0/state", json!("suspended"))).start();
        gateway.send(get("/v1/models").bearer(ACME)).reply().assert_status(403);
    }

    fn bytes_that_are_no_text_break_nothing(gateway) {
        let gateway = gateway.config(unlimited()).start();
        for value in [&b"Bearer \xff\xfe"[..], b"\xc3\x28", b"Bearer sk_weir_\x80"] {
            gateway.send(get("/v1/models").header("authorization", value)).reply().assert_status(401);
        }
        gateway.send(get("/v1/models").bearer(ACME).header("x-request-id", b"\xff\xfe")).upstream(ok()).assert_status(200);
    }

    fn every_outcome_has_a_metric_and_nobody_can_make_more(gateway) {
        let gateway = gateway.config(config()).start();
        let names = || gateway.metrics().into_keys().collect::<Vec<_>>();
        let before = names();
        for code in ["admitted", "bypassed", "preflight", "observed", "missing_credential", "invalid_credential", "expired_credential",
                     "conflicting_credentials", "unknown_tenant", "unknown_plan", "suspended_tenant", "forbidden_header", "ambiguous_path", "repeated_header",
                     "too_many_headers",
                     "operation_not_permitted", "upgrade_not_permitted", "upgrade_with_body", "not_ready", "busy", "rate_limited"] {
            assert!(before.contains(&format!("weir_requests.result.{code}")), "{code}: {before:?}");
        }
        for n in 0..50 {
            let path = format!("/v1/made-up-{n}");
            gateway.send(get(&path).bearer(&format!("sk_weir_{n}")).header("x-tenant-id", format!("t{n}"))).reply().assert_status(401);
        }
        assert_eq!(names(), before);
        assert_eq!(gateway.metric("weir_requests.result.invalid_credential"), 50);
    }

    fn the_page_of_metrics_names_all_of_them(gateway) {
        let gateway = gateway.config(config()).start();
        let page = include_str!("../../../docs/metrics.md").split("## Gateways").nth(1).expect("a chapter");
        let (mut names, mut gauges) = (BTreeSet::new(), BTreeSet::new());
        for row in page.lines().filter(|line| line.starts_with("| `weir_")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let name = cells[0].trim_start_matches("| ").trim_matches('`');
            let named = match cells[2].split_once(": ") {
                Some((label, values)) => values.split(", ").map(|value| format!("{name}.{label}.{}", value.trim_matches('`'))).collect(),
                None => vec![name.to_owned()],
            };
            if cells[1] == "gauge" {
                gauges.extend(named.clone());
            }
            names.extend(named);
        }
        // Its series exist while a worker has a slot.
        let of_slots = |name: &String| name.starts_with("weir_source.slot.");
        let defined: BTreeSet<String> = gateway.metrics().into_keys().filter(|name| !of_slots(name)).collect();
        assert!(names.remove("weir_source") && gauges.remove("weir_source"));
        assert_eq!(names, defined);
        assert_eq!(gauges, gateway.gauges().into_iter().filter(|name| !of_slots(name)).collect());
    }

    fn a_browsers_preflight_passes_without_a_key(gateway) {
        let gateway = gateway.config(config()).start();
        let preflight = weir_host_tests::scenario::request("OPTIONS", "/v1/chat/completions")
            .header("origin", "https://app.example.com").header("access-control-request-method", "POST");
        gateway.send(preflight).upstream(ok()).assert_status(200);
    }
}
