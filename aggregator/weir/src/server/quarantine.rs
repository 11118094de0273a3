//! Refused events: which there are, and bringing them in again.
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;

use super::App;
use super::admin::audit;
use super::auth::require;
use super::error::{ApiError, object};
use super::read::with_reader;
use crate::config::tokens::Scope;
use crate::retry;
use weir_ledger::SqliteLedger;
use weir_ledger::view::{DropRequest, DropView, QuarantineQuery, QuarantinedEvent, RetryView};

/// Why events are not let go without a reason.
pub(crate) const WITHOUT_WHY: &str =
    "say in 1 to 1000 characters why these events need not be counted: the audit keeps it";
/// The longest reason, in characters.
const WHY_MAX_CHARS: usize = 1_000;

pub(super) async fn get_quarantine(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<QuarantineQuery>, QueryRejection>,
) -> Result<Json<Vec<QuarantinedEvent>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    app.0.store.catch_up().await?;
    with_reader(&app, move |reader| reader.quarantined(&query)).await.map(Json)
}

pub(super) async fn post_retry(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<RetryView>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let query: QuarantineQuery = if body.is_empty() { QuarantineQuery::default() } else { object(&body)? };
    let view = retry::retry(&app.0.store, &query, app.0.clock.now()).await?;
    let detail = format!("{} accepted, {} still refused", view.accepted, view.refused);
    audit(&app, token.name, "quarantine retry", detail).await?;
    Ok(Json(view))
}

/// Lets refused events go that a person does not want to see again.
pub(super) async fn post_drop(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<DropView>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let request: DropRequest = object(&body)?;
    if !(1..=WHY_MAX_CHARS).contains(&request.why.chars().count()) {
        return Err(ApiError::Request(WITHOUT_WHY.to_owned()));
    }
    app.0.store.catch_up().await?;
    let now = app.0.clock.now();
    let drop = move |ledger: &mut SqliteLedger| ledger.drop_refused(&request.query(), &request.why, &token.name, now);
    Ok(Json(DropView { dropped: app.0.store.ledger.call(drop).await? }))
}
