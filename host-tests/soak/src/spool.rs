//! `kill -9` of Envoy under load, and what its access log brings back.

use crate::figures::Figures;
use crate::stack::{Plan, Stack};
use crate::traffic::{GOOD, key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use weir_rig::clock;
use weir_rig::envoy::Options;
use weir_rig::load::{Call, Client};
use weir_seeded::SplitMix64;

/// Clients that send one request after the other.
const CLIENTS: usize = 8;

/// The settings of a drill.
#[derive(Debug, Clone, Copy)]
pub struct Drill {
    /// Envoy's `--file-flush-interval-msec`.
    pub flush_ms: u32,
    /// How long there is load before Envoy is killed.
    pub load: Duration,
    /// Whether `weir serve` is there meanwhile. Away, the log is all there is.
    pub aggregator_away: bool,
}

/// A request whose client has read its whole answer.
#[derive(Debug, Clone, Copy)]
struct Done {
    number: u64,
    at: Duration,
}

/// The events of all signed words in a log, by id; not verified: that is what `weir replay` is for.
#[must_use]
pub(crate) fn events_in(log: &str) -> BTreeMap<String, Value> {
    let words = log.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
    let events = words.filter(|word| word.starts_with(weir_contract::signed::PREFIX)).filter_map(open);
    events.filter_map(|event| Some((event["id"].as_str()?.to_owned(), event))).collect()
}

/// Loads Envoy, kills it, replays its access log, and compares.
///
/// # Errors
/// When something does not start. What does not agree is no error: see [`Figures::problems`].
pub async fn run(drill: Drill) -> anyhow::Result<Figures> {
    let folder = tempfile::Builder::new().prefix("weir-spool-").tempdir()?;
    let log = folder.path().join("access.log");
    let mut stack = start(drill, log.clone()).await?;
    if drill.aggregator_away {
        stack.aggregator.kill()?;
    }
    let (done, killed_at) = load_and_kill(&mut stack, drill.load).await?;
    let written = std::fs::read_to_string(&log).unwrap_or_default();
    let checked = tokio::task::spawn_blocking(move || {
        if drill.aggregator_away {
            stack.aggregator.restart()?;
        }
        compare(&stack, drill, &done, killed_at, &written, &log)
    });
    checked.await?
}

async fn start(drill: Drill, log: PathBuf) -> anyhow::Result<Stack> {
    let started = tokio::task::spawn_blocking(move || {
        let options = Options { flush_ms: drill.flush_ms, log_level: "error".to_owned(), ..Options::default() };
        let events = json!({"access_log": true});
        let (file, access_log) = ("access-log-spool.yaml", Some(log.as_path()));
        let stack =
            Stack::start(&Plan { file, options, events, access_log, seed: 0, upstream: None, filter: json!({}) })?;
        stack.proxy.behave();
        anyhow::Ok(stack)
    });
    started.await?
}

/// Every request that was answered whole, and when Envoy was killed, on the clock of the answers.
async fn load_and_kill(stack: &mut Stack, load: Duration) -> anyhow::Result<(Vec<Done>, Duration)> {
    let (started, over) = (clock::instant(), Arc::new(AtomicBool::new(false)));
    let clients = (0..CLIENTS as u64).map(|client| {
        let (over, url) = (Arc::clone(&over), format!("{}/v1/chat/completions", stack.envoy.url()));
        tokio::spawn(async move {
            let (http, mut done, mut dice) = (Client::new(), Vec::new(), SplitMix64::new(client));
            for number in (client..).step_by(CLIENTS) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let body = json!({"model": "gpt-4o", "stream": dice.percent(50), "messages": [{"content": format!("request {number}")}]});
                let call = Call::post(format!("{url}?number={number}"), &body);
                let reply = http.send(call.header("authorization", &format!("Bearer {}", key(GOOD)))).await;
                if reply.status == 200 && reply.error.is_none() {
                    done.push(Done { number, at: started.elapsed() });
                }
            }
            done
        })
    });
    let clients: Vec<_> = clients.collect();
    tokio::time::sleep(load).await;
    let killed_at = started.elapsed();
    stack.envoy.kill()?;
    over.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for client in clients {
        done.extend(client.await?);
    }
    Ok((done, killed_at))
}

fn compare(
    stack: &Stack,
    drill: Drill,
    done: &[Done],
    killed_at: Duration,
    written: &str,
    log: &std::path::Path,
) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let whole = &written[..written.rfind('\n').map_or(0, |at| at + 1)];
    let (flushed, sent) = (events_in(whole), stack.proxy.seen().usage);
    let first = stack.weir(&["replay", &log.to_string_lossy(), "--json"])?;
    let again = stack.weir(&["replay", &log.to_string_lossy(), "--json"])?;
    let words = whole.lines().filter(|line| line.contains(weir_contract::signed::PREFIX)).count();
    figures.agree("events that Envoy had flushed to its access log", flushed.len() as u64, words as u64);
    figures.check(!flushed.is_empty(), || "Envoy had flushed nothing: there was nothing to compare".to_owned());
    figures.check(first == again && first["rejected"] == 0, || format!("replayed {first}, then {again}"));
    let mut absent = 0;
    for id in flushed.keys() {
        absent += u64::from(!stack.has_event(id)?);
    }
    figures.agree("... that the ledger does not have after weir replay", absent, 0);
    let ledger = stack.weir(&["ledger", "--json"])?;
    let total = |field: &str| ledger["totals"][field].as_u64().unwrap_or(u64::MAX);
    let arrived: BTreeSet<&String> = flushed.keys().chain(sent.keys()).collect();
    figures.say("events that also came by themselves", sent.len());
    figures.check(total("accepted") <= arrived.len() as u64, || format!("more than there is: {}", ledger["totals"]));
    figures.check(total("accepted") >= flushed.len() as u64, || format!("less than was flushed: {}", ledger["totals"]));
    figures.agree("conflicts", total("conflicts"), 0);
    let numbers: BTreeSet<u64> = whole.lines().filter_map(number).collect();
    let lost: Vec<&Done> = done.iter().filter(|done| !numbers.contains(&done.number)).collect();
    figures.say("requests answered whole before the kill", done.len());
    figures.say("... of which Envoy had not flushed the event", lost.len());
    let oldest = lost.iter().map(|done| killed_at.saturating_sub(done.at)).max().unwrap_or_default();
    figures.say("... the oldest of them, in ms before the kill", oldest.as_millis());
    figures.say("Envoy's flush interval, in ms", drill.flush_ms);
    Ok(figures)
}

/// The `number` in the path of a line of the access log.
fn number(line: &str) -> Option<u64> {
    let path = serde_json::from_str::<Value>(line).ok()?["path"].as_str()?.to_owned();
    path.split_once("number=")?.1.parse().ok()
}

/// The event in a signed word.
fn open(word: &str) -> Option<Value> {
    let event = word.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(event).ok()?).ok()
}
