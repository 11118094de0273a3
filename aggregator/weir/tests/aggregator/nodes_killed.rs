//! Three nodes, their Redis and their PostgreSQL are killed, paused and cut off at random while events come and sums are reported: nothing
//! that was acknowledged is lost, nothing counts twice, and Stripe's stand-in has the same sums.
//!
//! `WEIR_KILLS` sets the number of faults (default 10), `WEIR_SEED` the order of them.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use reqwest::StatusCode;
use weir::store::ServerNote;
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_rig::cutter::Cutter;
use weir_rig::stripe::Account;

use super::events::{Worker, batch};
use super::killing::{check, finish, kills, settle, stripe};
use super::nodes::{Node, Shared, TAKE_OVER_MAX, pair};
use super::server::TOKEN;

const SENDERS: u8 = 4;
const BATCH: u64 = 25;
/// Within this time events are accepted again, whatever the fault was.
const PATIENCE: Duration = Duration::from_secs(60);
/// In the end nodes are ready for this long without a break, at the latest after that time.
const STAYS_READY: Duration = Duration::from_secs(3);
const SETTLES_MAX: Duration = Duration::from_secs(120);

/// Sends batches of one worker to whichever node takes them, until told to stop.
async fn send(life: u8, at: Timestamp, nodes: Vec<SocketAddr>, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> u64 {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(4)).build().expect("a client");
    let (worker, mut acknowledged, mut next) = (Worker::new(life, at), 0, usize::from(life));
    while !stop.load(Ordering::Relaxed) {
        let body = batch(&(acknowledged + 1..=acknowledged + BATCH).map(|n| worker.usage(n)).collect::<Vec<_>>());
        // To the end of the loop a batch is retried as a gateway would, also after the stop.
        loop {
            next += 1;
            let url = format!("http://{}/v1/events", nodes[next % nodes.len()]);
            let request = http.post(url).bearer_auth(TOKEN).header("content-type", "application/json");
            match request.body(body.clone()).send().await {
                Ok(answer) if answer.status() == 202 => break,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        acknowledged += BATCH;
        sent.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    acknowledged
}

/// Asks for reports without a pause.
async fn report(nodes: Vec<SocketAddr>, stop: Arc<AtomicBool>) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        next += 1;
        let url = format!("http://{}/v1/report", nodes[next % nodes.len()]);
        let _ = http.post(url).bearer_auth(TOKEN).send().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The nodes, and what they stand on.
struct Fleet {
    shared: Shared,
    cutter: Cutter,
    nodes: Vec<Node>,
    sent: Arc<AtomicU64>,
}

impl Fleet {
    /// Waits until all nodes are ready and have been for a while: one that was paused last finds out later that it owns no longer, and ends.
    async fn settles(&mut self) {
        let mut since = Instant::now();
        while since.elapsed() < STAYS_READY {
            self.supervise();
            for node in &self.nodes {
                if node.ask("/readyz").await.is_none_or(|answer| answer.status() != StatusCode::OK) {
                    since = Instant::now();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Does a fault, and says which.
    async fn fault(&mut self, rng: &mut Rng) -> String {
        let which = self.victim(rng);
        let name = self.nodes[which].name.clone();
        match rng.u8(..6) {
            0 | 1 => {
                self.nodes[which].kill();
                tokio::time::sleep(Duration::from_millis(rng.u64(..1_500))).await;
                format!("node {name} was killed")
            }
            2 => {
                self.nodes[which].signal("-STOP");
                tokio::time::sleep(Duration::from_millis(5_000 + rng.u64(..3_000))).await;
                self.nodes[which].signal("-CONT");
                format!("node {name} was paused")
            }
            3 => {
                self.shared.redis.kill().and_then(|()| self.shared.redis.restart()).expect("killed and started");
                "Redis was killed".to_owned()
            }
            4 => {
                self.shared.postgres.kill().and_then(|()| self.shared.postgres.restart()).expect("killed and started");
                "PostgreSQL was killed".to_owned()
            }
            _ => {
                self.cutter.cut();
                "all connections to PostgreSQL were cut".to_owned()
            }
        }
    }

    /// A node: half of the times the owner.
    fn victim(&self, rng: &mut Rng) -> usize {
        let owner = self.shared.postgres.run("SELECT owner FROM weir_fleet.partition").unwrap_or_default();
        let found = self.nodes.iter().position(|node| node.name == owner).filter(|_| rng.bool());
        found.unwrap_or_else(|| rng.usize(..self.nodes.len()))
    }

    /// Starts again whoever has ended, as a supervisor would.
    fn supervise(&mut self) {
        for node in &mut self.nodes {
            if node.has_ended() {
                node.restart();
            }
        }
    }

    /// Waits until some more batches are accepted.
    async fn goes_on(&mut self, more: u64) -> Duration {
        let (began, before) = (Instant::now(), self.sent.load(Ordering::Relaxed));
        while self.sent.load(Ordering::Relaxed) < before + more {
            let logs = || self.nodes.iter().map(Node::log_end).collect::<Vec<_>>().join("\n");
            assert!(began.elapsed() < PATIENCE, "events are not accepted any more\n{}", logs());
            self.supervise();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_is_killed_paused_or_cut_off() {
    let (shared, now) = (Shared::start(), SystemClock::start().now());
    let (stripe, cutter) = (stripe(now), Cutter::start(shared.postgres.address()).expect("a proxy"));
    let ledger = shared.postgres.url().replace(&shared.postgres.address().to_string(), &cutter.address().to_string());
    let more = format!(
        "log: {}\nledger: {ledger}\ntenants: tenants.yaml\n\
         prices: {{shipped: false, entries: [{{model: '*', per_million: {{input: 1, output: 2}}}}]}}\n\
         stripe: {{secret_key: {{file: key}}, url: '{}', calls_per_second: 1000, late: next_period, \
         meters: {{requests: weir_requests, input_tokens: weir_input_tokens}}}}\n",
        shared.redis.url(),
        stripe.url()
    );
    let files = [
        ("key", Account::sandbox().secret_key.clone()),
        ("tenants.yaml", "tenants: [{id: acme, plan: p, stripe_customer: cus_acme}]".to_owned()),
    ];
    let nodes: Vec<Node> = ["a", "b", "c"].map(|name| Node::start_with(name, &more, &files)).into();
    let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // The hours are over, so all usage is reported at once, as a correction of earlier usage.
    let hour = |life: u8| Timestamp::from_millis(now.as_millis() - (1 + u64::from(life)) * 3_600_000);
    let senders: Vec<_> = (1..=SENDERS)
        .map(|life| tokio::spawn(send(life, hour(life), addresses.clone(), Arc::clone(&stop), Arc::clone(&sent))))
        .collect();
    let reporter = tokio::spawn(report(addresses.clone(), Arc::clone(&stop)));
    let mut fleet = Fleet { shared, cutter, nodes, sent };
    fleet.goes_on(8).await;
    let mut rng = Rng::with_seed(weir_rig::workspace::seed_wanted().unwrap_or(1));
    for round in 1..=kills() {
        let what = fleet.fault(&mut rng).await;
        let took = fleet.goes_on(4).await;
        println!("{round}: {what}; accepted again after {} ms", took.as_millis());
    }
    let sending = finish(&stop, senders);
    tokio::pin!(sending);
    let acknowledged = loop {
        tokio::select! {
            acknowledged = &mut sending => break acknowledged,
            () = tokio::time::sleep(Duration::from_millis(50)) => fleet.supervise(),
        }
    };
    reporter.await.expect("ended");
    tokio::time::timeout(SETTLES_MAX, fleet.settles()).await.expect("all nodes are ready and stay so");
    let note = ServerNote { address: fleet.nodes[0].address(), token: String::new() };
    settle(&note).await;
    let total = |name: &str| stripe.stripe().total("cus_acme", name);
    println!("{} faults, {acknowledged} events, {} meter events", kills(), stripe.stripe().meter_events().len());
    check(&note, acknowledged).await;
    assert_eq!(total("weir_requests").unsigned_abs(), acknowledged);
    assert_eq!(total("weir_input_tokens").unsigned_abs(), 10 * acknowledged);
}

/// Kills or pauses the owner again and again, and measures until the other node accepts an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_takes_less_than_five_seconds() {
    let shared = Shared::start();
    let (mut a, mut b) = pair(&shared).await;
    let (worker, mut sequence) = (Worker::new(1, SystemClock::start().now()), 0);
    for (how, signal) in [("killed", "-KILL"), ("paused", "-STOP")] {
        let mut took = Vec::new();
        for _ in 0..kills().div_ceil(4) {
            sequence += 1;
            a.accepted(batch(&[worker.usage(sequence)])).await;
            a.signal(signal);
            sequence += 1;
            took.push(b.accepted(batch(&[worker.usage(sequence)])).await);
            a.kill();
            a.restart();
            a.follows(&b).await;
            std::mem::swap(&mut a, &mut b);
        }
        took.sort_unstable();
        let (median, max) = (took[took.len() / 2].as_millis(), took[took.len() - 1]);
        println!("{how} {} times: median {median} ms, at most {} ms", took.len(), max.as_millis());
        assert!(max < TAKE_OVER_MAX, "{took:?}");
    }
    assert_eq!(a.requests().await, sequence);
}
