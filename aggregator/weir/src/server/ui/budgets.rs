//! Budgets: how much is used, who raised one and why; raise, pause and resume.
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use weir_contract::stage::Stage;
use weir_dashboard::{Act, Block, Cell, Field, Form, Href, Kind, Section, Table, Tone};
use weir_ledger::amount::Pico;
use weir_steer::engine::Rules;
use weir_steer::subject;
use weir_steer::view::{BudgetView, Transition};

use super::guard::{Acted, Fields, Staff};
use super::kept::being_read;
use super::words::{DONE, done, stage_tone, tenant_link};
use super::{UiError, page};
use crate::budgets::{BudgetQuery, BudgetsView, HistoryQuery, PauseRequest, RaiseRequest, ResumeRequest};
use crate::config::tokens::Scope;
use crate::finance::{Finance, FinanceError};
use crate::server::error::ApiError;
use crate::server::read::with_reader;
use crate::server::{App, budgets};

/// Budgets of a page: with their forms some 125 KB.
const SHOWN: usize = 50;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/budgets", get(get_page))
        .route("/budgets/raise", post(post_raise))
        .route("/budgets/pause", post(post_pause))
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
    let (found, lacks) = match &tenant {
        None => {
            let least = Stage::from_name(&asked.stage).unwrap_or_default();
            match app.0.ui.kept.budgets.get(&app, least.as_str()).await? {
                Some(figures) => {
                    (vec![figures.as_of(), Block::Table(table(&figures.of, may_act))], lacking(&figures.of))
                }
                None => (vec![being_read("The budgets of all tenants")], None),
            }
        }
        Some(_) => {
            let query = BudgetQuery { tenant: tenant.clone(), stage: Stage::from_name(&asked.stage) };
            let view = match budgets::list(&app, query).await {
                Err(ApiError::Unknown(_)) => BudgetsView::default(),
                view => view?,
            };
            (vec![Block::Table(table(&view.budgets, may_act))], lacking(&view.budgets))
        }
    };
    let changes = HistoryQuery { subject: tenant, ..HistoryQuery::default() };
    let rules = app.0.budgets.rules();
    let changes = with_reader(&app, move |reader| crate::budgets::history(reader, &rules, &changes)).await?;
    let changes = changes.unwrap_or_default();
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
    blocks.extend(lacks.map(|words| Block::Notice(Tone::Warn, words)));
    blocks.push(Block::Form(search));
    blocks.extend(found);
    blocks.push(Block::Table(history(&changes)));
    Ok(page(&app, &staff, Section::Budgets, "Budgets", blocks))
}

/// Reads the most used budgets at a stage or beyond it.
pub(super) fn read(finance: &mut Finance, rules: &Rules, least: &str) -> Result<Vec<BudgetView>, FinanceError> {
    let query = BudgetQuery { tenant: None, stage: Stage::from_name(least) };
    // A question that names no tenant names nobody unknown.
    Ok(crate::budgets::budgets(&mut finance.reader, rules, &query, finance.now)?.unwrap_or_default())
}

/// What the shown budgets cannot count, if anything.
fn lacking(budgets: &[BudgetView]) -> Option<String> {
    let lacking = budgets.iter().filter(|budget| budget.unpriced_requests > 0);
    let (count, requests) =
        lacking.fold((0, 0), |(count, requests), budget| (count + 1, requests + budget.unpriced_requests));
    (count > 0).then(|| {
        format!(
            "{count} of these budgets lack {requests} requests that have no price in their currency: the page of money names \
             the models. Give them prices; until then `unpriced` of the budget says in which stage it stands."
        )
    })
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
    let until_and_why = || {
        [
            Field::required("until", "Until (UTC)", Kind::Time),
            Field::required("why", "Reason", Kind::Text(String::new())),
        ]
    };
    let mut raise = named();
    raise.push(Field::required("amount", "Amount", Kind::Text(String::new())).hint("A decimal in the budget's unit."));
    let whether = [("", "no"), ("yes", "yes")].map(|(value, words)| (value.to_owned(), words.to_owned()));
    raise.push(Field::optional("lower", "May be below the amount in force", Kind::Choice(whether.to_vec())));
    raise.extend(until_and_why());
    let raise = Form::act("", Href::to(&["budgets", "raise"]), raise, "Raise");
    let pause = named().into_iter().chain(until_and_why()).collect();
    let pause = Form::act("", Href::to(&["budgets", "pause"]), pause, "Let everything pass");
    let mut acts = vec![Act::new("Raise", raise), Act::new("Pause", pause)];
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
        lower: fields.text("lower") == "yes",
    };
    let back = Href::to(&["budgets"]).with("tenant", &request.tenant).with(DONE, "raised");
    budgets::raise(&app, staff.token().clone(), request).await?;
    Ok(Redirect::to(back.as_str()))
}

fn amount(fields: &Fields) -> Result<Pico, ApiError> {
    let text = fields.text("amount");
    let wrong = || ApiError::Request(format!("`amount`: {text:?} is no decimal such as 12.5"));
    Pico::parse(&text).ok_or_else(wrong)
}

pub(super) async fn post_pause(
    State(app): State<App>,
    Acted(staff, fields): Acted<Staff>,
) -> Result<Redirect, UiError> {
    let request = PauseRequest {
        budget: fields.text("budget"),
        tenant: fields.text("tenant"),
        until: fields.at("until")?,
        why: fields.text("why"),
    };
    let back = Href::to(&["budgets"]).with("tenant", &request.tenant).with(DONE, "raised");
    budgets::pause(&app, staff.token().clone(), request).await?;
    Ok(Redirect::to(back.as_str()))
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
