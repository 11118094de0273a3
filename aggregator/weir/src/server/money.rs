//! Routes about money: what requests cost, prices, and pricing again.
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;

use super::App;
use super::auth::require;
use super::error::{ApiError, object};
use super::finance::{Asked, ask, with_finance};
use super::read::{Begins, begin, with_reader};
use crate::config::tokens::Scope;
use crate::cost_events::{self, EventCostQuery, EventCosts, Latest, RecentUsers, recent_users};
use crate::finance::Finance;
use crate::money::{self, OtherQuery, PriceQuery, PriceView, RepriceRequest};
use weir_ledger::query::LedgerReader;
use weir_ledger::view::cost::{CostQuery, CostRow, PricedQuery, PricedRow, RepriceView, RepricingView};
use weir_money::other::OtherCostRow;

pub(super) async fn get_cost(
    State(app): State<App>,
    headers: HeaderMap,
    mut query: Asked<CostQuery>,
) -> Result<(Option<Begins>, Json<Vec<CostRow>>), ApiError> {
    let begins = query.as_mut().ok().map(|Query(query)| begin(&app, &mut query.from, query.to));
    let rows = ask(&app, &headers, query, Finance::cost).await?;
    Ok((begins, Json(rows)))
}

/// The single events behind a sum, a page at a time.
pub(super) async fn get_events(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<EventCostQuery>, QueryRejection>,
) -> Result<Json<EventCosts>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    events(&app, query).await.map(Json)
}

/// A page of the events behind a sum.
async fn events(app: &App, query: EventCostQuery) -> Result<EventCosts, ApiError> {
    app.0.store.catch_up().await?;
    if let Some(tenant) = query.tenant.clone() {
        with_finance(app, move |finance| finance.check_tenant(&tenant)).await?;
    }
    let home = app.0.store.home.clone();
    Ok(app.0.reads.log.run(move || cost_events::page(&home, &query)).await??)
}

/// A page of the latest events that fit a query.
pub(super) async fn latest(app: &App, query: EventCostQuery, before: String) -> Result<Latest, ApiError> {
    app.0.store.catch_up_for_page().await?;
    if let Some(tenant) = query.tenant.clone() {
        with_finance(app, move |finance| finance.check_tenant(&tenant)).await?;
    }
    let home = app.0.store.home.clone();
    Ok(app.0.reads.log.run(move || cost_events::latest(&home, &query, &before)).await??)
}

/// What end users of a tenant used lately.
pub(super) async fn users(app: &App, tenant: String) -> Result<RecentUsers, ApiError> {
    let (home, now) = (app.0.store.home.clone(), app.0.clock.now());
    Ok(app.0.reads.log.run(move || recent_users(&home, &tenant, now)).await??)
}

pub(super) async fn get_models(
    State(app): State<App>,
    headers: HeaderMap,
    mut query: Asked<PricedQuery>,
) -> Result<(Option<Begins>, Json<Vec<PricedRow>>), ApiError> {
    let begins = query.as_mut().ok().map(|Query(query)| begin(&app, &mut query.from, query.to));
    let rows = ask(&app, &headers, query, Finance::priced).await?;
    Ok((begins, Json(rows)))
}

pub(super) async fn get_other(
    State(app): State<App>,
    headers: HeaderMap,
    query: Asked<OtherQuery>,
) -> Result<Json<Vec<OtherCostRow>>, ApiError> {
    ask(&app, &headers, query, Finance::other_costs).await.map(Json)
}

pub(super) async fn get_prices(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<PriceQuery>, QueryRejection>,
) -> Result<Json<Vec<PriceView>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    let book = app.0.prices.book();
    Ok(Json(book.map_or_else(Vec::new, |book| money::prices(&book, &query, app.0.clock.now()))))
}

pub(super) async fn get_repricings(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<Vec<RepricingView>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    with_reader(&app, LedgerReader::repricings).await.map(Json)
}

/// Prices again. The ledger audits it, with the token's name.
pub(super) async fn post_reprice(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<RepriceView>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    let request: RepriceRequest = object(&body)?;
    if request.why.is_empty() {
        return Err(ApiError::Request("say why, in `why`".to_owned()));
    }
    app.0.store.catch_up().await?;
    let (now, request) = (app.0.clock.now(), request.by(token.name));
    let view = app.0.store.ledger.call(move |ledger| ledger.reprice(now, &request)).await?;
    view.map(Json).map_err(|error| ApiError::Report(error.to_string()))
}
