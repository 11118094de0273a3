//! One tenant: what it brings in and costs, by any dimension, its budgets, keys, configuration and history.
use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use serde::Deserialize;
use weir_contract::Timestamp;
use weir_dashboard::{Block, Cell, Chart, Fact, Field, Form, Href, Kind, Point, Section, Table, Tile, Tone};
use weir_ledger::analysis::DIMENSIONS;
use weir_ledger::view::cost::{CostQuery, CostRow, Step};
use weir_money::amount::{Currency, Pico};
use weir_money::margin::{MarginRow, MarginView};
use weir_money::revenue::LineKind;
use weir_tenants::store::change::{By, TenantPatch};
use weir_tenants::store::view::{HistoryEntry, HistoryQuery, Standing, TenantView};

use super::asked::{self, Ask};
use super::guard::{Acted, Operator, Staff};
use super::span::{self, Month};
use super::words::{DONE, Named, done, level, problem_count};
use super::{UiError, budgets as budget_pages, keys as key_pages, page, provider_keys};
use crate::budgets::BudgetQuery;
use crate::config::tokens::Scope;
use crate::cost_events::RecentUsers;
use crate::finance::bill::BillView;
use crate::finance::query::{BillQuery, MarginQuery};
use crate::finance::{Finance, FinanceError};
use crate::server::error::ApiError;
use crate::server::finance::with_finance;
use crate::server::{App, budgets, keys, money, tenants};

/// The days of the chart.
const DAYS_SHOWN: u64 = 30;
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Values of a dimension that are shown.
const VALUES_SHOWN: usize = 200;
/// The tab of end users, of which the ledger keeps no sums.
const USER: &str = "user";
/// Changes of the tenant that are shown.
const CHANGES_SHOWN: u32 = 50;

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    by: String,
    month: String,
    /// Only keys after this one.
    keys_after: String,
    done: Option<String>,
}

/// What the address of a bill says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AskedBill {
    /// A moment of the billing period.
    at: String,
}

/// Usage by the chosen dimension.
enum Values {
    Sums(MarginView),
    /// Why there are none: they are no longer kept.
    Gone(String),
    /// Of end users the ledger keeps none.
    Users,
}

/// What the ledger says of a tenant.
struct Figures {
    month: MarginView,
    values: Values,
    days: Vec<CostRow>,
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Path(Named(id)): Path<Named>,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let known: Vec<&str> = DIMENSIONS.into_iter().chain([USER]).collect();
    let by = asked::one_of("by", &asked.by, &known)?.to_owned();
    let month = Month::read(&asked.month, app.0.clock.now())?;
    let (of, dimension, span) = (id.clone(), Some(by.clone()).filter(|by| by != USER), month.clone());
    let figures = with_finance(&app, move |finance| figures(finance, &of, dimension, &span)).await?;
    let used = budgets::list(&app, BudgetQuery { tenant: Some(id.clone()), stage: None }).await?;
    let mut blocks = done(asked.done.as_deref());
    let kept = kept(&app, &id).await?;
    let own = provider_keys::of(&app, &staff, &id).await?;
    if let Some((tenant, _)) = &kept {
        let warnings = tenant.warnings.iter().cloned().chain(tenants::warnings(&app, tenant));
        blocks.extend(warnings.map(|warning| Block::Notice(Tone::Warn, warning)));
    }
    let words = month.words();
    blocks.push(month.links(&Href::to(&["tenants", &id]).with("by", &by)));
    blocks.push(Block::Tiles(figures.month.rows.iter().flat_map(|row| tiles(row, &words)).collect()));
    blocks.extend(charts(&figures.days, &days_of(&month, app.0.clock.now())));
    blocks.push(tabs(&id, &by, &month));
    match &figures.values {
        Values::Sums(view) => {
            blocks.push(Block::Table(values(&id, &by, view, &month)));
            blocks.extend(view.notes.iter().map(|note| Block::Paragraph(note.clone())));
        }
        Values::Gone(told) => blocks.push(Block::Notice(Tone::Plain, told.clone())),
        Values::Users => blocks.extend(users(&money::users(&app, id.clone()).await?)),
    }
    if month.is_over() {
        let told = "What follows is of now, whatever the month: budgets, keys, configuration and history.";
        blocks.push(Block::Notice(Tone::Plain, told.to_owned()));
    }
    blocks.push(Block::Table(budget_pages::table(&used.budgets)));
    if let Some((tenant, changes)) = &kept {
        let list = keys::list(&app, id.clone()).await?;
        let may_act = staff.may(&Scope::Operator);
        let place = key_pages::Place::of(&id);
        blocks.extend(key_pages::blocks(&list, &place, &asked.keys_after, may_act, app.0.clock.now()));
        blocks.extend(own);
        blocks.push(Block::Facts("Configuration".to_owned(), facts(tenant)));
        if may_act {
            blocks.extend([Block::Form(state_form(tenant)), Block::Form(budget_form(tenant))]);
        }
        blocks.push(Block::Table(history(changes)));
    }
    Ok(page(&app, &staff, Section::Tenants, &*id, blocks))
}

/// The tenant and its latest changes, where tenants are kept in the database.
async fn kept(app: &App, id: &str) -> Result<Option<(TenantView, Vec<HistoryEntry>)>, UiError> {
    let (of, now) = (id.to_owned(), app.0.clock.now());
    let read = tenants::kept(app, move |store| {
        let changes = store.history(&of, &HistoryQuery { limit: Some(CHANGES_SHOWN), ..HistoryQuery::default() })?;
        Ok((store.tenant(&of, now)?, changes.changes))
    });
    match read.await {
        Ok(found) => Ok(Some(found)),
        // A tenants file says what it says; a tenant that has used something may be in neither.
        Err(ApiError::NotConfigured(_) | ApiError::Unknown(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn figures(finance: &mut Finance, tenant: &str, by: Option<String>, span: &Month) -> Result<Figures, FinanceError> {
    let query = span.query(MarginQuery { tenant: Some(tenant.to_owned()), ..MarginQuery::default() });
    let month = finance.margin(&query)?;
    let values = match by.map(|by| finance.margin(&MarginQuery { by: Some(by), ..query })) {
        None => Values::Users,
        Some(Ok(view)) => Values::Sums(view),
        // Revenue and cost of the whole month stay.
        Some(Err(FinanceError::Conflict(told))) => Values::Gone(told),
        Some(Err(error)) => return Err(error),
    };
    let days = finance.cost(&CostQuery {
        tenant: Some(tenant.to_owned()),
        from: days_of(span, finance.now).first().copied(),
        to: span.is_over().then(|| span.span(finance.now).1),
        step: Step::Day,
        ..CostQuery::default()
    })?;
    Ok(Figures { month, values, days })
}

/// The beginnings of the days that charts show, UTC, the oldest first.
pub(super) fn last_days(now: Timestamp) -> Vec<Timestamp> {
    let today = now.as_millis() / DAY_MS;
    (0..DAYS_SHOWN).rev().map(|ago| Timestamp::from_millis(today.saturating_sub(ago) * DAY_MS)).collect()
}

/// The days of the chart: those of an earlier month, else the last ones.
fn days_of(month: &Month, now: Timestamp) -> Vec<Timestamp> {
    if !month.is_over() {
        return last_days(now);
    }
    let (from, to) = month.span(now);
    (from.as_millis() / DAY_MS..to.as_millis().div_ceil(DAY_MS))
        .map(|day| Timestamp::from_millis(day * DAY_MS))
        .collect()
}

fn tiles(row: &MarginRow, month: &str) -> Vec<Tile> {
    let tile = |label: &str, amount| Tile::new(&format!("{label} {month}"), Cell::amount(amount, row.currency));
    vec![
        tile("Revenue", row.revenue).link(Href::to(&["tenants", &row.key, "bill"])),
        tile("Cost of providers", row.llm_cost),
        tile("Other cost", row.other_cost),
        tile("Margin", row.margin),
        Tile::new("Level", level(row.level)),
        Tile::new(&format!("Requests {month}"), row.requests),
    ]
}

/// Cost by day, a chart for each currency.
fn charts(days: &[CostRow], all: &[Timestamp]) -> Vec<Block> {
    let mut by_currency: BTreeMap<Currency, BTreeMap<Timestamp, Pico>> = BTreeMap::new();
    for row in days {
        if let (Some(currency), Some(start)) = (row.currency, row.start) {
            let of = by_currency.entry(currency).or_insert_with(|| all.iter().map(|day| (*day, Pico::ZERO)).collect());
            *of.entry(start).or_default() += row.sums.cost;
        }
    }
    let point = |currency: Currency, (start, cost): (Timestamp, Pico)| Point {
        label: start.to_string().chars().take(10).collect(),
        value: cost.0,
        exact: Cell::amount(cost, currency),
    };
    let chart = |(currency, days): (Currency, BTreeMap<Timestamp, Pico>)| {
        Block::Chart(Chart {
            caption: format!("Cost of providers by day, {currency}"),
            of: "Day (UTC)".to_owned(),
            unit: format!("Cost, {currency}"),
            points: days.into_iter().map(|day| point(currency, day)).collect(),
            empty: String::new(),
            csv: None,
        })
    };
    by_currency.into_iter().map(chart).collect()
}

fn tabs(tenant: &str, by: &str, month: &Month) -> Block {
    let tab = |dimension: &str| {
        let href = month.of(Href::to(&["tenants", tenant]).with("by", dimension));
        (words_of(dimension), href, dimension == by)
    };
    Block::Tabs("By".to_owned(), DIMENSIONS.into_iter().chain([USER]).map(tab).collect())
}

/// A dimension as people say it.
pub(super) fn words_of(dimension: &str) -> String {
    match dimension {
        "credential" => "key".to_owned(),
        USER => "user, lately".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Usage by a dimension. Each value leads to the requests behind it.
fn values(tenant: &str, by: &str, view: &MarginView, month: &Month) -> Table {
    let rows = view.rows.iter().map(|row| {
        let requests = Href::to(&["requests"]).with("tenant", tenant).with(by, &row.key);
        let requests = requests.with("from", &view.from.to_string()).with("to", &view.to.to_string());
        vec![
            Cell::text(&row.key),
            row.requests.into(),
            Cell::amount(row.llm_cost, row.currency),
            Cell::amount(row.revenue, row.currency),
            Cell::amount(row.margin, row.currency),
            Cell::amount(row.wasted_cost, row.currency),
            row.unpriced_tokens.into(),
            Cell::link_of("Requests", requests, &row.key),
        ]
    });
    let heading = words_of(by);
    let columns = [
        &*heading,
        "Requests",
        "Cost",
        "Revenue (spread)",
        "Margin",
        "Failed and repeated",
        "Tokens without a price",
        "Behind it",
    ];
    let empty = format!("Nothing was used {}.", month.words());
    let caption = if month.is_over() { month.asked() } else { "This month".to_owned() };
    Table::new(&format!("{caption} by {heading}"), &columns, &empty).first(VALUES_SHOWN, rows)
}

/// What end users used lately.
fn users(recent: &RecentUsers) -> Vec<Block> {
    let rows = recent.users.iter().map(|of| {
        vec![
            Cell::maybe(of.user.clone()),
            of.requests.into(),
            problem_count(of.failed),
            of.input_tokens.into(),
            of.output_tokens.into(),
            of.currency.map_or(Cell::Missing, |currency| Cell::amount(of.cost, currency)),
        ]
    });
    let columns = ["User", "Requests", "Failed", "Input tokens", "Output tokens", "Cost"];
    let empty = "No request of this tenant was counted lately.";
    let mut blocks = vec![Block::Table(Table::new("Lately by user", &columns, empty).first(VALUES_SHOWN, rows))];
    let told = "Sums by user are not kept. These are of single events, of at most one day and of about the last 64 MB of the event log.";
    blocks.push(Block::Paragraph(told.to_owned()));
    let since = recent.since.map(|since| vec![("Events received since", since.into())]);
    blocks.extend(since.map(|since| Block::Facts("What was looked at".to_owned(), since)));
    blocks
}

fn facts(tenant: &TenantView) -> Vec<Fact> {
    let text = |text: &Option<String>| Cell::maybe(text.clone());
    let amounts: Vec<String> = tenant.budgets.iter().map(|(name, amount)| format!("{name}: {amount}")).collect();
    vec![
        ("State", Cell::text(tenant.state.as_str())),
        ("Plan", Cell::text(&tenant.plan)),
        ("Owner", text(&tenant.owner)),
        ("Also known as", Cell::text(tenant.identifiers.join(", "))),
        ("Own amounts of budgets", Cell::text(amounts.join(", "))),
        ("Stripe customer", text(&tenant.stripe_customer)),
        ("Billing periods since", Cell::maybe(tenant.billing_anchor)),
        ("Created", Cell::maybe(tenant.created_at)),
        ("Last changed", tenant.changed_at.into()),
        ("Version", tenant.version.into()),
    ]
}

pub(super) fn state_form(tenant: &TenantView) -> Form {
    let choice = |standing: Standing, words: &str| (standing.as_str().to_owned(), words.to_owned());
    let (next, words) = match tenant.state {
        Standing::Active => (choice(Standing::Suspended, "Suspended: gateways answer 403"), "Suspend"),
        Standing::Suspended | Standing::Archived => {
            (choice(Standing::Active, "Active: it may use the service"), "Let in")
        }
    };
    let fields = vec![
        Field::required("state", "New state", Kind::Choice(vec![next])),
        Field::hidden("version", tenant.version.to_string()),
    ];
    Form::act("Let in or suspend", Href::to(&["tenants", tenant.id.as_str(), "state"]), fields, words)
}

/// Suspends a tenant or lets it in, if nobody has changed it since the page was made.
pub(super) async fn post_state(
    State(app): State<App>,
    Path(Named(id)): Path<Named>,
    Acted(Operator(staff), fields): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let state = match fields.get("state") {
        "active" => Standing::Active,
        "suspended" => Standing::Suspended,
        other => return Err(ApiError::Request(format!("`state` is active or suspended, not {other:?}")).into()),
    };
    let version = u64::try_from(fields.number("version")?).ok();
    let by = By { who: staff.token().name.clone(), at: app.0.clock.now(), key: None };
    let patch = TenantPatch { state: Some(state), ..TenantPatch::default() };
    tenants::change(&app, staff.token(), (id.clone(), version), patch, by).await?;
    Ok(Redirect::to(Href::to(&["tenants", &id]).with(DONE, "changed").as_str()))
}

pub(super) fn budget_form(tenant: &TenantView) -> Form {
    let fields = vec![
        Field::required("budget", "Budget", Kind::Text(String::new())).hint("Its name in weir.yaml."),
        Field::optional("amount", "Amount", Kind::Text(String::new()))
            .hint("In the budget's unit, until it is changed. Empty: the amount of the budget itself."),
        Field::hidden("version", tenant.version.to_string()),
    ];
    let words = "Set the tenant's own amount";
    Form::act("Own amount of a budget", Href::to(&["tenants", tenant.id.as_str(), "budget"]), fields, words)
}

/// Gives a tenant an amount of its own of a budget, or takes it back, if nobody has changed the tenant since the page was made.
pub(super) async fn post_budget(
    State(app): State<App>,
    Path(Named(id)): Path<Named>,
    Acted(Operator(staff), fields): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let (budget, of, now) = (fields.text("budget"), id.clone(), app.0.clock.now());
    let rules = app.0.budgets.rules();
    let Some(known) = rules.budgets.iter().find(|known| *known.name == *budget) else {
        return Err(ApiError::Request(format!("`budget`: there is no budget {budget:?} in the configuration")).into());
    };
    let amount = |text: &String| {
        let wrong = || {
            ApiError::Request(format!(
                "`amount` is a decimal with at most 15 digits before the point and at most 12 places after it, such as 500 or 0.50, not {text:?}"
            ))
        };
        let amount = Pico::parse(text).ok_or_else(wrong)?;
        known.check_own(amount).map_err(|why| ApiError::Request(format!("`amount`: {why}")))?;
        Ok::<_, ApiError>(amount)
    };
    let amount = fields.optional("amount").as_ref().map(amount).transpose()?;
    let version = u64::try_from(fields.number("version")?).ok();
    let mut budgets = tenants::kept(&app, move |store| store.tenant(&of, now)).await?.budgets;
    match amount {
        Some(amount) => budgets.insert(budget, amount),
        None => budgets.remove(&budget),
    };
    let by = By { who: staff.token().name.clone(), at: now, key: None };
    let patch = TenantPatch { budgets: Some(budgets), ..TenantPatch::default() };
    tenants::change(&app, staff.token(), (id.clone(), version), patch, by).await?;
    Ok(Redirect::to(Href::to(&["tenants", &id]).with(DONE, "changed").as_str()))
}

fn history(changes: &[HistoryEntry]) -> Table {
    let json =
        |value: &Option<serde_json::Value>| value.as_ref().map_or(Cell::Missing, |value| Cell::Json(value.to_string()));
    let rows = changes.iter().map(|change| {
        vec![
            change.at.into(),
            Cell::text(&change.who),
            Cell::text(&change.act),
            json(&change.before),
            json(&change.after),
        ]
    });
    Table::new("History", &["When", "Who", "What", "Before", "After"], "Nothing has changed yet.").rows(rows)
}

/// The bill of a billing period; of the current one as it would be if the period ended now.
pub(super) async fn get_bill(
    State(app): State<App>,
    staff: Staff,
    Path(Named(id)): Path<Named>,
    Ask(asked): Ask<AskedBill>,
) -> Result<Response, UiError> {
    let query = BillQuery { tenant: id.clone(), at: span::moment(&asked.at, app.0.clock.now())? };
    // Whoever reads a bill has sent what it should have.
    app.0.store.catch_up_for_page().await?;
    let read = with_finance(&app, move |finance| {
        let (at, through) = (finance.now, finance.reader.position()?);
        Ok::<_, FinanceError>((Block::AsOf(at, Some(through)), finance.bill(&query)?))
    });
    let (as_of, view) = read.await?;
    let mut blocks = vec![as_of, span::periods(&view, &Href::to(&["tenants", &id, "bill"]))];
    blocks.extend(bill(&view, true));
    blocks.push(behind(&view));
    blocks.extend(view.notes.iter().map(|note| Block::Notice(Tone::Warn, note.clone())));
    blocks.extend(view.unpriced.words().map(|words| Block::Notice(Tone::Warn, words)));
    let title = format!("Bill of {id}{}", if view.closed { "" } else { ", so far" });
    Ok(page(&app, &staff, Section::Tenants, title, blocks))
}

/// Links to what a bill sums: the requests of its period, and its usage by model.
fn behind(view: &BillView) -> Block {
    let requests = Section::Requests.href().with("tenant", &view.tenant);
    let requests = requests.with("from", &view.from.to_string()).with("to", &view.to.to_string());
    let links = vec![
        ("The requests of the period".to_owned(), requests, false),
        ("Usage by model".to_owned(), Href::to(&["tenants", &view.tenant]), false),
    ];
    Block::Tabs("Behind the bill".to_owned(), links)
}

/// The kind of a line. The quantity of a base fee is days, which its amount is cut to.
fn line_words(kind: LineKind) -> String {
    match kind {
        LineKind::BaseFee => "base fee of a whole period, cut to these days of it".to_owned(),
        other => other.as_str().replace('_', " "),
    }
}

/// A bill's lines and sums. Only who may see what the operator pays sees what a line of cost-plus multiplies.
pub(super) fn bill(view: &BillView, shows_costs: bool) -> Vec<Block> {
    let span = vec![("From", view.from.into()), ("To", view.to.into())];
    let mut blocks = vec![Block::Facts("Billing period".to_owned(), span)];
    for of in &view.bills {
        let rows = of.lines.iter().map(|line| {
            let is_shown = shows_costs || line.kind != LineKind::CostPlus;
            let factor = |cell| if is_shown { cell } else { Cell::Missing };
            vec![
                Cell::text(line_words(line.kind)),
                Cell::maybe(line.meter.clone()),
                Cell::text(&line.plan),
                factor(Cell::amount(line.exact_quantity(), "")),
                factor(Cell::amount(line.price, of.currency)),
                Cell::amount(line.amount, of.currency),
            ]
        });
        let columns = ["Line", "Meter", "Price plan", "Quantity", "Price of one", "Amount"];
        let caption = format!("Bill in {}", of.currency);
        blocks.push(Block::Table(Table::new(&caption, &columns, "The bill has no lines yet.").rows(rows)));
        blocks.push(Block::Tiles(vec![
            Tile::new("Exact sum", Cell::amount(of.total, of.currency)),
            Tile::new("Due", Cell::amount(of.due, of.currency)).note("each line rounded to the smallest unit"),
        ]));
    }
    blocks
}
