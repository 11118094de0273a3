//! Limits of the whole fleet, with the built module: several gateways and one center.
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_contract::lease::Call;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, get, ms, ok, post, secs, status};

use crate::center::{Center, Serve};
use crate::common::{ACME, CHAT, config, used};

const CAPACITY: u64 = 100;

fn fleet(limit: Value) -> Value {
    let mut limits = json!({"requests": {"rate": "1/d", "capacity": CAPACITY, "scope": "fleet"}});
    limits.as_object_mut().expect("an object").extend(limit.as_object().expect("an object").clone());
    let mut config = config(limits);
    config["leases"] = json!({"cluster": "leases:80", "token": "fleet-token-0123456789"});
    config
}

/// A gateway whose calls this center answers, while `is_there`.
fn start(gateway: &GatewayBuilder, config: Value, center: &Arc<Mutex<Center>>, is_there: &Arc<Mutex<bool>>) -> Gateway {
    let gateway = gateway.clone().config(config).workers(2).start();
    let (center, is_there) = (Arc::clone(center), Arc::clone(is_there));
    gateway.answer_all("leases:80", move |call| {
        if !*is_there.lock().expect("lock") {
            return status(503);
        }
        assert_eq!(call.header("authorization"), Some("Bearer fleet-token-0123456789"));
        let mut center = center.lock().expect("lock");
        match call.path() {
            "/v1/leases" => {
                let body: Call = serde_json::from_slice(call.body()).expect("a call");
                ok().json(&serde_json::to_value(center.call(&body)).expect("json"))
            }
            "/v1/leases/draw" => {
                let body = serde_json::from_slice(call.body()).expect("a draw");
                ok().json(&serde_json::to_value(center.draw(&body)).expect("json"))
            }
            other => panic!("{other}"),
        }
    });
    gateway
}

fn new_center() -> (Arc<Mutex<Center>>, Arc<Mutex<bool>>) {
    (Arc::new(Mutex::new(Center::new(CAPACITY, 1, 86_400_000))), Arc::new(Mutex::new(true)))
}

/// A request through one worker: its status, once weir serve has been asked where it is asked.
fn request(gateway: &Gateway, worker: usize) -> u16 {
    let sent = gateway.worker(worker).send(get("/v1/models").bearer(ACME));
    if sent.is_paused() {
        gateway.run_for(ms(1));
    }
    if sent.seen_upstream().is_some() { sent.upstream(status(204)).status() } else { sent.reply().status() }
}

on_both_gateways! {
    fn gateways_of_one_fleet_admit_together_what_one_bucket_holds(gateway) {
        let (center, is_there) = new_center();
        let gateways: Vec<Gateway> = (1..=3)
            // Processes draw different numbers.
            .map(|seed| start(&gateway.clone().seed(seed), fleet(json!({})), &center, &is_there))
            .collect();
        let mut admitted = 0;
        for round in 0..400 {
            let gateway = &gateways[round % 3];
            admitted += u64::from(request(gateway, round % 2) == 204);
            gateways.iter().for_each(|gateway| gateway.run_for(ms(100)));
        }
        assert_eq!(admitted, CAPACITY, "to the unit");
        let asked: u64 = gateways.iter().map(|gateway| gateway.metric("weir_lease_calls.result.answered")).sum();
        assert!(asked > 0 && asked < 400, "{asked} calls");
        assert_eq!(gateways[0].metric("weir_lease_calls.result.failed"), 0);
    }

    fn a_lease_is_spent_without_weir_serve_and_then_each_limit_goes_on_as_it_says(gateway) {
        for (unreachable, after) in [("refuse", 503), ("open", 204)] {
            let (center, is_there) = new_center();
            let config = fleet(json!({"requests": {"rate": "1/d", "capacity": CAPACITY, "scope": "fleet",
                                                   "unreachable": unreachable}}));
            let gateway = start(&gateway, config, &center, &is_there);
            request(&gateway, 0);
            gateway.run_for(ms(200));
            assert_eq!(request(&gateway, 1), 204, "the other worker spends the same lease");
            *is_there.lock().expect("lock") = false;
            gateway.run_for(ms(1_500));
            let spent = (0..).take_while(|_| request(&gateway, 0) == 204).take(60).count();
            gateway.run_for(ms(1_500));
            let refused = request(&gateway, 0);
            assert_eq!(refused, after, "{unreachable}, after {spent} more");
            gateway.assert_logged(weir_host_tests::host::LogLevel::Warn, "leases on limits of the fleet are not renewed");
            *is_there.lock().expect("lock") = true;
            gateway.run_for(ms(3_000));
            assert_eq!(request(&gateway, 0), 204, "it is back");
        }
    }

    fn tokens_are_settled_on_a_lease(gateway) {
        let (center, is_there) = new_center();
        let config = fleet(json!({"requests": null, "tokens": {"rate": "1/d", "capacity": 100_000, "scope": "fleet"}}));
        *center.lock().expect("lock") = Center::new(100_000, 1, 86_400_000);
        let gateway = start(&gateway, config, &center, &is_there);
        let chat = || post(CHAT).bearer(ACME).json(&json!({"model": "m", "messages": [], "max_tokens": 400}));
        gateway.send(chat());
        gateway.run_for(ms(200));
        for _ in 0..10 {
            let sent = gateway.send(chat());
            assert!(sent.seen_upstream().is_some());
            sent.upstream(ok().json(&used(10, 90)));
            gateway.run_for(ms(1_500));
        }
        gateway.run_for(secs(80));
        let center = center.lock().expect("lock");
        let left = center.level() + center.held();
        assert!((97_500..=99_000).contains(&left), "{left}: ten requests used 100 each, and one was asked for");
    }

    fn a_killed_worker_leaves_its_lease_to_the_others(gateway) {
        let (center, is_there) = new_center();
        let gateway = start(&gateway, fleet(json!({})), &center, &is_there);
        request(&gateway, 0);
        gateway.run_for(ms(200));
        gateway.worker(0).restart();
        assert_eq!(request(&gateway, 0), 204);
        gateway.run_for(secs(2));
        assert_eq!(request(&gateway, 1), 204);
        assert!(center.lock().expect("lock").held() <= CAPACITY / 2);
    }
}

#[test]
fn envoy_holds_the_first_request_while_weir_serve_is_asked() {
    let gateway = Gateway::envoy().config(fleet(json!({}))).start();
    for (answer, status) in
        [(r#"{"epoch":1,"levels":[9]}"#, 204), (r#"{"epoch":1,"short":{"index":0,"wait_ms":2500},"levels":[0]}"#, 429)]
    {
        let sent = gateway.send(get("/v1/models").bearer(ACME));
        assert!(sent.is_paused() && sent.seen_upstream().is_none());
        let call = gateway.next_call("leases:80");
        assert_eq!((call.path(), call.json()["draws"][0]["cost"].as_u64()), ("/v1/leases/draw", Some(1)));
        call.answer(200, answer);
        if status == 204 {
            sent.upstream(weir_host_tests::scenario::status(204)).assert_status(204);
        } else {
            sent.reply().assert_status(429).assert_header("retry-after", "3");
        }
    }
    assert_eq!(gateway.metric("weir_lease_draws.result.passed"), 1);
    assert_eq!(gateway.metric("weir_lease_draws.result.short"), 1);
}

#[test]
fn a_body_that_comes_while_weir_serve_is_asked_is_read_afterwards() {
    let mut config = fleet(json!({"models": {"allow": ["mini"], "otherwise": {"replace": "mini"}}}));
    config["plans"]["p"]["tokens"] = json!({"rate": "100000/s"});
    let gateway = Gateway::envoy().config(config).start();
    let sent = gateway.send(post(CHAT).bearer(ACME).json(&json!({"model": "large", "messages": []})));
    assert!(sent.is_paused());
    gateway.next_call("leases:80").answer(200, r#"{"epoch":1,"levels":[9]}"#);
    let seen = sent.seen_upstream().expect("it goes on");
    assert_eq!(seen.json()["model"], "mini");
    sent.upstream(ok().json(&used(1, 1))).assert_status(200);
}

#[test]
fn a_client_that_leaves_while_weir_serve_is_asked_harms_nobody() {
    let gateway = Gateway::envoy().config(fleet(json!({}))).start();
    let sent = gateway.send(get("/v1/models").bearer(ACME));
    assert!(sent.is_paused());
    sent.client_gone();
    let other = gateway.send(get("/v1/models").bearer(ACME));
    gateway.calls().into_iter().for_each(|call| call.answer(200, r#"{"epoch":1,"levels":[9]}"#));
    other.upstream(status(204)).assert_status(204);
}
