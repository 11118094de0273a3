//! Budgets: how much is used, who raised one and why; raise, pause and resume.
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use weir_contract::stage::Stage;
use weir_dashboard::{Act, Block, Cell, Field, Form, Href, Kind, Section, Table};
use weir_ledger::amount::Pico;
use weir_steer::engine::Rules;
use weir_steer::subject;
use weir_steer::view::{BudgetView, Transition};

use super::guard::{Acted, Fields, Staff};
use super::words::{DONE, done, stage_tone, tenant_link};
use super::{UiError, page};
use crate::budgets::{BudgetQuery, HistoryQuery, RaiseRequest, ResumeRequest};
use crate::config::tokens::Scope;
use crate::finance::{Finance, FinanceError};
use crate::server::error::ApiError;
use crate::server::read::with_reader;
use crate::server::{App, budgets};

/// Budgets of a page: with their forms some 120 KB.
const SHOWN: usize = 75;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/budgets", get(get_page))
        .route("/budgets/raise", post(post_raise))
        .route("/budgets/resume", post(post_resume))
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    stage: String,
    done: Option<String>,
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Query(asked): Query<Asked>,
) -> Result<Response, UiError> {
    let tenant = Some(asked.tenant.clone()).filter(|tenant| !tenant.is_empty());
    let may_act = staff.may(&Scope::Admin);
    let found = match &tenant {
        None => {
            let least = Stage::from_name(&asked.stage).unwrap_or_default();
            let figures = app.0.ui.kept.budgets.get(&app, least.as_str()).await?;
            vec![figures.as_of(), Block::Table(table(&figures.of, may_act))]
        }
        Some(_) => {
            let query = BudgetQuery { tenant: tenant.clone(), stage: Stage::from_name(&asked.stage) };
            vec![Block::Table(table(&budgets::list(&app, query).await?.budgets, may_act))]
        }
    };
    let changes = HistoryQuery { subject: tenant, ..HistoryQuery::default() };
    let changes = with_reader(&app, move |reader| crate::budgets::history(reader, &changes)).await?;
    let stages = Stage::ALL.map(|stage| (stage.as_str().to_owned(), format!("{stage} or beyond")));
    let search = Form::ask(
        Href::to(&["budgets"]),
        vec![
            Field::optional("tenant", "Tenant", Kind::Text(asked.tenant)),
            Field::required("stage", "Stage", Kind::Choice(stages.to_vec())),
        ],
        "Show",
    );
    let mut blocks = done(asked.done.as_deref());
    blocks.push(Block::Form(search));
    blocks.extend(found);
    blocks.push(Block::Table(history(&changes)));
    Ok(page(&app, &staff, Section::Budgets, "Budgets", blocks))
}

/// Reads the most used budgets at a stage or beyond it.
pub(super) fn read(finance: &mut Finance, rules: &Rules, least: &str) -> Result<Vec<BudgetView>, FinanceError> {
    let query = BudgetQuery { tenant: None, stage: Stage::from_name(least) };
    Ok(crate::budgets::budgets(&mut finance.reader, rules, &query, finance.now)?)
}

/// The budgets, the most used first: name a tenant to see others.
pub(super) fn table(budgets: &[BudgetView], may_act: bool) -> Table {
    let columns = [
        "Tenant",
        "Budget",
        "Covers",
        "Used",
        "Amount",
        "Share",
        "Stage",
        "Period ends",
        "Raised or paused",
        "Actions",
    ];
    let empty = "No budget fits. `budgets` in weir.yaml says how much tenants may use.";
    Table::new("Budgets", &columns, empty).first(SHOWN, budgets.iter().map(|budget| row(budget, may_act)))
}

fn row(budget: &BudgetView, may_act: bool) -> Vec<Cell> {
    let tone = stage_tone(budget.stage);
    let shared = subject::is_shared(&budget.subject);
    let raise = budget.raise.as_ref().map_or(Cell::Missing, |raise| {
        let what = raise.amount.map_or_else(|| "paused".to_owned(), |amount| format!("to {amount}"));
        Cell::text(format!("{what} until {} by {}: {}", raise.until, raise.who, raise.why))
    });
    vec![
        whose(&budget.subject),
        Cell::text(&budget.budget),
        Cell::text(&budget.covers),
        Cell::amount(budget.used, &budget.unit),
        Cell::amount(budget.amount, &budget.unit),
        Cell::Meter { permille: budget.used_permille, tone },
        Cell::status(budget.stage.as_str(), tone),
        Cell::maybe(budget.period_end),
        raise,
        Cell::Acts(if may_act && !shared { acts(budget) } else { Vec::new() }),
    ]
}

/// The tenant whose budget it is, for an end user's budget the tenant of the user, or the name of a shared budget.
fn whose(subject: &str) -> Cell {
    if subject::is_shared(subject) { Cell::text(subject) } else { tenant_link(subject::tenant(subject)) }
}

fn acts(budget: &BudgetView) -> Vec<Act> {
    let named =
        || vec![Field::hidden("budget", &budget.budget), Field::hidden("tenant", subject::tenant(&budget.subject))];
    let mut raise = named();
    raise.push(
        Field::optional("amount", "Amount", Kind::Text(String::new()))
            .hint("A decimal in the budget's unit. Empty: the budget is paused."),
    );
    raise.push(Field::required("until", "Until (UTC)", Kind::Time));
    raise.push(Field::required("why", "Reason", Kind::Text(String::new())));
    let form = Form::act("", Href::to(&["budgets", "raise"]), raise, "Raise or pause");
    let mut acts = vec![Act::new("Raise or pause", form)];
    if budget.raise.is_some() {
        let form = Form::act("", Href::to(&["budgets", "resume"]), named(), "Use the usual amount again");
        acts.push(Act::new("Resume", form));
    }
    acts
}

fn history(changes: &[Transition]) -> Table {
    let rows = changes.iter().map(|change| {
        let tone = stage_tone(Stage::from_name(&change.stage).unwrap_or_default());
        vec![
            change.at.into(),
            whose(&change.subject),
            Cell::text(&change.budget),
            Cell::text(&change.was),
            Cell::status(&change.stage, tone),
            Cell::amount(&change.used, &change.unit),
            Cell::amount(&change.amount, &change.unit),
            Cell::text(if change.why.is_empty() { change.cause.words() } else { &change.why }),
        ]
    });
    let columns = ["When", "Tenant", "Budget", "From", "To", "Used", "Amount", "Why"];
    Table::new("Latest changes of stages", &columns, "No budget has changed its stage yet.").rows(rows)
}

pub(super) async fn post_raise(
    State(app): State<App>,
    Acted(staff, fields): Acted<Staff>,
) -> Result<Redirect, UiError> {
    let request = RaiseRequest {
        budget: fields.text("budget"),
        tenant: fields.text("tenant"),
        amount: amount(&fields)?,
        until: fields.at("until")?,
        why: fields.text("why"),
    };
    let back = Href::to(&["budgets"]).with("tenant", &request.tenant).with(DONE, "raised");
    budgets::raise(&app, staff.token().clone(), request).await?;
    Ok(Redirect::to(back.as_str()))
}

fn amount(fields: &Fields) -> Result<Option<Pico>, ApiError> {
    let Some(text) = fields.optional("amount") else { return Ok(None) };
    let wrong = || ApiError::Request(format!("`amount`: {text:?} is no decimal such as 12.5"));
    Pico::parse(&text).ok_or_else(wrong).map(Some)
}

pub(super) async fn post_resume(
    State(app): State<App>,
    Acted(staff, fields): Acted<Staff>,
) -> Result<Redirect, UiError> {
    let request = ResumeRequest { budget: fields.text("budget"), tenant: fields.text("tenant") };
    let back = Href::to(&["budgets"]).with("tenant", &request.tenant).with(DONE, "resumed");
    budgets::resume(&app, staff.token().clone(), request).await?;
    Ok(Redirect::to(back.as_str()))
}
