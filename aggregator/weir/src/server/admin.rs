//! Administrators' requests: report, adjust, forget a user, note in the audit.
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;

use super::App;
use super::auth::require;
use super::error::{ApiError, object};
use crate::config::tokens::Scope;
use crate::forget;
use crate::forget::{ForgetRequest, ForgetView};
use crate::reporting::{NO_STRIPE, tenants};
use weir_billing::outbox::report::Reporter;
use weir_billing::outbox::view::{AdjustRequest, AdjustView, ReportRequest, ReportView};
use weir_ledger::view::{AUDIT_ACT_MAX_BYTES, AUDIT_DETAIL_MAX_BYTES, AuditEntry, AuditRequest};
use weir_stripe::StripeSink;

pub(super) async fn post_report(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ReportView>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let request = if body.is_empty() { ReportRequest::default() } else { object(&body)? };
    let view = run(&app, request).await?;
    let detail = format!("{} rows made, {} reported", view.created, view.reported);
    audit(&app, token.name, "report", detail).await?;
    Ok(Json(view))
}

/// Forgets a user.
pub(super) async fn post_forget(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ForgetView>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    let request: ForgetRequest = object(&body)?;
    let view = forget::forget(&app.0.store, &app.0.user_keys, &request, app.0.clock.now()).await?;
    audit(&app, token.name, "user forget", format!("{} records, {} events", view.records, view.events)).await?;
    Ok(Json(view))
}

/// Audits an action that a command reports.
pub(super) async fn post_audit(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<AuditEntry>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    let request: AuditRequest = object(&body)?;
    let AuditRequest { act, detail } = request;
    let printable = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let fits = (1..=AUDIT_ACT_MAX_BYTES).contains(&act.len()) && detail.len() <= AUDIT_DETAIL_MAX_BYTES;
    if !fits || !printable(&act) || !printable(&detail) {
        let problem = format!(
            "`act` has 1 to {AUDIT_ACT_MAX_BYTES} printable ASCII characters, `detail` at most {AUDIT_DETAIL_MAX_BYTES}"
        );
        return Err(ApiError::Request(problem));
    }
    let entry = AuditEntry { at: app.0.clock.now(), who: token.name, act, detail };
    let noted = entry.clone();
    app.0.store.ledger.call(move |ledger| ledger.audit(noted.at, &noted.who, &noted.act, &noted.detail)).await?;
    Ok(Json(entry))
}

/// Audits an action. Returns once it is on disk; only then may the caller be told that the action is done.
pub(super) async fn audit(app: &App, who: String, act: &'static str, detail: String) -> Result<(), ApiError> {
    let now = app.0.clock.now();
    Ok(app.0.store.ledger.call(move |ledger| ledger.audit(now, &who, act, &detail)).await?)
}

/// Runs a report, after the one under way has ended.
pub(super) async fn run(app: &App, request: ReportRequest) -> Result<ReportView, ApiError> {
    let reporter = reporter(app)?;
    app.0.store.catch_up().await?;
    let view = reporter.run(request, || tenants(&app.0.directory)).await?;
    app.0.seen.reported(app.0.clock.now());
    Ok(view)
}

/// Records a changed tenants file at once, because customers and billing periods apply forward from the moment of
/// recording.
pub(super) async fn note_tenants(app: &App) -> Result<(), ApiError> {
    let Ok(reporter) = reporter(app) else { return Ok(()) };
    Ok(reporter.note(|| tenants(&app.0.directory)).await?)
}

/// Corrects a sum by hand.
pub(super) async fn post_adjust(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<AdjustView>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    let request: AdjustRequest = object(&body)?;
    Ok(Json(reporter(&app)?.adjust(request, || tenants(&app.0.directory), token.name).await?))
}

pub(super) fn reporter(app: &App) -> Result<&Reporter<StripeSink>, ApiError> {
    app.0.reporter.as_ref().ok_or(ApiError::NotConfigured(NO_STRIPE))
}
