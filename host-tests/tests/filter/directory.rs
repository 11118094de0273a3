//! The largest directory, as `weir serve` sends it, in a worker: what it costs in memory, in a tick, and for a request.
use std::sync::Arc;

use crate::common::config;
use serde_json::{Value, json};
use weir_contract::TenantId;
use weir_contract::directory::{ApiKey, KeyHash, Revoked, TENANTS_MAX, Tenant, TenantState};
use weir_host_tests::host::Callback;
use weir_host_tests::scenario::{Gateway, Request, get, ok, secs, status};
use weir_tenants::pages::State;

/// The most memory of a worker with the largest directory, twice over while a new state comes in.
const WORKER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The most instructions of one tick, and of taking an answer: less than 5 ms, since what compiles WebAssembly to machine code
/// executes some 4,000 of them in a microsecond on today's servers (this test prints how long it took), and so half of that on
/// a slow one.
const STEP_MAX_FUEL: u64 = 8_000_000;

fn polled() -> Value {
    let mut config = config();
    config["plans"]["starter"] = json!({});
    config.as_object_mut().expect("an object").remove("tenants");
    config["directory"] = json!({"cluster": "tenants", "token": "t", "refresh": "10s", "staleness_max": "600s"});
    config
}

fn models(credential: &str) -> Request {
    get("/v1/models").bearer(credential)
}

fn key(name: &str) -> ApiKey {
    ApiKey {
        id: name.to_owned(),
        sha256: KeyHash::of(name.as_bytes()),
        plan: None,
        environment: Some("production".to_owned()),
        feature: None,
        scopes: None,
        expires: None,
    }
}

/// A tenant with two keys.
fn tenant(at: usize, state: TenantState) -> Tenant {
    let id = TenantId::new(&format!("tenant-{at:06}")).expect("an id");
    let keys = vec![key(&format!("sk_weir_{at}_a")), key(&format!("sk_weir_{at}_b"))];
    Tenant {
        id,
        plan: "starter".to_owned(),
        state,
        keys,
        identifiers: Vec::new(),
        stages: Vec::new(),
        further_stages: Vec::new(),
        hard_budgets: Vec::new(),
        provider_keys: Vec::new(),
        house_key: false,
        placement: None,
    }
}

fn state(tenants: impl Iterator<Item = Tenant>) -> Arc<State> {
    Arc::new(State::new(&tenants.collect::<Vec<_>>(), Revoked::default()).expect("json"))
}

/// From now on the aggregator has this state, and knows what differs from `old`.
fn serve(gateway: &Gateway, new: &Arc<State>, old: Option<&Arc<State>>) {
    let (new, old) = (Arc::clone(new), old.cloned());
    gateway.answer_all("tenants", move |call| {
        if call.header("if-none-match").is_some_and(|known| known.trim_matches('"') == new.version()) {
            return status(304);
        }
        let (_, query) = call.path().split_once('?').unwrap_or_default();
        let known = old.as_ref().filter(|old| query == format!("since={}", old.version()));
        let difference = known.and_then(|old| {
            let changes = old.changes(&new, 10_000).expect("few");
            new.difference(old.version(), changes.iter()).expect("json")
        });
        let page = difference.unwrap_or_else(|| new.page(query.strip_prefix("from=")).expect("json"));
        status(200).body(page)
    });
}

/// Asserts that no callback of the first worker has exceeded its bound since the last call.
fn assert_short_steps(gateway: &Gateway, what: &str) {
    let costliest = gateway.worker(0).take_costliest();
    for callback in [Callback::Tick, Callback::HttpCallResponse] {
        let cost = costliest.get(&callback).copied().unwrap_or_default();
        println!("{what}: the costliest {callback:?} took {} instructions, {:?} here", cost.fuel, cost.time);
        assert!(cost.fuel < STEP_MAX_FUEL, "{what}: {callback:?}: {cost:?}");
    }
}

#[test]
fn a_hundred_thousand_tenants_cost_no_tick_its_time_no_request_more_and_little_memory() {
    let gateway = Gateway::envoy().config(polled()).start();
    let few = state((0..10).map(|at| tenant(at, TenantState::Active)));
    serve(&gateway, &few, None);
    gateway.run_for(secs(1));
    let among_few = gateway.send(models("sk_weir_1_a")).upstream(ok()).fuel();
    gateway.worker(0).take_costliest();

    let all = state((0..TENANTS_MAX).map(|at| tenant(at, TenantState::Active)));
    serve(&gateway, &all, None);
    gateway.run_for(secs(120));
    assert_short_steps(&gateway, "100,000 tenants come");
    let reply = gateway.send(models("sk_weir_99999_b")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-tenant-id"), Some("tenant-099999"));
    let among_many = reply.fuel();

    // Every tenant is another: the whole state comes again, beside the one in force.
    let others =
        state((0..TENANTS_MAX).map(|at| Tenant { plan: "free".to_owned(), ..tenant(at, TenantState::Active) }));
    serve(&gateway, &others, None);
    gateway.run_for(secs(120));
    assert_short_steps(&gateway, "another 100,000 replace them");
    let reply = gateway.send(models("sk_weir_7_a")).upstream(ok());
    assert_eq!(reply.upstream_request().header("x-tenant-plan"), Some("free"));
    assert_eq!(
        (gateway.metric("weir_directory.result.refused"), gateway.metric("weir_directory.result.unfit")),
        (0, 0)
    );

    let bytes = gateway.worker(0).memory_bytes();
    println!("{} MiB with both; a request {among_many} instructions, {among_few} with ten tenants", bytes >> 20);
    assert!(bytes < WORKER_MAX_BYTES, "{bytes} bytes");
    assert!(among_many < among_few + among_few / 5, "{among_many} instructions, {among_few} with ten tenants");
}

#[test]
fn a_page_of_changes_is_put_into_a_hundred_thousand_tenants_within_a_tick() {
    let gateway = Gateway::envoy().config(polled()).start();
    let before = state((0..TENANTS_MAX).map(|at| tenant(at, TenantState::Active)));
    serve(&gateway, &before, None);
    gateway.run_for(secs(120));
    gateway.worker(0).take_costliest();
    let suspended = |at: usize| if at.is_multiple_of(201) { TenantState::Suspended } else { TenantState::Active };
    let after = state((0..TENANTS_MAX).map(|at| tenant(at, suspended(at))));
    serve(&gateway, &after, Some(&before));
    gateway.run_for(secs(15));
    assert_short_steps(&gateway, "498 tenants of 100,000 change");
    assert!(gateway.metric("weir_directory.result.changed") > 0, "{:?}", gateway.metrics());
    assert_eq!(gateway.metric("weir_directory.result.unfit"), 0);
    gateway.send(models("sk_weir_201_b")).reply().assert_status(403);
    gateway.send(models("sk_weir_202_b")).upstream(ok()).assert_status(200);
}
