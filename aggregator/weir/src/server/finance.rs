//! Routes that answer questions about money.
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use weir_money::compare::CompareView;
use weir_money::crossover;
use weir_money::document::Form;
use weir_money::lifetime::LifetimeRow;
use weir_money::margin::MarginView;
use weir_money::review;
use weir_money::whatif::WhatIfView;

use super::App;
use super::auth::require;
use super::error::ApiError;
use crate::config::tokens::Scope;
use crate::finance::bill::BillView;
use crate::finance::query::{BillQuery, CompareQuery, CrossoverQuery, MarginQuery, ReviewQuery, WhatIfQuery};
use crate::finance::{Finance, FinanceError};
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;

/// A question's parameters.
pub(super) type Asked<Q> = Result<Query<Q>, QueryRejection>;

pub(super) async fn get_margin(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<MarginQuery>,
) -> Result<Json<MarginView>, ApiError> {
    ask(&app, &headers, query, Finance::margin).await.map(Json)
}

pub(super) async fn get_bill(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<BillQuery>,
) -> Result<Json<BillView>, ApiError> {
    ask(&app, &headers, query, Finance::bill).await.map(Json)
}

pub(super) async fn get_compare(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<CompareQuery>,
) -> Result<Json<CompareView>, ApiError> {
    ask(&app, &headers, query, Finance::compare).await.map(Json)
}

pub(super) async fn get_whatif(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<WhatIfQuery>,
) -> Result<Json<WhatIfView>, ApiError> {
    ask(&app, &headers, query, Finance::whatif).await.map(Json)
}

pub(super) async fn get_lifetime(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<Nothing>,
) -> Result<Json<Vec<LifetimeRow>>, ApiError> {
    ask(&app, &headers, query, |finance, _| finance.lifetime()).await.map(Json)
}

/// A question without parameters.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) async fn get_crossover(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<CrossoverQuery>,
) -> Result<Response, ApiError> {
    let form = query.as_ref().ok().and_then(|query| query.form.clone());
    let drawn = match form.as_deref() {
        None | Some("json") => false,
        Some("svg") => true,
        Some(other) => return Err(ApiError::Request(format!("`form` is json or svg, not {other:?}"))),
    };
    let view = ask(&app, &headers, query, Finance::crossover).await?;
    Ok(if drawn { page("image/svg+xml", crossover::draw(&view)) } else { Json(view).into_response() })
}

pub(super) async fn get_review(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<ReviewQuery>,
) -> Result<Response, ApiError> {
    let form = query.as_ref().ok().and_then(|query| query.form.clone());
    let form = match form.as_deref() {
        None | Some("json") => None,
        Some("text") => Some((Form::Text, "text/plain; charset=utf-8")),
        Some("markdown") => Some((Form::Markdown, "text/markdown; charset=utf-8")),
        Some("html") => Some((Form::Html, "text/html; charset=utf-8")),
        Some(other) => return Err(ApiError::Request(format!("`form` is json, text, markdown or html, not {other:?}"))),
    };
    let view = ask(&app, &headers, query, Finance::review).await?;
    Ok(match form {
        None => Json(view).into_response(),
        Some((form, kind)) => page(kind, review::document(&view).render(form)),
    })
}

/// A page with names that tenants and clients chose: no browser may run anything in it.
fn page(kind: &'static str, body: String) -> Response {
    let kind = HeaderValue::from_static(kind);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, policy)], body).into_response()
}

/// Answers a viewer's question on a thread that may block.
pub(super) async fn ask<Q: Send + 'static, T: Send + 'static>(
    app: &App,
    headers: &HeaderMap,
    query: Asked<Q>,
    answer: impl FnOnce(&mut Finance, &Q) -> Result<T, FinanceError> + Send + 'static,
) -> Result<T, ApiError> {
    require(app, headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    app.0.store.catch_up().await?;
    with_finance(app, move |finance| answer(finance, &query)).await
}

/// Asks something of everything that answers about money rest on, for a caller, on a thread that may block.
pub(super) async fn with_finance<T, E>(
    app: &App,
    ask: impl FnOnce(&mut Finance) -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: From<LedgerError> + Into<ApiError> + Send + 'static,
{
    app.0.reads.ledger.run(asked(app, ask)).await?.map_err(Into::into)
}

/// The same for the server itself, which asks one thing at a time and waits for no caller.
pub(super) async fn with_own_finance<T, E>(
    app: &App,
    ask: impl FnOnce(&mut Finance) -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: From<LedgerError> + Into<ApiError> + Send + 'static,
{
    let asked = tokio::task::spawn_blocking(asked(app, ask));
    asked.await.map_err(|error| ApiError::internal(&error))?.map_err(Into::into)
}

/// A question with what it rests on at this moment.
fn asked<T, E: From<LedgerError>>(
    app: &App,
    ask: impl FnOnce(&mut Finance) -> Result<T, E> + Send + 'static,
) -> impl FnOnce() -> Result<T, E> + Send + 'static {
    let (home, tenants, now) = (app.0.store.home.clone(), app.0.directory.current(), app.0.clock.now());
    let (finances, other_costs, prices) = (app.finances(), app.0.other_costs.clone(), app.0.prices.book());
    move || {
        let reader = LedgerReader::open(home.ledger())?;
        ask(&mut Finance { reader, finances, other_costs, tenants, prices, now })
    }
}
