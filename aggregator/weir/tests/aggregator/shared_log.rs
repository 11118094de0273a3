//! The event log elsewhere: counted, looked up, followed, forgotten, backed up, rebuilt and refused as the embedded one. The scenarios run
//! over every kind of log; those of one kind alone are in its file.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use weir::store::DataDir;
use weir_clock::SystemClock;
use weir_rig::redis::Redis;

use super::commands::{json as answer, weir};
use super::events::{Worker, batch, noon};
use super::killing::{Process, check, finish, kills, send};
use super::server::{Running, TOKEN, config};

const USER: &str = "hmac:0123456789abcdef0123456789abcdef";

/// A server of logs.
pub(super) trait LogServer {
    fn start() -> Self;

    /// A log in it, as settings name it.
    fn url(&self) -> String;

    /// The same as a line of settings.
    fn log(&self) -> String {
        format!("log: {}\n", self.url())
    }
}

impl LogServer for Redis {
    fn start() -> Self {
        Redis::start().expect("a Redis")
    }

    fn url(&self) -> String {
        Redis::url(self)
    }
}

/// Runs the scenarios over a [`LogServer`].
macro_rules! shared_log {
    ($server:ty) => {
        $crate::shared_log::shared_log!($server: events_are_counted_found_followed_and_counted_again,
            a_user_is_forgotten_though_records_cannot_change, a_backup_moves_a_log_from_data_to_a_server_and_back,
            a_second_server_with_a_copy_of_the_data_is_refused);
    };
    ($server:ty: $($name:ident),*) => {
        $(#[tokio::test]
        async fn $name() {
            $crate::shared_log::$name::<$server>().await;
        })*
    };
}
pub(super) use shared_log;

mod in_a_redis {
    use super::*;
    shared_log!(Redis);
}

pub(super) fn said(output: &std::process::Output) -> String {
    [output.stdout.as_slice(), &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

pub(super) fn succeeds(dir: &Path, args: &[&str]) -> String {
    let output = weir(dir, args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

pub(super) fn fails(dir: &Path, args: &[&str]) -> String {
    let output = weir(dir, args);
    assert!(!output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

/// A stopped server whose log elsewhere has two records of three events.
pub(super) async fn stopped(shared: &impl LogServer) -> tempfile::TempDir {
    let (server, worker) = (Running::start(noon(), &shared.log()).await, Worker::new(1, noon()));
    let named = worker.usage_with(1, |data| data.user = Some(USER.into()));
    assert_eq!(server.post(batch(&[named, worker.usage(2)])).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.post(batch(&[worker.usage(3)])).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.billable("requests").await, 3);
    server.stop().await
}

pub(super) async fn events_are_counted_found_followed_and_counted_again<S: LogServer>() {
    let shared = S::start();
    let dir = stopped(&shared).await;
    assert!(!dir.path().join("weir-data/log.sqlite").exists(), "the log is elsewhere alone");
    let server = Running::start_in(dir, noon(), &shared.log()).await;
    let worker = Worker::new(1, noon());
    server.post(batch(&[worker.usage(3), worker.usage(4)])).await;
    assert_eq!(server.billable("requests").await, 4, "a repeat is known");
    let event = server.json(&format!("/v1/events/{}", worker.id(4))).await;
    assert!(event["position"].as_u64() >= Some(3), "{event}");
    assert_eq!(server.json("/v1/events?id=r").await.as_array().map(Vec::len), Some(5), "repeats are found as well");
    let tail = succeeds(server.dir.path(), &["tail", "--from", "2026-11-21", "--no-follow"]);
    assert_eq!(tail.lines().count(), 5, "{tail}");
    let place = server.json("/v1/status").await["server"]["log_place"].clone();
    assert!(place.as_str().is_some_and(|place| place.starts_with(&shared.url())), "{place}");
    let dir = server.stop().await;
    assert!(succeeds(dir.path(), &["ledger", "rebuild"]).contains("agree"));
    std::fs::remove_file(dir.path().join("weir-data/ledger.sqlite")).expect("removed");
    let error = fails(dir.path(), &["usage"]);
    assert!(error.contains("weir ledger rebuild --replace"), "{error}");
    weir(dir.path(), &["ledger", "rebuild", "--replace"]);
    let usage = answer(&weir(dir.path(), &["usage", "--meter", "requests", "--json"]));
    assert_eq!(usage["usage"][0]["billable"], 4, "{usage}");
}

pub(super) async fn a_user_is_forgotten_though_records_cannot_change<S: LogServer>() {
    let shared = S::start();
    let (dir, worker) = (stopped(&shared).await, Worker::new(1, noon()));
    let server = Running::start_in(dir, noon(), &shared.log()).await;
    let view = server.ask("/v1/users/forget", &json!({"user": USER})).await;
    assert_eq!(view, json!({"records": 1, "events": 0}));
    let event = server.json(&format!("/v1/events/{}", worker.id(1))).await;
    assert_eq!(event["event"]["data"]["user"], "hmac:00000000000000000000000000000000");
    server.post(batch(&[worker.usage_with(1, |data| data.user = Some(USER.into()))])).await;
    assert_eq!(server.json("/v1/ledger").await["totals"]["duplicates"], 1, "a repeat is still known");
    assert_eq!(server.ask("/v1/users/forget", &json!({"user": USER})).await["records"], 1);
    let dir = server.stop().await;
    assert!(succeeds(dir.path(), &["ledger", "rebuild"]).contains("agree"));
    let backup = dir.path().join("backup");
    succeeds(dir.path(), &["backup", backup.to_str().expect("text")]);
    let log = std::fs::read(backup.join("log.sqlite")).expect("read");
    assert!(!log.windows(USER.len()).any(|part| part == USER.as_bytes()), "a backup does not name them either");
}

pub(super) async fn a_backup_moves_a_log_from_data_to_a_server_and_back<S: LogServer>() {
    let shared = S::start();
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    server.post(batch(&[worker.usage(3)])).await;
    let dir = server.stop().await;
    succeeds(dir.path(), &["backup", dir.path().join("one").to_str().expect("text")]);
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &shared.log())).expect("written");
    let refused = fails(dir.path(), &["usage"]);
    assert!(refused.contains("weir restore"), "a ledger without its log is refused: {refused}");
    succeeds(dir.path(), &["restore", dir.path().join("one").to_str().expect("text"), "--replace"]);
    let server = Running::start_in(dir, noon(), &shared.log()).await;
    server.post(batch(&[worker.usage(3), worker.usage(4)])).await;
    assert_eq!(server.billable("requests").await, 4, "it knows what it has counted, and goes on");
    let dir = server.stop().await;
    assert!(succeeds(dir.path(), &["ledger", "rebuild"]).contains("agree"));

    succeeds(dir.path(), &["backup", dir.path().join("two").to_str().expect("text")]);
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), "")).expect("written");
    succeeds(dir.path(), &["restore", dir.path().join("two").to_str().expect("text"), "--replace"]);
    let server = Running::start_in(dir, noon(), "").await;
    server.post(batch(&[worker.usage(4), worker.usage(5)])).await;
    assert_eq!(server.billable("requests").await, 5);
    let dir = server.stop().await;
    assert!(succeeds(dir.path(), &["ledger", "rebuild"]).contains("agree"));
}

#[tokio::test]
async fn a_lost_log_is_refused_and_comes_back_from_a_backup_while_a_whole_one_stays() {
    let redis = Redis::start().expect("a Redis");
    let dir = stopped(&redis).await;
    let backup = dir.path().join("backup");
    let backup = backup.to_str().expect("text");
    succeeds(dir.path(), &["backup", backup]);
    let server = Running::start_in(dir, noon(), &redis.log()).await;
    server.post(batch(&[Worker::new(1, noon()).usage(4)])).await;
    let dir = server.stop().await;
    succeeds(dir.path(), &["restore", backup, "--replace"]);
    let usage = answer(&weir(dir.path(), &["usage", "--meter", "requests", "--json"]));
    assert_eq!(usage["usage"][0]["billable"], 4, "the log was whole, and newer than the backup: {usage}");

    redis.command("FLUSHALL").expect("emptied");
    let refused = fails(dir.path(), &["usage"]);
    assert!(refused.contains("there is none") && refused.contains("weir restore"), "{refused}");
    let refused = Running::refused(dir, &redis.log()).await;
    assert!(refused.contains("there is none"), "{refused}");
}

#[tokio::test]
async fn a_log_that_lost_what_was_acknowledged_is_refused_until_a_person_has_decided() {
    let redis = Redis::start().expect("a Redis");
    let dir = stopped(&redis).await;
    let backup = dir.path().join("backup");
    let backup = backup.to_str().expect("text");
    succeeds(dir.path(), &["backup", backup]);
    let (server, worker) = (Running::start_in(dir, noon(), &redis.log()).await, Worker::new(1, noon()));
    redis.command("DEL weir:log:{weir/0}:stream").expect("deleted");
    assert_eq!(server.post(batch(&[worker.usage(4)])).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let dir = server.stop().await;
    let mark = dir.path().join("weir-data/log-lost");
    for refused in [fails(dir.path(), &["usage"]), fails(dir.path(), &["usage"])] {
        assert!(refused.contains("lost events that were acknowledged"), "{refused}");
        assert!(refused.contains("weir restore") && refused.contains(&mark.display().to_string()), "{refused}");
    }
    redis.command("FLUSHALL").expect("emptied");
    succeeds(dir.path(), &["restore", backup, "--replace"]);
    assert!(!mark.exists());
    let server = Running::start_in(dir, noon(), &redis.log()).await;
    server.post(batch(&[worker.usage(4)])).await;
    server.stop().await;
}

#[tokio::test]
async fn a_restored_log_goes_on_where_the_backup_ended() {
    let redis = Redis::start().expect("a Redis");
    let dir = stopped(&redis).await;
    let backup = dir.path().join("backup");
    succeeds(dir.path(), &["backup", backup.to_str().expect("text")]);
    redis.command("FLUSHALL").expect("emptied");
    succeeds(dir.path(), &["restore", backup.to_str().expect("text"), "--replace"]);
    let (server, worker) = (Running::start_in(dir, noon(), &redis.log()).await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(2), worker.usage(4)])).await;
    assert_eq!(server.billable("requests").await, 4);
    server.stop().await;
}

pub(super) async fn a_second_server_with_a_copy_of_the_data_is_refused<S: LogServer>() {
    let shared = S::start();
    let dir = stopped(&shared).await;
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(copy.path().join("weir-data")).expect("made");
    let ledger = "weir-data/ledger.sqlite";
    std::fs::copy(dir.path().join(ledger), copy.path().join(ledger)).expect("copied");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &shared.log())).expect("written");
    let process = Process::start(dir.path());
    process.note();
    let refused = Running::refused(copy, &shared.log()).await;
    assert!(refused.contains("writes to it") && refused.contains(&dir.path().display().to_string()), "{refused}");
}

#[tokio::test]
async fn a_configuration_is_checked_against_the_redis_it_names() {
    let redis = Redis::start_with(&["--appendfsync", "everysec"]).expect("a Redis");
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &redis.log())).expect("written");
    let refused = fails(dir.path(), &["serve", "--check"]);
    assert!(refused.contains("CONFIG SET appendfsync always"), "{refused}");
    redis.command("CONFIG SET appendfsync always").expect("set");
    succeeds(dir.path(), &["serve", "--check"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_redis_it_answers_503_and_goes_on_when_it_is_back() {
    let mut redis = Redis::start().expect("a Redis");
    let (server, worker) = (Running::start(noon(), &redis.log()).await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1)])).await;
    redis.kill().expect("killed");
    assert_eq!(server.post(batch(&[worker.usage(2)])).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    redis.restart().expect("started");
    assert_eq!(server.post(batch(&[worker.usage(2)])).await.status(), StatusCode::ACCEPTED);
    // The ledger reads the log again within a second.
    for _ in 0..200 {
        if server.get("/readyz").await.status() == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.billable("requests").await, 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_with_its_redis_it_loses_nothing_and_doubles_nothing() {
    let mut redis = Redis::start().expect("a Redis");
    let log = redis.log();
    let kill = || redis.kill().and_then(|()| redis.restart()).expect("killed and started");
    killed_in_turn_under_load(&log, kill).await;
}

/// Kills a server that `weir serve` needs and itself in turn while events come. `more` of the configuration names the server; `kill` ends it and
/// starts it again.
pub(super) async fn killed_in_turn_under_load(more: &str, mut kill: impl FnMut()) {
    let dir = tempfile::tempdir().expect("a directory");
    let prices = "prices: {shipped: false, entries: [{model: '*', per_million: {input: 1, output: 2}}]}\n";
    let text = config(dir.path(), &format!("{prices}{more}"));
    std::fs::write(dir.path().join("weir.yaml"), text).expect("written");
    let home = DataDir::at(&dir.path().join("weir-data"));
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let now = SystemClock::start().now();
    let senders: Vec<_> =
        (1..=4).map(|life| tokio::spawn(send(life, now, home.clone(), Arc::clone(&stop), Arc::clone(&sent)))).collect();
    let mut process = Process::start(dir.path());
    for round in 0..kills() {
        process.note();
        let before = sent.load(Ordering::Relaxed);
        while sent.load(Ordering::Relaxed) < before + 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(round * 7_919 % 40_000)).await;
        if round % 2 == 0 {
            kill();
        } else {
            drop(process);
            process = Process::start(dir.path());
        }
    }
    process.note();
    let acknowledged = finish(&stop, senders).await;
    println!("{} kills, {acknowledged} events acknowledged", kills());
    check(&process.note(), acknowledged).await;
    let lost = reqwest::Client::new().get(format!("http://{}/v1/status", process.note().address)).bearer_auth(TOKEN);
    assert_eq!(lost.send().await.expect("an answer").status(), StatusCode::OK);
}
