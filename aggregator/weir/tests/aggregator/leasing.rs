//! Gateways share a limit.
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::events::noon;
use super::server::{Running, TOKEN};
use weir_rig::redis::Redis;

fn call(gateway: &str) -> Value {
    let limit = json!({"owner": {"tenant": "acme"}, "limit": "requests"});
    let definition = json!({"capacity": 100, "refill": 100, "period_ms": 60_000});
    let lease = json!({"key": limit, "definition": definition, "lease": 1, "want": 100, "largest": 1});
    json!({"gateway": gateway, "sent_ms": 1, "draws": true, "leases": [lease]})
}

fn draw(cost: u64) -> Value {
    let call = call("g");
    let lease = &call["leases"][0];
    json!({"gateway": "g", "draws": [{"key": lease["key"], "definition": lease["definition"], "cost": cost}]})
}

#[tokio::test]
async fn a_limit_is_lent_in_parts_and_never_twice_over_a_restart() {
    let server = Running::start(noon(), "").await;
    let first = server.ask("/v1/leases", &call("a")).await;
    assert_eq!((&first["leases"][0]["granted"], &first["leases"][0]["state"]), (&json!(50), &json!("held")));
    let second = server.ask("/v1/leases", &call("b")).await;
    assert_eq!(second["leases"][0]["granted"], 25);
    assert_eq!(server.ask("/v1/leases/draw", &draw(20)).await, json!({"epoch": first["epoch"], "levels": [5]}));
    let server = Running::start_in(server.stop().await, noon(), "").await;
    assert_eq!(server.ask("/v1/leases", &call("a")).await["leases"][0]["granted"], 50);
    let short = server.ask("/v1/leases/draw", &draw(6)).await;
    assert_eq!(short["short"], json!({"index": 0, "wait_ms": 600}));
}

#[tokio::test]
async fn who_holds_what_is_shown() {
    let server = Running::start(noon(), "").await;
    server.ask("/v1/leases", &call("a")).await;
    let rows = server.json("/v1/limits?tenant=acme").await;
    let row = &rows[0];
    assert_eq!(
        (&row["tenant"], &row["limit"], &row["tiers"][0]["level"]),
        (&json!("acme"), &json!("requests"), &json!(50))
    );
    assert_eq!((&row["holders"][0]["gateway"], &row["holders"][0]["holds"]), (&json!("a"), &json!(50)));
    assert_eq!(server.json("/v1/limits?tenant=globex").await, json!([]));
    let metrics = server.get("/metrics").await.text().await.expect("text");
    assert!(
        metrics.contains("weir_leases_outstanding 1") && metrics.contains("weir_lease_reports_total{state=\"held\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn calls_may_be_packed_and_are_refused_with_the_entry_that_is_wrong() {
    let server = Running::start(noon(), "").await;
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(call("a").to_string().as_bytes()).expect("packed");
    let post = || server.http.post(format!("{}/v1/leases", server.url)).bearer_auth(TOKEN);
    let answer = post().header("content-encoding", "gzip").body(packed.finish().expect("packed")).send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
    let mut wrong = call("a");
    wrong["leases"][0]["largest"] = json!(0);
    let answer = post().json(&wrong).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(answer.text().await.expect("text").contains("entry 0"));
    let mut twice = call("a");
    twice["leases"] = json!([twice["leases"][0], twice["leases"][0]]);
    assert_eq!(post().json(&twice).send().await.expect("an answer").status(), StatusCode::CONFLICT);
}

fn leases_in(redis: &Redis) -> String {
    format!("leases: {}\n", redis.url())
}

#[tokio::test]
async fn several_servers_on_one_redis_are_one_center() {
    let redis = Redis::start().expect("a Redis");
    let one = Running::start(noon(), &leases_in(&redis)).await;
    let other = Running::start(noon(), &leases_in(&redis)).await;
    let first = one.ask("/v1/leases", &call("a")).await;
    assert_eq!(first["leases"][0]["granted"], 50);
    let again = other.ask("/v1/leases", &call("a")).await;
    assert_eq!((&again["epoch"], &again["leases"][0]["granted"]), (&first["epoch"], &json!(50)), "the same lease");
    assert_eq!(other.ask("/v1/leases", &call("b")).await["leases"][0]["granted"], 25);
    for server in [&one, &other] {
        let rows = server.json("/v1/limits?tenant=acme").await;
        assert_eq!(rows[0]["holders"].as_array().map(Vec::len), Some(2), "{rows}");
    }
    let metrics = one.get("/metrics").await.text().await.expect("text");
    for line in ["weir_leases_outstanding 2", "weir_lease_units_outstanding 75", "weir_lease_limits{level=\"low\"} 1"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_redis_that_is_away_fails_calls_and_nothing_else() {
    let mut redis = Redis::start().expect("a Redis");
    redis.kill().expect("killed");
    let server = Running::start(noon(), &leases_in(&redis)).await;
    let post = || server.http.post(format!("{}/v1/leases", server.url)).bearer_auth(TOKEN).json(&call("a")).send();
    let answer = post().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().await.expect("text").contains("the leases' Redis does not answer"));
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
    redis.restart().expect("restarted");
    let mut answer = post().await.expect("an answer");
    for _ in 0..50 {
        if answer.status() == StatusCode::OK {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        answer = post().await.expect("an answer");
    }
    let answer: Value = answer.json().await.expect("an answer");
    assert_eq!(answer["leases"][0]["granted"], 50, "a new Redis of a new data directory has full limits");
}

#[tokio::test]
async fn a_redis_that_was_emptied_while_no_server_ran_grants_nothing_at_first() {
    let redis = Redis::start().expect("a Redis");
    let server = Running::start(noon(), &leases_in(&redis)).await;
    let before = server.ask("/v1/leases", &call("a")).await;
    let dir = server.stop().await;
    assert!(redis.command("FLUSHALL").expect("an answer").starts_with("+OK"));
    let server = Running::start_in(dir, noon(), &leases_in(&redis)).await;
    let after = server.ask("/v1/leases", &call("b")).await;
    assert!(after["epoch"].as_u64() > before["epoch"].as_u64());
    assert_eq!(after["leases"][0]["granted"], 0);
}

#[tokio::test]
async fn a_redis_that_drops_keys_is_refused_at_the_start() {
    let redis = Redis::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]).expect("a Redis");
    let dir = tempfile::tempdir().expect("a directory");
    let error = Running::refused(dir, &leases_in(&redis)).await;
    assert!(error.contains("maxmemory-policy noeviction"), "{error}");
}

#[tokio::test]
async fn the_settings_of_leases_are_in_force() {
    let server = Running::start(noon(), "leases: {ttl: 20s, lent_percent: 20}\n").await;
    let answer = server.ask("/v1/leases", &call("a")).await;
    assert_eq!((&answer["ttl_ms"], &answer["leases"][0]["granted"]), (&json!(20_000), &json!(20)));
}
