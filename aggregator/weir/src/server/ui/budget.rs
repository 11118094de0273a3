//! One budget of a tenant, or one that tenants share: what is used of it, what is in force and who said so; raise, pause and resume.
use axum::Router;
use axum::extract::State;
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table};
use weir_ledger::amount::Pico;
use weir_steer::raise::{Raise, Raised};
use weir_steer::subject;
use weir_steer::view::BudgetView;

use super::asked::Ask;
use super::budgets::{history, one, whose};
use super::guard::{Acted, Admin, Fields, Staff};
use super::words::{DONE, done, share, stage};
use super::{UiError, page};
use crate::budgets::{BudgetQuery, HistoryQuery, PauseRequest, RaiseRequest, ResumeRequest};
use crate::config::tokens::Scope;
use crate::server::error::ApiError;
use crate::server::read::with_reader;
use crate::server::{App, budgets};

/// What the address says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// A tenant, or `#` and the name of a shared budget.
    tenant: String,
    budget: String,
    done: Option<String>,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/budgets/one", get(get_page))
        .route("/budgets/raise", post(post_raise))
        .route("/budgets/pause", post(post_pause))
        .route("/budgets/resume", post(post_resume))
}

async fn get_page(State(app): State<App>, staff: Staff, Ask(asked): Ask<Asked>) -> Result<Response, UiError> {
    let Asked { tenant: of, budget, .. } = &asked;
    let tenant = tenant(&app, of, budget)?;
    let view = budgets::list(&app, BudgetQuery { tenant: Some(tenant.clone()), stage: None }).await?;
    let views: Vec<&BudgetView> = view.budgets.iter().filter(|view| view.budget == *budget).collect();
    let rules = budgets::rules_with(&app, Some(&tenant));
    let (known, subject) = crate::budgets::subject(&rules, budget, &tenant).map_err(ApiError::from)?;
    let per_user = known.per_user;
    let asked_for = HistoryQuery {
        subject: Some(subject.clone()).filter(|_| !per_user),
        budget: Some(budget.clone()),
        ..HistoryQuery::default()
    };
    let (all, now) = (rules.clone(), app.0.clock.now());
    let read = with_reader(&app, move |reader| {
        let raises = weir_steer::raise::active(reader.db(), now)?;
        Ok((raises, crate::budgets::history(reader, &all, &asked_for)?))
    });
    let (raises, changes) = read.await?;
    let raise = raises.into_iter().rev().find(|raise| raise.subject == subject && raise.budget == *budget);
    let mut blocks = done(asked.done.as_deref());
    blocks.push(Block::Table(used(&views)));
    blocks.extend(raise.as_ref().map(|raise| in_force(raise, known.unit())));
    if staff.may(&Scope::Admin) {
        let mut forms = vec![raise_form(budget, &tenant), pause_form(budget, &tenant)];
        forms.extend(raise.is_some().then(|| resume_form(budget, &tenant)));
        blocks.extend(forms.into_iter().map(Block::Form));
    }
    blocks.push(Block::Table(history(&changes.unwrap_or_default())));
    let title = if subject::is_shared(&subject) {
        format!("The shared budget {budget}")
    } else {
        format!("The budget {budget} of {tenant}")
    };
    Ok(page(&app, &staff, Section::Budgets, title, blocks))
}

/// The tenant that a name stands for: of a shared budget any that shares it.
fn tenant(app: &App, of: &str, budget: &str) -> Result<String, ApiError> {
    if !subject::is_shared(of) {
        return Ok(of.to_owned());
    }
    let rules = app.0.budgets.rules();
    let known = rules.budgets.iter().find(|known| known.shared && *known.name == *budget);
    let tenant = known.and_then(|known| known.named_tenants().next().map(str::to_owned));
    tenant.ok_or_else(|| ApiError::Unknown(format!("there is no shared budget {budget:?} in the configuration")))
}

/// What is used: a row, or one for each end user.
fn used(views: &[&BudgetView]) -> Table {
    let rows = views.iter().map(|view| {
        vec![
            whose(&view.subject),
            Cell::maybe(subject::user(&view.subject).map(str::to_owned)),
            Cell::text(&view.covers),
            Cell::amount(view.used, &view.unit),
            Cell::amount(view.amount, &view.unit),
            share(view.use_of()),
            stage(view.use_of()),
            Cell::maybe(view.period_end),
        ]
    });
    let columns = ["Tenant", "User", "Covers", "Used", "Amount", "Share", "Stage", "Period ends"];
    Table::new("Used in the current period", &columns, "No end user has used anything in the current period.")
        .rows(rows)
}

/// The raise or pause in force.
fn in_force(raise: &Raise, unit: &str) -> Block {
    let paused = || Cell::text("paused: everything passes");
    let what = raise.amount.map_or_else(paused, |amount| Cell::amount(amount, unit));
    let facts = vec![
        ("Amount", what),
        ("Until", raise.until.into()),
        ("By", Cell::text(&raise.who)),
        ("Reason", Cell::text(&raise.why)),
        ("A new one", Cell::text("takes its place, also where its date is the later one")),
    ];
    Block::Facts("In force instead of the usual amount".to_owned(), facts)
}

fn named(budget: &str, tenant: &str) -> Vec<Field> {
    vec![Field::hidden("budget", budget), Field::hidden("tenant", tenant)]
}

fn until_and_why() -> [Field; 2] {
    [
        Field::required("until", "Until (UTC)", Kind::Time),
        Field::required("why", "Reason", Kind::Text(String::new())).hint("It stands in the audit."),
    ]
}

/// The form that raises a budget.
pub(super) fn raise_form(budget: &str, tenant: &str) -> Form {
    let mut fields = named(budget, tenant);
    fields.push(Field::required("amount", "Amount", Kind::Text(String::new())).hint("A decimal in the budget's unit."));
    let whether = [("", "no"), ("yes", "yes")].map(|(value, words)| (value.to_owned(), words.to_owned()));
    fields.push(Field::optional("lower", "May be below the amount in force", Kind::Choice(whether.to_vec())));
    fields.extend(until_and_why());
    let submit = format!("Raise {budget} of {tenant}");
    Form::act("Raise it until a date", Href::to(&["budgets", "raise"]), fields, &submit)
}

/// The form that pauses a budget.
pub(super) fn pause_form(budget: &str, tenant: &str) -> Form {
    let fields = named(budget, tenant).into_iter().chain(until_and_why()).collect();
    let submit = format!("Let everything pass {budget} of {tenant}");
    Form::act("Pause it until a date", Href::to(&["budgets", "pause"]), fields, &submit)
}

fn resume_form(budget: &str, tenant: &str) -> Form {
    let submit = format!("Use the usual amount of {budget} of {tenant} again");
    Form::act("End that before its date", Href::to(&["budgets", "resume"]), named(budget, tenant), &submit)
}

/// Back to the budget's page; it says what a raise has taken the place of.
fn back(tenant: &str, budget: &str, done: &str) -> Redirect {
    Redirect::to(one(tenant, budget).with(DONE, done).as_str())
}

fn raised(raised: &Raised) -> &'static str {
    if raised.replaces.is_some() { "replaced" } else { "raised" }
}

async fn post_raise(State(app): State<App>, Acted(Admin(staff), fields): Acted<Admin>) -> Result<Redirect, UiError> {
    let request = RaiseRequest {
        budget: fields.text("budget"),
        tenant: fields.text("tenant"),
        amount: amount(&fields)?,
        until: fields.at("until")?,
        why: fields.text("why"),
        lower: fields.text("lower") == "yes",
    };
    let (tenant, budget) = (request.tenant.clone(), request.budget.clone());
    let outcome = budgets::raise(&app, staff.token().clone(), request).await?;
    Ok(back(&tenant, &budget, raised(&outcome)))
}

fn amount(fields: &Fields) -> Result<Pico, ApiError> {
    let text = fields.text("amount");
    let wrong = || {
        ApiError::Request(format!(
            "`amount` is a decimal with at most 15 digits before the point and at most 12 places after it, such as 500 or 0.50, not {text:?}"
        ))
    };
    Pico::parse(&text).ok_or_else(wrong)
}

async fn post_pause(State(app): State<App>, Acted(Admin(staff), fields): Acted<Admin>) -> Result<Redirect, UiError> {
    let request = PauseRequest {
        budget: fields.text("budget"),
        tenant: fields.text("tenant"),
        until: fields.at("until")?,
        why: fields.text("why"),
    };
    let (tenant, budget) = (request.tenant.clone(), request.budget.clone());
    let outcome = budgets::pause(&app, staff.token().clone(), request).await?;
    Ok(back(&tenant, &budget, raised(&outcome)))
}

async fn post_resume(State(app): State<App>, Acted(Admin(staff), fields): Acted<Admin>) -> Result<Redirect, UiError> {
    let request = ResumeRequest { budget: fields.text("budget"), tenant: fields.text("tenant") };
    let (tenant, budget) = (request.tenant.clone(), request.budget.clone());
    budgets::resume(&app, staff.token().clone(), request).await?;
    Ok(back(&tenant, &budget, "resumed"))
}
