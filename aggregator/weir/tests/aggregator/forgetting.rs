//! A forgotten user stays forgotten: by name, after a restore, after a replay.
use std::path::Path;

use serde_json::{Value, json};
use weir_clock::SystemClock;
use weir_contract::TenantId;
use weir_contract::signed::SigningKey;
use weir_contract::user::UserKey;

use super::commands::{SIGNING_KEY, json as answer, weir};
use super::events::{Worker, batch, noon};
use super::server::Running;

const OLD_KEY: &str = "an old key of users, thirty-two bytes";
const NEW_KEY: &str = "the key of users now, thirty-two bytes";
const SETTINGS: &str = "user_keys: [{file: new}, {file: old}]\nsigning_key: {file: key}\n";

/// Ann, as events of acme name her under `key`.
fn ann(key: &str) -> String {
    let tenant = TenantId::new("acme").expect("an id");
    UserKey::new(key.as_bytes()).expect("a key").name(&tenant, "ann@example.com")
}

async fn started() -> Running {
    let server = Running::start(noon(), "").await;
    let dir = server.stop().await;
    for (file, key) in [("old", OLD_KEY), ("new", NEW_KEY), ("key", SIGNING_KEY)] {
        std::fs::write(dir.path().join(file), key).expect("written");
    }
    Running::start_by(dir, SystemClock::start(), SETTINGS).await
}

/// Two events that name Ann, one under each key.
fn naming_ann(worker: &Worker, numbers: [u64; 2]) -> Vec<Vec<u8>> {
    let keys = numbers.into_iter().zip([OLD_KEY, NEW_KEY]);
    keys.map(|(number, key)| worker.usage_with(number, |data| data.user = Some(ann(key).into()))).collect()
}

fn names_ann(dir: &Path) -> bool {
    let files = ["log.sqlite", "log.sqlite-wal", "ledger.sqlite", "ledger.sqlite-wal"];
    let bytes = files.map(|file| std::fs::read(dir.join("weir-data").join(file)).unwrap_or_default()).concat();
    let has = |name: String| bytes.windows(name.len()).any(|part| part == name.as_bytes());
    // The log packs its bodies, so a record is looked up, too.
    has(ann(OLD_KEY)) || has(ann(NEW_KEY))
}

fn user(dir: &Path, worker: &Worker, number: u64) -> Value {
    answer(&weir(dir, &["events", "get", &worker.id(number).to_string()]))["event"]["data"]["user"].clone()
}

fn nobody() -> Value {
    json!(format!("hmac:{}", "0".repeat(32)))
}

fn recent() -> Worker {
    Worker { time: SystemClock::start().now(), ..Worker::new(1, noon()) }
}

#[tokio::test]
async fn a_user_is_forgotten_by_name_under_every_key() {
    let (server, worker) = (started().await, recent());
    server.post(batch(&naming_ann(&worker, [1, 2]))).await;
    let view = server.ask("/v1/users/forget", &json!({"tenant": "acme", "name": "ann@example.com"})).await;
    assert_eq!(view, json!({"records": 1, "events": 0}));
    let dir = server.stop().await;
    assert_eq!((user(dir.path(), &worker, 1), user(dir.path(), &worker, 2)), (nobody(), nobody()));
    assert!(!names_ann(dir.path()));
    let list = std::fs::read_to_string(dir.path().join("weir-data/forgotten.json")).expect("remembered");
    assert!(list.contains(&ann(OLD_KEY)) && !list.contains("ann@"), "{list}");
    for (args, said) in [
        (&["user", "forget", "--user", "ann"][..], "--tenant"),
        (&["user", "forget"], "<HMAC>"),
        (&["user", "forget", "--user", "", "--tenant", "acme"], "as requests name them"),
    ] {
        let output = weir(dir.path(), args);
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
    std::fs::write(dir.path().join("weir.yaml"), "data: weir-data\n").expect("written");
    let without = weir(dir.path(), &["user", "forget", "--user", "ann", "--tenant", "acme"]);
    assert!(String::from_utf8_lossy(&without.stderr).contains("no `user_keys`"), "{without:?}");
}

#[tokio::test]
async fn a_restored_backup_loses_who_was_forgotten_after_it() {
    let (server, worker) = (started().await, recent());
    server.post(batch(&naming_ann(&worker, [1, 2]))).await;
    assert_eq!(server.billable("requests").await, 2);
    let dir = server.stop().await;
    let backup = dir.path().join("backup");
    let backup = backup.to_str().expect("text");
    assert!(weir(dir.path(), &["backup", backup]).status.success());
    assert!(weir(dir.path(), &["user", "forget", "--tenant", "acme", "--user", "ann@example.com"]).status.success());
    let restored = weir(dir.path(), &["restore", backup, "--replace"]);
    assert!(restored.status.success(), "{restored:?}");
    let said = String::from_utf8_lossy(&restored.stdout);
    assert!(said.contains("forgotten users were taken out of 1 records"), "{said}");
    assert_eq!((user(dir.path(), &worker, 1), user(dir.path(), &worker, 2)), (nobody(), nobody()));
    assert!(weir(dir.path(), &["ledger", "rebuild"]).status.success(), "the log is whole");
}

#[tokio::test]
async fn a_replayed_event_loses_who_was_forgotten_before_and_still_counts_once() {
    let (server, worker) = (started().await, recent());
    let [first, second] = <[Vec<u8>; 2]>::try_from(naming_ann(&worker, [1, 2])).expect("two");
    server.post(batch(std::slice::from_ref(&first))).await;
    let dir = server.stop().await;
    assert!(weir(dir.path(), &["user", "forget", &ann(OLD_KEY)]).status.success());
    assert!(weir(dir.path(), &["user", "forget", &ann(NEW_KEY)]).status.success());
    let key = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key");
    let log = dir.path().join("gateway.log");
    std::fs::write(&log, format!("{}\n{}\n", key.sign(&first), key.sign(&second))).expect("written");
    assert!(weir(dir.path(), &["replay", log.to_str().expect("text")]).status.success());
    assert_eq!((user(dir.path(), &worker, 1), user(dir.path(), &worker, 2)), (nobody(), nobody()));
    let ledger = answer(&weir(dir.path(), &["ledger", "--json"]));
    assert_eq!((&ledger["totals"]["duplicates"], &ledger["totals"]["conflicts"]), (&json!(1), &json!(0)), "{ledger}");
}
