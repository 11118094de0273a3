//! `GET /v1/models`: the catalogue with its live figures.
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::App;
use super::auth::require;
use super::error::ApiError;
use crate::config::tokens::Scope;
use crate::figures::{self, Measured};
use crate::models::ModelsView;

pub(super) async fn get_models(State(app): State<App>, headers: HeaderMap) -> Result<Json<ModelsView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    app.0.store.catch_up().await?;
    Ok(Json(shown(&app)))
}

/// The catalogue with the figures of what is counted.
pub(super) fn shown(app: &App) -> ModelsView {
    let now = app.0.clock.now();
    let figures = app.0.store.ledger.recent().figures(now);
    let gateways = app.0.seen.catalogues(now);
    ModelsView::of(app.0.catalogue.current().as_deref(), figures, gateways)
}

impl App {
    /// The figures that gateways get.
    pub(super) fn measured(&self) -> Arc<Measured> {
        let inner = &self.0;
        inner.measured.get(inner.clock.elapsed(), || {
            Measured::of(inner.store.ledger.recent(), inner.catalogue.current().as_deref(), inner.clock.now())
        })
    }
}

/// Reads from the log what happened shortly before the start, so that figures do not begin anew with it.
pub(super) async fn reread(app: App) {
    let (home, ledger, now) = (app.0.store.home.clone(), &app.0.store.ledger, app.0.clock.now());
    let (recent, hasher) = (Arc::clone(ledger.recent()), *ledger.hasher());
    // Nothing ends it: a server that stops meanwhile must not wait for it with its data directory locked.
    drop(app);
    let read = tokio::task::spawn_blocking(move || figures::reread(&home, &recent, &hasher, now)).await;
    match read {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "figures of models begin with the start: the end of the log cannot be read");
        }
        Err(error) => tracing::warn!(%error, "figures of models begin with the start"),
    }
}
