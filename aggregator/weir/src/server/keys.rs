//! Keys of tenants that are kept in the database: lists, makes, rotates and revokes them.
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::App;
use super::auth::{allow_for, require_for};
use super::error::{ApiError, object};
use super::read::with_reader;
use super::tenants::{by, kept, told};
use crate::config::tokens::{NoRandomness, Scope, Token, random_token};
use weir_tenants::store::Outcome;
use weir_tenants::store::change::{By, Made, NewKey, Rotation};
use weir_tenants::store::view::KeyView;

/// The beginning of every key, by which people and scanners of leaked secrets know it.
const KEY_PREFIX: &str = "sk_weir_";

pub(super) async fn get_keys(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Vec<KeyView>>, ApiError> {
    require_for(&app, &headers, Scope::Viewer, &id)?;
    list(&app, id).await.map(Json)
}

/// A tenant's keys, with the day on which each was last used.
pub(super) async fn list(app: &App, tenant: String) -> Result<Vec<KeyView>, ApiError> {
    let (id, now) = (tenant.clone(), app.0.clock.now());
    let mut keys = kept(app, move |store| store.keys(&id)).await?;
    let used = with_reader(app, move |reader| reader.last_used(&tenant, now)).await?;
    keys.iter_mut().for_each(|key| key.last_used = used.get(&key.id).copied());
    Ok(keys)
}

pub(super) async fn post_key(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let token = require_for(&app, &headers, Scope::Operator, &id)?;
    let new: NewKey = if body.is_empty() { NewKey::default() } else { object(&body)? };
    let by = by(&app, &headers, token.name.clone())?;
    create(&app, &token, id, new, by).await.map(|outcome| told(StatusCode::CREATED, outcome))
}

/// Makes a key for an operator or the tenant itself.
pub(super) async fn create(
    app: &App,
    token: &Token,
    id: String,
    new: NewKey,
    by: By,
) -> Result<Outcome<KeyView>, ApiError> {
    allow_for(token, Scope::Operator, &id)?;
    // A plan, or an environment that is not billed, is not the tenant's to choose.
    if !token.opens(&Scope::Operator) && [&new.plan, &new.environment, &new.feature].into_iter().any(Option::is_some) {
        return Err(ApiError::Forbidden(Scope::Operator));
    }
    let made = make().map_err(|error| ApiError::internal(&error))?;
    kept(app, move |store| store.create_key(&id, &new, &made, &by)).await
}

pub(super) async fn post_rotate(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, key)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let token = require_for(&app, &headers, Scope::Operator, &id)?;
    let by = by(&app, &headers, token.name.clone())?;
    let rotation: Rotation = if body.is_empty() { Rotation::default() } else { object(&body)? };
    rotate(&app, &token, (id, key), rotation, by).await.map(|outcome| told(StatusCode::CREATED, outcome))
}

/// Rotates a key, named by its tenant and its id, for an operator or the tenant itself.
pub(super) async fn rotate(
    app: &App,
    token: &Token,
    (id, key): (String, String),
    rotation: Rotation,
    by: By,
) -> Result<Outcome<KeyView>, ApiError> {
    allow_for(token, Scope::Operator, &id)?;
    let made = make().map_err(|error| ApiError::internal(&error))?;
    kept(app, move |store| store.rotate_key(&id, &key, &rotation, &made, &by)).await
}

pub(super) async fn delete_key(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, key)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let token = require_for(&app, &headers, Scope::Operator, &id)?;
    let by = by(&app, &headers, token.name.clone())?;
    revoke(&app, &token, (id, key), by).await.map(|outcome| told(StatusCode::OK, outcome))
}

/// Revokes a key for an operator or the tenant itself.
pub(super) async fn revoke(
    app: &App,
    token: &Token,
    (id, key): (String, String),
    by: By,
) -> Result<Outcome<KeyView>, ApiError> {
    allow_for(token, Scope::Operator, &id)?;
    kept(app, move |store| store.revoke_key(&id, &key, &by)).await
}

/// Makes a key of 256 random bits.
pub(crate) fn make() -> Result<Made, NoRandomness> {
    let random = random_token()?;
    Ok(Made { key: format!("{KEY_PREFIX}{random}") })
}
