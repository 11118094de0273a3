//! The dashboard of 10,000 tenants and 90 days, while events come in: how long each page takes, and what that costs those who send events.
//!
//! Rounds without and with people take turns, since other work shares the machine. People are 50 pages that follow live figures, and two
//! that load one page after the other without a pause. A page's time is that of the whole answer, seen from the same machine. Before that, each
//! page is loaded alone, for the processor time that it takes: unlike times, it hardly changes when other work shares the machine.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::task::JoinSet;
use weir_contract::Timestamp;

use crate::cpu::of_threads;
use crate::http::{CONNECTIONS, Sent, TOKEN, send_all, serve_by};
use crate::sums::{self, Span, TENANTS, name};
use crate::{events, values};

/// Events a second, and of a batch.
const RATE: u64 = 20_000;
const BATCH: u64 = 500;
/// Pairs of rounds, and how long a round takes.
const PAIRS: u8 = 5;
const ROUND: Duration = Duration::from_secs(10);
/// Pages that follow live figures, and how many of a session may.
const VIEWERS: usize = 50;
const OF_SESSION_MAX: usize = 6;
/// People who load pages.
const READERS: usize = 2;
/// How often each page is loaded alone.
const ALONE: usize = 15;
/// The hours in which every tenth tenant has used something, those of the page's tenant among them: rows that no page may go through.
const HOURS: u64 = 30 * 24;
/// What is to be reached: of a page 95 % within, and what senders of events may lose.
const PAGE_MS: f64 = 100.0;
const LOSS_PERCENT: f64 = 5.0;

const SETTINGS: &str = "tenants: tenants.yaml
budgets:
- {name: monthly, of: cost, amount: 5000, currency: USD, period: month}
- {name: daily, of: requests, amount: 100000, period: day}
price_plans:
- name: pro
  currency: USD
  plans: ['*']
  base_fee: 49
  per_request: 0.0005
  charges: [{meter: input_tokens, included: 100000, per_unit: 0.000004}]
";

const PAGES: [&str; 21] = [
    "/overview",
    "/tenants",
    "/tenants?sort=margin",
    "/tenants?sort=cost",
    "/tenants?q=42",
    "/tenants/tenant-0042",
    "/tenants/tenant-0042?by=feature",
    "/tenants/tenant-0042?by=user",
    "/tenants/tenant-0042/bill",
    "/budgets",
    "/budgets?tenant=tenant-0042",
    "/limits",
    "/money",
    "/money?by=model",
    "/money/compare?tenant=tenant-0042",
    "/money/review",
    "/billing",
    "/alerts",
    "/models",
    "/requests?tenant=tenant-0042",
    "/gateways",
];
/// The page of a tenant about itself.
const OWN: &str = "/own";

/// Times of each page.
type Times = BTreeMap<&'static str, Vec<Duration>>;

/// Fills a ledger, and measures.
pub(crate) fn run() {
    let dir = tempfile::tempdir().expect("a directory");
    let tenants: String = (0..TENANTS).map(|n| format!("- {{id: {}, plan: pro}}\n", name(n))).collect();
    std::fs::write(dir.path().join("tenants.yaml"), format!("tenants:\n{tenants}")).expect("written");
    let began = Instant::now();
    serve_by(dir.path(), SETTINGS, |_| ());
    fill(&dir.path().join("weir-data/ledger.sqlite"));
    println!(
        "dashboard: {TENANTS} tenants, 90 days, {} models; {RATE} events/s; filled in {:.0} s",
        values::MODELS,
        began.elapsed().as_secs_f64()
    );
    serve_by(dir.path(), SETTINGS, measure);
}

fn fill(path: &Path) {
    let db = rusqlite::Connection::open(path).expect("the ledger");
    let log = db.query_row("SELECT log_id FROM ledger", [], |row| row.get(0)).expect("its log");
    drop(db);
    let now = events::start();
    let before = Timestamp::from_millis(now.as_millis() - 90 * 24 * 3_600_000).to_string();
    let month = format!("{}-01T00:00:00Z", before.get(..7).expect("a month"));
    let span = Span { log, began: Timestamp::parse(&month).expect("a time"), now };
    // Before anything is summed, so that the sums are those of `sums` alone.
    hours(path, now, &["usage", "cost"]);
    sums::fill(path, &span);
    values::fill(path, &span);
    hours(path, now, &["analysis", "refused"]);
}

/// Fills single hours.
fn hours(path: &Path, now: Timestamp, tables: &[&str]) {
    let db = rusqlite::Connection::open(path).expect("the ledger");
    let last = now.hour().as_millis() - 3 * 3_600_000;
    for table in tables {
        let (columns, values) = match *table {
            "usage" => ("window_start, tenant, meter, billable, outboxed", "'input_tokens', 20, 20"),
            "refused" => ("window_start, tenant, reason, count", "'rate_limited', 3"),
            "cost" => (
                "window_start, tenant, currency, requests, failed_requests, retried_requests, estimated_requests, unpriced_requests,
                 own_key_requests, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, unpriced_tokens,
                 cost_units, cost_pico, failed_units, failed_pico, retried_units, retried_pico, estimated_units, estimated_pico",
                "'USD', 20, 1, 1, 1, 0, 0, 18000, 4000, 0, 0, 0, 0, 0, 1234567, 0, 5, 0, 6, 0, 7",
            ),
            _ => (
                "window_start, tenant, model, class, route, feature, prompt_version, environment, credential, plan, provider, tier, input_over,
                 marks, unpriced, currency, requests, input_tokens, output_tokens, cache_read_tokens, reasoning_tokens, cost_units, cost_pico",
                "'provider-model-2026-01', 'chat', 'api', 'search', '', '', 'key-1', 'pro', 'openai', '', 0, 0, 0, 'USD', 20, 18000, 4000, 0, 0,
                 0, 1234567",
            ),
        };
        let sql = format!(
            "INSERT INTO {table}({columns})
             WITH RECURSIVE h(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM h WHERE n < {HOURS} - 1),
                            t(i) AS (SELECT 2 UNION ALL SELECT i + 10 FROM t WHERE i < {TENANTS} - 10)
             SELECT {last} - n * 3600000, printf('tenant-%04d', i), {values} FROM h, t WHERE true ON CONFLICT DO NOTHING"
        );
        db.execute(&sql, []).expect("filled");
    }
}

fn measure(address: SocketAddr) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let people = runtime.block_on(People::sign_in(address));
    runtime.block_on(people.clone().alone());
    let (mut times, mut lost) = (Times::new(), Vec::new());
    for pair in 0..PAIRS {
        let life = pair * 2 * CONNECTIONS + 1;
        let alone = send_all(address, life, BATCH, Some(RATE), ROUND);
        let stop = Arc::new(AtomicBool::new(false));
        let looking = runtime.spawn(people.clone().look(Arc::clone(&stop)));
        let beside = send_all(address, life + CONNECTIONS, BATCH, Some(RATE), ROUND);
        stop.store(true, Ordering::Relaxed);
        for (page, of) in runtime.block_on(looking).expect("looked") {
            times.entry(page).or_default().extend(of);
        }
        show(pair, "alone", &alone);
        show(pair, "beside people", &beside);
        lost.push(100.0 - rate(&beside) / rate(&alone) * 100.0);
    }
    lost.sort_by(f64::total_cmp);
    println!("  senders lose {:.1} % (median of {PAIRS} pairs); to reach: {LOSS_PERCENT} %", lost[lost.len() / 2]);
    let mut slow = 0;
    for (page, mut of) in times {
        of.sort();
        let at = |share: usize| of[(of.len() - 1) * share / 100].as_secs_f64() * 1e3;
        let mark = if at(95) > PAGE_MS { "  over" } else { "" };
        slow += u32::from(at(95) > PAGE_MS);
        println!(
            "  {page:<40} ms: half {:>6.1}, 95 % {:>6.1}, all {:>6.1} of {}{mark}",
            at(50),
            at(95),
            at(100),
            of.len()
        );
    }
    println!("  pages over {PAGE_MS} ms at 95 %: {slow}; load average {}", load_average());
}

/// How many threads wanted a core in the last 1, 5 and 15 minutes, this benchmark's own among them.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn rate(sent: &Sent) -> f64 {
    sent.events as f64 / sent.acknowledged_in.as_secs_f64()
}

fn show(pair: u8, how: &str, sent: &Sent) {
    println!(
        "  pair {pair}, {how:<14} {:>7.0} events/s acknowledged; batches: half {:.1} ms, 99 % {:.1} ms",
        rate(sent),
        sent.within_ms(50),
        sent.within_ms(99)
    );
}

/// Sessions of people.
#[derive(Clone)]
struct People {
    http: Client,
    url: String,
    /// Cookies of staff.
    staff: Vec<String>,
    /// The cookie of a tenant.
    own: String,
}

impl People {
    async fn sign_in(address: SocketAddr) -> Self {
        let (http, url) = (Client::new(), format!("http://{address}"));
        let body = serde_json::json!({"name": "own", "scopes": [{"tenant": "tenant-0042"}]});
        let made =
            http.post(format!("{url}/v1/tokens")).bearer_auth(TOKEN).json(&body).send().await.expect("an answer");
        let made: serde_json::Value = made.json().await.expect("JSON");
        let own = session(&url, made["token"].as_str().expect("a token")).await;
        let mut staff = Vec::new();
        for _ in 0..VIEWERS.div_ceil(OF_SESSION_MAX) {
            staff.push(session(&url, TOKEN).await);
        }
        People { http, url, staff, own }
    }

    /// Looks at every page, again and again, beside live figures.
    async fn look(self, stop: Arc<AtomicBool>) -> Times {
        let mut viewers = JoinSet::new();
        for viewer in 0..VIEWERS {
            viewers.spawn(self.clone().follow(viewer));
        }
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            readers.spawn(self.clone().read(reader, Arc::clone(&stop)));
        }
        let mut times = Times::new();
        while let Some(read) = readers.join_next().await {
            for (page, took) in read.expect("read") {
                times.entry(page).or_default().push(took);
            }
        }
        times
    }

    /// Loads every page by itself, and prints what it takes.
    async fn alone(self) {
        println!("  alone: load average {}", load_average());
        for (page, cookie) in PAGES.into_iter().map(|page| (page, &self.staff[0])).chain([(OWN, &self.own)]) {
            let first = Instant::now();
            let mut answer = self.get(page, cookie).await;
            // A page that lacks figures asks to be loaded again: until it has them, which is what counts.
            while answer.headers().contains_key("refresh") {
                drop(answer.bytes().await.expect("a page"));
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer = self.get(page, cookie).await;
            }
            let bytes = answer.bytes().await.expect("a page").len();
            let first = first.elapsed();
            let mut spent = Vec::new();
            for _ in 0..ALONE {
                let before = of_threads();
                drop(self.get(page, cookie).await.bytes().await.expect("a page"));
                spent.push(of_threads().saturating_sub(before));
            }
            spent.sort();
            println!(
                "  {page:<40} processor: half {:>6.1} ms; first load {:>7.1} ms, {:>5.1} KB",
                spent[ALONE / 2].as_secs_f64() * 1e3,
                first.as_secs_f64() * 1e3,
                bytes as f64 / 1e3
            );
        }
    }

    async fn follow(self, viewer: usize) {
        let cookie = &self.staff[viewer / OF_SESSION_MAX];
        let mut figures = self.get("/live", cookie).await;
        while let Ok(Some(_)) = figures.chunk().await {}
    }

    async fn read(self, reader: usize, stop: Arc<AtomicBool>) -> Vec<(&'static str, Duration)> {
        let mut times = Vec::new();
        let all = PAGES.into_iter().map(|page| (page, &self.staff[0])).chain([(OWN, &self.own)]);
        // Each begins elsewhere, so that not all load the same page.
        for (page, cookie) in all.cycle().skip(reader * PAGES.len() / READERS) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            let answer = self.get(page, cookie).await;
            assert_eq!(answer.status(), 200, "{page}");
            drop(answer.bytes().await.expect("a page"));
            times.push((page, began.elapsed()));
        }
        times
    }

    async fn get(&self, path: &str, cookie: &str) -> reqwest::Response {
        self.http.get(format!("{}/ui{path}", self.url)).header("cookie", cookie).send().await.expect("an answer")
    }
}

/// Signs in, and returns the session's cookie.
async fn session(url: &str, token: &str) -> String {
    let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let request = http.post(format!("{url}/ui/sign-in")).header("origin", url).form(&[("token", token)]);
    let answer = request.send().await.expect("an answer");
    let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok()).expect("a session");
    cookie.split(';').next().unwrap_or_default().to_owned()
}
