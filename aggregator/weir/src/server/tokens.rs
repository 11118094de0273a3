//! Tokens that are made by calls and commands: lists, makes and revokes them. Tokens of the configuration are listed and stay as
//! they are.
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::App;
use super::admin::audit;
use super::auth::{allow, require};
use super::error::{ApiError, object};
use crate::config::tokens::{KeptTokens, NewToken, Scope, Token, TokenView};
use weir_tenants::store::TenantStore;
use weir_tenants::store::change::ChangeError;

pub(super) async fn get_tokens(State(app): State<App>, headers: HeaderMap) -> Result<Json<Vec<TokenView>>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    list(&app, &token).await.map(Json)
}

/// All tokens, for an administrator.
pub(super) async fn list(app: &App, token: &Token) -> Result<Vec<TokenView>, ApiError> {
    allow(token, Scope::Admin)?;
    let kept = on_store(app, TenantStore::tokens).await?;
    let configured = app.tokens();
    let views = configured.views().chain(kept.into_iter().map(TokenView::from));
    Ok(views.map(|view| TokenView { last_used: app.0.seen.last_used(&view.name), ..view }).collect())
}

pub(super) async fn post_token(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<TokenView>), ApiError> {
    let by = require(&app, &headers, Scope::Admin)?;
    create(&app, by, object(&body)?).await.map(|view| (StatusCode::CREATED, Json(view)))
}

/// Makes a token for an administrator.
pub(super) async fn create(app: &App, by: Token, new: NewToken) -> Result<TokenView, ApiError> {
    allow(&by, Scope::Admin)?;
    let (kept, secret) = new.make(&by.name, app.0.clock.now())?;
    if app.tokens().knows(&kept.name) {
        return Err(ApiError::from(ChangeError::Taken(format!("token {}", kept.name))));
    }
    let added = kept.clone();
    on_store(app, move |store| store.add_token(&added)).await?;
    app.reload_kept_tokens().await?;
    let view = TokenView { token: Some(secret), ..TokenView::from(kept) };
    audit(app, by.name, "token create", format!("{}: {}", view.name, view.opens())).await?;
    Ok(view)
}

pub(super) async fn delete_token(
    State(app): State<App>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<TokenView>, ApiError> {
    let by = require(&app, &headers, Scope::Admin)?;
    revoke(&app, by, name).await.map(Json)
}

/// Revokes a token for an administrator.
pub(super) async fn revoke(app: &App, by: Token, name: String) -> Result<TokenView, ApiError> {
    allow(&by, Scope::Admin)?;
    let (wanted, now) = (name.clone(), app.0.clock.now());
    let Some(revoked) = on_store(app, move |store| store.revoke_token(&wanted, now)).await? else {
        if app.tokens().knows(&name) {
            return Err(ApiError::NotConfigured("this token stands in the configuration: take it out there"));
        }
        return Err(ApiError::Unknown(format!("there is no token {name}")));
    };
    app.reload_kept_tokens().await?;
    audit(app, by.name, "token revoke", name).await?;
    Ok(revoked.into())
}

/// Runs `work` on the database.
async fn on_store<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&TenantStore) -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = Arc::clone(&app.0.kept);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    Ok(done.map_err(|error| ApiError::internal(&error))??)
}

impl App {
    /// Puts the database's tokens in force.
    async fn reload_kept_tokens(&self) -> Result<(), ApiError> {
        let kept = on_store(self, TenantStore::tokens).await?;
        self.replace_kept_tokens(KeptTokens::new(kept));
        Ok(())
    }
}
