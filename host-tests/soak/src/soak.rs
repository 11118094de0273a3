//! Traffic under faults, then the books: provider, events, ledger.

use crate::figures::Figures;
use crate::proxy::Seen as Passed;
use crate::stack::{Plan, Stack};
use crate::traffic::{self, GOOD, Planned, Seen};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use weir_rig::clock;
use weir_rig::envoy::Options;
use weir_rig::llm::{Booked, End};
use weir_rig::load::Client;
use weir_seeded::SplitMix64;

/// Requests under way at once.
const CONCURRENCY: usize = 24;
/// How long `weir serve` lives, and how long it is away, during the traffic.
const ALIVE: Duration = Duration::from_millis(1_500);
const AWAY: Duration = Duration::from_millis(400);
/// How long the queues may take to empty after the traffic: the longest pause between retries, several times over.
const SETTLE_MAX: Duration = Duration::from_secs(240);
/// So small a queue that an aggregator which is away makes it spill.
const QUEUE_EVENTS: u64 = 150;

/// Sends `count` requests by the chances of `seed` and draws the books.
///
/// # Errors
/// When something does not start or does not settle. What does not agree is no error: see [`Figures::problems`].
pub async fn run(count: usize, seed: u64) -> anyhow::Result<Figures> {
    let options = Options { log_level: "warning".to_owned(), ..Options::default() };
    let changes = json!({"queue_max_events": QUEUE_EVENTS});
    let (file, filter) = ("sidecar.yaml", json!({}));
    let plan = Plan { file, options, events: changes, access_log: None, seed, upstream: None, filter };
    let mut stack = tokio::task::spawn_blocking(move || Stack::start(&plan)).await??;
    let planned = traffic::plan(&stack.envoy.url(), count, &mut SplitMix64::new(seed));
    let mut figures = Figures::default();
    let replies = drive(&mut stack, planned, &mut figures).await?;
    stack.proxy.behave();
    let settled = tokio::task::spawn_blocking(move || settle(&stack).map(|spilled| (stack, spilled)));
    let (stack, spilled) = settled.await??;
    let of = |seen: fn(&Seen) -> bool| replies.iter().filter(|reply| seen(reply)).count();
    figures.say("requests sent", replies.len());
    figures.say("... read to their end by the client", of(|seen| matches!(seen, Seen::Whole(_))));
    figures.say("... given up by the client", of(|seen| *seen == Seen::Left));
    figures.say("... broken off", of(|seen| *seen == Seen::Broken));
    let (book, passed) = (stack.llm.book(), stack.proxy.seen());
    let events = events(&stack, &passed);
    let served = by_request(&book, &events, &mut figures);
    by_number(&stack, &events, spilled, &mut figures)?;
    by_sum(&stack, &events, served, &mut figures)?;
    figures.say("batches, and those that met a fault", format!("{} / {}", passed.batches, passed.faults));
    figures.check(passed.contradictions == 0, || format!("{} ids with two contents", passed.contradictions));
    Ok(figures)
}

/// Sends everything, while `weir serve` is killed and comes back.
async fn drive(stack: &mut Stack, planned: Vec<Planned>, figures: &mut Figures) -> anyhow::Result<Vec<Seen>> {
    let client = Client::new();
    let sending = tokio::spawn(async move {
        let sent = planned.into_iter().map(|planned| {
            let client = client.clone();
            async move { traffic::send(&client, planned).await }
        });
        stream::iter(sent).buffer_unordered(CONCURRENCY).collect::<Vec<_>>().await
    });
    let started = clock::instant();
    let mut kills = 0_u64;
    while !sending.is_finished() {
        tokio::time::sleep(ALIVE).await;
        stack.aggregator.kill()?;
        kills += 1;
        tokio::time::sleep(AWAY).await;
        tokio::task::block_in_place(|| stack.aggregator.restart())?;
    }
    let replies = sending.await?;
    figures.say("seconds of traffic", started.elapsed().as_secs());
    figures.say("kills of weir serve (kill -9)", kills);
    Ok(replies)
}

/// Waits until every request is over and every queue is empty, then brings the spilled events back; how many there were.
fn settle(stack: &Stack) -> anyhow::Result<u64> {
    let state = |name: &str| stack.metric(&format!("weir_events.state.{name}"));
    let empty = || {
        let active = stack.envoy.stats("http.edge.downstream_rq_active").ok()?.values().sum::<u64>();
        let pending = stack.metric("weir_events_pending").ok()?;
        let left =
            state("numbered").ok()? == state("acknowledged").ok()? + state("spilled").ok()? + state("refused").ok()?;
        (active == 0 && pending == 0 && left).then_some(())
    };
    let settled = clock::wait_for(SETTLE_MAX, Duration::from_millis(250), empty);
    anyhow::ensure!(settled.is_some(), "the queues do not empty: {:?}", stack.envoy.stats("weir_events")?);
    let log = stack.aggregator.folder().join("gateway.log");
    std::fs::write(&log, stack.envoy.log())?;
    let replayed = stack.weir(&["replay", &log.to_string_lossy(), "--json"])?;
    anyhow::ensure!(replayed["forged"] == 0 && replayed["rejected"] == 0, "weir replay: {replayed}");
    replayed["events"].as_u64().ok_or_else(|| anyhow::anyhow!("weir replay: {replayed}"))
}

/// Every usage event that was made: those that went through the proxy, and those that only the log has.
fn events(stack: &Stack, passed: &Passed) -> Vec<Value> {
    let mut events = passed.usage.clone();
    events.extend(crate::spool::events_in(&stack.envoy.log()));
    events.into_values().collect()
}

/// Every request that reached the provider has exactly one event, and none says more than the provider's records. Back
/// come the input and output tokens of those that say what the provider's records say.
fn by_request(book: &[Booked], events: &[Value], figures: &mut Figures) -> (u64, u64) {
    let mut by_id: HashMap<&str, Vec<&Value>> = HashMap::new();
    for event in events {
        by_id.entry(event["data"]["request_id"].as_str().unwrap_or_default()).or_default().push(event);
    }
    let (mut complete, mut estimated, mut served) = (0_u64, 0_u64, (0, 0));
    for booked in book {
        let found = by_id.get(booked.request_id.as_str()).map_or(&[][..], Vec::as_slice);
        let [event] = found else {
            figures.problems.push(format!("{} events for request {}", found.len(), booked.request_id));
            continue;
        };
        let data = &event["data"];
        match data["usage"]["status"].as_str() {
            Some("complete") => {
                complete += 1;
                served = (served.0 + booked.numbers.input, served.1 + booked.numbers.output);
                figures.check(same(booked, data), || format!("served {booked:?}, counted {data}"));
            }
            Some("estimated") => estimated += 1,
            _ => {}
        }
        let promised = booked.tenant == GOOD && booked.end == End::Served && data["outcome"] == "ok";
        let tokens = booked.numbers.input > 0;
        figures
            .check(!promised || !tokens || data["usage"]["status"] == "complete", || format!("not complete: {data}"));
    }
    let twice = by_id.values().filter(|found| found.len() > 1).count();
    figures.check(twice == 0, || format!("{twice} requests have more than one event"));
    figures.say("requests in the provider's records", book.len());
    figures.say("... with the provider's numbers, equal to the token", complete);
    figures.say("... estimated", estimated);
    served
}

fn same(booked: &Booked, data: &Value) -> bool {
    let numbers = booked.numbers;
    let counted = |field: &str| data["usage"][field].as_u64().unwrap_or(0);
    let pairs = [
        (counted("input_tokens"), numbers.input),
        (counted("output_tokens"), numbers.output),
        (counted("cache_read_tokens"), numbers.cached),
        (counted("cache_write_tokens"), if data["provider"] == "openai" { 0 } else { numbers.cache_write }),
        (counted("reasoning_tokens"), if data["provider"] == "anthropic" { 0 } else { numbers.reasoning }),
    ];
    pairs.iter().all(|(counted, served)| counted == served)
}

/// Every number of every source is accounted for.
fn by_number(stack: &Stack, events: &[Value], spilled: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let state = |name: &str| stack.metric(&format!("weir_events.state.{name}"));
    let numbered = state("numbered")?;
    figures.agree("numbers given by the gateway's workers", numbered, events.len() as u64);
    figures.agree("... acknowledged + spilled", state("acknowledged")? + state("spilled")?, numbered);
    figures.agree("... spilled, and brought back by weir replay", state("spilled")?, spilled);
    for name in ["lost", "refused"] {
        figures.agree(&format!("... {name}"), state(name)?, 0);
    }
    figures.say("batches sent again", state("retried")?);
    let ledger = stack.weir(&["ledger", "--json"])?;
    let total = |field: &str| ledger["totals"][field].as_u64().unwrap_or(u64::MAX);
    figures.agree("accepted by the ledger", total("accepted"), numbered);
    for field in ["missing", "conflicts", "quarantined"] {
        figures.agree(&format!("... {field}"), total(field), 0);
    }
    figures.say("... duplicates, counted once", total("duplicates"));
    figures.check(ledger["balanced"] == true, || format!("the books do not balance: {}", ledger["totals"]));
    Ok(())
}

/// The ledger's sums equal the sums over the events.
fn by_sum(stack: &Stack, events: &[Value], served: (u64, u64), figures: &mut Figures) -> anyhow::Result<()> {
    let usage = stack.weir(&["usage", "--json"])?;
    let mut summed: BTreeMap<&str, u64> = BTreeMap::new();
    for row in usage["usage"].as_array().into_iter().flatten() {
        *summed.entry(row["meter"].as_str().unwrap_or_default()).or_default() += row["billable"].as_u64().unwrap_or(0);
    }
    let of = |status: &str, field: &str| -> u64 {
        let of_status = events.iter().filter(|event| event["data"]["usage"]["status"] == status);
        of_status.filter_map(|event| event["data"]["usage"][field].as_u64()).sum()
    };
    let ledger = |meter: &str| summed.get(meter).copied().unwrap_or(0);
    figures.agree("requests in the ledger", ledger("requests"), events.len() as u64);
    for (meter, status, field) in [
        ("complete_input", "complete", "input_tokens"),
        ("complete_output", "complete", "output_tokens"),
        ("complete_cache_read", "complete", "cache_read_tokens"),
        ("complete_reasoning", "complete", "reasoning_tokens"),
        ("estimated_input", "estimated", "input_tokens"),
        ("estimated_output", "estimated", "output_tokens"),
    ] {
        figures.agree(&format!("tokens in the ledger: {meter}"), ledger(meter), of(status, field));
    }
    figures.agree("input tokens that the provider served in complete answers", served.0, ledger("complete_input"));
    figures.agree("output tokens that the provider served in complete answers", served.1, ledger("complete_output"));
    Ok(())
}
