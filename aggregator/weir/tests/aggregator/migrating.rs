//! A ledger moves from its file into a PostgreSQL and back, and goes on as if it had always been there.
use reqwest::StatusCode;
use serde_json::json;
use weir_clock::SystemClock;
use weir_rig::postgres::Postgres;

use super::commands::weir;
use super::events::{Worker, batch, noon};
use super::server::{Running, config};
use super::shared_log::{fails, succeeds};

#[tokio::test]
async fn a_ledger_goes_on_in_postgres_and_again_in_a_file() {
    let postgres = Postgres::start().expect("a PostgreSQL");
    let (there, worker) = (format!("ledger: {}\n", postgres.url()), Worker::new(1, noon()));
    let server = Running::start(noon(), "").await;
    assert_eq!(server.post(batch(&[worker.usage(1), worker.usage(2)])).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.billable("requests").await, 2);
    let dir = server.stop().await;
    let to = ["migrate", "--to", &postgres.url()];
    let said = succeeds(dir.path(), &to);
    assert!(
        said.contains("up to record 1; both ledgers hold the same") && said.contains("now write `ledger: "),
        "{said}"
    );

    let server = Running::start_in(dir, noon(), &there).await;
    server.post(batch(&[worker.usage(2), worker.usage(3)])).await;
    assert_eq!(server.billable("requests").await, 3, "what was counted in the file is known");
    let audit = server.json("/v1/audit").await.to_string();
    assert!(audit.contains("migrate") && audit.contains(&postgres.url()), "{audit}");
    let dir = server.stop().await;
    assert!(succeeds(dir.path(), &["ledger", "rebuild"]).contains("agree"));

    let error = fails(dir.path(), &["migrate", "--to", "file"]);
    assert!(error.contains("there is a ledger already"), "{error}");
    let file = dir.path().join("weir-data/ledger.sqlite");
    for part in ["", "-wal", "-shm"] {
        let _absent = std::fs::remove_file(format!("{}{part}", file.display()));
    }
    let said = succeeds(dir.path(), &["migrate", "--to", "file"]);
    assert!(said.contains("up to record 2") && said.contains("now remove `ledger`"), "{said}");
    let server = Running::start_in(dir, noon(), "").await;
    server.post(batch(&[worker.usage(3), worker.usage(4)])).await;
    assert_eq!(server.billable("requests").await, 4);
    server.stop().await;
}

#[tokio::test]
async fn a_ledger_in_use_or_without_a_new_place_is_not_moved() {
    let server = Running::start(noon(), "").await;
    let worker = Worker::new(1, noon());
    server.post(batch(&[worker.usage(1)])).await;
    assert_eq!(server.billable("requests").await, 1);
    let error = fails(server.dir.path(), &["migrate", "--to", "postgres://weir@127.0.0.1:1/weir"]);
    assert!(error.contains("stop the running server first"), "{error}");
    let dir = server.stop().await;
    let error = fails(dir.path(), &["migrate", "--to", "file"]);
    assert!(error.contains("the ledger is there already"), "{error}");
    let error = fails(dir.path(), &["migrate", "--to", "postgres://weir:hunter2@h/d"]);
    assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
    let error = fails(dir.path(), &["migrate", "--to", "postgres://weir@127.0.0.1:1/weir"]);
    assert!(error.contains("127.0.0.1:1"), "{error}");

    let empty = tempfile::tempdir().expect("a directory");
    std::fs::write(empty.path().join("weir.yaml"), config(empty.path(), "")).expect("written");
    let nothing = weir(empty.path(), &["migrate", "--to", "postgres://weir@127.0.0.1:1/weir"]);
    assert!(!nothing.status.success());
}

#[tokio::test]
async fn tenants_and_leases_move_with_the_ledger_and_back() {
    let postgres = Postgres::start().expect("a PostgreSQL");
    let kept = "tenants_database: true\nleases: {ttl: 60s}\n";
    let there = format!("{kept}ledger: {}\n", postgres.url());
    let lease = json!({"gateway": "a", "sent_ms": 1, "draws": true, "leases": [{
        "key": {"owner": {"tenant": "acme"}, "limit": "requests"}, "lease": 1, "want": 100, "largest": 1,
        "definition": {"capacity": 100, "refill": 100, "period_ms": 60_000}}]});
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start_by(dir, SystemClock::start(), kept).await;
    assert_eq!(server.ask("/v1/leases", &lease).await["leases"][0]["granted"], 50);
    let dir = server.stop().await;
    succeeds(dir.path(), &["tenants", "create", "acme", "--plan", "starter"]);
    let said = succeeds(dir.path(), &["migrate", "--to", &postgres.url()]);
    assert!(said.contains("copied 2 rows of tenants, keys and tokens"), "{said}");

    let server = Running::start_by(dir, SystemClock::start(), &there).await;
    assert_eq!(server.json("/v1/tenants/acme").await["plan"], "starter");
    assert_eq!(server.json("/v1/limits?tenant=acme").await[0]["holders"][0]["holds"], 50);
    let dir = server.stop().await;
    succeeds(dir.path(), &["tenants", "set", "acme", "--plan", "pro"]);
    std::fs::remove_file(dir.path().join("weir-data/ledger.sqlite")).expect("removed");
    let said = succeeds(dir.path(), &["migrate", "--to", "file"]);
    assert!(said.contains("copied 3 rows of tenants, keys and tokens"), "{said}");
    let server = Running::start_by(dir, SystemClock::start(), kept).await;
    assert_eq!(server.json("/v1/tenants/acme").await["plan"], "pro");
    assert_eq!(server.json("/v1/limits?tenant=acme").await[0]["holders"][0]["holds"], 50);
    server.stop().await;
}
