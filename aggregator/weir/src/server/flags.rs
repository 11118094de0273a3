//! Feature flags: lists and shows them, and sets their rules at run time. Which flags there are, the configuration says.
use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use weir_contract::flags::{FlagRule, Flags};

use super::App;
use super::auth::require;
use super::error::{ApiError, object};
use super::tenants::{by, expected_version};
use crate::config::tokens::Scope;
use weir_tenants::store::TenantStore;
use weir_tenants::store::change::ChangeError;
use weir_tenants::store::flags::{FlagChange, FlagView, NewRules};

pub(super) async fn get_flags(State(app): State<App>, headers: HeaderMap) -> Result<Json<Vec<FlagView>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    kept(&app, TenantStore::flags).await.map(Json)
}

pub(super) async fn get_flag(
    State(app): State<App>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    tagged(kept(&app, move |store, declared| store.flag(declared, &name)).await?)
}

pub(super) async fn get_history(
    State(app): State<App>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Vec<FlagChange>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    kept(&app, move |store, declared| store.flag_history(declared, &name)).await.map(Json)
}

pub(super) async fn put_flag(
    State(app): State<App>,
    headers: HeaderMap,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Operator)?;
    let NewRules { rules } = object(&body)?;
    set(&app, &headers, name, Some(rules)).await
}

pub(super) async fn delete_flag(
    State(app): State<App>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Operator)?;
    set(&app, &headers, name, None).await
}

async fn set(app: &App, headers: &HeaderMap, name: String, rules: Option<Vec<FlagRule>>) -> Result<Response, ApiError> {
    let by = by(app, headers, require(app, headers, Scope::Operator)?.name)?;
    let (expected, directory) = (expected_version(headers)?, app.0.directory.clone());
    let view = kept(app, move |store, declared| store.set_flag((declared, &directory), (&name, rules), expected, &by));
    tagged(view.await?)
}

/// Runs `work` on the database with the declared flags.
async fn kept<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&TenantStore, &Flags) -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ApiError> {
    let (store, app) = (Arc::clone(&app.0.kept), app.clone());
    let done = tokio::task::spawn_blocking(move || {
        // Kept until the work is done: what a reload has replaced is never put in force after it.
        let declared = app.0.flags.read().unwrap_or_else(PoisonError::into_inner);
        work(&store, &declared)
    });
    let done = done.await;
    Ok(done.map_err(|error| ApiError::internal(&error))??)
}

fn tagged(view: FlagView) -> Result<Response, ApiError> {
    let etag = HeaderValue::from_str(&format!("\"{}\"", view.version)).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::ETAG, etag)], Json(view)).into_response())
}

/// Says that rules that were set at run time are not in force.
pub(super) fn tell_left_out(fits: bool) {
    if !fits {
        tracing::error!(
            "with the rules set at run time the feature flags are too large, so those of the configuration hold; `weir flags reset` some"
        );
    }
}

/// Puts the flags of a changed configuration in force.
pub(super) async fn reload(app: &App, flags: Flags) {
    if *app.flags() == flags {
        return;
    }
    app.replace_flags(flags);
    let directory = app.0.directory.clone();
    match kept(app, move |store, declared| store.lay_flags(declared, &directory)).await {
        Ok(fits) => {
            tracing::info!("other feature flags are declared");
            tell_left_out(fits);
        }
        Err(error) => tracing::error!(%error, "the feature flags of the configuration are not in force"),
    }
}
