//! Liveness, readiness and metrics.
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::auth::require;
use super::error::ApiError;
use super::passed_on::is_passed_on;
use super::{App, billing_routes, budgets, read};
use crate::config::tokens::Scope;
use crate::metrics::TextFormat;

/// The process answers.
pub(super) async fn get_healthz() -> &'static str {
    "ok\n"
}

/// The answer of [`get_readyz`].
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// Why events are not accepted; None if they are.
    log: Option<String>,
    /// Why accepted events are not counted; None if they are.
    ledger: Option<String>,
    /// Of one of several nodes: its name, and that it owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

/// Answers whether events are accepted and counted.
pub(super) async fn get_readyz(State(app): State<App>) -> Response {
    let (log, ledger) = faults(&app);
    let ready = log.is_none() && ledger.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let node = app.0.fleet.as_ref().map(|fleet| fleet.me.name.clone());
    let role = node.is_some().then_some("owner");
    (status, Json(Readiness { ready, log, ledger, node, role })).into_response()
}

/// Why events are not accepted, and why accepted events are not counted.
pub(super) fn faults(app: &App) -> (Option<String>, Option<String>) {
    let progress = app.0.store.log.progress();
    let gone = app.0.store.check_in_place().err().map(|error| error.to_string());
    let refused = || progress.broken().map(str::to_owned).or_else(|| progress.refused(app.0.clock.elapsed()));
    (gone.or_else(refused), app.0.store.ledger.progress().failure())
}

/// Why this process can write no more and another one has to; None while it can.
pub(super) fn is_over(app: &App) -> Option<String> {
    let store = &app.0.store;
    let taken_over = store.check_in_place().err().map(|error| error.to_string());
    taken_over.or_else(|| store.log.progress().broken().map(str::to_owned))
}

/// Answers all metrics, in Prometheus's text format.
pub(super) async fn get_metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    if !app.0.open_metrics || is_passed_on(&headers) {
        require(&app, &headers, Scope::Metrics)?;
    }
    let metrics = &app.0.metrics;
    metrics.show_ledger(&read::own_totals_view(&app).await?);
    let now = app.0.clock.now();
    let open = read::with_own_reader(&app, move |reader| reader.open_breakers(now)).await?;
    metrics.show_models(open, app.0.store.ledger.recent().left_out());
    metrics.show_exports(&app.exports());
    metrics.show_billing(&billing_routes::own_status_totals(&app).await?);
    // A busy center is no reason to show nothing: the last totals stay.
    if let Ok(totals) = app.0.leases.totals().await {
        metrics.show_leases(&totals);
    }
    app.0.ui.show(metrics);
    let signal = app.0.budgets.signal();
    metrics.show_budgets(budgets::lag_ms(&app), signal.evaluated_through(), signal.changes());
    metrics.show_left_out_of_budgets(signal.left_out(), app.0.budgets.untold());
    metrics.show_unpriced_of_budgets(signal.unpriced());
    let format = TextFormat::accepted(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()));
    let text = metrics.encode(format).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}
