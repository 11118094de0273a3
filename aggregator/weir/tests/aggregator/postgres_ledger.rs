//! The ledger in a PostgreSQL: counted, read, reported, rebuilt, backed up and refused as the one in a file; and what happens when the
//! server or `weir serve` is killed.
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use weir_rig::postgres::Postgres;

use super::commands::{json as answer, weir};
use super::encrypting::Authority;
use super::events::{Worker, batch, noon};
use super::killing::Process;
use super::server::{Running, config};
use super::shared_log::{fails, killed_in_turn_under_load, said, succeeds};

fn started() -> Postgres {
    Postgres::start().expect("a PostgreSQL")
}

fn ledger(server: &Postgres) -> String {
    format!("ledger: {}\n", server.url())
}

/// A stopped server whose ledger has counted three events of two records.
async fn stopped(postgres: &Postgres) -> TempDir {
    let (server, worker) = (Running::start(noon(), &ledger(postgres)).await, Worker::new(1, noon()));
    assert_eq!(server.post(batch(&[worker.usage(1), worker.usage(2)])).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.post(batch(&[worker.usage(3)])).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.billable("requests").await, 3);
    server.stop().await
}

fn requests(dir: &Path) -> Value {
    answer(&weir(dir, &["usage", "--meter", "requests", "--json"]))["usage"][0]["billable"].clone()
}

#[tokio::test]
async fn events_are_counted_found_compared_and_counted_again() {
    let postgres = started();
    let dir = stopped(&postgres).await;
    assert!(!dir.path().join("weir-data/ledger.sqlite").exists(), "the ledger is elsewhere alone");
    let (server, worker) = (Running::start_in(dir, noon(), &ledger(&postgres)).await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(3), worker.usage(4)])).await;
    assert_eq!(server.billable("requests").await, 4, "a repeat is known");
    let event = server.json(&format!("/v1/events/{}", worker.id(4))).await;
    assert!(event["position"].as_u64() >= Some(3), "{event}");
    let place = server.json("/v1/status").await["server"]["ledger_place"].clone();
    assert!(place.as_str().is_some_and(|place| place.contains(&postgres.url())), "{place}");
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
    let dir = server.stop().await;
    assert!(said(&weir(dir.path(), &["status"])).contains("4 counted"));
    assert!(succeeds(dir.path(), &["ledger", "rebuild"]).contains("agree"));
    postgres.run("UPDATE weir.usage SET billable = billable + 1 WHERE meter = 'requests'").expect("falsified");
    let differs = weir(dir.path(), &["ledger", "rebuild"]);
    assert!(said(&differs).contains("usage: 1 rows only in the ledger"), "{}", said(&differs));
    succeeds(dir.path(), &["ledger", "rebuild", "--replace"]);
    assert_eq!(requests(dir.path()), 4);
    assert_eq!(
        postgres.run("SELECT sum(billable) FROM weir_old.usage WHERE meter = 'requests'").expect("it stays"),
        "5"
    );

    postgres.run("DROP SCHEMA weir CASCADE").expect("lost");
    let error = fails(dir.path(), &["usage"]);
    assert!(error.contains("weir ledger rebuild --replace"), "{error}");
    weir(dir.path(), &["ledger", "rebuild", "--replace"]);
    assert_eq!(requests(dir.path()), 4);
}

#[tokio::test]
async fn a_dump_and_a_backup_of_the_log_belong_together() {
    let postgres = started();
    let dir = stopped(&postgres).await;
    let dump = dir.path().join("ledger.dump");
    let server = Running::start_in(dir, noon(), &ledger(&postgres)).await;
    postgres.dump("weir", &dump).expect("dumped");
    let worker = Worker::new(1, noon());
    server.post(batch(&[worker.usage(4)])).await;
    let dir = server.stop().await;
    let backup = dir.path().join("backup");
    succeeds(dir.path(), &["backup", backup.to_str().expect("text")]);

    postgres.run("DROP SCHEMA weir CASCADE").expect("lost");
    std::fs::remove_dir_all(dir.path().join("weir-data")).expect("lost");
    let error = fails(dir.path(), &["restore", backup.to_str().expect("text")]);
    assert!(error.contains("pg_restore"), "{error}");
    postgres.restore(&dump).expect("restored");
    succeeds(dir.path(), &["restore", backup.to_str().expect("text")]);
    let server = Running::start_in(dir, noon(), &ledger(&postgres)).await;
    server.post(batch(&[worker.usage(4), worker.usage(5)])).await;
    assert_eq!(server.billable("requests").await, 5, "what the dump did not have is counted from the log");
    server.stop().await;
}

#[tokio::test]
async fn a_backup_belongs_to_the_kind_of_ledger_it_was_made_of() {
    let postgres = started();
    let dir = stopped(&postgres).await;
    let backup = dir.path().join("backup");
    succeeds(dir.path(), &["backup", backup.to_str().expect("text")]);
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), "")).expect("written");
    let error = fails(dir.path(), &["usage"]);
    assert!(error.contains("ledger.sqlite: missing"), "{error}");
    let error = fails(dir.path(), &["restore", backup.to_str().expect("text"), "--replace"]);
    assert!(error.contains("set `ledger`"), "{error}");
}

#[tokio::test]
async fn whatever_is_wrong_with_the_server_is_said_at_the_start() {
    let postgres = started();
    let url = postgres.url();
    let refused = async |ledger: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("password"), "wrong-password").expect("written");
        std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), ledger)).expect("written");
        let checked = fails(dir.path(), &["serve", "--check"]);
        let error = Running::refused(dir, ledger).await;
        assert!(checked.contains(&error), "{checked}\n{error}");
        assert!(!error.contains("wrong-password"), "{error}");
        error
    };
    postgres.run("CREATE ROLE locked LOGIN PASSWORD 'the right one'").expect("made");
    let locked = postgres.locked_url();
    let error = refused(&format!("ledger: {locked}\n")).await;
    assert!(error.contains(&locked) && error.contains("give `password:"), "{error}");
    let error = refused(&format!("ledger: {{url: '{locked}', password: {{file: password}}}}\n")).await;
    assert!(error.contains("28P01") && error.contains("correct the user"), "{error}");
    let error = refused(&format!("ledger: {{url: '{locked}', password: {{env: WEIR_NOT_SET}}}}\n")).await;
    assert!(error.contains("WEIR_NOT_SET"), "{error}");
    let error = refused(&format!("ledger: {}\n", url.replace("/postgres", "/absent"))).await;
    assert!(error.contains("3D000") && error.contains("CREATE DATABASE"), "{error}");
    let error = refused(&format!("ledger: {url}?sslmode=verify-full\n")).await;
    assert!(error.contains("ssl = on"), "{error}");
    let error = refused("ledger: postgres://weir@127.0.0.1:1/weir\n").await;
    assert!(error.contains("postgres://weir@127.0.0.1:1/weir") && error.contains("refused"), "{error}");

    let dir = stopped(&postgres).await;
    postgres.run("UPDATE weir.schema_version SET version = 9999").expect("from the future");
    let error = Running::refused(dir, &ledger(&postgres)).await;
    assert!(error.contains("later version (format 9999"), "{error}");
    postgres.run("ALTER DATABASE postgres SET default_transaction_read_only = on").expect("set");
    let error = refused(&ledger(&postgres)).await;
    assert!(error.contains("takes no writes"), "{error}");
}

#[tokio::test]
async fn tls_proves_the_name_of_the_server() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.sign("localhost");
    let postgres = Postgres::start_with(&[], Some((certificate.as_str(), key.as_str()))).expect("a PostgreSQL");
    postgres.run("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'the right one'").expect("made");
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("password"), "the right one").expect("written");
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("written");
    std::fs::write(dir.path().join("other.pem"), other.pem()).expect("written");
    let settings = |host: &str, ca: &str| {
        let url = postgres.locked_url().replace("127.0.0.1", host);
        format!("ledger: {{url: '{url}?sslmode=verify-full', password: {{file: password}}, ca: {ca}}}\n")
    };
    for (host, ca, words) in
        [("localhost", "other.pem", "name the file of the authority"), ("127.0.0.1", "ca.pem", "another name")]
    {
        std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &settings(host, ca))).expect("written");
        let error = fails(dir.path(), &["serve", "--check"]);
        assert!(error.contains(words), "{error}");
    }
    let server = Running::start_in(dir, noon(), &settings("localhost", "ca.pem")).await;
    server.post(batch(&[Worker::new(1, noon()).usage(1)])).await;
    assert_eq!(server.billable("requests").await, 1);
    let encrypted =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'locked' AND NOT ssl";
    assert_eq!(postgres.run(encrypted).expect("asked"), "0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_server_it_accepts_events_says_that_it_counts_none_and_catches_up() {
    let mut postgres = started();
    let (server, worker) = (Running::start(noon(), &ledger(&postgres)).await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1)])).await;
    assert_eq!(server.billable("requests").await, 1);
    postgres.kill().expect("killed");
    assert_eq!(server.post(batch(&[worker.usage(2)])).await.status(), StatusCode::ACCEPTED, "the log has it");
    let ready = ready(&server, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(
        ready["log"].is_null() && ready["ledger"].as_str().is_some_and(|why| why.to_lowercase().contains("postgres")),
        "{ready}"
    );
    assert_eq!(server.post(batch(&[worker.usage(3)])).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.get("/v1/usage").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    postgres.restart().expect("started");
    self::ready(&server, StatusCode::OK).await;
    assert_eq!(server.billable("requests").await, 3);
    server.stop().await;
}

/// Asks until the answer of `/readyz` has this status, and returns it.
async fn ready(server: &Running, wanted: StatusCode) -> Value {
    for _ in 0..400 {
        let answer = server.get("/readyz").await;
        if answer.status() == wanted {
            return answer.json().await.expect("JSON");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {wanted}");
}

/// Copies the data directory, as somebody might who starts a second server.
fn copied(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    let done = Command::new("cp").arg("-r").arg(dir.join("weir-data")).arg(copy.path()).status().expect("run");
    assert!(done.success());
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_and_one_that_was_paused_writes_nothing_more() {
    let postgres = started();
    let dir = stopped(&postgres).await;
    let copy = copied(dir.path());
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &ledger(&postgres))).expect("written");
    let process = Process::start(dir.path());
    process.note();
    let error = Running::refused(copied(dir.path()), &ledger(&postgres)).await;
    assert!(error.contains("another weir writes this ledger (weir, process"), "{error}");
    let error = Running::refused(tempfile::tempdir().expect("a directory"), &ledger(&postgres)).await;
    assert!(error.contains("does not belong to this event log"), "{error}");

    process.signal("-STOP");
    let server = Running::start_in(copy, noon(), &ledger(&postgres)).await;
    process.signal("-CONT");
    server.post(batch(&[Worker::new(1, noon()).usage(4)])).await;
    assert_eq!(server.billable("requests").await, 4);
    let http = reqwest::Client::new();
    let mut why = String::new();
    for _ in 0..100 {
        let answer = http.get(format!("http://{}/readyz", process.note().address)).send().await.expect("an answer");
        why = answer.text().await.expect("text");
        if why.contains("another weir writes this ledger") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(why.contains("another weir writes this ledger"), "the paused one says so: {why}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_turn_under_load_nothing_is_lost_or_doubled() {
    let mut postgres = started();
    let more = ledger(&postgres);
    killed_in_turn_under_load(&more, || postgres.kill().and_then(|()| postgres.restart()).expect("killed and started"))
        .await;
}
