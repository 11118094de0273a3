//! The commands, as processes, with and without a running server.
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use weir_clock::SystemClock;
use weir_contract::signed::SigningKey;

use super::events::{Worker, batch, noon};
use super::server::Running;

pub(crate) const SIGNING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Runs `weir` under the configuration in `dir`.
pub(crate) fn weir(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("--config").arg(dir.join("weir.yaml")).args(args).output().expect("run")
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

/// A stopped server that has counted three events.
pub(crate) async fn stopped() -> tempfile::TempDir {
    let (server, worker) = (Running::start(noon(), "signing_key: {file: key}\n").await, Worker::new(1, noon()));
    std::fs::write(server.dir.path().join("key"), SIGNING_KEY).expect("written");
    server.post(batch(&[worker.usage(1), worker.usage(2), b"{}".to_vec()])).await;
    server.post(batch(&[worker.usage(2), worker.usage(5), worker.refused(6, "rate_limited", 2)])).await;
    server.stop().await
}

#[tokio::test]
async fn a_command_answers_the_same_with_and_without_a_server() {
    let dir = stopped().await;
    let without = weir(dir.path(), &["usage", "--json"]);
    assert_eq!(json(&without)["usage"][0]["billable"], 30, "{without:?}");
    let server = Running::start_by(dir, SystemClock::start(), "signing_key: {file: key}\n").await;
    let dir = server.dir.path().to_owned();
    let with = tokio::task::spawn_blocking(move || weir(&dir, &["usage", "--json"])).await.expect("run");
    assert_eq!(json(&with), json(&without));
    server.stop().await;
}

#[tokio::test]
async fn tables_name_what_was_used_refused_and_is_missing() {
    let dir = stopped().await;
    let usage = String::from_utf8(weir(dir.path(), &["usage", "--hourly"]).stdout).expect("text");
    assert!(usage.contains("2026-11-21T12:00:00.000Z") && usage.contains("rate_limited"), "{usage}");
    let ledger = weir(dir.path(), &["ledger"]);
    let text = String::from_utf8(ledger.stdout).expect("text");
    assert!(text.contains("3-4") && text.contains("quarantined, malformed: 1"), "{text}");
    assert_eq!(ledger.status.code(), Some(0));
}

#[tokio::test]
async fn usage_is_shown_by_dimension() {
    let dir = stopped().await;
    let rows = json(&weir(dir.path(), &["usage", "--by", "class,route", "--json"]));
    assert_eq!((&rows[0]["values"][0], &rows[0]["requests"]), (&"other".into(), &3.into()));
    let wrong = weir(dir.path(), &["usage", "--by", "colour"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("prompt_version"), "{wrong:?}");
}

#[tokio::test]
async fn one_event_is_found_by_its_id() {
    let dir = stopped().await;
    let id = Worker::new(1, noon()).id(5).to_string();
    assert_eq!(json(&weir(dir.path(), &["events", "get", &id]))["item"], 1);
    let unknown = Worker::new(9, noon()).id(1).to_string();
    let output = weir(dir.path(), &["events", "get", &unknown]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no event with this id"));
}

#[tokio::test]
async fn a_rebuilt_ledger_agrees_with_the_living_one() {
    let dir = stopped().await;
    let output = weir(dir.path(), &["ledger", "rebuild", "--json"]);
    assert_eq!((output.status.code(), json(&output)), (Some(0), serde_json::json!([])), "{output:?}");
}

#[tokio::test]
async fn a_falsified_ledger_is_found_and_put_right() {
    let dir = stopped().await;
    let path = dir.path().join("weir-data/ledger.sqlite");
    let falsify = "UPDATE usage SET billable = billable + 1 WHERE meter = 'requests'";
    rusqlite::Connection::open(path).expect("open").execute(falsify, []).expect("falsified");
    let output = weir(dir.path(), &["ledger", "rebuild", "--json"]);
    assert_eq!((output.status.code(), &json(&output)[0]["table"]), (Some(3), &"usage".into()), "{output:?}");
    assert_eq!(weir(dir.path(), &["ledger", "rebuild", "--replace"]).status.code(), Some(0));
    assert_eq!(json(&weir(dir.path(), &["usage", "--meter", "requests", "--json"]))["usage"][0]["billable"], 3);
    assert_eq!(weir(dir.path(), &["ledger", "rebuild"]).status.code(), Some(0));
}

#[tokio::test]
async fn spilled_events_are_brought_back_once_and_forged_ones_never() {
    let dir = stopped().await;
    let (worker, now) = (Worker::new(1, noon()), SystemClock::start().now());
    let (ours, other) = (SigningKey::new(SIGNING_KEY.as_bytes()), SigningKey::new(&[7; 32]));
    let recent = Worker { time: now, ..worker.clone() };
    let word = ours.expect("a key").sign(&recent.usage(3));
    let forged = other.expect("a key").sign(&recent.usage(4));
    let log = format!("[info] weir spilled {word} at {now}\nquoted \"{forged}\"\nnothing here\n");
    std::fs::write(dir.path().join("gateway.log"), log).expect("written");
    let file = dir.path().join("gateway.log");
    let args = ["replay", file.to_str().expect("text"), "--json"];
    for _ in 0..2 {
        let output = weir(dir.path(), &args);
        assert_eq!((&json(&output)["events"], &json(&output)["forged"]), (&1.into(), &1.into()), "{output:?}");
        assert_eq!(output.status.code(), Some(3));
    }
    let ledger = json(&weir(dir.path(), &["ledger", "--json"]));
    assert_eq!(ledger["sources"][0]["missing_ranges"], serde_json::json!([[4, 4]]));
}

#[test]
fn a_key_is_drawn_with_its_hash() {
    let dir = tempfile::tempdir().expect("a directory");
    let drawn = json(&weir(dir.path(), &["keys", "new", "--json"]));
    let key = drawn["key"].as_str().expect("a key");
    assert!(key.starts_with("sk_weir_") && key.len() == 8 + 64);
    let mut hashing = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["keys", "hash"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run");
    hashing.stdin.take().expect("stdin").write_all(key.as_bytes()).expect("written");
    let output = hashing.wait_with_output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), drawn["sha256"].as_str().expect("a hash"));
}

#[test]
fn a_bad_configuration_is_told_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), "listen: 127.0.0.1:0\ngrace: soon\n").expect("written");
    let output = weir(dir.path(), &["serve", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("weir.yaml:2:8: "), "{output:?}");
}
