//! Pools of provider accounts, with the built module: tenants of three tiers, several gateways, and the center of the product.
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Request, get, ms, ok, post, secs, status};
use weir_leases::{Center, Timing};

use crate::common::{ACME, CHAT, GLOBEX, config, used};

/// Requests of the pool.
const CAPACITY: u64 = 200;

/// acme pays for half of the pool, and globex for a fifth of it.
fn tiers(pool: Value, own: Value) -> Value {
    let mut config = config(json!({}));
    config["plans"] = json!({"enterprise": own, "starter": own});
    config["tenants"][0]["plan"] = json!("enterprise");
    config["tenants"][1]["plan"] = json!("starter");
    config["leases"] = json!({"cluster": "leases:80", "token": "fleet-token-0123456789"});
    config["routes"] = json!([{"name": "openai", "match": {"path_prefix": "/v1"}, "pool": "openai"}]);
    config["pools"] = json!({"openai": {"tiers": {"enterprise": 50, "pro": 30, "starter": 20}}});
    config["pools"]["openai"].as_object_mut().expect("an object").extend(pool.as_object().expect("an object").clone());
    config
}

fn requests_of_pool() -> Value {
    json!({"requests": {"rate": "60/min", "capacity": CAPACITY}})
}

/// The center, and the time on its clock.
type Shared = Arc<Mutex<(Center, u64)>>;

fn new_center() -> Shared {
    Arc::new(Mutex::new((Center::new(1, 1, Timing::default()), 1)))
}

fn start(gateway: &GatewayBuilder, config: Value, center: &Shared) -> Gateway {
    let gateway = gateway.clone().config(config).workers(2).start();
    let center = Arc::clone(center);
    gateway.answer_all("leases:80", move |call| {
        let (center, now) = &mut *center.lock().expect("lock");
        let answer = match call.path() {
            "/v1/leases" => {
                let body: weir_contract::lease::Call = serde_json::from_slice(call.body()).expect("a call");
                assert_eq!(body.check(), Ok(()));
                serde_json::to_value(center.call(&body, *now))
            }
            "/v1/leases/draw" => {
                let body: weir_contract::lease::DrawCall = serde_json::from_slice(call.body()).expect("a draw");
                assert_eq!(body.check(), Ok(()));
                serde_json::to_value(center.draw(&body, *now))
            }
            other => panic!("{other}"),
        };
        ok().json(&answer.expect("json"))
    });
    gateway
}

/// Lets time pass, at the gateways and at the center.
fn pass(gateways: &[&Gateway], center: &Shared, span_ms: u64) {
    gateways.iter().for_each(|gateway| gateway.run_for(ms(span_ms)));
    center.lock().expect("lock").1 += span_ms;
}

/// Sends a request; the status that its client sees.
fn send(gateway: &Gateway, request: Request) -> u16 {
    let sent = gateway.send(request);
    if sent.is_paused() {
        gateway.run_for(ms(1));
    }
    if sent.seen_upstream().is_some() {
        sent.upstream(ok().json(&used(10, 90))).status()
    } else {
        sent.reply().status()
    }
}

fn models(key: &str) -> Request {
    get("/v1/models").bearer(key)
}

fn chat(key: &str, max_tokens: u64) -> Request {
    post(CHAT).bearer(key).json(&json!({"model": "m", "messages": [], "max_tokens": max_tokens}))
}

/// What the center has left of a tier, and what leases on it hold.
fn stands(center: &Shared, limit: &str, tier: &str) -> (i64, u64) {
    let (center, now) = &mut *center.lock().expect("lock");
    let views = center.views(*now, 10, |key| key.limit == limit);
    let (_, view) = views.first().expect("the limit");
    let level = view.tiers.iter().find(|one| one.name == tier).expect("the tier").level;
    (level, view.holders.iter().filter(|one| one.tier == tier).map(|one| one.holds).sum())
}

on_both_gateways! {
    fn a_low_tier_borrows_until_the_rest_is_reserved_and_a_high_one_still_finds_its_own(gateway) {
        let center = new_center();
        let config = tiers(requests_of_pool(), json!({}));
        let gateways: Vec<Gateway> =
            (1..=2).map(|seed| start(&gateway.clone().seed(seed), config.clone(), &center)).collect();
        let both: Vec<&Gateway> = gateways.iter().collect();
        let mut starter = 0;
        for round in 0..400 {
            starter += u64::from(send(both[round % 2], models(GLOBEX)) == 200);
            pass(&both, &center, 100);
        }
        // A starter's own 40, half of the other 160, its own refill and what others need not: less than the pool's all.
        assert!((100..=CAPACITY + 40).contains(&starter), "{starter}");
        let enterprise = (0..200)
            .filter(|round| {
                pass(&both, &center, 20);
                send(both[round % 2], models(ACME)) == 200
            })
            .count();
        assert!(enterprise >= 50, "{enterprise}: half of its share was never lent");
        assert!((0..5).any(|_| send(both[0], models(GLOBEX)) == 429), "while a starter waits for the refill");
    }

    fn a_saturated_pool_says_when_to_come_back_and_gives_the_plans_units_back(gateway) {
        let center = new_center();
        let config = tiers(requests_of_pool(), json!({"requests": {"rate": "1/d", "capacity": 1_000}}));
        let gateway = start(&gateway, config, &center);
        let (mut admitted, mut refused) = (0, 0);
        for _ in 0..900 {
            match send(&gateway, models(GLOBEX)) {
                200 => admitted += 1,
                _ => refused += 1,
            }
            pass(&[&gateway], &center, 20);
        }
        assert!(refused > 600, "{refused}");
        let sent = gateway.send(models(GLOBEX));
        if sent.is_paused() {
            gateway.run_for(ms(1));
        }
        let reply = sent.reply();
        assert_eq!((reply.status(), reply.json()["error"]["code"].as_str()), (429, Some("pool_saturated")));
        let wait: u64 = reply.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=5).contains(&wait), "{wait}: twelve requests a minute are the tier's own");
        assert!(reply.header("ratelimit").is_none(), "the operator's quota is no matter of the client");
        assert_eq!(gateway.metric("weir_requests.result.pool_saturated"), refused + 1);
        let left = (0..1_000).take_while(|_| send(&gateway, get("/other").bearer(GLOBEX)) == 200).count();
        assert_eq!(left, 1_000 - admitted, "the plan's own limit lost nothing to refusals");
    }

    fn tokens_of_a_pool_are_settled_by_what_was_used(gateway) {
        let center = new_center();
        let config = tiers(json!({"tokens": {"rate": "1/d", "capacity": 500_000}}), json!({}));
        let gateway = start(&gateway, config, &center);
        for _ in 0..12 {
            send(&gateway, chat(GLOBEX, 400));
            pass(&[&gateway], &center, 1_500);
        }
        (0..80).for_each(|_| pass(&[&gateway], &center, 1_000));
        let (level, held) = stands(&center, "tokens", "starter");
        let left = level.unsigned_abs() + held;
        assert!((98_300..=99_000).contains(&left), "{left}: ten or eleven requests used 100 each, one answer may be lost");
        assert_eq!(gateway.metric("weir_tokens_overshot"), 0);
    }

    fn without_weir_serve_a_pool_goes_on_as_it_says(gateway) {
        for (unreachable, after) in [("refuse", 503), ("open", 200)] {
            let mut pool = requests_of_pool();
            pool["unreachable"] = json!(unreachable);
            let gateway = gateway.clone().config(tiers(pool, json!({}))).start();
            gateway.answer_all("leases:80", |_| status(503));
            send(&gateway, models(ACME));
            gateway.run_for(secs(2));
            assert_eq!(send(&gateway, models(ACME)), after, "{unreachable}");
        }
    }

    fn requests_of_other_routes_draw_from_no_pool(gateway) {
        let gateway = gateway.clone().config(tiers(requests_of_pool(), json!({}))).start();
        assert_eq!(send(&gateway, get("/other").bearer(ACME)), 200);
        gateway.run_for(secs(3));
        assert!(gateway.calls().iter().all(|call| call.upstream() != "leases:80"), "weir serve is asked for nothing");
    }
}

#[test]
fn envoy_asks_for_the_tenants_limit_and_its_pool_in_one_call() {
    let own = json!({"requests": {"rate": "1/d", "capacity": 100, "scope": "fleet"}});
    let answers = [
        (r#"{"epoch":1,"levels":[9,9]}"#, None),
        (r#"{"epoch":1,"short":{"index":1,"wait_ms":2500},"levels":[8,0]}"#, Some("pool_saturated")),
        (r#"{"epoch":1,"short":{"index":0,"wait_ms":2500},"levels":[0,9]}"#, Some("rate_limit_exceeded")),
    ];
    for (answer, code) in answers {
        let gateway = Gateway::envoy().config(tiers(requests_of_pool(), own.clone())).start();
        let sent = gateway.send(models(ACME));
        assert!(sent.is_paused() && sent.seen_upstream().is_none());
        let call = gateway.next_call("leases:80");
        let draws = call.json()["draws"].clone();
        assert_eq!(draws[0]["key"]["owner"], json!({"tenant": "acme"}));
        assert_eq!((&draws[1]["key"]["owner"], &draws[1]["tier"]), (&json!({"pool": "openai"}), &json!("enterprise")));
        call.answer(200, answer);
        if let Some(code) = code {
            let reply = sent.reply();
            reply.assert_status(429).assert_header("retry-after", "3");
            assert_eq!(reply.json()["error"]["code"], code);
        } else {
            sent.upstream(ok().json(&used(1, 1))).assert_status(200);
        }
    }
}
