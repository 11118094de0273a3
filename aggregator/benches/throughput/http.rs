//! End to end: batches over HTTP into a server of this process, the load generator included.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir::clock::SystemClock;
use weir::config::Config;
use weir::server::run::Server;
use weir_contract::Timestamp;

use crate::{events, print};

const TOKEN: &str = "a-token-of-the-benchmark";
const CONNECTIONS: u8 = 8;
/// Batches of 1,000 made beforehand for each connection; the run ends early if they are used up.
const PREPARED_EVENTS: u64 = 400_000;

pub(crate) fn run() {
    for size in [1_000, 100] {
        measure(size);
    }
}

fn seconds() -> u64 {
    std::env::var("WEIR_BENCH_SECS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

fn measure(size: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("token"), TOKEN).expect("written");
    let path = dir.path().join("weir.yaml");
    let text = "listen: 127.0.0.1:0\ntokens: [{name: all, scopes: [ingest, admin], file: token}]\n";
    let config = Config::parse(&path, text).expect("good");
    std::fs::write(&path, text).expect("written");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let server = runtime.block_on(Server::start(config, SystemClock::start())).expect("a server");
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = runtime.spawn(server.run(async move {
        let _ = stopped.await;
    }));
    load(address, size);
    drop(stop);
    runtime.block_on(served).expect("joined").expect("served");
}

fn load(address: SocketAddr, size: u64) {
    let start = events::start();
    let per_connection = PREPARED_EVENTS / u64::from(CONNECTIONS) / size;
    println!("http: batches of {size}, {CONNECTIONS} connections");
    let prepared: Vec<Vec<Vec<u8>>> =
        (0..CONNECTIONS).map(|life| requests(life, per_connection, size, start)).collect();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let senders: Vec<_> = prepared
        .into_iter()
        .map(|requests| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            std::thread::spawn(move || send(address, &requests, &stop, &sent))
        })
        .collect();
    let deadline = began + Duration::from_secs(seconds());
    while Instant::now() < deadline && !senders.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<Duration> = senders.into_iter().flat_map(|sender| sender.join().expect("sent")).collect();
    let (events, took) = (sent.load(Ordering::Relaxed) * size, began.elapsed());
    print("  acknowledged", events, took);
    counted(address, events, began);
    latencies.sort();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    println!("  answered within: half {:.1} ms, 99 % {:.1} ms", at(50), at(99));
}

/// Waits until the ledger has counted everything.
fn counted(address: SocketAddr, events: u64, began: Instant) {
    let head =
        format!("GET /v1/ledger HTTP/1.1\r\nhost: w\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.contains(&format!("\"accepted\":{events},\"quarantined\":0")), "{answer}");
    print("  counted", events, began.elapsed());
}

fn requests(life: u8, count: u64, size: u64, start: Timestamp) -> Vec<Vec<u8>> {
    let request = |number| {
        let body = events::batch(life + 1, number, size, start);
        let mut request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: w\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        request
    };
    (0..count).map(request).collect()
}

/// Sends requests one after the other; returns how long each took.
fn send(address: SocketAddr, requests: &[Vec<u8>], stop: &AtomicBool, sent: &AtomicU64) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut buffer = [0; 4_096];
    let mut latencies = Vec::with_capacity(requests.len());
    for request in requests {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        stream.write_all(request).expect("sent");
        let read = stream.read(&mut buffer).expect("answered");
        assert!(buffer[..read].starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&buffer[..read]));
        latencies.push(began.elapsed());
        sent.fetch_add(1, Ordering::Relaxed);
    }
    latencies
}
