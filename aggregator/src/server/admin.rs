//! What an administrator can have done.
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use tokio::sync::Mutex;

use super::App;
use super::auth::require;
use super::error::ApiError;
use crate::api::{ReportRequest, ReportView};
use crate::config::tokens::Scope;
use crate::outbox::report::Reporter;
use crate::stripe::StripeSink;

/// Reporting, one run at a time.
#[derive(Debug)]
pub(super) struct Reports(Mutex<Reporter<StripeSink>>);

impl Reports {
    pub(super) fn new(reporter: Reporter<StripeSink>) -> Self {
        Reports(Mutex::new(reporter))
    }
}

pub(super) async fn post_report(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ReportView>, ApiError> {
    require(&app, &headers, Scope::Admin)?;
    let request = if body.is_empty() {
        ReportRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::Request(error.to_string()))?
    };
    run(&app, request).await.map(Json)
}

/// Reports, once whatever runs already has ended.
pub(super) async fn run(app: &App, request: ReportRequest) -> Result<ReportView, ApiError> {
    let missing = "there is no `stripe` in the configuration, so there is nobody to report to";
    let reports = app.0.reports.as_ref().ok_or(ApiError::NotConfigured(missing))?;
    let mut reporter = reports.0.lock().await;
    app.0.store.catch_up().await?;
    reporter.terms.customers = app.0.directory.current().customers().clone();
    Ok(reporter.run(request.as_of).await?)
}
