//! Routes that read: usage, analysis, ledger, events, audit.
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use weir_contract::{EventId, Timestamp};

use super::App;
use super::auth::{require, require_for};
use super::error::ApiError;
use super::reads::READ_MAX;
use crate::config::tokens::Scope;
use crate::lookup::{EventView, EventsQuery, find_event, find_events};
use weir_ledger::LedgerError;
use weir_ledger::analysis::DIMENSIONS;
use weir_ledger::query::LedgerReader;
use weir_ledger::view::{
    AnalysisQuery, AnalysisRow, AuditEntry, FindingRow, LedgerView, SearchRow, SecurityQuery, UsageQuery, UsageView,
};

/// The span of a question that names no beginning, in milliseconds: 31 days. Everything ever counted would take longer every day.
const SPAN_MS: u64 = 31 * 24 * 3_600_000;

/// The header of an answer that says where its span begins.
pub(super) type Begins = [(HeaderName, String); 1];

/// Bounds a question about a span, and says where it begins.
pub(super) fn begin(app: &App, from: &mut Option<Timestamp>, to: Option<Timestamp>) -> Begins {
    let end = to.unwrap_or_else(|| app.0.clock.now());
    let otherwise = || Timestamp::from_millis(end.as_millis().saturating_sub(SPAN_MS)).hour();
    let from = *from.get_or_insert_with(otherwise);
    [(HeaderName::from_static("weir-from"), from.to_string())]
}

pub(super) async fn get_usage(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Result<(Begins, Json<UsageView>), ApiError> {
    let tenant = query.as_ref().ok().and_then(|Query(query)| query.tenant.clone());
    match tenant {
        Some(tenant) => require_for(&app, &headers, Scope::Viewer, &tenant)?,
        None => require(&app, &headers, Scope::Viewer)?,
    };
    let Query(mut query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    let begins = begin(&app, &mut query.from, query.to);
    app.0.store.catch_up().await?;
    let view = with_reader(&app, move |reader| reader.usage(&query)).await?;
    Ok((begins, Json(view)))
}

pub(super) async fn get_analysis(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<AnalysisQuery>, QueryRejection>,
) -> Result<(Begins, Json<Vec<AnalysisRow>>), ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(mut query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    let begins = begin(&app, &mut query.from, query.to);
    app.0.store.catch_up().await?;
    let rows = with_reader(&app, move |reader| reader.analysis(&query)).await?;
    let known = || format!("`by` takes some of {}, with commas between them", DIMENSIONS.join(", "));
    let rows = rows.ok_or_else(|| ApiError::Request(known()))?;
    Ok((begins, Json(rows)))
}

pub(super) async fn get_ledger(State(app): State<App>, headers: HeaderMap) -> Result<Json<LedgerView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    app.0.store.catch_up().await?;
    ledger_view(&app).await.map(Json)
}

/// The ledger's numbers as they stand, without waiting for records still to be counted.
pub(super) async fn ledger_view(app: &App) -> Result<LedgerView, ApiError> {
    let log_position = app.0.store.log_end();
    let view = with_reader(app, LedgerReader::ledger).await?;
    Ok(LedgerView { log_position: log_position.max(view.position), ..view })
}

/// The same without single sources, for metrics and the server's own tasks, every few seconds.
pub(super) async fn own_totals_view(app: &App) -> Result<LedgerView, ApiError> {
    let log_position = app.0.store.log_end();
    let view = with_own_reader(app, LedgerReader::totals).await?;
    Ok(LedgerView { log_position: log_position.max(view.position), ..view })
}

pub(super) async fn get_audit(State(app): State<App>, headers: HeaderMap) -> Result<Json<Vec<AuditEntry>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    with_reader(&app, crate::budgets::audit).await.map(Json)
}

pub(super) async fn get_findings(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<SecurityQuery>, QueryRejection>,
) -> Result<Json<Vec<FindingRow>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    app.0.store.catch_up().await?;
    with_reader(&app, move |reader| reader.findings(&query)).await.map(Json)
}

pub(super) async fn get_searches(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<SecurityQuery>, QueryRejection>,
) -> Result<Json<Vec<SearchRow>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    app.0.store.catch_up().await?;
    with_reader(&app, move |reader| reader.searches(&query)).await.map(Json)
}

/// The description of this interface.
pub(super) async fn get_openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../../openapi.json")).into_response()
}

pub(super) async fn get_event(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<EventView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    event(&app, &id).await.map(Json)
}

/// Finds an event by its id.
pub(super) async fn event(app: &App, id: &str) -> Result<EventView, ApiError> {
    let id = EventId::parse(id).ok_or_else(|| ApiError::Request("an event id is a UUID".to_owned()))?;
    app.0.store.catch_up().await?;
    let home = app.0.store.home.clone();
    let found = app.0.reads.ledger.run(move || find_event(&home, id)).await?;
    found?.ok_or(ApiError::NotFound("no event with this id was counted, or it is older than the event log keeps"))
}

/// Finds events by a request's or an answer's id.
pub(super) async fn get_events(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<Vec<EventView>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    events(&app, query).await.map(Json)
}

/// Finds events by a request's or an answer's id.
pub(super) async fn events(app: &App, query: EventsQuery) -> Result<Vec<EventView>, ApiError> {
    let home = app.0.store.home.clone();
    Ok(app.0.reads.log.run(move || find_events(&home, &query)).await??)
}

/// Queries the ledger for a caller, on a thread that may block.
pub(super) async fn with_reader<T: Send + 'static>(
    app: &App,
    ask: impl FnOnce(&mut LedgerReader) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, ApiError> {
    let home = app.0.store.home.clone();
    Ok(app.0.reads.ledger.run(move || ask(&mut LedgerReader::open(home.ledger())?)).await??)
}

/// The same for the server itself, which asks one thing at a time and waits for no caller.
pub(super) async fn with_own_reader<T: Send + 'static>(
    app: &App,
    ask: impl FnOnce(&mut LedgerReader) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, ApiError> {
    let home = app.0.store.home.clone();
    let asked = tokio::task::spawn_blocking(move || ask(&mut LedgerReader::open(home.ledger())?));
    let asked = tokio::time::timeout(READ_MAX, asked).await.map_err(|_| ApiError::Away)?;
    Ok(asked.map_err(|error| ApiError::internal(&error))??)
}
