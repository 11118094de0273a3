//! What keeps a deployment going: backup, restore, forgetting, the audit, CSV, files of earlier versions.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use rusqlite::Connection;
use serde_json::{Value, json};
use weir_ledger::meters::{self, Meters};

use super::events::{Worker, batch, noon};
use super::readings;
use super::server::Running;

const USER: &str = "hmac:0123456789abcdef0123456789abcdef";

fn weir(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("--config")
        .arg(dir.join("weir.yaml"))
        .args(args)
        .output()
        .expect("run")
}

/// Runs the command beside a server in this test.
async fn beside(dir: &Path, args: &[&str]) -> Output {
    let (dir, args) = (dir.to_owned(), args.iter().map(ToString::to_string).collect::<Vec<_>>());
    let run = move || weir(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("run")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_backup_of_a_running_server_can_be_restored() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    assert_eq!(server.billable("requests").await, 2);
    let into = server.dir.path().join("backup");
    let into = into.to_str().expect("text");
    text(&beside(server.dir.path(), &["backup", into]).await);
    server.post(batch(&[worker.usage(3)])).await;
    assert_eq!(server.billable("requests").await, 3);
    let again = beside(server.dir.path(), &["backup", into]).await;
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
    let restoring = beside(server.dir.path(), &["restore", into, "--replace"]).await;
    assert!(String::from_utf8_lossy(&restoring.stderr).contains("in use"), "a server runs: {restoring:?}");

    let dir = server.stop().await;
    let kept = weir(dir.path(), &["restore", into]);
    assert!(!kept.status.success(), "what is there is not overwritten unasked");
    text(&weir(dir.path(), &["restore", into, "--replace"]));
    let server = Running::start_in(dir, noon(), "").await;
    assert_eq!(server.billable("requests").await, 2);
    server.post(batch(&[worker.usage(2), worker.usage(3)])).await;
    assert_eq!(server.billable("requests").await, 3, "it knows what it has counted, and goes on");
    assert_eq!(server.json("/v1/audit").await[0]["act"], "restore");
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1)])).await;
    let dir = server.stop().await;
    let into = dir.path().join("backup");
    text(&weir(dir.path(), &["backup", into.to_str().expect("text")]));
    let other = "UPDATE ledger SET log_id = 'another'";
    Connection::open(into.join("ledger.sqlite")).expect("open").execute(other, []).expect("changed");
    let output = weir(dir.path(), &["restore", into.to_str().expect("text"), "--replace"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("do not belong together"), "{output:?}");
    assert_eq!(text(&weir(dir.path(), &["usage", "--meter", "requests", "--json"])).matches("acme").count(), 1);
}

#[tokio::test]
async fn a_forgotten_user_is_nowhere_and_the_totals_stay() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let named = worker.usage_with(1, |data| data.user = Some(USER.into()));
    let ahead = Worker { time: noon().plus_millis(3_600_000), ..worker.clone() };
    let held = ahead.usage_with(2, |data| data.user = Some(USER.into()));
    let refused = format!("{{\"user\":\"{USER}\"}}").into_bytes();
    server.post(batch(&[named.clone(), held, refused, worker.usage(3)])).await;
    let before = server.json("/v1/usage").await;
    let view = server.ask("/v1/users/forget", &json!({"user": USER})).await;
    assert_eq!(view, json!({"records": 1, "events": 2}));
    assert_eq!(server.json("/v1/usage").await, before);
    let event = server.json(&format!("/v1/events/{}", worker.id(1))).await;
    assert_eq!(event["event"]["data"]["user"], "hmac:00000000000000000000000000000000");
    server.post(batch(&[named])).await;
    assert_eq!(server.json("/v1/ledger").await["totals"]["duplicates"], 1, "a repeat is still known");
    assert_eq!(server.ask("/v1/users/forget", &json!({"user": USER})).await["records"], 1);
    let audit = server.json("/v1/audit").await;
    assert_eq!(
        (&audit[0]["act"], &audit[0]["who"], audit.as_array().map(Vec::len)),
        (&json!("user forget"), &json!("all"), Some(2))
    );
    assert!(!audit.to_string().contains(USER), "the audit names nobody either");

    let dir = server.stop().await;
    let output = weir(dir.path(), &["ledger", "rebuild"]);
    assert!(output.status.success(), "the log is whole: {output:?}");
    for file in ["log.sqlite", "log.sqlite-wal", "ledger.sqlite", "ledger.sqlite-wal"] {
        let bytes = std::fs::read(dir.path().join("weir-data").join(file)).unwrap_or_default();
        assert!(!bytes.windows(USER.len()).any(|part| part == USER.as_bytes()), "{file}");
    }
    let nobody = weir(dir.path(), &["user", "forget", "alice"]);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("16 hex digits"), "{nobody:?}");
}

#[tokio::test]
async fn the_audit_only_grows() {
    let server = Running::start(noon(), "").await;
    server.ask("/v1/users/forget", &json!({"user": USER})).await;
    let dir = server.stop().await;
    let db = Connection::open(dir.path().join("weir-data/ledger.sqlite")).expect("open");
    for sql in ["DELETE FROM audit", "UPDATE audit SET who = 'nobody'"] {
        assert!(db.execute(sql, []).expect_err("refused").to_string().contains("only grows"));
    }
    assert!(text(&weir(dir.path(), &["audit"])).contains("user forget"));
}

fn acts(dir: &Path) -> Vec<(String, String)> {
    let entries: Vec<Value> = serde_json::from_str(&text(&weir(dir, &["audit", "--json"]))).expect("JSON");
    let said = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| (said(entry, "act"), said(entry, "detail"))).collect()
}

#[tokio::test]
async fn what_commands_do_is_audited_with_a_server_and_without_one() {
    let more = "signing_key: {file: key}\n";
    let server = Running::start(noon(), more).await;
    std::fs::write(server.dir.path().join("key"), "0123456789abcdef0123456789abcdef").expect("written");
    std::fs::write(server.dir.path().join("gateway.log"), "nothing here\n").expect("written");
    let log = server.dir.path().join("gateway.log");
    let args = ["replay", log.to_str().expect("text")];
    text(&beside(server.dir.path(), &args).await);
    let dir = server.stop().await;
    assert_eq!(acts(dir.path()), [("replay".to_owned(), "1 files, 0 events handed over, 0 refused".to_owned())]);
    text(&weir(dir.path(), &args));
    text(&weir(dir.path(), &["ledger", "rebuild", "--replace"]));
    let acts: Vec<String> = acts(dir.path()).into_iter().map(|(act, _)| act).collect();
    assert_eq!(acts, ["ledger rebuild --replace", "replay", "replay"], "and the audit outlives the old ledger");
}

#[tokio::test]
async fn usage_is_exported_as_csv() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let model = |data: &mut weir_contract::UsageData<'_>| data.response_model = Some("a \"quoted\", one".into());
    server.post(batch(&[worker.usage_with(1, model)])).await;
    let dir = server.stop().await;
    let csv = text(&weir(dir.path(), &["export", "--meter", "requests"]));
    assert_eq!(csv, "window,tenant,meter,billable,excluded,reported\n2026-11-21T12:00:00.000Z,acme,requests,1,0,0\n");
    let by = text(&weir(dir.path(), &["export", "--by", "model"]));
    assert!(by.contains("acme,\"a \"\"quoted\"\", one\",1,10,5,0,0"), "{by}");
}

/// The tables of version 1, with a row in each.
const VERSION_1: &str = include_str!("version_1.sql");

#[test]
fn a_ledger_of_version_1_is_taken_over_with_all_it_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.sqlite");
    Connection::open(&path).expect("open").execute_batch(VERSION_1).expect("made");
    let meters = Meters::new(meters::defaults(), vec!["test".to_owned()]).expect("good");
    let ledger = weir_ledger::SqliteLedger::open(&path, "a log", meters).expect("taken over");
    assert_eq!(ledger.id(), "a ledger");
    drop(ledger);
    let view = weir_ledger::query::LedgerReader::open(&path).expect("open").ledger().expect("a view");
    let requests = view.meters.iter().find(|meter| meter.meter == "requests").expect("a meter");
    assert_eq!((requests.accepted, requests.billable, requests.reported, requests.pending), (12, 10, 4, 6));
    assert!(view.balanced);
    let totals = view.totals;
    assert_eq!((totals.sources, totals.accepted, totals.missing, totals.duplicates), (1, 5, 2, 1));
    assert_eq!((view.early, view.quarantine), (1, [("malformed".to_owned(), 1)].into()));
}

#[tokio::test]
async fn the_totals_are_what_the_tables_say() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let test = worker.usage_with(2, |data| data.environment = Some("test".into()));
    let other = worker.usage_with(1, |data| data.usage.input_tokens = Some(99));
    server.post(batch(&[worker.usage(1), test, worker.usage(7), b"{}".to_vec(), other])).await;
    server.post(batch(&[worker.usage(1), worker.usage(4), worker.announce(9)])).await;
    let view = server.json("/v1/ledger").await;
    let sum = |field: &str| -> u64 {
        let sources = view["sources"].as_array().expect("sources");
        sources.iter().filter_map(|source| source[field].as_u64()).sum()
    };
    for field in ["accepted", "quarantined", "missing", "duplicates", "conflicts", "spilled"] {
        assert_eq!(view["totals"][field], sum(field), "{field}");
    }
    let usage = server.json("/v1/usage").await;
    for meter in view["meters"].as_array().expect("meters") {
        let rows: Vec<&Value> =
            usage["usage"].as_array().expect("rows").iter().filter(|row| row["meter"] == meter["meter"]).collect();
        let of = |field: &str| rows.iter().filter_map(|row| row[field].as_u64()).sum::<u64>();
        let excluded: u64 = meter["excluded"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
        assert_eq!((meter["billable"].as_u64(), excluded), (Some(of("billable")), of("excluded")), "{meter}");
    }
    let metrics = server.get("/metrics").await.text().await.expect("text");
    for line in ["weir_quarantine_events{reason=\"malformed\"} 1", "weir_source_events{state=\"missing\"} 5"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn the_queries_of_the_documentation_run() {
    let (server, worker) = (Running::start(noon(), readings::METERS).await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1), worker.usage(3), b"{}".to_vec()])).await;
    readings::post(&server, &json!([readings::reading("a/1", noon(), "12.5")])).await;
    server.json("/v1/ledger").await;
    let db = Connection::open(server.dir.path().join("weir-data/ledger.sqlite")).expect("open");
    let text = include_str!("../../../../docs/aggregator.md");
    let block = text.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("queries");
    let queries: Vec<&str> = block.split(';').map(str::trim).filter(|query| !query.is_empty()).collect();
    assert!(queries.len() >= 5);
    for query in queries {
        let mut select = db.prepare(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let rows = select.query_map([], |_| Ok(())).expect("run").count();
        assert!(rows > 0 || query.contains("outbox"), "nothing is found by {query}");
    }
}

#[tokio::test]
async fn only_the_owner_reads_what_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("weir-data");
    std::fs::create_dir(&data).expect("made");
    // As an earlier version left it.
    std::fs::write(data.join("lock"), "").expect("written");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_ne!(mode(&data.join("lock")), 0o600, "this test needs another umask");
    let server = Running::start_in(dir, noon(), "").await;
    server.post(batch(&[Worker::new(1, noon()).usage(1)])).await;
    server.json("/v1/ledger").await;
    let into = server.dir.path().join("backup");
    text(&beside(server.dir.path(), &["backup", into.to_str().expect("text")]).await);
    for directory in [server.dir.path().join("weir-data"), into] {
        for entry in std::fs::read_dir(&directory).expect("listed") {
            let path = entry.expect("an entry").path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_check_finds_meters_that_the_ledger_cannot_go_on_with() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1)])).await;
    assert_eq!(server.billable("requests").await, 1);
    let dir = server.stop().await;
    text(&weir(dir.path(), &["serve", "--check"]));
    let path = dir.path().join("weir.yaml");
    let changed = std::fs::read_to_string(&path).expect("read") + "meters: [{name: requests, sum: output_tokens}]\n";
    std::fs::write(&path, changed).expect("written");
    let output = weir(dir.path(), &["serve", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was changed or removed"), "{output:?}");
}
