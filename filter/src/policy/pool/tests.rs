use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Environment;

use super::*;
use crate::hash::Keyed;
use crate::policy::Policy;

fn compile(change: impl FnOnce(&mut Value)) -> Result<Policy, ConfigError> {
    let mut config = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {}}]},
        "leases": {"cluster": "weir", "token": "fleet-token-0123456789"},
        "pools": {"openai": {"requests": {"rate": "1000/min"}, "tokens": {"rate": "90000/min", "capacity": 30_000},
                             "tiers": {"enterprise": 50, "pro": 30}}},
        "plans": {"enterprise": {}, "gold": {"tier": "pro"}, "free": {}},
        "routes": [{"match": {"path_prefix": "/v1"}, "pool": "openai"}],
    });
    change(&mut config);
    let config = weir_config::parse(config.to_string().as_bytes())?;
    Policy::compile(config, &Environment::Of(std::collections::BTreeMap::default()), Keyed::new([7; 16]))
}

fn refused(part: &str, change: impl FnOnce(&mut Value)) {
    let error = compile(change).expect_err("refused").to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn each_plan_draws_on_its_tier_and_the_others_on_what_no_tier_reserves() {
    let policy = compile(|_| ()).expect("a policy");
    assert!(policy.center.is_some(), "a pool needs a center, also where no plan has a limit of the fleet");
    let route = policy.routes.find(None, b"/v1/models").expect("a route");
    let pool = route.pool.as_ref().expect("a pool");
    let record = |plan: &str| pool.set_of(policy.plans.get(plan).expect("a plan")).expect("a tier").record.to_string();
    let records = ["enterprise", "gold", "free"].map(record);
    assert_eq!(records, ["pool*openai*enterprise", "pool*openai*pro", "pool*openai*"]);
    let set = pool.set_of(policy.plans.get("free").expect("a plan")).expect("a tier");
    let most: Vec<u64> = set.limits.iter().map(Limit::reserves_max).collect();
    assert_eq!(most, [200, 6_000], "a fifth of each capacity");
    let definition = set.limits[1].definition();
    assert_eq!((definition.capacity, definition.tiers.len()), (30_000, 2));
}

#[test]
fn a_pool_that_cannot_be_is_refused_by_the_field_that_says_so() {
    refused("pools.openai: give `requests`", |config| config["pools"]["openai"] = json!({}));
    refused("`leases` or `directory`", |config| config["leases"] = Value::Null);
    refused("at most 100 together", |config| config["pools"]["openai"]["tiers"]["free"] = json!(21));
    refused("pools.openai.requests: the share pro is less than one", |config| {
        config["pools"]["openai"]["requests"] = json!({"rate": "3/min"});
    });
    refused("pools.open ai", |config| {
        config["pools"]["open ai"] = config["pools"]["openai"].clone();
    });
    refused("pools.spare: no route draws from it", |config| {
        config["pools"]["spare"] = json!({"requests": {"rate": "1/s"}});
    });
}

#[test]
fn a_plan_without_a_tier_needs_a_part_that_no_tier_reserves() {
    refused("plans.free: the tiers of the pool \"openai\" take all of it", |config| {
        config["pools"]["openai"]["tiers"]["starter"] = json!(20);
    });
    refused("plans.gold.tier: no pool has a tier \"platinum\"", |config| {
        config["plans"]["gold"]["tier"] = json!("platinum");
    });
}

#[test]
fn a_route_names_a_pool_that_exists_and_looks_at_its_requests() {
    refused("routes[0].pool: no pool is named \"azure\"; pools are: openai", |config| {
        config["routes"][0]["pool"] = json!("azure");
    });
    refused("routes[0].pool: requests there pass without a look", |config| {
        config["routes"] = json!([{"match": {"path": "/healthz"}, "bypass": true, "pool": "openai"}]);
    });
}
