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
    assert!(text.contains("2 events are missing") && text.contains("1 events are refused"), "{text}");
    assert_eq!(ledger.status.code(), Some(3), "both need a person");
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
async fn the_audit_lists_findings_and_searches_and_a_critical_one_needs_a_person() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.search(1)])).await;
    let dir = server.stop().await;
    let searches = weir(dir.path(), &["audit", "searches", "--tenant", "acme"]);
    let text = String::from_utf8_lossy(&searches.stdout).into_owned();
    assert!(text.contains("points.search") && text.contains("req-8"), "{text}");
    assert_eq!(weir(dir.path(), &["audit", "security"]).status.code(), Some(0));

    let server = Running::start_by(dir, SystemClock::start(), "").await;
    server.post(batch(&[worker.foreign_record(2)])).await;
    let at = server.dir.path().to_owned();
    let running = tokio::task::spawn_blocking(move || weir(&at, &["audit", "security", "--json"])).await.expect("run");
    assert_eq!((&json(&running)[0]["owners"][0], running.status.code()), (&"globex".into(), Some(3)));
    let dir = server.stop().await;
    assert_eq!(json(&weir(dir.path(), &["audit", "security", "--json"])), json(&running));
    assert_eq!(json(&weir(dir.path(), &["audit", "searches", "--tenant", "globex", "--json"])), Value::Array(vec![]));
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
async fn a_falsified_total_is_found_and_put_right() {
    let dir = stopped().await;
    let path = dir.path().join("weir-data/ledger.sqlite");
    for falsify in [
        "UPDATE total SET value = value + 7 WHERE kind = 'source' AND key = 'missing'",
        "UPDATE total SET value = value + 7 WHERE kind = 'billable' AND key = 'requests'",
        "UPDATE total SET value = value + 7 WHERE kind = 'refused'",
    ] {
        rusqlite::Connection::open(&path).expect("open").execute(falsify, []).expect("falsified");
        let output = weir(dir.path(), &["ledger", "rebuild", "--json"]);
        assert_eq!((output.status.code(), &json(&output)[0]["table"]), (Some(3), &"total".into()), "{output:?}");
        assert_eq!(weir(dir.path(), &["ledger", "rebuild", "--replace"]).status.code(), Some(0));
        assert_eq!(weir(dir.path(), &["ledger", "rebuild"]).status.code(), Some(0), "{falsify}");
    }
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

#[tokio::test]
async fn nobodys_data_directory_is_an_error_and_none_is_made() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), "data: misspelt\n").expect("written");
    for args in [&["usage"][..], &["ledger"], &["ledger", "rebuild"], &["export"], &["stripe", "status"], &["audit"]] {
        let output = weir(dir.path(), args);
        assert_eq!(output.status.code(), Some(1), "{args:?} {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("misspelt") && said.contains("look at `data`"), "{said}");
    }
    assert!(!dir.path().join("misspelt").exists());
}

#[tokio::test]
async fn a_damaged_or_missing_ledger_is_counted_anew_from_the_log_and_reports_nothing_twice() {
    for damage in [|path: &Path| std::fs::write(path, [7; 9_000]), |path: &Path| std::fs::remove_file(path)] {
        let dir = stopped().await;
        let before = json(&weir(dir.path(), &["usage", "--json"]));
        let path = dir.path().join("weir-data/ledger.sqlite");
        damage(&path).expect("damaged");
        let usage = weir(dir.path(), &["usage"]);
        assert_eq!(usage.status.code(), Some(1), "{usage:?}");
        assert_eq!(weir(dir.path(), &["ledger", "rebuild"]).status.code(), Some(3), "nothing is changed unasked");
        let rebuilt = weir(dir.path(), &["ledger", "rebuild", "--replace"]);
        assert_eq!(rebuilt.status.code(), Some(3), "{rebuilt:?}");
        assert_eq!(json(&weir(dir.path(), &["usage", "--json"])), before);
        let ledger = rusqlite::Connection::open(&path).expect("open");
        let restored: i64 = ledger.query_row("SELECT restored_at FROM sender", [], |row| row.get(0)).expect("a sender");
        assert!(restored > 0, "what was reported is unknown, so nothing is sent before Stripe was asked");
        assert_eq!(weir(dir.path(), &["ledger", "rebuild"]).status.code(), Some(0));
    }
}

#[tokio::test]
async fn a_log_without_its_ledger_is_not_counted_again_unasked() {
    let dir = stopped().await;
    std::fs::remove_file(dir.path().join("weir-data/ledger.sqlite")).expect("removed");
    let refused = Running::refused(dir, "signing_key: {file: key}\n").await;
    assert!(refused.contains("ledger.sqlite: missing") && refused.contains("weir restore"), "{refused}");
}

#[tokio::test]
async fn names_that_nobody_knows_are_errors_and_not_empty_tables() {
    let dir = stopped().await;
    std::fs::write(dir.path().join("tenants.yaml"), "tenants: [{id: globex, plan: p}]").expect("written");
    let config = std::fs::read_to_string(dir.path().join("weir.yaml")).expect("read") + "tenants: tenants.yaml\n";
    std::fs::write(dir.path().join("weir.yaml"), config).expect("written");
    let code = |args: &[&str]| weir(dir.path(), args).status.code();
    assert_eq!(code(&["usage", "--tenant", "globex"]), Some(0), "it used nothing");
    assert_eq!(code(&["usage", "--tenant", "acme", "--from", "2020-01", "--to", "2020-02"]), Some(1));
    for args in [["usage", "--tenant", "acne"], ["usage", "--meter", "clicks"], ["export", "--tenant", "acne"]] {
        assert_eq!(code(&args), Some(1), "{args:?}");
    }
    assert_eq!(code(&["usage", "--by", "model", "--tenant", "acne"]), Some(1));
}

#[tokio::test]
async fn months_and_days_are_moments_wherever_moments_are_taken() {
    let dir = stopped().await;
    let month = json(&weir(dir.path(), &["usage", "--from", "2026-11", "--to", "2026-12", "--json"]));
    assert_eq!(month, json(&weir(dir.path(), &["usage", "--json"])));
    let day = weir(dir.path(), &["usage", "--from", "2026-11-22", "--json"]);
    assert_eq!(json(&day)["usage"], serde_json::json!([]));
    assert_eq!(weir(dir.path(), &["usage", "--from", "2026-13"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_reader_that_wants_no_more_makes_no_noise() {
    let dir = stopped().await;
    for args in ["usage", "ledger --json", "export", "usage --by model"] {
        let script =
            format!("{} --config {} {args} | true", env!("CARGO_BIN_EXE_weir"), dir.path().join("weir.yaml").display());
        let output = Command::new("sh").args(["-c", &script]).output().expect("run");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args}");
    }
}

#[tokio::test]
async fn an_error_is_told_once_and_the_audit_names_who_asked() {
    let dir = stopped().await;
    let missing = weir(dir.path(), &["replay", "nowhere.log"]);
    let said = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .env_remove("SUDO_USER")
        .env("USER", "ada\u{1b}[2J")
        .arg("--config")
        .arg(dir.path().join("weir.yaml"))
        .args(["replay", dir.path().join("key").to_str().expect("text")])
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let audit = json(&weir(dir.path(), &["audit", "--json"]));
    assert_eq!(audit[0]["who"], "ada[2J, by the commands of this machine");
}
