//! Routes about alerts.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use weir_contract::glob;
use weir_steer::alert::silence::{self as silences, NewSilence, Silence, SilenceError, is_reason};
use weir_steer::alert::state::{self, AlertChange};
use weir_steer::notice::{self, Notice};

use super::{App, ledger_name, send};
use crate::alerts::{
    self, AckRequest, Acked, AlertHistoryQuery, AlertsView, SilenceRequest, TestRequest, UnsilenceRequest,
};
use crate::config::tokens::{Scope, Token};
use crate::server::auth::{allow, require};
use crate::server::error::{ApiError, object};
use crate::server::read::{with_own_reader, with_reader};

/// The most names that an error lists.
const NAMED_MAX: usize = 30;
/// The changes of one answer, unless another number is asked for.
const HISTORY_SHOWN: u32 = 100;

/// The routes.
pub(in crate::server) fn router() -> Router<App> {
    Router::new()
        .route("/v1/alerts", get(get_alerts))
        .route("/v1/alerts/history", get(get_history))
        .route("/v1/alerts/test", post(post_test))
        .route("/v1/alerts/silence", post(post_silence))
        .route("/v1/alerts/unsilence", post(post_unsilence))
        .route("/v1/alerts/ack", post(post_ack))
}

async fn get_alerts(State(app): State<App>, headers: HeaderMap) -> Result<Json<AlertsView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    view(&app).await.map(Json)
}

/// What fires, who is told, and what was.
pub(in crate::server) async fn view(app: &App) -> Result<AlertsView, ApiError> {
    let (of, now) = (app.0.alerts.current(), app.0.clock.now());
    with_reader(app, move |reader| alerts::alerts(reader, &of, now)).await
}

/// Who looks after each tenant.
pub(in crate::server) fn owners_of(app: &App) -> BTreeMap<String, String> {
    super::owners(app, &app.0.alerts.current())
}

async fn get_history(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<AlertHistoryQuery>, QueryRejection>,
) -> Result<Json<Vec<AlertChange>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query?;
    history(&app, query).await.map(Json)
}

/// Beginnings and ends of alerts, the latest first.
pub(in crate::server) async fn history(app: &App, query: AlertHistoryQuery) -> Result<Vec<AlertChange>, ApiError> {
    let AlertHistoryQuery { rule, before, limit } = query;
    if limit.is_some_and(|limit| !(1..=state::SHOWN_MAX).contains(&limit)) {
        return Err(ApiError::Request(format!("`limit` is 1 to {}", state::SHOWN_MAX)));
    }
    if before.is_some_and(|before| before < 1) {
        return Err(ApiError::Request("`before` is the number of a change, 1 or more".to_owned()));
    }
    let limit = limit.unwrap_or(HISTORY_SHOWN);
    with_reader(app, move |reader| state::history(reader.db(), rule.as_deref(), before, limit)).await
}

/// Sends a test to a receiver, and answers what came of the first attempt.
async fn post_test(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Notice>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    test(&app, &token, object(&body)?).await.map(Json)
}

/// Sends a test to a receiver for an administrator.
pub(in crate::server) async fn test(app: &App, token: &Token, request: TestRequest) -> Result<Notice, ApiError> {
    allow(token, Scope::Admin)?;
    let TestRequest { receiver } = request;
    let alerts = app.0.alerts.current();
    let Some(receiver) = alerts.receivers.iter().find(|known| known.name == receiver).cloned() else {
        let names = alerts.receivers.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(ApiError::Unknown(format!("there is no receiver {receiver:?} in `alerts`; there are: {names}")));
    };
    let (name, now) = (ledger_name(app), app.0.clock.now());
    let made = app.0.store.ledger.call(move |ledger| {
        ledger.durably(|db| {
            let id = notice::test(db, &name, &receiver, now)?;
            notice::get(db, &id)
        })
    });
    let lost = || ApiError::Report("the test is gone before it was sent".to_owned());
    let made = made.await?.ok_or_else(lost)?;
    let id = made.id.clone();
    send::send(app, made).await?;
    with_own_reader(app, move |reader| notice::get(reader.db(), &id)).await?.ok_or_else(lost)
}

async fn post_silence(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Silence>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    silence(&app, token, object(&body)?).await.map(Json)
}

/// Silences alerts for an operator.
pub(in crate::server) async fn silence(app: &App, token: Token, request: SilenceRequest) -> Result<Silence, ApiError> {
    allow(&token, Scope::Operator)?;
    let SilenceRequest { rule, budget, subject, tenant, until, why } = request;
    let new = NewSilence { rule, budget, subject, tenant, until, who: token.name, why };
    check_named(app, &new)?;
    let now = app.0.clock.now();
    let added = app.0.store.ledger.call(move |ledger| ledger.durably(|db| silences::add(db, &new, now))).await?;
    added.map_err(|error| match error {
        SilenceError::TooMany | SilenceError::Over(_) | SilenceError::Far(_) => ApiError::Report(error.to_string()),
        _ => ApiError::Request(error.to_string()),
    })
}

/// Refuses patterns that match no rule, budget or tenant: they would silence nothing.
fn check_named(app: &App, new: &NewSilence) -> Result<(), ApiError> {
    let unknown = |what: &str, pattern: &str, known: &mut dyn Iterator<Item = &str>| {
        let mut known: Vec<&str> = known.collect();
        if pattern == "*" || known.iter().any(|name| glob::matches(pattern, name)) {
            return Ok(());
        }
        known.sort_unstable();
        let more = if known.len() > NAMED_MAX { ", …" } else { "" };
        known.truncate(NAMED_MAX);
        Err(ApiError::Unknown(format!("no {what} matches {pattern:?}; there are: {}{more}", known.join(", "))))
    };
    if let Some(rule) = &new.rule {
        unknown("rule", rule, &mut app.0.alerts.current().rules.iter().map(|rule| &*rule.name))?;
    }
    if let Some(budget) = &new.budget {
        unknown("budget", budget, &mut app.0.budgets.rules().budgets.iter().map(|budget| &*budget.name))?;
    }
    let snapshot = app.0.directory.current();
    if let (Some(tenant), Some(plans)) = (&new.tenant, app.0.home.plans(&snapshot)) {
        unknown("tenant", tenant, &mut plans.keys().map(String::as_str))?;
    }
    Ok(())
}

async fn post_unsilence(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Silence>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    unsilence(&app, token, object(&body)?).await.map(Json)
}

/// Ends a silence for an operator.
pub(in crate::server) async fn unsilence(
    app: &App,
    token: Token,
    request: UnsilenceRequest,
) -> Result<Silence, ApiError> {
    allow(&token, Scope::Operator)?;
    let UnsilenceRequest { id } = request;
    let now = app.0.clock.now();
    let ended = app.0.store.ledger.call(move |ledger| ledger.durably(|db| silences::end(db, id, &token.name, now)));
    ended.await?.ok_or(ApiError::NotFound("no silence of this number is in force"))
}

async fn post_ack(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Acked>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    acknowledge(&app, token, object(&body)?).await.map(Json)
}

/// Acknowledges an alert for an operator.
pub(in crate::server) async fn acknowledge(app: &App, token: Token, request: AckRequest) -> Result<Acked, ApiError> {
    allow(&token, Scope::Operator)?;
    let AckRequest { rule, subject, why } = request;
    if !is_reason(&why) {
        return Err(ApiError::Request(SilenceError::Why.to_string()));
    }
    let (subject, now) = (subject.unwrap_or_default(), app.0.clock.now());
    let acknowledge =
        move |db: &mut weir_database::Connection| state::acknowledge(db, (&rule, &subject), (&token.name, &why), now);
    let acknowledged = app.0.store.ledger.call(move |ledger| ledger.durably(acknowledge)).await?;
    if acknowledged == 0 {
        return Err(ApiError::NotFound("no alert of this rule and subject fires"));
    }
    Ok(Acked { acknowledged: acknowledged as u64 })
}
