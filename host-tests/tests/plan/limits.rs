//! Limits with two stages, reservations and their settlement.
use crate::common::{chat, config, used};
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, ok, secs, status};

fn body(max_tokens: u64) -> String {
    json!({"model": "m", "messages": [], "max_tokens": max_tokens}).to_string()
}

/// The rest of acme's tokens as a refusal states it: asks for more than the bucket can hold.
pub(crate) fn left(gateway: &Gateway) -> u64 {
    let reply = gateway.send(chat(&body(1_000_000))).reply();
    reply.assert_status(429);
    let header = reply.header("ratelimit").unwrap_or_default();
    let left = header.split("r=").nth(1).and_then(|rest| rest.split(';').next()).and_then(|left| left.parse().ok());
    left.unwrap_or_else(|| panic!("no remainder in {header:?}"))
}

fn tokens(rate: &str) -> Value {
    config(json!({"tokens": {"rate": rate}, "requests": {"rate": "1000/min"}}))
}

on_both_gateways! {
    fn a_reservation_is_settled_to_what_was_used(gateway) {
        let gateway = gateway.config(tokens("1000/h")).start();
        let sent = gateway.send(chat(&body(500)));
        let reserved = 1_000 - left(&gateway);
        assert!((500..530).contains(&reserved), "{reserved}");
        sent.upstream(ok().json(&used(10, 20)));
        assert_eq!(left(&gateway), 970);
    }

    fn what_used_nothing_is_refunded(gateway) {
        let gateway = gateway.config(tokens("1000/h")).start();
        gateway.send(chat(&body(500))).upstream(status(503).json(&json!({"error": {"message": "busy"}})));
        gateway.send(chat(&body(1))).upstream(ok().json(&used(1, 1)));
        assert_eq!(left(&gateway), 998);
    }

    fn a_debt_recovers_by_refill(gateway) {
        let gateway = gateway.config(tokens("600/min")).start();
        gateway.send(chat(&body(1))).upstream(ok().json(&used(0, 1_200)));
        let refused = gateway.send(chat(&body(1))).reply();
        refused.assert_status(429);
        let wait: u64 = refused.header("retry-after").and_then(|secs| secs.parse().ok()).expect("a time to wait");
        gateway.advance(secs(wait - 1));
        gateway.send(chat(&body(1))).reply().assert_status(429);
        gateway.advance(secs(1));
        gateway.send(chat(&body(1))).upstream(ok().json(&used(1, 1))).assert_status(200);
    }

    fn a_refusal_by_the_body_gives_back_what_the_head_took(gateway) {
        let plan = json!({"requests": {"rate": "2/h"}, "models": {"allow": ["m"]}});
        let gateway = gateway.config(config(plan)).start();
        for _ in 0..5 {
            gateway.send(chat(r#"{"model":"other"}"#)).reply().assert_status(403);
        }
        for _ in 0..2 {
            gateway.send(chat(&body(1))).upstream(ok().json(&used(1, 1))).assert_status(200);
        }
        gateway.send(chat(&body(1))).reply().assert_status(429);
    }

    fn limits_by_class_and_model_have_buckets_of_their_own(gateway) {
        let limit = |name: &str, rule: Value| {
            let mut limit = json!({"name": name, "count": "requests", "rate": "1/h"});
            limit.as_object_mut().expect("an object").extend(rule.as_object().cloned().expect("an object"));
            limit
        };
        let plan = json!({"limits": [limit("big", json!({"models": ["big-*"]})), limit("each", json!({"per": ["model", "key"]}))]});
        let gateway = gateway.config(config(plan)).start();
        let send = |model: &str| gateway.send(chat(&json!({"model": model}).to_string()));
        send("big-1").upstream(ok().json(&used(1, 1)));
        let refused = send("big-2").reply();
        refused.assert_status(429);
        assert!(refused.header("ratelimit").is_some_and(|header| header.starts_with("\"big\"")));
        send("small").upstream(ok().json(&used(1, 1)));
        send("small").reply().assert_status(429);
    }

    fn balances_survive_a_new_configuration_and_its_limits_hold_at_once(gateway) {
        let survives = gateway.profile() == weir_host_tests::host::Profile::Envoy;
        let gateway = gateway.config(tokens("1000/h")).start();
        gateway.send(chat(&body(500))).upstream(ok().json(&used(400, 500)));
        gateway.reload(tokens("200/h")).expect("a valid configuration");
        if survives {
            assert_eq!(left(&gateway), 100, "what was used stays used");
        } else {
            gateway.send(chat(&body(150))).upstream(ok().json(&used(100, 50))).assert_status(200);
            assert_eq!(left(&gateway), 50, "Kong forgets, and the new limit holds");
        }
    }

    fn every_answer_tells_how_limits_stand_where_that_is_asked_for(gateway) {
        let mut config = config(json!({"requests": {"rate": "60/min"}, "tokens": {"rate": "6000/min"}}));
        config["limit_headers"] = json!({"on": "all", "vendor": true});
        let gateway = gateway.config(config).start();
        let reply = gateway.send(chat(&body(10))).upstream(ok().json(&used(1, 1)).header("x-ratelimit-remaining-requests", "9"));
        reply.assert_header("x-ratelimit-remaining-requests", "59").assert_header("x-ratelimit-limit-tokens", "6000");
        assert!(reply.header("ratelimit").is_some_and(|header| header.starts_with("\"requests\";r=59;t=1, \"tokens\";r=59")));
        reply.assert_header("ratelimit-policy", "\"requests\";q=60;w=60, \"tokens\";q=6000;w=60");
    }

    fn an_unlimited_plan_asks_no_bucket(gateway) {
        let mut config = config(json!({}));
        // Without them: a source of events keeps its account in the shared data.
        config.as_object_mut().expect("an object").remove("events");
        let gateway = gateway.config(config).start();
        let before = gateway.worker(0).hostcalls();
        gateway.send(chat(&body(10))).upstream(ok().json(&used(1, 1)));
        let calls = |name: &str| gateway.worker(0).hostcalls().get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
        assert_eq!((calls("proxy_get_shared_data"), calls("proxy_set_shared_data")), (0, 0));
    }

    fn a_change_of_plan_is_felt_within_the_refresh_and_keeps_the_balance(gateway) {
        let mut config = config(json!({}));
        let tenants = config.as_object_mut().and_then(|fields| fields.remove("tenants")).expect("tenants");
        config["directory"] = json!({"cluster": "tenants", "token": "t", "refresh": "10s"});
        config["plans"] = json!({"small": {"requests": {"rate": "1/h", "capacity": 3}}, "large": {"requests": {"rate": "1/h", "capacity": 9}}});
        let gateway = gateway.config(config).start();
        let on = |plan: &'static str| {
            let mut acme = tenants[0].clone();
            acme["plan"] = json!(plan);
            let page = json!({"version": plan, "tenants": [acme]});
            gateway.answer_all("tenants", move |_| ok().json(&page));
        };
        on("small");
        gateway.run_for(secs(1));
        for _ in 0..2 {
            gateway.send(chat("{}")).upstream(ok().json(&used(1, 1))).assert_status(200);
        }
        on("large");
        gateway.run_for(secs(10));
        gateway.send(chat("{}")).upstream(ok().json(&used(1, 1))).assert_status(200);
        let refused = gateway.send(chat("{}")).reply();
        refused.assert_status(429).assert_header("ratelimit-policy", "\"requests\";q=9;w=32400");
    }

    fn every_refusal_is_counted_by_what_it_is_for_and_nothing_is_named_by_a_client(gateway) {
        let plan = json!({"tokens": {"rate": "1000/h"}, "requests": {"rate": "3/h"}, "n_max": 1, "output_tokens_max": 900,
                          "limits": [{"name": "each", "count": "requests", "rate": "1/h", "per": ["model", "user"]}]});
        let gateway = gateway.config(config(plan)).start();
        // Slots come into use with workers, not with clients.
        let is_slot = |name: &String| name.starts_with("weir_source.slot.");
        let names = || gateway.metrics().into_keys().filter(|name| !is_slot(name)).collect::<Vec<_>>();
        let before = names();
        let sent = gateway.send(chat(r#"{"model":"made-up","n":5,"max_tokens":9000}"#));
        gateway.send(chat(r#"{"model":"another","max_tokens":900}"#)).reply().assert_status(429);
        sent.upstream(ok().json(&used(1, 1)));
        gateway.send(chat(r#"{"model":"made-up","max_tokens":1}"#)).reply().assert_status(429);
        gateway.send(chat("{")).reply().assert_status(400);
        let counted = ["weir_limited.unit.tokens", "weir_limited.unit.requests", "weir_changes.what.output", "weir_changes.what.answers"];
        assert_eq!(counted.map(|name| gateway.metric(name)), [1; 4]);
        assert_eq!(gateway.metric("weir_requests.result.body_not_json"), 1);
        assert_eq!(names(), before, "all names are there from the start");
    }

    fn four_workers_admit_exactly_the_capacity(gateway) {
        let gateway = gateway.config(config(json!({"requests": {"rate": "100/h"}}))).workers(4).start();
        gateway.on_all_workers_at_once(|worker| {
            for _ in 0..50 {
                let sent = worker.send(chat("{}"));
                if sent.seen_upstream().is_some() {
                    sent.upstream(ok().json(&used(1, 1)));
                }
            }
        });
        assert_eq!(gateway.metric("weir_requests.result.admitted"), 100);
        assert_eq!(gateway.metric("weir_requests.result.rate_limited"), 100);
    }
}
