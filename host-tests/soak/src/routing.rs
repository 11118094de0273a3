//! Failover under every fault: two dialects of clients, three providers that fail at random, then the books of all of them.
//!
//! [`provider`] fails by the number that each prompt names, so that a seed repeats a run. [`clients`] judge what they got, [`books`]
//! compare. [`failover`] measures what failover costs.
mod books;
mod clients;
pub mod failover;
mod provider;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::load::Client;
use weir_rig::workspace;
use weir_seeded::SplitMix64;

use crate::figures::Figures;
use crate::proxy::Proxy;
use clients::{Got, Planned, key};
use provider::{Mood, Provider};

/// Requests under way at once.
const CONCURRENCY: usize = 24;
/// How long a provider may say nothing.
const SILENCE_MAX_SECS: u64 = 2;
/// Tenants, who are split among the first providers of their chains.
const TENANTS: u64 = 9;
/// How long breakers and queues may take to come to rest: the longest time that a breaker is open, and more.
const SETTLE_MAX: Duration = Duration::from_secs(150);
/// The first time that a breaker is open, and the second, which docs/routing.md states.
const FIRST_OPEN: Duration = Duration::from_secs(5);
const SECOND_OPEN: Duration = Duration::from_secs(10);
/// How far two clocks and a tick may lie apart.
const SLACK: Duration = Duration::from_millis(400);
const TOKEN: &str = "routing-soak-gateway-token-0123456789";

/// What runs. Dropping it ends every process.
pub(crate) struct Stack {
    // Rust drops fields in this order: senders before their receivers.
    pub(crate) envoy: Envoy,
    pub(crate) proxy: Proxy,
    pub(crate) aggregator: Aggregator,
    pub(crate) providers: [Provider; 3],
}

/// A request, what its client got, and when it was sent.
pub(crate) type Sent = (Planned, Got, Instant);

/// Sends `count` requests by the chances of `seed` and draws the books.
///
/// # Errors
/// When something does not start or does not settle. What does not agree is no error: see [`Figures::problems`].
pub async fn run(count: u64, seed: u64) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut stack = tokio::task::spawn_blocking(move || Stack::start(seed)).await??;
    let mut dice = SplitMix64::new(seed);
    let started = clock::instant();
    let mut sent = Vec::new();
    let planned: Vec<Planned> = (0..count).map(|number| Planned::draw(number, TENANTS, &mut dice)).collect();
    // Each provider is away for one part of the run.
    for (part, planned) in planned.chunks(planned.len().div_ceil(6).max(1)).enumerate() {
        let away = (part % 2 == 1).then_some(part / 2);
        if let Some(provider) = away.and_then(|away| stack.providers.get_mut(away)) {
            provider.leave();
        }
        sent.extend(send(&stack.envoy.url(), planned.to_vec()).await);
        if let Some(provider) = away.and_then(|away| stack.providers.get_mut(away)) {
            provider.come_back()?;
        }
    }
    figures.say("seconds of traffic", started.elapsed().as_secs());
    let mut next = count;
    sent.extend(heal(&stack, &mut next).await?);
    sent.extend(outage(&stack, &mut next, &mut figures).await?);
    let stack = tokio::task::spawn_blocking(move || settle(&stack).map(|()| stack)).await??;
    figures.say("attempts beyond the budget of retries", stack.metric("weir_retries_refused")?);
    books::clients(&stack, &sent, &mut figures);
    books::events(&stack, &sent, &mut figures)?;
    Ok(figures)
}

async fn send(url: &str, planned: Vec<Planned>) -> Vec<Sent> {
    let client = Client::new();
    let sent = planned.into_iter().map(|planned| {
        let (client, call) = (client.clone(), planned.call(url));
        async move {
            let at = clock::instant();
            let reply = client.send(call).await;
            let got = planned.judge(&reply);
            (planned, got, at)
        }
    });
    stream::iter(sent).buffer_unordered(CONCURRENCY).collect().await
}

/// So many more requests of all tenants.
async fn more(stack: &Stack, count: u64, next: &mut u64) -> Vec<Sent> {
    let planned =
        |number| Planned { number, is_anthropic: number % 2 == 0, streams: number % 3 == 0, tenant: number % TENANTS };
    let planned = (*next..*next + count).map(planned).collect();
    *next += count;
    send(&stack.envoy.url(), planned).await
}

/// Lets every provider serve until every breaker is closed.
async fn heal(stack: &Stack, next: &mut u64) -> anyhow::Result<Vec<Sent>> {
    stack.providers.iter().for_each(|provider| provider.is(Mood::Well));
    let (mut sent, started) = (Vec::new(), clock::instant());
    loop {
        sent.extend(more(stack, 2 * TENANTS, next).await);
        if stack.metric("weir_breakers_opened")? == stack.metric("weir_breakers_closed")? {
            return Ok(sent);
        }
        ensure!(started.elapsed() < SETTLE_MAX, "a breaker does not close although every provider serves");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// One provider fails and comes back: its breaker opens, is probed when its time is over, and closes.
async fn outage(stack: &Stack, next: &mut u64, figures: &mut Figures) -> anyhow::Result<Vec<Sent>> {
    let first = &stack.providers[0];
    let at_first = || first.seen().len();
    first.is(Mood::Down);
    let before = at_first();
    let mut sent = more(stack, 10 * TENANTS, next).await;
    let opened = clock::instant();
    let tried = at_first() - before;
    figures.say("requests at a provider that fails until its breaker opens", tried);
    figures.check((5..=5 + CONCURRENCY).contains(&tried), || format!("{tried} requests reached a provider that fails"));
    let before = at_first();
    sent.extend(more(stack, 5 * TENANTS, next).await);
    let is_within = opened.elapsed() + SLACK < FIRST_OPEN;
    let tried = at_first() - before;
    figures.check(!is_within || tried == 0, || format!("{tried} requests reached it behind its open breaker"));
    tokio::time::sleep(FIRST_OPEN.saturating_sub(opened.elapsed()) + SLACK).await;
    let before = at_first();
    sent.extend(more(stack, 5 * TENANTS, next).await);
    let failed_again = clock::instant();
    let tried = at_first() - before;
    figures.say("probes once its time is over", tried);
    figures.check(tried >= 1, || "the provider was not probed".to_owned());
    first.is(Mood::Well);
    tokio::time::sleep(SECOND_OPEN.saturating_sub(failed_again.elapsed()) + SLACK).await;
    let before = at_first();
    sent.extend(more(stack, 5 * TENANTS, next).await);
    sent.extend(more(stack, 5 * TENANTS, next).await);
    figures.say("requests that it serves again", at_first() - before);
    figures.check(at_first() - before > 1, || "the provider serves nobody although it works again".to_owned());
    Ok(sent)
}

/// Waits until every request is over and the aggregator has every event.
fn settle(stack: &Stack) -> anyhow::Result<()> {
    stack.proxy.behave();
    let state = |name: &str| stack.metric(&format!("weir_events.state.{name}"));
    // The last minute's sums leave with its end.
    let told = || {
        let tried = stack.metric("weir_attempts").ok()?;
        let made: u64 = books::sums(stack).iter().filter_map(|model| model["made"].as_u64()).sum();
        let is_empty =
            stack.metric("weir_events_pending").ok()? == 0 && state("numbered").ok()? == state("acknowledged").ok()?;
        (is_empty && made >= tried).then_some(())
    };
    let settled = clock::wait_for(SETTLE_MAX, Duration::from_millis(500), told);
    ensure!(settled.is_some(), "the queues do not empty: {:?}", stack.envoy.stats("weir_")?);
    Ok(())
}

impl Stack {
    fn start(seed: u64) -> anyhow::Result<Self> {
        let provider = |at: u64| Provider::start(seed.wrapping_mul(1_000).wrapping_add(at * 10), at == 0);
        let providers = [provider(0)?, provider(1)?, provider(2)?];
        let aggregator = Aggregator::start(&weir(), &[], &[("WEIR_GATEWAY_TOKEN", TOKEN)])?;
        let proxy = Proxy::start(aggregator.address(), seed)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, gateway(&providers, &proxy)?.to_string())?;
        let run = workspace::run_weir(&["gateway".as_ref(), "generate".as_ref(), file.as_os_str()])?;
        ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let bootstrap = Bootstrap::from_yaml(&String::from_utf8_lossy(&run.stdout))?;
        let options = Options { log_level: "warning".to_owned(), concurrency: 2, ..Options::default() };
        let envoy = Envoy::start(&bootstrap, &options).context("Envoy")?;
        Ok(Stack { envoy, proxy, aggregator, providers })
    }

    /// The sum over all workers of one of the filter's counters.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let full = format!("wasmcustom.{name}");
        Ok(self.envoy.stats(name)?.iter().filter(|(found, _)| **found == full).map(|(_, value)| value).sum())
    }

    /// Runs a command of `weir` and reads the JSON it prints.
    pub(crate) fn weir(&self, args: &[&str]) -> anyhow::Result<Value> {
        let output = self.aggregator.command(args)?;
        ensure!(
            matches!(output.status.code(), Some(0 | 3)),
            "weir {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("weir prints no JSON")
    }
}

fn weir() -> Value {
    let tokens = |name: &str, sum: &str| json!({"name": name, "sum": sum, "where": {"usage": ["complete"]}});
    json!({
        "tokens": [{"name": "gateway", "scopes": ["ingest"], "env": "WEIR_GATEWAY_TOKEN"}],
        "meters": [{"name": "requests", "sum": "requests"}, tokens("complete_input", "input_tokens"),
                   tokens("complete_output", "output_tokens")],
    })
}

/// The model that answers where the first of the rule `first` fails.
const fn second_of_first() -> &'static str {
    "mini"
}

/// The catalogue: each provider is the first for a third of the tenants.
fn gateway(providers: &[Provider; 3], proxy: &Proxy) -> anyhow::Result<Value> {
    let [first, second, third] =
        providers.each_ref().map(|provider| json!({"address": provider.address().to_string(), "tls": false}));
    let model = |name: &str, provider: &str, price: u64| {
        json!({"name": name, "provider": provider, "context_max_tokens": 100_000, "output_max_tokens": 8_000,
               "price": {"input": price, "output": price}})
    };
    let tenant = |number: u64| {
        let hash = KeyHash::of(key(number).as_bytes());
        json!({"id": format!("t{number}"), "plan": "p", "keys": [{"id": format!("k{number}"), "sha256": hash}]})
    };
    Ok(json!({
        "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "weir": proxy.address().to_string(),
        "wasm": workspace::weir_wasm()?, "silence_max_seconds": SILENCE_MAX_SECS,
        "providers": {"messages": first, "completions": second, "own": third},
        "filter": {
            "version": 1, "gateway": "routing-soak",
            "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
            "tenants": (0..TENANTS).map(tenant).collect::<Vec<_>>(), "plans": {"p": {}},
            "events": {"cluster": "weir", "token": TOKEN, "flush": "200ms"},
            "providers": [{"name": "messages", "dialect": "anthropic"}, {"name": "completions", "dialect": "openai"},
                          {"name": "own", "dialect": "vllm"}],
            "models": [model("haiku", "messages", 1), model("mini", "completions", 2), model("llama", "own", 3)],
            "routing": {"rules": [
                {"model": "auto", "split": {"haiku": 1, "mini": 1, "llama": 1}},
                {"model": "first", "candidates": ["haiku", "mini"]},
            ]},
        },
    }))
}
