//! Tenants that are kept in the database: lists, shows, creates and changes them.
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::App;
use super::admin::{audit, note_tenants};
use super::auth::{allow, require, require_for};
use super::error::{ApiError, object};
use crate::config::home::TenantsHome;
use crate::config::tokens::{Scope, Token};
use weir_contract::directory::Revoked;
use weir_tenants::store::change::{By, ChangeError, NewTenant, TenantPatch};
use weir_tenants::store::view::{HistoryPage, HistoryQuery, TenantView, TenantsPage, TenantsQuery};
use weir_tenants::store::{IDEMPOTENCY_KEY_MAX_BYTES, Outcome, TenantStore};

/// Why tenants of a file cannot be changed.
const IN_A_FILE: &str = "tenants are kept in the tenants file: change it there, or move them with `weir tenants import` and `tenants_database`";
/// Why there are no tenants.
const NOWHERE: &str = "no tenants are kept: say `tenants_database: true` in the configuration";

pub(super) async fn get_tenants(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<TenantsQuery>, QueryRejection>,
) -> Result<Json<TenantsPage>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    let now = app.0.clock.now();
    kept(&app, move |store| store.tenants(&query, now)).await.map(Json)
}

pub(super) async fn get_tenant(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let token = require_for(&app, &headers, Scope::Viewer, &id)?;
    let now = app.0.clock.now();
    let mut view = kept(&app, move |store| store.tenant(&id, now)).await?;
    if !token.opens(&Scope::Viewer) {
        // With the share that it sees, a tenant would know from the amount what it costs the operator.
        view.budgets.clear();
        view.owner = None;
    }
    tagged(&app, StatusCode::OK, Outcome { answer: view, repeated: false })
}

pub(super) async fn get_history(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<HistoryPage>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    kept(&app, move |store| store.history(&id, &query)).await.map(Json)
}

pub(super) async fn post_tenant(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require(&app, &headers, Scope::Operator)?.name)?;
    let new: NewTenant = object(&body)?;
    let is_billed = new.stripe_customer.is_some() || new.billing_anchor.is_some();
    let outcome = kept(&app, move |store| store.create(&new, &by)).await?;
    if is_billed {
        note_tenants(&app).await?;
    }
    tagged(&app, StatusCode::CREATED, outcome)
}

pub(super) async fn patch_tenant(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let by = by(&app, &headers, token.name.clone())?;
    let (patch, expected) = (object(&body)?, expected_version(&headers)?);
    let outcome = change(&app, &token, (id, expected), patch, by).await?;
    tagged(&app, StatusCode::OK, outcome)
}

/// Changes a tenant for an operator, if it has the expected version.
pub(super) async fn change(
    app: &App,
    token: &Token,
    (id, expected): (String, Option<u64>),
    patch: TenantPatch,
    by: By,
) -> Result<Outcome<TenantView>, ApiError> {
    allow(token, Scope::Operator)?;
    let is_billed_otherwise =
        patch.stripe_customer.is_some() || patch.billing_anchor.is_some() || patch.billing_interval.is_some();
    let outcome = kept(app, move |store| store.change(&id, &patch, expected, &by)).await?;
    if is_billed_otherwise {
        note_tenants(app).await?;
    }
    Ok(outcome)
}

pub(super) async fn get_revoked(State(app): State<App>, headers: HeaderMap) -> Result<Json<Revoked>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    kept(&app, TenantStore::revoked).await.map(Json)
}

pub(super) async fn put_revoked(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Revoked>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let revoked: Revoked = object(&body)?;
    let detail = format!("{} tokens, {} signing keys", revoked.tokens.len(), revoked.keys.len());
    let answer = revoked.clone();
    let now = app.0.clock.now();
    kept(&app, move |store| store.revoke(revoked, now)).await?;
    audit(&app, token.name, "revoke", detail).await?;
    Ok(Json(answer))
}

/// Runs `work` on the database, where tenants are kept there.
pub(super) async fn kept<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&TenantStore) -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ApiError> {
    match app.0.home {
        TenantsHome::Database => {}
        TenantsHome::File(_) => return Err(ApiError::NotConfigured(IN_A_FILE)),
        TenantsHome::Nowhere => return Err(ApiError::NotConfigured(NOWHERE)),
    }
    let store = Arc::clone(&app.0.kept);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    Ok(done.map_err(|error| ApiError::internal(&error))??)
}

/// Who changes something, and under which `Idempotency-Key`.
pub(super) fn by(app: &App, headers: &HeaderMap, who: String) -> Result<By, ApiError> {
    let wrong = || {
        ApiError::Request(format!(
            "Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX_BYTES} printable bytes without spaces"
        ))
    };
    let is_key = |key: &&str| {
        (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let read = |value: &HeaderValue| value.to_str().ok().filter(is_key).map(str::to_owned).ok_or_else(wrong);
    let key = headers.get("idempotency-key").map(read);
    Ok(By { who, at: app.0.clock.now(), key: key.transpose()? })
}

/// The version that `If-Match` names; None for no such header and `*`.
pub(super) fn expected_version(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let wrong = || ApiError::Request("If-Match is the ETag of what is changed, such as \"3\"".to_owned());
    text.trim_matches('"').parse().map(Some).map_err(|_| wrong())
}

/// What has no effect of a tenant's settings: a plan that no gateway knows, amounts of its own of budgets that it does not have.
pub(super) fn warnings(app: &App, view: &TenantView) -> Vec<String> {
    let budgets = app.0.budgets.rules().budgets;
    let own = view.budgets.keys().filter_map(|name| {
        let known = budgets.iter().find(|known| *known.name == **name);
        match known {
            None => Some(format!("its own amount of {name:?} has no effect: the configuration has no such budget")),
            Some(known) if known.applies(view.id.as_str(), Some(&view.plan)) => None,
            Some(_) => Some(format!(
                "its own amount of {name:?} has no effect: the budget names other tenants or plans than this one (its plan is {:?})",
                view.plan
            )),
        }
    });
    app.0.seen.plan_warning(&view.plan, app.0.clock.now()).into_iter().chain(own).collect()
}

/// A tenant with its version as ETag, and what has no effect of it.
fn tagged(app: &App, status: StatusCode, mut outcome: Outcome<TenantView>) -> Result<Response, ApiError> {
    let view = &mut outcome.answer;
    view.warnings.extend(warnings(app, view));
    let etag = HeaderValue::from_str(&format!("\"{}\"", view.version)).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::ETAG, etag)], told(status, outcome)).into_response())
}

/// An answer, and whether it is one that was given before.
pub(super) fn told<T: Serialize>(status: StatusCode, outcome: Outcome<T>) -> Response {
    let repeated = outcome.repeated.then_some([("idempotent-replayed", "true")]);
    match repeated {
        Some(header) => (status, header, Json(outcome.answer)).into_response(),
        None => (status, Json(outcome.answer)).into_response(),
    }
}
