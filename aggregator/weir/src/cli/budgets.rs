//! `weir budgets`: how much tenants have used of their budgets, and changes to them.
use serde::Serialize;
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_ledger::amount::{PICO, Pico};
use weir_steer::engine::Rules;
use weir_steer::raise::{self, NewRaise, Raise, Raised};
use weir_steer::view::{BudgetView, Transition};

use super::access::{self, Access, clock, somebody_here};
use super::args::budgets::{self, BudgetsCommand};
use super::render::{json, say, table};
use super::show::caught_up;
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::budgets::{
    self as questions, BudgetQuery, BudgetsView, HistoryQuery, NoBudget, ResumeRequest, Resumed, subject,
};
use crate::config::Config;

pub(super) fn run(config: &Config, command: BudgetsCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        BudgetsCommand::List { stage } => show(config, &budgets::query(None, stage), as_json),
        BudgetsCommand::Show { tenant } => show(config, &budgets::query(Some(tenant), None), as_json),
        BudgetsCommand::Raise(args) => {
            let request = args.request();
            change(config, "/v1/budgets/raise", &request, |rules| request.clone().by(rules, somebody_here()), as_json)
        }
        BudgetsCommand::Pause(args) => {
            let request = args.request();
            change(config, "/v1/budgets/pause", &request, |rules| request.clone().by(rules, somebody_here()), as_json)
        }
        BudgetsCommand::Resume { budget, tenant } => resume(config, budgets::resume(budget, tenant), as_json),
        BudgetsCommand::History(args) => history(config, &args.query(), as_json),
    }
}

/// The rules of the files, where no server runs.
fn rules(config: &Config) -> anyhow::Result<Rules> {
    let tenants = config.directory(clock().now())?.current();
    let budgets = questions::with_amounts(&config.budgets, tenants.budgets());
    Ok(Rules { budgets, plans: tenants.plans().clone().into() })
}

fn show(config: &Config, query: &BudgetQuery, as_json: bool) -> anyhow::Result<u8> {
    let view: BudgetsView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/budgets", query).await?,
            Access::Here(store) => {
                let mut reader = caught_up(&store).await?;
                let budgets = questions::budgets(&mut reader, &rules(config)?, query, clock().now())??;
                // Without a server nothing is evaluated; the next start counts what this command has counted.
                BudgetsView { budgets, ..BudgetsView::default() }
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print(&view.budgets);
    }
    let exceeded = view.budgets.iter().any(|budget| budget.stage == Stage::Exceeded);
    Ok(if exceeded { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print(budgets: &[BudgetView]) {
    let mut shown =
        table(&["budget", "tenant", "covers", "stage", "#used", "#amount", "unit", "#share", "ends", "until then"]);
    for budget in budgets {
        let until = budget.raise.as_ref().map_or_else(String::new, Raise::words);
        shown.add_row([
            budget.budget.clone(),
            budget.subject.clone(),
            budget.covers.clone(),
            budget.use_of().words(),
            cents(budget.used),
            budget.amount.to_string(),
            budget.unit.clone(),
            share(budget.used_permille),
            budget.period_end.map_or_else(|| "never".to_owned(), |end| end.to_string()),
            until,
        ]);
    }
    say!("{shown}");
    for BudgetView { budget, subject, unpriced_requests, unit, .. } in budgets {
        if *unpriced_requests > 0 {
            say!(
                "{budget} of {subject} lacks {unpriced_requests} requests that have no price in {unit}: `weir margin` names the \
                 models; `unpriced` of the budget says in which stage it stands meanwhile"
            );
        }
    }
}

/// A used share; beyond all that is counted, the word for it.
fn share(permille: u32) -> String {
    let beyond = if permille == u32::MAX { "over " } else { "" };
    format!("{beyond}{}.{} %", permille / 10, permille % 10)
}

/// An amount with at most six decimals: nobody acts on a millionth.
fn cents(amount: Pico) -> String {
    let step = PICO / 1_000_000;
    Pico(amount.0 / step * step).to_string()
}

/// Asks the server on `path`, or makes the raise or pause here.
fn change(
    config: &Config,
    path: &str,
    request: &impl Serialize,
    new: impl FnOnce(&Rules) -> Result<NewRaise, NoBudget>,
    as_json: bool,
) -> anyhow::Result<u8> {
    let raised: Raised = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post(path, request).await?,
            Access::Here(store) => {
                let (new, now): (_, Timestamp) = (new(&rules(config)?)?, clock().now());
                store.ledger.call(move |ledger| ledger.durably(|db| raise::add(db, &new, now))).await??
            }
        })
    })?;
    if as_json {
        json(&raised)?;
        return Ok(EXIT_DONE);
    }
    let Raised { raise, replaces } = raised;
    say!("{} of {}: {}", raise.budget, raise.subject, raise.words());
    if let Some(before) = replaces {
        say!("in place of what was in force, which does not come back: {}", before.words());
    }
    Ok(EXIT_DONE)
}

fn resume(config: &Config, request: ResumeRequest, as_json: bool) -> anyhow::Result<u8> {
    let Resumed { resumed } = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/budgets/resume", &request).await?,
            Access::Here(store) => {
                let (_, subject) = subject(&rules(config)?, &request.budget, &request.tenant)?;
                let (budget, now) = (request.budget.clone(), clock().now());
                let call = move |ledger: &mut weir_ledger::SqliteLedger| {
                    ledger.durably(|db| raise::end(db, &subject, &budget, &somebody_here(), now))
                };
                Resumed { resumed: store.ledger.call(call).await? }
            }
        })
    })?;
    if as_json {
        json(&Resumed { resumed })?;
    } else {
        let said = if resumed { "the usual amount counts again" } else { "nothing was raised or paused" };
        say!("{} of {}: {said}", request.budget, request.tenant);
    }
    Ok(if resumed { EXIT_DONE } else { EXIT_ATTENTION })
}

fn history(config: &Config, query: &HistoryQuery, as_json: bool) -> anyhow::Result<u8> {
    let transitions: Vec<Transition> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/budgets/history", query).await?,
            Access::Here(store) => questions::history(&mut caught_up(&store).await?, &rules(config)?, query)??,
        })
    })?;
    if as_json {
        json(&transitions)?;
        return Ok(EXIT_DONE);
    }
    let mut shown = table(&["at", "budget", "tenant", "was", "stage", "#used", "#amount", "unit", "period", "why"]);
    for one in &transitions {
        let used = Pico::parse(&one.used).map_or_else(|| one.used.clone(), cents);
        shown.add_row([
            one.at.to_string(),
            one.budget.clone(),
            one.subject.clone(),
            one.was.clone(),
            one.stage.clone(),
            used,
            one.amount.clone(),
            one.unit.clone(),
            one.period_start.to_string(),
            if one.why.is_empty() { one.cause.words().to_owned() } else { one.why.clone() },
        ]);
    }
    say!("{shown}");
    Ok(EXIT_DONE)
}
