//! A server killed at any moment loses no acknowledged event and counts none twice.
//!
//! `WEIR_KILLS` sets the number of kills (default 10).
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use weir::store::{DataDir, ServerNote};
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_ledger::amount::Pico;
use weir_rig::stripe::{Account, Limits, Stripe, StripeServer};

use super::events::{Worker, batch};
use super::server::{TOKEN, config};

const CONNECTIONS: u8 = 8;
const BATCH: u64 = 25;

/// A `weir serve` of its own.
pub(super) struct Process {
    child: Child,
    dir: PathBuf,
}

impl Process {
    pub(super) fn start(dir: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--config"])
            .arg(dir.join("weir.yaml"))
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        Process { child, dir: dir.to_owned() }
    }

    /// Sends it a signal, such as `-STOP`.
    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("sent").success());
    }

    /// Waits until it listens, and returns its note.
    pub(super) fn note(&self) -> ServerNote {
        let home = DataDir::at(&self.dir.join("weir-data"));
        for _ in 0..600 {
            if let Some(note) = home.read_note() {
                return note;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it never listens");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        DataDir::at(&self.dir.join("weir-data")).remove_note();
    }
}

pub(super) fn kills() -> u64 {
    std::env::var("WEIR_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Sends batches of one worker until told to stop, each until it is acknowledged. Returns the number of acknowledged
/// events.
pub(super) async fn send(life: u8, now: Timestamp, home: DataDir, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> u64 {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("a client");
    let worker = Worker::new(life, now);
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let body = batch(&(acknowledged + 1..=acknowledged + BATCH).map(|n| worker.usage(n)).collect::<Vec<_>>());
        // To the end of the loop a batch is retried as a gateway would, also after the stop.
        loop {
            let Some(note) = home.read_note() else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let url = format!("http://{}/v1/events", note.address);
            let request = http.post(url).bearer_auth(TOKEN).header("content-type", "application/json");
            match request.body(body.clone()).send().await {
                Ok(answer) if answer.status() == 202 => break,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        acknowledged += BATCH;
        sent.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Stops the senders, each after its last batch is acknowledged. Returns the number of acknowledged events.
pub(super) async fn finish(stop: &AtomicBool, senders: Vec<JoinHandle<u64>>) -> u64 {
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = 0;
    for sender in senders {
        acknowledged += sender.await.expect("sent");
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_it_loses_nothing_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    // Twenty millionths of a dollar for an event of ten tokens in and five out.
    let prices = "prices: {shipped: false, entries: [{model: '*', per_million: {input: 1, output: 2}}]}\n";
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), prices)).expect("written");
    let home = DataDir::at(&dir.path().join("weir-data"));
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let now = SystemClock::start().now();
    let senders: Vec<_> = (1..=CONNECTIONS)
        .map(|life| tokio::spawn(send(life, now, home.clone(), Arc::clone(&stop), Arc::clone(&sent))))
        .collect();
    let mut process = Process::start(dir.path());
    for round in 0..kills() {
        process.note();
        // Lets some batches of this life through, then kills at a moment that differs by round.
        let before = sent.load(Ordering::Relaxed);
        while sent.load(Ordering::Relaxed) < before + 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(round * 7_919 % 40_000)).await;
        drop(process);
        process = Process::start(dir.path());
    }
    process.note();
    let acknowledged = finish(&stop, senders).await;
    check(&process.note(), acknowledged).await;
}

/// Asks whichever process is running for reports, without a pause.
async fn report(home: DataDir, stop: Arc<AtomicBool>) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
    while !stop.load(Ordering::Relaxed) {
        if let Some(note) = home.read_note() {
            let url = format!("http://{}/v1/report", note.address);
            let _ = http.post(url).bearer_auth(TOKEN).send().await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A stand-in that has the meters and the customer, and no rate limit.
pub(super) fn stripe(now: Timestamp) -> StripeServer {
    let mut stripe = Stripe::new(Account::sandbox());
    stripe.set_limits(Limits::NONE);
    for name in ["weir_requests", "weir_input_tokens"] {
        stripe.add_meter(jiff::Timestamp::from_millisecond(now.as_millis().cast_signed()).expect("a time"), name);
    }
    stripe.add_customer("cus_acme");
    StripeServer::start_with_clock(stripe, Arc::new(jiff::Timestamp::now)).expect("a stand-in")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_while_it_reports_it_bills_everything_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = SystemClock::start().now();
    let stripe = stripe(now);
    let more = format!(
        "tenants: tenants.yaml\nstripe: {{secret_key: {{file: key}}, url: '{}', calls_per_second: 1000, late: next_period, \
         meters: {{requests: weir_requests, input_tokens: weir_input_tokens}}}}\n",
        stripe.url()
    );
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &more)).expect("written");
    std::fs::write(dir.path().join("key"), Account::sandbox().secret_key).expect("written");
    let tenants = "tenants: [{id: acme, plan: p, stripe_customer: cus_acme}]";
    std::fs::write(dir.path().join("tenants.yaml"), tenants).expect("written");
    let home = DataDir::at(&dir.path().join("weir-data"));
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // The hours are over, so all usage is reported at once, as a correction of earlier usage.
    let hour = |life: u8| Timestamp::from_millis(now.as_millis() - (1 + u64::from(life)) * 3_600_000);
    let senders: Vec<_> = (1..=CONNECTIONS)
        .map(|life| tokio::spawn(send(life, hour(life), home.clone(), Arc::clone(&stop), Arc::clone(&sent))))
        .collect();
    let reporter = tokio::spawn(report(home.clone(), Arc::clone(&stop)));
    let mut process = Process::start(dir.path());
    for round in 0..kills() {
        process.note();
        // Kills in the middle of a report: some calls of this life have arrived, and more are under way.
        let before = stripe.stripe().meter_events().len();
        for _ in 0..2_000 {
            if stripe.stripe().meter_events().len() > before + usize::try_from(round % 3).expect("small") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_micros(round * 7_919 % 30_000)).await;
        drop(process);
        process = Process::start(dir.path());
    }
    process.note();
    let acknowledged = finish(&stop, senders).await;
    reporter.await.expect("ended");
    settle(&process.note()).await;
    let total = |name: &str| stripe.stripe().total("cus_acme", name);
    let calls = stripe.stripe().meter_events().len();
    println!("{} kills, {acknowledged} events, {calls} meter events", kills());
    assert_eq!(total("weir_requests").unsigned_abs(), acknowledged);
    assert_eq!(total("weir_input_tokens").unsigned_abs(), 10 * acknowledged);
}

/// Reports until no row is pending, and asserts that none is held.
pub(super) async fn settle(note: &ServerNote) {
    let http = reqwest::Client::new();
    let mut view = Value::Null;
    for _ in 0..120 {
        let request = http.post(format!("http://{}/v1/report", note.address)).bearer_auth(TOKEN);
        view = request.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(view["held"], serde_json::json!({}), "{view}");
        if view["created"] == 0 && view["pending"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("it is never done: {view}");
}

pub(super) async fn check(note: &ServerNote, acknowledged: u64) {
    let http = reqwest::Client::new();
    let get = async |path: &str| -> Value {
        let request = http.get(format!("http://{}{path}", note.address)).bearer_auth(TOKEN);
        request.send().await.expect("an answer").json().await.expect("JSON")
    };
    let ledger = get("/v1/ledger").await;
    assert_eq!(ledger["totals"]["accepted"], acknowledged, "{}", ledger["totals"]);
    assert_eq!((&ledger["totals"]["missing"], &ledger["totals"]["conflicts"]), (&0.into(), &0.into()));
    assert_eq!(ledger["balanced"], true);
    let usage = get("/v1/usage?meter=input_tokens").await;
    assert_eq!(usage["usage"][0]["billable"], 10 * acknowledged);
    let cost = get("/v1/cost").await;
    let expected = Pico::parse("0.00002").and_then(|each| each.times(acknowledged)).expect("an amount");
    assert_eq!(cost[0]["cost"], expected.to_string());
}

#[test]
fn it_stops_within_its_bound_and_with_success_when_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), "")).expect("written");
    let mut process = Process::start(dir.path());
    process.note();
    let pid = process.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("sent").success());
    assert!(process.child.wait().expect("ended").success());
    assert!(DataDir::at(&dir.path().join("weir-data")).read_note().is_none(), "the note goes with the server");
}
