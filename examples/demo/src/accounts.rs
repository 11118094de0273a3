//! What each side says about the traffic, from its own records only.

use crate::stack::Stack;
use crate::traffic::{Caller, Request};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use weir_rig::load::Reply;

/// What callers were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// 200, to the last byte.
    pub(crate) admitted: u64,
    /// 429.
    pub(crate) limited: u64,
    /// 401: no credential, or no good one.
    pub(crate) unauthorized: u64,
    /// 403: a valid credential without permission.
    pub(crate) forbidden: u64,
}

impl Answers {
    pub(crate) fn refused(&self) -> u64 {
        self.limited + self.unauthorized + self.forbidden
    }
}

/// The clients' account.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) answers: BTreeMap<Caller, Answers>,
    /// Answers that should have been refused: what, and to whom.
    pub(crate) surprises: Vec<String>,
}

impl Clients {
    pub(crate) fn of(requests: &[Request], replies: &[Reply]) -> Self {
        let mut clients = Self::default();
        for (request, reply) in requests.iter().zip(replies) {
            clients.add(request, reply);
        }
        clients
    }

    /// The answers that a caller received; zeros if it never called.
    pub(crate) fn of_caller(&self, caller: &Caller) -> Answers {
        self.answers.get(caller).copied().unwrap_or_default()
    }

    pub(crate) fn admitted(&self) -> u64 {
        self.sum(|answers| answers.admitted)
    }

    /// One kind of answer, over all callers.
    pub(crate) fn sum(&self, of: impl Fn(&Answers) -> u64) -> u64 {
        self.answers.values().map(of).sum()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.sum(Answers::refused)
    }

    fn add(&mut self, request: &Request, reply: &Reply) {
        let answers = self.answers.entry(request.caller.clone()).or_default();
        match (reply.status, &request.caller) {
            (200, Caller::Tenant(_)) if reply.error.is_none() => answers.admitted += 1,
            (429, Caller::Tenant(_)) => answers.limited += 1,
            (401, Caller::Nobody) => answers.unauthorized += 1,
            (403, Caller::Tenant(_)) => answers.forbidden += 1,
            (status, caller) => {
                let why = reply.error.clone().unwrap_or_else(|| reply.text());
                self.surprises.push(format!("request {} of {caller:?} got {status}: {why}", request.index));
            }
        }
    }
}

/// Weir's account, as `weir usage --json` tells it.
#[derive(Debug, Default)]
pub(crate) struct Weir {
    /// Billable, by tenant and meter.
    usage: BTreeMap<(String, String), u64>,
    /// By tenant (empty for unknown callers) and reason.
    refused: BTreeMap<(String, String), u64>,
}

impl Weir {
    pub(crate) fn of(stack: &Stack) -> anyhow::Result<Self> {
        let view = ask(stack, &["usage", "--json"])?;
        let number = |row: &Value, field: &str| row[field].as_u64().with_context(|| format!("no {field} in {row}"));
        let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let mut weir = Self::default();
        for row in view["usage"].as_array().context("weir usage: no `usage`")? {
            weir.usage.insert((text(row, "tenant"), text(row, "meter")), number(row, "billable")?);
        }
        for row in view["refused"].as_array().context("weir usage: no `refused`")? {
            weir.refused.insert((text(row, "tenant"), text(row, "reason")), number(row, "count")?);
        }
        Ok(weir)
    }

    pub(crate) fn billable(&self, tenant: &str, meter: &str) -> u64 {
        self.usage.get(&(tenant.to_owned(), meter.to_owned())).copied().unwrap_or_default()
    }

    /// All rows of one meter.
    pub(crate) fn total(&self, meter: &str) -> u64 {
        self.usage.iter().filter(|((_, name), _)| name == meter).map(|(_, value)| value).sum()
    }

    /// How often a tenant was refused because of its limit.
    pub(crate) fn limited(&self, tenant: &str) -> u64 {
        self.refused.get(&(tenant.to_owned(), "rate_limited".to_owned())).copied().unwrap_or_default()
    }

    /// How often anybody was refused for one of these reasons.
    pub(crate) fn refused_for(&self, reasons: &[&str]) -> u64 {
        let counts = self.refused.iter().filter(|((_, reason), _)| reasons.contains(&reason.as_str()));
        counts.map(|(_, count)| count).sum()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// Whether weir's own books balance: `weir ledger --json`. The problem, if they do not.
pub(crate) fn books(stack: &Stack) -> anyhow::Result<Option<String>> {
    let ledger = ask(stack, &["ledger", "--json"])?;
    let open = |field: &str| ledger["totals"][field].as_u64().unwrap_or(u64::MAX);
    let clean =
        ledger["balanced"] == true && ["missing", "quarantined", "conflicts"].into_iter().all(|field| open(field) == 0);
    Ok((!clean).then(|| format!("weir's books: {}", ledger["totals"])))
}

/// What the commands for finance say: does Stripe agree, and what is a customer's invoice made of. What they find wrong, else
/// nothing.
pub(crate) fn answers(stack: &Stack, customer: &str, meter: &str) -> anyhow::Result<Option<String>> {
    let compared = ask(stack, &["reconcile", "--json"])?;
    let now = weir_rig::clock::now();
    let hours = |by: i64| now.saturating_add(jiff::SignedDuration::from_hours(by));
    let period = format!("{:.0}/{:.0}", hours(-2)?, hours(2)?);
    let explained = ask(stack, &["explain", customer, meter, &period, "--json"])?;
    let agreed = compared["differences"].as_array().is_some_and(Vec::is_empty) && explained["complete"] == true;
    if !agreed {
        return Ok(Some(format!("weir reconcile: {compared}; weir explain: {explained}")));
    }
    println!(
        "  weir reconcile: {} hours of customers' meters compared with Stripe, no difference",
        compared["windows"]
    );
    let events = explained["events"].as_array().map_or(0, Vec::len);
    println!("  weir explain {customer} {meter}: {} billed, from {events} single requests", explained["billed"]);
    Ok(None)
}

/// Shows what the traffic cost, by the list of public prices that ships with weir.
pub(crate) fn show_cost(stack: &Stack) -> anyhow::Result<()> {
    let rows = ask(stack, &["cost", "--json"])?;
    let rows = rows.as_array().context("weir cost: no rows")?;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let priced = rows.iter().filter(|row| row["currency"].is_string());
    let costs: Vec<String> =
        priced.map(|row| format!("{} {} {}", text(row, "tenant"), text(row, "cost"), text(row, "currency"))).collect();
    let lacking: u64 = rows.iter().filter_map(|row| row["unpriced_tokens"].as_u64()).sum();
    println!("  weir cost: {}; {lacking} tokens have no price in the shipped list", costs.join(", "));
    Ok(())
}

/// Shows how far each budget is used, and the stage that gateways know.
pub(crate) fn show_budgets(stack: &Stack) -> anyhow::Result<()> {
    let view = ask(stack, &["budgets", "list", "--json"])?;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    for budget in view["budgets"].as_array().context("weir budgets: no rows")? {
        let [name, subject, used, amount, unit, stage] =
            ["budget", "subject", "used", "amount", "unit", "stage"].map(|field| text(budget, field));
        println!("  weir budgets: {subject} has used {used} of {amount} {unit} ({name}); gateways are told: {stage}");
    }
    Ok(())
}

/// Shows what the price plans earn beside what the traffic cost.
pub(crate) fn show_margin(stack: &Stack) -> anyhow::Result<()> {
    let view = ask(stack, &["margin", "--json"])?;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    for total in view["totals"].as_array().context("weir margin: no sums")? {
        let [revenue, cost, margin, percent, currency] =
            ["revenue", "llm_cost", "margin", "margin_percent", "currency"].map(|field| text(total, field));
        println!("  weir margin: {revenue} {currency} revenue, {cost} LLM cost, margin {margin} ({percent} %)");
    }
    Ok(())
}

/// Shows the alerts that fire.
pub(crate) fn show_alerts(stack: &Stack) -> anyhow::Result<()> {
    let view = ask(stack, &["alerts", "list", "--json"])?;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let all = view["alerts"].as_array().context("weir alerts: no rows")?;
    let firing = all.iter().filter(|alert| alert["state"] == "firing");
    let named: Vec<String> =
        firing.map(|alert| format!("{} {}", text(alert, "rule"), text(alert, "subject")).trim().to_owned()).collect();
    let told = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
    println!("  weir alerts: firing: {told}");
    Ok(())
}

/// Says which nodes there are, and who owns.
pub(crate) fn show_nodes(stack: &Stack) -> anyhow::Result<()> {
    let view = ask(stack, &["status", "--json"])?;
    let nodes = view["server"]["nodes"].as_array().context("weir status: no nodes")?;
    let part = &view["server"]["partitions"][0];
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = nodes.iter().map(|node| text(node, "name")).collect();
    println!(
        "  weir status: nodes {}; {} owns since {}, change {}",
        names.join(", "),
        text(part, "owner"),
        text(part, "since"),
        part["changes"]
    );
    Ok(())
}

/// Runs a command of `weir` and reads the JSON it prints.
pub(crate) fn ask(stack: &Stack, args: &[&str]) -> anyhow::Result<Value> {
    let output = stack.aggregator.command(args)?;
    // 3: the work is done, and something needs a person; what, the JSON says.
    if !matches!(output.status.code(), Some(0 | 3)) {
        bail!("weir {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("weir {}: no JSON", args.join(" ")))
}
