//! Measures how fast closed windows are reported: a million events of 10,000 tenants, to the stand-in for Stripe over
//! TCP.
//!
//! `make bench parts=aggregator`. `WEIR_BENCH_CALLS` is the configured number of calls per second (default 1000,
//! Stripe's own limit), `WEIR_BENCH_EVENTS` the number of events. The stand-in is a process of its own, so that its
//! memory does not count as weir's.
#![allow(clippy::disallowed_methods, clippy::float_arithmetic, reason = "a benchmark measures real time")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir::store::{DataDir, Store};
use weir_billing::BillingSink;
use weir_billing::outbox::policy::{BillingPolicy, Late};
use weir_billing::outbox::report::{Pace, Reporter, Tenants};
use weir_billing::outbox::view::ReportRequest;
use weir_clock::SystemClock;
use weir_contract::batch::join;
use weir_contract::{
    Event, EventId, Outcome, Payload, Sequence, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus,
};
use weir_ledger::meters::{self, Meters};
use weir_ledger::validate::Format;
use weir_rig::stripe::{Account, Limits, Stripe, StripeServer};
use weir_settings::secret::Secret;
use weir_stripe::StripeSink;

const TENANTS: u64 = 10_000;
const BATCH: u64 = 1_000;
/// Calls under way at once.
const CONCURRENCY: usize = 64;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The argument that makes this program the stand-in: it prints its address, and its total after each line of input.
const STAND_IN: &str = "--stand-in";

/// The stand-in as a process of its own.
struct StandIn {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl StandIn {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut process = Command::new(this)
            .arg(STAND_IN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let said = BufReader::new(process.stdout.take().expect("piped"));
        StandIn { process, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("the stand-in runs");
        line.trim().to_owned()
    }

    /// The sum over all customers.
    fn total(&mut self) -> i64 {
        self.process.stdin.as_mut().expect("piped").write_all(b"\n").expect("the stand-in runs");
        self.line().parse().expect("a number")
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}

fn stand_in() {
    let stripe = server(SystemClock::start().now());
    println!("{}", stripe.url());
    for _ in std::io::stdin().lines() {
        let total: i64 = (0..TENANTS).map(|n| stripe.stripe().total(&format!("cus_{n}"), "weir_requests")).sum();
        println!("{total}");
    }
}

fn main() {
    if std::env::args().any(|argument| argument == STAND_IN) {
        return stand_in();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let (events, rate) = (number("WEIR_BENCH_EVENTS", 1_000_000), number("WEIR_BENCH_CALLS", 1_000));
    let clock = SystemClock::start();
    let now = clock.now();
    let mut stripe = StandIn::start();
    let url = stripe.line();
    let dir = tempfile::tempdir().expect("a directory");
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good");
    let store = Store::open(DataDir::at(dir.path()), meters, Arc::clone(&clock)).expect("a store");
    count(&store, events, now).await;
    println!("report: {events} events of {TENANTS} tenants are counted; {} MB of memory", memory_mb());
    let key = Secret::new(Account::sandbox().secret_key);
    let sink = StripeSink::new(&url, &key, None).expect("a sink");
    let policy = BillingPolicy {
        ledger: store.ledger_id.clone(),
        account: sink.account().clone(),
        event_names: [("requests".to_owned(), "weir_requests".to_owned())].into(),
        grace_ms: 0,
        invoice_delay_ms: 3_600_000,
        late: Late::NextPeriod,
        epoch: 0,
    };
    let pace = Pace { concurrency: CONCURRENCY, calls_per_second: u32::try_from(rate).expect("a rate") };
    let file = store.home.ledger_identity().expect("a file");
    let reporter = Reporter::new(store.ledger.clone(), file, sink, policy, pace, clock);
    let customers: HashMap<String, String> =
        (0..TENANTS).map(|tenant| (name(tenant), format!("cus_{tenant}"))).collect();
    let (peak, stop) = watch_memory();
    let began = Instant::now();
    let tenants = || Tenants { customers: customers.clone(), ..Tenants::default() };
    let mut view = reporter.run(ReportRequest::default(), tenants).await.expect("a report");
    while view.more {
        let next = reporter.run(ReportRequest::default(), tenants).await.expect("a report");
        view = view.followed_by(next);
    }
    let took = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    assert_eq!((stripe.total().unsigned_abs(), view.pending, view.held.len()), (events, 0, 0), "{view:?}");
    println!("  rows closed and taken      {:>9}", view.reported);
    println!("  calls per second           {:>9.0}  ({rate} configured)", view.reported as f64 / took);
    println!("  memory, MB: now and most   {:>9}  {}", memory_mb(), peak.load(Ordering::Relaxed));
}

fn server(now: Timestamp) -> StripeServer {
    let mut stripe = Stripe::new(Account::sandbox());
    stripe.set_limits(Limits::NONE);
    stripe
        .add_meter(jiff::Timestamp::from_millisecond(now.as_millis().cast_signed()).expect("a time"), "weir_requests");
    (0..TENANTS).for_each(|tenant| stripe.add_customer(&format!("cus_{tenant}")));
    StripeServer::start_with_clock(stripe, Arc::new(jiff::Timestamp::now)).expect("a stand-in")
}

fn name(tenant: u64) -> String {
    format!("tenant-{tenant:05}")
}

/// Sends events of the last six hours, in three windows per tenant.
async fn count(store: &Store, events: u64, now: Timestamp) {
    let source = SourceId::new("gw-1", [1; 16]).expect("a source");
    for first in (0..events).step_by(usize::try_from(BATCH).expect("small")) {
        let batch: Vec<Vec<u8>> = (first..events.min(first + BATCH)).map(|n| event(&source, n, now)).collect();
        let body = join(batch.iter().map(Vec::as_slice));
        let taken = store.intake.take(now, None, Format::Batch, body.clone()).expect("taken");
        assert_eq!(taken.answer.rejected.len(), 0);
        taken.synced.await.expect("answered").expect("synced");
    }
    store.catch_up().await.expect("counted");
}

fn event(source: &SourceId, number: u64, now: Timestamp) -> Vec<u8> {
    let window = 2 + (number / TENANTS) % 3;
    let time = Timestamp::from_millis(now.as_millis() - window * 3_600_000);
    let usage = Usage { status: UsageStatus::Complete, input_tokens: Some(10), ..Usage::default() };
    let data = UsageData {
        request_id: "r".into(),
        plan: "p".into(),
        status: 200,
        outcome: Outcome::Ok,
        config_version: "c".into(),
        usage,
        ..UsageData::default()
    };
    let sequence = Sequence(number + 1);
    let event = Event {
        id: EventId::derive(time, source, sequence),
        source: source.clone(),
        sequence: Some(sequence),
        subject: TenantId::new(&name(number % TENANTS)).ok(),
        time,
        payload: Payload::Usage(Box::new(data)),
    };
    let mut out = Vec::new();
    event.write(&mut out).expect("written");
    out
}

/// Tracks the highest memory use until told to stop.
fn watch_memory() -> (Arc<AtomicU64>, Arc<AtomicBool>) {
    let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (most, stopped) = (Arc::clone(&peak), Arc::clone(&stop));
    std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            most.fetch_max(memory_mb(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    (peak, stop)
}

fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}
