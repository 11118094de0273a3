//! Routes about marks of deploys.
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{delete, get};
use axum::{Json, Router};
use weir_steer::alert::deploy::{self, Deploy, DeployError, NewDeploy};

use super::App;
use crate::alerts::{DeployQuery, DeployRequest};
use crate::config::tokens::Scope;
use crate::server::auth::require;
use crate::server::error::{ApiError, object};
use crate::server::read::with_reader;

/// The routes.
pub(in crate::server) fn router() -> Router<App> {
    Router::new()
        .route("/v1/deploys", get(get_deploys).post(post_deploy))
        .route("/v1/deploys/{id}", delete(delete_deploy))
}

async fn get_deploys(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<DeployQuery>, QueryRejection>,
) -> Result<Json<Vec<Deploy>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query?;
    if query.limit.is_some_and(|limit| !(1..=deploy::SHOWN_MAX).contains(&limit)) {
        return Err(ApiError::Request(format!("`limit` is 1 to {}", deploy::SHOWN_MAX)));
    }
    let limit = query.shown();
    with_reader(&app, move |reader| deploy::list(reader.db(), limit)).await.map(Json)
}

/// Marks a deploy for an operator. The same mark again, within ten minutes, is the one that is there; with another `at` it corrects that one.
async fn post_deploy(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Deploy>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let DeployRequest { name, feature, prompt_version, at } = object(&body)?;
    let new = NewDeploy { name, feature, prompt_version, at, who: token.name };
    let now = app.0.clock.now();
    let marked = app.0.store.ledger.call(move |ledger| ledger.durably(|db| deploy::add(db, &new, now))).await?;
    marked.map(Json).map_err(|error| match error {
        DeployError::At(_) | DeployError::TooOften | DeployError::TooMany => ApiError::Report(error.to_string()),
        _ => ApiError::Request(error.to_string()),
    })
}

/// Removes a mark for an operator.
async fn delete_deploy(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Deploy>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let unknown = || ApiError::NotFound("there is no mark of a deploy with this number");
    let id: i64 = id.parse().map_err(|_| ApiError::Request("the number of a mark is a whole number".to_owned()))?;
    let now = app.0.clock.now();
    let remove = move |db: &mut weir_database::Connection| deploy::remove(db, id, &token.name, now);
    app.0.store.ledger.call(move |ledger| ledger.durably(remove)).await?.map(Json).ok_or_else(unknown)
}
