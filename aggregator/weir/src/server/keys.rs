//! Keys of tenants that are kept in the database: lists, makes, rotates and revokes them.
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::App;
use super::auth::require_for;
use super::error::{ApiError, object};
use super::read::with_reader;
use super::tenants::{by, kept, told};
use crate::config::tokens::{NoRandomness, Scope, random_token};
use weir_tenants::store::change::{Made, NewKey, Rotation};
use weir_tenants::store::view::KeyView;

/// The beginning of every key, by which people and scanners of leaked secrets know it.
const KEY_PREFIX: &str = "sk_weir_";

pub(super) async fn get_keys(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Vec<KeyView>>, ApiError> {
    require_for(&app, &headers, Scope::Viewer, &id)?;
    let (tenant, now) = (id.clone(), app.0.clock.now());
    let mut keys = kept(&app, move |store| store.keys(&id)).await?;
    let used = with_reader(&app, move |reader| reader.last_used(&tenant, now)).await?;
    keys.iter_mut().for_each(|key| key.last_used = used.get(&key.id).copied());
    Ok(Json(keys))
}

pub(super) async fn post_key(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let token = require_for(&app, &headers, Scope::Operator, &id)?;
    let new: NewKey = if body.is_empty() { NewKey::default() } else { object(&body)? };
    // A plan, or an environment that is not billed, is not the tenant's to choose.
    if !token.opens(&Scope::Operator) && [&new.plan, &new.environment, &new.feature].into_iter().any(Option::is_some) {
        return Err(ApiError::Forbidden(Scope::Operator));
    }
    let by = by(&app, &headers, token.name)?;
    let made = make().map_err(|error| ApiError::internal(&error))?;
    let outcome = kept(&app, move |store| store.create_key(&id, &new, &made, &by)).await?;
    Ok(told(StatusCode::CREATED, outcome))
}

pub(super) async fn post_rotate(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, key)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require_for(&app, &headers, Scope::Operator, &id)?.name)?;
    let rotation: Rotation = if body.is_empty() { Rotation::default() } else { object(&body)? };
    let made = make().map_err(|error| ApiError::internal(&error))?;
    let outcome = kept(&app, move |store| store.rotate_key(&id, &key, &rotation, &made, &by)).await?;
    Ok(told(StatusCode::CREATED, outcome))
}

pub(super) async fn delete_key(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, key)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require_for(&app, &headers, Scope::Operator, &id)?.name)?;
    let outcome = kept(&app, move |store| store.revoke_key(&id, &key, &by)).await?;
    Ok(told(StatusCode::OK, outcome))
}

/// Makes a key of 256 random bits.
pub(crate) fn make() -> Result<Made, NoRandomness> {
    let random = random_token()?;
    Ok(Made { key: format!("{KEY_PREFIX}{random}") })
}
