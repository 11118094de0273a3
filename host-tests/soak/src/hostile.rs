//! An attacker's requests to the real Envoy, and a provider that answers like one. Afterwards the gateway serves as before, no VM
//! has failed, and three accounts agree to the request: Envoy's access log, the filter's counters, and the ledger.
//!
//! [`requests`] and [`frames`] are what is sent, [`upstream`] is who answers, [`client`] writes and reads, [`accounts`] compares.

mod accounts;
mod client;
mod frames;
mod requests;
mod upstream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;
use weir_rig::clock;
use weir_rig::envoy::Options;

use crate::figures::Figures;
use crate::stack::{Plan, Stack};
use client::Seen;
use upstream::Upstream;
use weir_seeded::SplitMix64;

/// Attacks under way at once.
const CONCURRENCY: usize = 64;
/// Of so many attacks one is followed by a request that must be served.
const GOOD_EVERY: usize = 50;
/// How many requests tell how fast the gateway serves.
const TIMED: usize = 60;
/// The gateway may serve so much slower after the attacks than before, and so much at least: a busy machine does, too.
const SLOWER_MAX: u32 = 5;
const SLOW: Duration = Duration::from_millis(100);
/// How long streams and queues may take to end after the last attack.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// Sends `count` attacks drawn from `seed`, and compares the accounts.
///
/// # Errors
/// When something does not start or does not settle. What does not agree is no error: see [`Figures::problems`].
pub async fn run(count: usize, seed: u64) -> anyhow::Result<Figures> {
    let folder = tempfile::Builder::new().prefix("weir-hostile-").tempdir()?;
    let log = folder.path().join("access.log");
    let upstream = Upstream::start().await?;
    let (address, log_path) = (upstream.address, log.clone());
    let stack = tokio::task::spawn_blocking(move || start(address, &log_path, seed)).await??;
    let gateway = stack.envoy.listener("edge")?;
    let mut figures = Figures::default();
    let before = median(gateway).await?;
    let started = clock::instant();
    let seen = attack(gateway, count, seed, &mut figures).await;
    figures.say("attacks sent", count);
    figures.say("... seconds", started.elapsed().as_secs());
    seen.iter().for_each(|(seen, count)| figures.say(&format!("... that ended as {seen:?}"), count));
    let after = median(gateway).await?;
    let limit = (before * SLOWER_MAX).max(SLOW);
    figures.say("a good request before, median in us", before.as_micros());
    figures.say("a good request after, median in us", after.as_micros());
    figures.check(after <= limit, || format!("a good request takes {after:?} after the attacks, {before:?} before"));
    tokio::task::spawn_blocking(move || {
        settle(&stack)?;
        accounts::compare(&stack, &upstream.requests(), &log, &mut figures)?;
        anyhow::Ok(figures)
    })
    .await?
}

fn start(upstream: SocketAddr, log: &std::path::Path, seed: u64) -> anyhow::Result<Stack> {
    let options = Options { log_level: "warning".to_owned(), ..Options::default() };
    let filter = json!({
        "plans": {"p": {
            "requests": {"rate": "1000000/s"}, "tokens": {"rate": "1000000000/s"}, "output_tokens_max": 500, "n_max": 2,
            "models": {"allow": ["*"]},
        }},
        "routes": [{"name": "ask", "match": {"path": "/ask"}, "usage": "read"}],
    });
    let events = json!({"access_log": true});
    let (file, access_log, upstream) = ("access-log-spool.yaml", Some(log), Some(upstream));
    let stack = Stack::start(&Plan { file, options, events, access_log, seed, upstream, filter })?;
    stack.proxy.behave();
    Ok(stack)
}

/// A request of either version of HTTP.
fn any_attack(number: usize, dice: &mut SplitMix64) -> requests::Attack {
    if dice.percent(15) { frames::attack(number, dice) } else { requests::attack(number, dice) }
}

/// Sends all attacks, and good requests between them; how often each end was seen.
async fn attack(gateway: SocketAddr, count: usize, seed: u64, figures: &mut Figures) -> BTreeMap<Seen, usize> {
    let mut dice = SplitMix64::new(seed);
    let sent = (0..count).map(|number| {
        let mut dice = SplitMix64::new(dice.next_u64());
        async move {
            let seen = client::send(gateway, &any_attack(number, &mut dice)).await;
            let good = match number % GOOD_EVERY {
                0 => Some(client::time(gateway, &requests::good(number)).await.0),
                _ => None,
            };
            (seen, good)
        }
    });
    let all: Vec<(Seen, Option<Seen>)> = stream::iter(sent).buffer_unordered(CONCURRENCY).collect().await;
    let goods: Vec<Seen> = all.iter().filter_map(|(_, good)| *good).collect();
    let served = goods.iter().filter(|seen| **seen == Seen::Answer(200)).count();
    figures.agree("good requests between them that were served", served as u64, goods.len() as u64);
    all.iter().fold(BTreeMap::new(), |mut seen, (end, _)| {
        *seen.entry(*end).or_default() += 1;
        seen
    })
}

/// How long a good request takes.
async fn median(gateway: SocketAddr) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for number in 0..TIMED {
        let (seen, time) = client::time(gateway, &requests::good(number)).await;
        anyhow::ensure!(seen == Seen::Answer(200), "a good request ended as {seen:?}");
        times.push(time);
    }
    times.sort_unstable();
    times.get(TIMED / 2).copied().ok_or_else(|| anyhow::anyhow!("nothing was timed"))
}

/// Waits until no request is under way and every event has left its queue.
fn settle(stack: &Stack) -> anyhow::Result<()> {
    let state = |name: &str| stack.metric(&format!("weir_events.state.{name}"));
    let is_settled = || {
        let active = stack.envoy.stats("http.edge.downstream_rq_active").ok()?.values().sum::<u64>();
        let outcomes = ["acknowledged", "refused", "spilled", "lost"].map(|name| state(name).ok());
        let told = outcomes.into_iter().sum::<Option<u64>>()?;
        (active == 0 && told == state("numbered").ok()?).then_some(())
    };
    let settled = clock::wait_for(SETTLE_MAX, Duration::from_millis(250), is_settled);
    anyhow::ensure!(settled.is_some(), "streams or queues do not end: {:?}", stack.envoy.stats("weir_events")?);
    // The access log is flushed a hundred times a minute.
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}
