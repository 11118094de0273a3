//! Hard budgets, with the built module: a directory brings them, the center of the product leases them, and no request begins
//! beyond the amount, whatever two gateways do.
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_contract::lease::{Call, DrawCall};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Request, Sent, get, ms, ok, post, secs, status};
use weir_leases::{Center, Timing};

use crate::common::{ACME, CHAT, GLOBEX, config, used};

const TODAY: &str = "2026-11-28T00:00:00.000Z";
const TOMORROW: &str = "2026-11-29T00:00:00.000Z";
const AFTER: &str = "2026-11-30T00:00:00.000Z";

/// weir serve: the tenants, and the center with the time on its clock.
struct Serve {
    center: Center,
    now: u64,
    page: Value,
    is_there: bool,
}

type Shared = Arc<Mutex<Serve>>;

fn budget(of: &str, amount: u64, starts: &str, ends: &str) -> Value {
    json!({"budget": "daily", "of": of, "amount": amount, "starts": starts, "ends": ends})
}

/// acme has a hard budget of so many units a day, and globex none.
fn serve(of: &str, amount: u64) -> Shared {
    let mut page = json!({"version": "1", "tenants": config(json!({}))["tenants"]});
    page["tenants"][0]["hard_budgets"] =
        json!([budget(of, amount, TODAY, TOMORROW), budget(of, amount, TOMORROW, AFTER)]);
    Arc::new(Mutex::new(Serve { center: Center::new(1, 1, Timing::default()), now: 1, page, is_there: true }))
}

fn start(gateway: &GatewayBuilder, plan: Value, serve: &Shared) -> Gateway {
    start_at(gateway, "2026-11-28T12:00:00Z", plan, serve)
}

fn start_at(gateway: &GatewayBuilder, at: &str, plan: Value, serve: &Shared) -> Gateway {
    let mut config = config(plan);
    config.as_object_mut().expect("an object").remove("tenants");
    config["directory"] = json!({"cluster": "weir:80", "token": "fleet-token-0123456789", "refresh": "1s"});
    config["limit_headers"] = json!({"on": "all"});
    let gateway = gateway.clone().at(at).config(config).workers(2).start();
    let serve = Arc::clone(serve);
    gateway.answer_all("weir:80", move |call| {
        let mut serve = serve.lock().expect("lock");
        let Serve { center, now, page, is_there } = &mut *serve;
        match call.path() {
            path if path.starts_with("/v1/directory") => {
                assert!(call.header("x-weir-knows").is_some_and(|knows| knows.contains("hard_budgets")));
                ok().json(page)
            }
            _ if !*is_there => status(503),
            "/v1/leases" => {
                let call: Call = serde_json::from_slice(call.body()).expect("a call");
                assert_eq!(call.check(), Ok(()));
                ok().json(&serde_json::to_value(center.call(&call, *now)).expect("json"))
            }
            _ => {
                let call: DrawCall = serde_json::from_slice(call.body()).expect("a draw");
                assert_eq!(call.check(), Ok(()));
                ok().json(&serde_json::to_value(center.draw(&call, *now)).expect("json"))
            }
        }
    });
    gateway.run_for(secs(2));
    gateway
}

/// Lets time pass, at the gateways and at the center.
fn pass(gateways: &[&Gateway], serve: &Shared, span_ms: u64) {
    gateways.iter().for_each(|gateway| gateway.run_for(ms(span_ms)));
    serve.lock().expect("lock").now += span_ms;
}

fn open<'g>(gateway: &'g Gateway, request: Request) -> Sent<'g> {
    let sent = gateway.send(request);
    if sent.is_paused() {
        gateway.run_for(ms(1));
    }
    sent
}

/// Sends a request; the status that its client sees.
fn send(gateway: &Gateway, request: Request) -> u16 {
    let sent = open(gateway, request);
    if sent.seen_upstream().is_some() {
        sent.upstream(ok().json(&used(10, 40))).status()
    } else {
        sent.reply().status()
    }
}

fn models(key: &str) -> Request {
    get("/v1/models").bearer(key)
}

fn chat(max_tokens: u64) -> Request {
    post(CHAT).bearer(ACME).json(&json!({"model": "m", "messages": [], "max_tokens": max_tokens}))
}

/// The first requests of a gateway without a lease: Kong cannot hold them.
fn warm_up(gateways: &[&Gateway], serve: &Shared, request: impl Fn() -> Request) -> u64 {
    let mut admitted = 0;
    for _ in 0..3 {
        admitted += gateways.iter().filter(|gateway| send(gateway, request()) == 200).count() as u64;
        pass(gateways, serve, 1_000);
    }
    admitted
}

on_both_gateways! {
    fn two_gateways_admit_together_as_many_requests_as_the_budget_has(gateway) {
        let serve = serve("requests", 100);
        let gateways: Vec<Gateway> =
            (1..=2).map(|seed| start(&gateway.clone().seed(seed), json!({}), &serve)).collect();
        let both: Vec<&Gateway> = gateways.iter().collect();
        let mut admitted = warm_up(&both, &serve, || models(ACME));
        // Bursts, at one gateway and at the other, and a gateway that starts again in the middle of them.
        for round in 0..60 {
            for _ in 0..6 {
                admitted += u64::from(send(both[round / 3 % 2], models(ACME)) == 200);
            }
            if round == 20 {
                both[0].worker(0).restart();
                both[0].run_for(secs(2));
            }
            pass(&both, &serve, 700);
        }
        assert!((90..=100).contains(&admitted), "{admitted} of 100");
        let refused = open(both[0], models(ACME)).reply();
        refused.assert_status(402);
        assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
        let wait: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((42_000..43_200).contains(&wait), "{wait}: until midnight");
        assert_eq!(send(both[0], models(GLOBEX)), 200, "who has no hard budget pays and notices nothing");
    }

    fn tokens_are_reserved_whole_and_given_back(gateway) {
        let serve = serve("tokens", 10_000);
        let gateways: Vec<Gateway> =
            (1..=2).map(|seed| start(&gateway.clone().seed(seed), json!({}), &serve)).collect();
        let both: Vec<&Gateway> = gateways.iter().collect();
        let mut admitted = warm_up(&both, &serve, || chat(90));
        for round in 0..400 {
            admitted += u64::from(send(both[round % 2], chat(90)) == 200);
            pass(&both, &serve, 500);
        }
        // 50 tokens each; what a request reserves beyond that must fit, too.
        assert!((190..=200).contains(&admitted), "{admitted} of 200");
    }

    fn what_is_in_flight_counts_as_spent_until_it_ends(gateway) {
        let serve = serve("tokens", 10_000);
        let gateway = start(&gateway, json!({}), &serve);
        let warm = warm_up(&[&gateway], &serve, || chat(90));
        let mut streams = Vec::new();
        for _ in 0..300 {
            let stream = open(&gateway, chat(400));
            if stream.seen_upstream().is_some() {
                streams.push(stream);
            } else {
                stream.reply();
            }
            pass(&[&gateway], &serve, 400);
        }
        let reserved = streams.len() as u64 * 400 + warm * 50;
        assert!((8_000..=10_000).contains(&reserved), "{} streams", streams.len());
        // Each uses 50 more than it reserved: the bound is what is in flight.
        let in_flight = streams.len() as u64;
        for stream in streams {
            let _ = stream.upstream(ok().json(&used(10, 470)));
        }
        (0..30).for_each(|_| pass(&[&gateway], &serve, 1_000));
        // Kong cannot ask for a request that its lease is too small for.
        assert!(matches!(send(&gateway, chat(1)), 402 | 503), "what was used beyond is a debt");
        assert!(in_flight <= 25, "{in_flight}");
    }

    fn a_new_period_begins_by_itself_and_one_that_nobody_told_of_is_refused(gateway) {
        let serve = serve("requests", 3);
        let gateway = start_at(&gateway, "2026-11-28T23:59:30Z", json!({}), &serve);
        for _ in 0..10 {
            send(&gateway, models(ACME));
            pass(&[&gateway], &serve, 1_000);
        }
        assert_eq!(send(&gateway, models(ACME)), 402);
        pass(&[&gateway], &serve, 30_000);
        let admitted = warm_up(&[&gateway], &serve, || models(ACME));
        assert!((2..=3).contains(&admitted), "{admitted}: the next day has its own");
        let late = start_at(&Gateway::envoy(), "2026-11-30T12:00:00Z", json!({}), &serve);
        assert_eq!(send(&late, models(ACME)), 503, "the server has not told of this day");
    }

    fn without_weir_serve_a_hard_budget_refuses(gateway) {
        let serve = serve("requests", 1_000);
        let gateway = start(&gateway, json!({"stages": {"exceeded": {"refuse": {"status": 429}}}}), &serve);
        warm_up(&[&gateway], &serve, || models(ACME));
        serve.lock().expect("lock").is_there = false;
        (0..15).for_each(|_| pass(&[&gateway], &serve, 1_000));
        assert_eq!(send(&gateway, models(ACME)), 503);
        serve.lock().expect("lock").is_there = true;
        (0..3).for_each(|_| pass(&[&gateway], &serve, 1_000));
        assert_eq!(send(&gateway, models(ACME)), 200, "it is back");
    }

    fn clients_are_told_how_their_budget_stands(gateway) {
        let serve = serve("requests", 1_000);
        let gateway = start(&gateway, json!({"stages": {"exceeded": {"refuse": {"status": 429}}}}), &serve);
        let before = warm_up(&[&gateway], &serve, || models(ACME));
        let reply = open(&gateway, models(ACME)).upstream(status(204));
        reply.assert_header("ratelimit-policy", "\"daily\";q=1000;w=86400");
        let told = reply.header("ratelimit").expect("a standing");
        let left: u64 = told.split("r=").nth(1).and_then(|rest| rest.split(';').next()).expect("r").parse().expect("a count");
        assert!(left <= 999 - before && left >= 990 - before, "{told}");
        serve.lock().expect("lock").page["tenants"][0]["hard_budgets"][0]["amount"] = json!(before + 1);
        serve.lock().expect("lock").page["version"] = json!("2");
        (0..20).for_each(|_| pass(&[&gateway], &serve, 1_000));
        // What the gateway still holds of the larger budget it may spend: a lease, and no more.
        let admitted = (0..64).take_while(|_| send(&gateway, models(ACME)) != 429).count();
        assert!(admitted <= 1_000 / 32, "a gateway alone holds at most a 32nd: {admitted}");
    }
}
