//! End to end: batches over HTTP into a server in this process, load generator included.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use weir::config::Config;
use weir::server::run::Server;
use weir_clock::SystemClock;

use crate::cpu::Cpu;
use crate::load::Stream;
use crate::{events, floor, print};

pub(crate) const TOKEN: &str = "a-token-of-the-benchmark";
pub(crate) const CONNECTIONS: u8 = 8;
/// Targets for batches of 1,000 and of 100: events per second, and the percentage of the bare store.
const TARGETS: [(u64, u64, u64); 2] = [(1_000, 150_000, 55), (100, 60_000, 30)];

/// Runs at full speed, next to the floors.
pub(crate) fn run() {
    for (size, target, share) in TARGETS {
        let dir = tempfile::tempdir().expect("a directory");
        println!(
            "http: batches of {size}, {CONNECTIONS} connections; to reach: {target} events/s, {share} % of the bare store"
        );
        let counted = serve(dir.path(), |address| load(address, size, None, seconds(10)));
        let (bare, synced) = (floor::bare_store(dir.path(), size), floor::append_and_sync(dir.path(), size));
        println!(
            "  floor: bare SQLite, same dedupe and sums: {bare:.0} events/s; counted is {:.0} % of it",
            counted / bare * 100.0
        );
        println!(
            "  floor: append and sync of the same bytes: {synced:.0} events/s; counted is {:.0} % of it",
            counted / synced * 100.0
        );
    }
}

/// Runs for a long time, through checkpoints: `WEIR_BENCH_SECS`, 600 for a full run.
pub(crate) fn sustained() {
    let dir = tempfile::tempdir().expect("a directory");
    println!("sustained: batches of 1000, 5 meters, all dimensions");
    serve(dir.path(), |address| load(address, 1_000, None, seconds(20)));
}

/// The rate at which batches of 1,000 are counted, with the shipped prices or without any.
pub(crate) fn rate_with(prices: bool) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = if prices { "" } else { "prices: {shipped: false}\n" };
    serve_by(dir.path(), settings, |address| load(address, 1_000, None, seconds(5)))
}

/// Runs with many ids stored and none in memory: `KEYS`, 50000000 for a full run.
pub(crate) fn cold() {
    let keys = number("KEYS").unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a directory");
    serve(dir.path(), |_| ());
    fill(&dir.path().join("weir-data/ledger.sqlite"), keys);
    // Only root may drop caches; otherwise the most recently written pages are still cached.
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    println!("cold: batches of 1000, {keys} ids on file, the system's cache dropped: {dropped}");
    serve(dir.path(), |address| load(address, 1_000, None, seconds(10)));
}

/// Measures the time of a batch at half the target rate.
pub(crate) fn latency() {
    for (size, target, _) in TARGETS {
        let dir = tempfile::tempdir().expect("a directory");
        println!("latency: batches of {size} at {} events/s; to reach: 99 % within 50 ms", target / 2);
        serve(dir.path(), |address| load(address, size, Some(target / 2), seconds(10)));
    }
}

/// Measures how long a server takes to start on a run's files, and to count records left uncounted.
pub(crate) fn start() {
    let dir = tempfile::tempdir().expect("a directory");
    serve(dir.path(), |address| load(address, 1_000, None, seconds(10)));
    let began = Instant::now();
    serve(dir.path(), |_| println!("start: {:.3} s; to reach: 2 s", began.elapsed().as_secs_f64()));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

pub(crate) fn seconds(otherwise: u64) -> Duration {
    Duration::from_secs(number("WEIR_BENCH_SECS").unwrap_or(otherwise))
}

/// Runs `work` next to a server on `dir`.
fn serve<T>(dir: &Path, work: impl FnOnce(SocketAddr) -> T) -> T {
    serve_by(dir, "", work)
}

/// As [`serve`], with further settings.
pub(crate) fn serve_by<T>(dir: &Path, settings: &str, work: impl FnOnce(SocketAddr) -> T) -> T {
    std::fs::write(dir.join("token"), TOKEN).expect("written");
    let path = dir.join("weir.yaml");
    let text =
        format!("listen: 127.0.0.1:0\ntokens: [{{name: all, scopes: [ingest, admin], file: token}}]\n{settings}");
    std::fs::write(&path, text).expect("written");
    let config = Config::load(&path).expect("good");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let server = runtime.block_on(Server::start(config, SystemClock::start())).expect("a server");
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = runtime.spawn(server.run(async move {
        let _ = stopped.await;
    }));
    let done = work(address);
    drop(stop);
    runtime.block_on(served).expect("joined").expect("served");
    done
}

/// Sends batches of `size` for `lasts`, at `rate` events a second or at full speed, and prints how that went. Returns the number of events
/// counted per second.
pub(crate) fn load(address: SocketAddr, size: u64, rate: Option<u64>, lasts: Duration) -> f64 {
    let cpu = Cpu::now();
    let sent = send_all(address, 1, size, rate, lasts);
    print("  acknowledged", sent.events, sent.acknowledged_in);
    print("  counted", sent.events, sent.counted_in);
    println!("  processor for an event: {}", Cpu::now().since(cpu, sent.events));
    println!(
        "  answered within: half {:.1} ms, 99 % {:.1} ms, all {:.1} ms",
        sent.within_ms(50),
        sent.within_ms(99),
        sent.within_ms(100)
    );
    println!("  memory at most: {} MB, load generator included; to reach: 200 MB", memory_kib() / 1_024);
    sent.events as f64 / sent.counted_in.as_secs_f64()
}

/// What was sent.
pub(crate) struct Sent {
    pub(crate) events: u64,
    pub(crate) acknowledged_in: Duration,
    counted_in: Duration,
    /// The time of each batch, the shortest first.
    latencies: Vec<Duration>,
}

impl Sent {
    /// The time in which this share of the batches was answered, in percent.
    pub(crate) fn within_ms(&self, share: usize) -> f64 {
        self.latencies[(self.latencies.len() - 1) * share / 100].as_secs_f64() * 1_000.0
    }
}

/// Sends batches by workers that have not sent before, `first_life` and the following.
pub(crate) fn send_all(address: SocketAddr, first_life: u8, size: u64, rate: Option<u64>, lasts: Duration) -> Sent {
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let pause = rate.map(|rate| Duration::from_secs_f64((size * u64::from(CONNECTIONS)) as f64 / rate as f64));
    let streams: Vec<Stream> =
        (first_life..first_life + CONNECTIONS).map(|life| Stream::new(life, size, head)).collect();
    let before = accepted(address);
    let began = Instant::now();
    let senders: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            std::thread::spawn(move || send(address, stream, pause, &stop, &sent))
        })
        .collect();
    std::thread::sleep(lasts);
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<Duration> = senders.into_iter().flat_map(|sender| sender.join().expect("sent")).collect();
    let events = sent.load(Ordering::Relaxed) * size;
    let acknowledged_in = began.elapsed();
    // The server answers once everything is counted.
    assert_eq!(accepted(address) - before, events);
    let counted_in = began.elapsed();
    latencies.sort();
    Sent { events, acknowledged_in, counted_in, latencies }
}

/// The peak memory of this process (`VmHWM`).
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nhost: w\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/cloudevents-batch+json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// The number of counted events, once the ledger has counted all.
fn accepted(address: SocketAddr) -> u64 {
    let head =
        format!("GET /v1/ledger HTTP/1.1\r\nhost: w\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    let view: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&view["totals"]["quarantined"], &view["early"]), (&0.into(), &0.into()), "{view}");
    view["totals"]["accepted"].as_u64().expect("a number")
}

/// Sends batches one after the other; returns the time of each.
fn send(
    address: SocketAddr,
    mut batches: Stream,
    pause: Option<Duration>,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    let (mut buffer, mut latencies, mut due) = ([0; 4_096], Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let request = batches.next(events::start());
        if let Some(pause) = pause {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += pause;
        }
        let began = Instant::now();
        stream.write_all(request).expect("sent");
        let read = stream.read(&mut buffer).expect("answered");
        if buffer[..read].starts_with(b"HTTP/1.1 503") {
            // Backpressure: the batch was refused, so its numbers are missing from this count only.
            panic!("the server is busy with {CONNECTIONS} connections");
        }
        assert!(buffer[..read].starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&buffer[..read]));
        latencies.push(began.elapsed());
        sent.fetch_add(1, Ordering::Relaxed);
    }
    latencies
}

/// Stores `keys` ids, spread over the remembered days.
fn fill(path: &Path, keys: u64) {
    const DAYS: u64 = 40;
    const DAY_MS: u64 = 24 * 3_600_000;
    let db = Connection::open(path).expect("the ledger");
    db.pragma_update(None, "synchronous", "off").expect("set");
    let today = events::start().as_millis() / DAY_MS;
    for day in today - DAYS + 1..=today {
        let table = format!("seen_{day}");
        db.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table}(
               id BLOB PRIMARY KEY, hash INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL
             ) WITHOUT ROWID; BEGIN"
        ))
        .expect("a table");
        let share = keys / DAYS;
        let mut insert =
            db.prepare(&format!("INSERT INTO {table} VALUES (?1,?2,1,1) ON CONFLICT DO NOTHING")).expect("a statement");
        for number in 0..share {
            let ms = day * DAY_MS + number * (DAY_MS / 2) / share;
            let mut id = [7; 16];
            id[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
            id[6] = 0x70;
            id[8..].copy_from_slice(&weir_seeded::nth(0, number).to_be_bytes());
            id[8] = 0x80 | id[8] & 0x3f;
            insert.execute(params![id, number.cast_signed()]).expect("inserted");
        }
        drop(insert);
        db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").expect("committed");
    }
}
