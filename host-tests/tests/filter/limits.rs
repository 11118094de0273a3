//! A tenant is held to its plan, whichever worker it meets and whatever happens to the gateway.
use crate::common::{ACME, GLOBEX, config, config_with};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, get, ok, secs, status};

/// Sends one request and says whether it got through.
fn send(gateway: &Gateway, worker: usize, key: &str) -> u16 {
    let sent = gateway.worker(worker).send(get("/v1/models").bearer(key));
    if sent.seen_upstream().is_some() { sent.upstream(status(204)).status() } else { sent.reply().status() }
}

on_both_gateways! {
    fn one_tenant_cannot_empty_anothers_bucket(gateway) {
        let gateway = gateway.config(config()).start();
        let acme: Vec<u16> = (0..5).map(|_| send(&gateway, 0, ACME)).collect();
        assert_eq!(acme, [204, 204, 204, 429, 429]);
        assert_eq!(send(&gateway, 0, GLOBEX), 204);
    }

    fn a_client_that_obeys_retry_after_is_admitted(gateway) {
        let gateway = gateway.config(config()).start();
        (0..3).for_each(|_| assert_eq!(send(&gateway, 0, ACME), 204));
        let refused = gateway.send(get("/v1/models").bearer(ACME)).reply();
        let wait: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("whole seconds");
        gateway.advance(secs(wait - 1));
        assert_eq!(send(&gateway, 0, ACME), 429, "a second too early");
        gateway.advance(secs(1));
        assert_eq!(send(&gateway, 0, ACME), 204);
    }

    fn four_workers_on_one_bucket_admit_exactly_its_capacity(gateway) {
        let config = config_with("/plans/starter/requests", json!({"rate": "1/d", "capacity": 150}));
        let gateway = gateway.config(config).workers(4).start();
        let admitted = AtomicUsize::new(0);
        gateway.on_all_workers_at_once(|worker| {
            for _ in 0..60 {
                let sent = worker.send(get("/v1/models").bearer(ACME));
                if sent.seen_upstream().is_some() {
                    sent.upstream(status(204)).assert_status(204);
                    admitted.fetch_add(1, Ordering::Relaxed);
                } else {
                    sent.reply().assert_status(429);
                }
            }
        });
        assert_eq!(admitted.into_inner(), 150);
        assert_eq!(gateway.metric("weir_limit_faults.fault.contended"), 0);
    }

    fn half_of_a_value_that_is_written_meanwhile_admits_nobody_and_refuses_nobody(gateway) {
        let gateway = gateway.config(config()).start();
        let torn = || gateway.tear_shared_data("weir/limit/3/acme");
        let statuses: Vec<u16> = (0..5)
            .map(|_| {
                torn();
                send(&gateway, 0, ACME)
            })
            .collect();
        assert_eq!(statuses, [204, 204, 204, 429, 429]);
        assert!(gateway.shared_data("weir/limit/3/acme").is_some(), "that is where it stands");
    }

    fn an_unlimited_plan_asks_nothing_of_the_shared_data(gateway) {
        let mut config = config_with("/tenants/0/plan", json!("free"));
        // Of the limits, that is: a source of events keeps its account there, which on Kong takes a read.
        config.as_object_mut().expect("an object").remove("events");
        let gateway = gateway.config(config).start();
        gateway.send(get("/v1/models").bearer(ACME)).upstream(ok()).assert_status(200);
        let before = gateway.worker(0).hostcalls();
        gateway.send(get("/v1/models").bearer(ACME)).upstream(ok()).assert_status(200);
        let after = gateway.worker(0).hostcalls();
        assert_eq!(before.get("proxy_get_shared_data"), after.get("proxy_get_shared_data"));
    }

    fn with_events_an_unlimited_plan_reads_only_the_sources_account_and_that_on_kong(gateway) {
        let reads = u64::from(gateway.profile() == weir_host_tests::host::Profile::Kong);
        let gateway = gateway.config(config_with("/tenants/0/plan", json!("free"))).start();
        let send = || {
            gateway.send(get("/v1/models").bearer(ACME)).upstream(ok()).assert_status(200);
        };
        let count = || gateway.worker(0).hostcalls().get("proxy_get_shared_data").copied().unwrap_or(0);
        send();
        let before = count();
        send();
        assert_eq!(count() - before, reads);
    }
}

#[test]
fn balances_survive_a_reload_and_the_new_limit_holds_at_once() {
    let gateway = Gateway::envoy().config(config()).start();
    (0..2).for_each(|_| assert_eq!(send(&gateway, 0, ACME), 204));
    gateway
        .reload(config_with("/plans/starter/requests", json!({"rate": "5/min", "capacity": 10})))
        .expect("a good one");
    assert_eq!((send(&gateway, 0, ACME), send(&gateway, 0, ACME)), (204, 429), "1 was left, and no fresh bucket");
}

#[test]
fn limits_go_on_after_a_worker_died() {
    let gateway = Gateway::envoy().config(config()).workers(2).start();
    (0..3).for_each(|_| assert_eq!(send(&gateway, 0, ACME), 204));
    gateway.worker(0).kill();
    gateway.worker(0).restart();
    assert_eq!(send(&gateway, 0, ACME), 429);
}
