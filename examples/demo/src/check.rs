//! `make demo`: traffic, the hour closed, four accounts compared.

use crate::accounts::{self, Clients, Weir};
use crate::credentials::Issuer;
use crate::ledger::Ledger;
use crate::own_page;
use crate::provisioning;
use crate::stack::Stack;
use crate::traffic::{self, Request};
use anyhow::{Context as _, ensure};
use std::process::ExitCode;
use std::time::Duration;
use weir_rig::clock;
use weir_rig::load::{Call, Client, Reply};

/// Requests under way at once.
const CONCURRENCY: usize = 16;

/// With `--kill-aggregator`, it dies once the provider has served this many requests...
const KILL_AFTER: u64 = 80;

/// ... and stays away this long.
const AWAY: Duration = Duration::from_secs(1);

/// Events leave a worker within a fraction of a second, and later only when the aggregator was away.
const EVENTS_MAX: Duration = Duration::from_secs(30);

/// Refusals leave a worker when their minute is over.
const REFUSALS_MAX: Duration = Duration::from_secs(75);

const POLL: Duration = Duration::from_millis(250);

/// Who dies in the middle of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Nobody,
    /// The one `weir serve`.
    Aggregator,
    /// The node that owns.
    Owner,
}

pub(crate) fn check(kill_aggregator: bool) -> anyhow::Result<ExitCode> {
    println!("Starting a stand-in LLM provider, a stand-in for Stripe, weir serve and Envoy with weir.wasm ...");
    let mut stack = Stack::start()?;
    let victim = if kill_aggregator { Victim::Aggregator } else { Victim::Nobody };
    let (ledger, weir, mut problems) = compare(&mut stack, victim)?;
    problems.extend(accounts::answers(&stack, "cus_acme", "ai_input_tokens")?);
    accounts::show_cost(&stack)?;
    accounts::show_margin(&stack)?;
    accounts::show_budgets(&stack)?;
    accounts::show_alerts(&stack)?;
    problems.extend(own_page::show(&stack, &weir)?);
    problems.extend(provisioning::show(&stack)?);
    Ok(outcome(&ledger, &problems))
}

/// The same traffic through two gateways and three nodes, of which the owner dies.
pub(crate) fn fleet() -> anyhow::Result<ExitCode> {
    println!("Starting the stand-ins, Redis, PostgreSQL, three weir serve and two Envoys with weir.wasm ...");
    let mut stack = Stack::fleet()?;
    let (ledger, _, problems) = compare(&mut stack, Victim::Owner)?;
    accounts::show_nodes(&stack)?;
    Ok(outcome(&ledger, &problems))
}

/// Sends the traffic, closes the hour, and compares what each side says of it. Returns also what is wrong beside the numbers.
fn compare(stack: &mut Stack, victim: Victim) -> anyhow::Result<(Ledger, Weir, Vec<String>)> {
    let requests = traffic::requests(&Issuer::new(clock::now())?);
    println!("Sending {} requests of {} tenants and of nobody known ...", requests.len(), stack.tenants.len());
    let clients = drive(stack, &requests, victim)?;
    println!("Waiting until weir has counted {} admitted requests ...", clients.admitted());
    wait_for_usage(stack, &clients)?;
    println!("Closing the hour (weir report --as-of now+2h) ...");
    close_hour(stack)?;
    println!("Waiting for the minute to end: gateways report refusals once a minute ...");
    let weir = wait_for_refusals(stack, &clients)?;
    let ledger = Ledger::draw(stack, &clients, &weir);
    println!();
    ledger.print();
    let mut problems = clients.surprises;
    problems.extend(accounts::books(stack)?);
    Ok((ledger, weir, problems))
}

fn outcome(ledger: &Ledger, problems: &[String]) -> ExitCode {
    problems.iter().for_each(|problem| println!("  {problem}"));
    if ledger.differences.is_empty() && problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends everything, to the gateways in turn; meanwhile, perhaps, somebody dies and comes back.
fn drive(stack: &mut Stack, requests: &[Request], victim: Victim) -> anyhow::Result<Clients> {
    let gateways = stack.gateways();
    let calls: Vec<Call> =
        requests.iter().zip(gateways.iter().cycle()).map(|(request, gateway)| request.call(gateway)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let sending = runtime.spawn(async move { Client::new().send_all(calls, CONCURRENCY).await });
    if victim != Victim::Nobody {
        kill_and_restart(stack, victim)?;
    }
    let replies: Vec<Reply> = runtime.block_on(sending)?;
    Ok(Clients::of(requests, &replies))
}

fn kill_and_restart(stack: &mut Stack, victim: Victim) -> anyhow::Result<()> {
    let served = || stack.llm.tally().tenants.values().map(|served| served.requests).sum::<u64>();
    clock::wait_for(EVENTS_MAX, Duration::from_millis(2), || (served() >= KILL_AFTER).then_some(()))
        .context("the traffic did not get far enough to kill weir serve in the middle of it")?;
    let after = served();
    let dies = match victim {
        Victim::Owner => stack.others.nodes.first_mut().context("a fleet has nodes")?,
        Victim::Aggregator | Victim::Nobody => &mut stack.aggregator,
    };
    dies.kill()?;
    println!("Killed weir serve (kill -9) after {after} requests ...");
    std::thread::sleep(AWAY);
    dies.restart()?;
    println!("... and started it again.");
    Ok(())
}

/// Until weir has counted what the clients were given; how long that may take is bounded, what is missing then shows in
/// the ledger.
fn wait_for_usage(stack: &Stack, clients: &Clients) -> anyhow::Result<()> {
    wait(EVENTS_MAX, || Ok((Weir::of(stack)?.total("requests") >= clients.admitted()).then_some(()))).map(drop)
}

fn wait_for_refusals(stack: &Stack, clients: &Clients) -> anyhow::Result<Weir> {
    let arrived = || {
        let weir = Weir::of(stack)?;
        Ok((weir.refused() >= clients.refused()).then_some(weir))
    };
    match wait(REFUSALS_MAX, arrived)? {
        Some(weir) => Ok(weir),
        None => Weir::of(stack),
    }
}

fn wait<T>(limit: Duration, mut ready: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<Option<T>> {
    clock::wait_for(limit, POLL, || ready().transpose()).transpose()
}

/// Reports as if the hour and its grace were over.
fn close_hour(stack: &Stack) -> anyhow::Result<()> {
    let report = accounts::ask(stack, &["report", "--as-of", "now+2h", "--json"])?;
    ensure!(report["created"].as_u64() > Some(0), "weir report made no rows: {report}");
    Ok(())
}
