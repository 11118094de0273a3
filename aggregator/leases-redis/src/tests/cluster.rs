//! The center in a Redis Cluster.
use weir_contract::TenantId;
use weir_contract::lease::{Definition, Draw, Key, Owner, Report};
use weir_rig::clock;
use weir_rig::redis::RedisCluster;

use super::*;

const TENANTS: usize = 40;
const CAPACITY: u64 = 1_000;

fn key(tenant: usize) -> Key {
    let owner = Owner::Tenant(TenantId::new(&format!("tenant-{tenant}")).expect("an id"));
    Key { owner, limit: "requests".into(), part: None }
}

/// A limit that refills by nothing that counts while a test runs.
fn definition() -> Definition {
    Definition { capacity: CAPACITY, refill: 1, period_ms: 86_400_000, tiers: Vec::new() }
}

/// A gateway's call for all tenants, whose answer before was `heard`.
fn call(gateway: usize, heard: Option<&Answer>) -> Call {
    let report = |tenant: usize| Report {
        key: key(tenant),
        definition: definition(),
        tier: None,
        lease: 1,
        epoch: heard.map_or(0, |heard| heard.epoch),
        granted: heard.map_or(0, |heard| heard.leases[tenant].granted),
        spent: heard.map_or(0, |heard| heard.leases[tenant].granted),
        returned: 0,
        want: CAPACITY,
        largest: 1,
        share: false,
        heard_ms: heard.map_or(0, |heard| heard.at_ms),
    };
    Call { gateway: format!("gateway-{gateway}"), sent_ms: 1, draws: true, leases: (0..TENANTS).map(report).collect() }
}

struct Clustered {
    cluster: RedisCluster,
    runtime: Runtime,
}

impl Clustered {
    fn start() -> Self {
        let cluster = RedisCluster::start().expect("a Redis Cluster");
        Clustered { cluster, runtime: Runtime::new().expect("a runtime") }
    }

    /// A center of one process, which knows one node.
    fn center(&self, node: usize) -> RedisLeases {
        let url = self.cluster.nodes()[node].url();
        let server = serde_json::from_value(serde_json::json!({"url": url, "cluster": true})).expect("a server");
        let place = LeasesPlace { server, base: std::path::PathBuf::new(), name: "weir".to_owned() };
        let _guard = self.runtime.enter();
        let clock = Clock { program: Program::released(), time: redis::cmd("TIME") };
        RedisLeases::with_clock(&place, Timing::default(), false, clock, Waits::LONG).expect("settings")
    }

    fn ask<T>(&self, asked: impl Future<Output = Result<T, RedisLeasesError>>) -> T {
        self.runtime.block_on(asked).expect("an answer")
    }
}

#[test]
fn limits_are_spread_over_the_nodes_and_never_granted_twice() {
    let world = Clustered::start();
    let centers: Vec<RedisLeases> = (0..3).map(|node| world.center(node)).collect();
    world.ask(centers[0].check());
    let mut heard: Vec<Option<Answer>> = vec![None; centers.len()];
    for _ in 0..12 {
        for (gateway, center) in centers.iter().enumerate() {
            let call = call(gateway, heard[gateway].as_ref());
            let answer = world.ask(center.call(&call));
            let other = &centers[(gateway + 1) % centers.len()];
            let again = world.ask(other.call(&call));
            let granted = |answer: &Answer| answer.leases.iter().map(|grant| grant.granted).collect::<Vec<_>>();
            assert_eq!(granted(&answer), granted(&again), "the same call at another process");
            heard[gateway] = Some(again);
        }
    }
    for tenant in 0..TENANTS {
        let granted: u64 = heard.iter().flatten().map(|answer| answer.leases[tenant].granted).sum();
        assert!((CAPACITY * 9 / 10..=CAPACITY).contains(&granted), "tenant {tenant}: {granted} of {CAPACITY}");
    }
    let found = world.ask(centers[1].survey(1_000, |_| true));
    assert_eq!(found.limits.len(), TENANTS, "those of every node");
    for node in world.cluster.nodes() {
        let kept = node.command("DBSIZE").expect("asked");
        assert!(kept.starts_with(':') && !kept.starts_with(":0"), "{kept}");
    }
}

#[test]
fn a_draw_takes_from_limits_on_different_nodes_or_from_none() {
    let world = Clustered::start();
    let center = world.center(0);
    let draw = |tenant: usize, cost: u64| Draw { key: key(tenant), definition: definition(), tier: None, cost };
    let of_all = |cost: u64| DrawCall { gateway: "g".into(), draws: (0..6).map(|tenant| draw(tenant, cost)).collect() };
    assert!(world.ask(center.draw(&of_all(600))).short.is_none());
    assert!(world.ask(center.draw(&DrawCall { gateway: "g".into(), draws: vec![draw(3, 300)] })).short.is_none());
    let refused = world.ask(center.draw(&of_all(400)));
    assert_eq!(refused.short.map(|short| short.index), Some(3));
    assert_eq!(refused.levels, [400, 400, 400, 100, 400, 400]);
}

#[test]
fn a_node_that_is_killed_and_comes_back_has_lost_nothing() {
    let mut world = Clustered::start();
    let center = world.center(0);
    let first = world.ask(center.call(&call(0, None)));
    for node in 0..3 {
        world.cluster.restart(node).expect("it comes back");
        let until = clock::instant() + std::time::Duration::from_secs(30);
        let again = loop {
            match world.runtime.block_on(center.call(&call(0, None))) {
                Ok(again) => break again,
                Err(error) => assert!(clock::instant() < until, "{error}"),
            }
        };
        assert_eq!((again.epoch, &again.leases), (first.epoch, &first.leases), "the same call is answered alike");
    }
}
