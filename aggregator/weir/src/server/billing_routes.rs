//! Routes about the billing provider: status, setup, comparison, webhook.
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use super::auth::require;
use super::error::ApiError;
use super::read::with_reader;
use super::{App, admin};
use crate::config::tokens::Scope;
use crate::config::{Config, StripeConfig};
use crate::reporting::{ReportingError, customers, scope};
use weir_billing::AskError;
use weir_billing::pace::Pacer;
use weir_billing::reconcile::{self, ReconcileError, ReconcileRequest, ReconcileView, record};
use weir_settings::secret::Secret;
use weir_stripe::StripeSink;
use weir_stripe::setup::{self, SetupError, SetupRequest, SetupView};
use weir_stripe::status::{self, StatusView};
use weir_stripe::webhook::{self, Kind, Outcome, ThinEvent, reports, signature};

/// The access to the provider that these routes share.
#[derive(Debug)]
pub struct ProviderAccess {
    sink: StripeSink,
    scope: reconcile::Scope,
    secrets: Vec<Secret>,
    /// Runs one comparison at a time, because each asks thousands of questions.
    comparing: Mutex<()>,
}

impl ProviderAccess {
    /// Sets up access as `config` says. `pacer` paces its questions together with the reporter's calls.
    pub fn new(config: &Config, stripe: &StripeConfig, pacer: Arc<Pacer>) -> Result<Self, ReportingError> {
        let sink = StripeSink::new(&stripe.url, &config.stripe_key(stripe)?, stripe.account.as_deref())?
            .paced(pacer, stripe.pace.calls_per_second);
        Ok(ProviderAccess {
            scope: scope(config, stripe, &sink),
            secrets: config.webhook_secrets(stripe)?,
            sink,
            comparing: Mutex::default(),
        })
    }
}

fn configured(app: &App) -> Result<&ProviderAccess, ApiError> {
    let missing = "there is no `stripe` in the configuration, so there is nobody to ask";
    app.0.provider.as_ref().ok_or(ApiError::NotConfigured(missing))
}

pub(super) async fn post_reconcile(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ReconcileView>, ApiError> {
    require(&app, &headers, Scope::Admin)?;
    let request: ReconcileRequest = if body.is_empty() {
        ReconcileRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::Request(error.to_string()))?
    };
    let provider = configured(&app)?;
    let _only = provider.comparing.lock().await;
    app.0.store.catch_up().await?;
    let scope = reconcile::Scope { customers: customers(&app.0.directory), ..provider.scope.clone() };
    let view = reconcile::run(&provider.sink, &app.0.store.home.ledger(), &scope, &request, &*app.0.clock).await?;
    if request.customer.is_none() {
        let noted = view.clone();
        app.0.store.ledger.call(move |ledger| record::write(ledger.db(), &noted)).await?;
    }
    Ok(Json(view))
}

pub(super) async fn get_stripe(State(app): State<App>, headers: HeaderMap) -> Result<Json<StatusView>, ApiError> {
    require(&app, &headers, Scope::Admin)?;
    let now = app.0.clock.now();
    let billed = billed(&app);
    with_reader(&app, move |reader| status::read(reader.db(), now, true, &billed)).await.map(Json)
}

/// The status without single rows, for metrics.
pub(super) async fn status_totals(app: &App) -> Result<StatusView, ApiError> {
    let now = app.0.clock.now();
    let billed = billed(app);
    with_reader(app, move |reader| status::read(reader.db(), now, false, &billed)).await
}

/// The meters that are reported, if any.
fn billed(app: &App) -> BTreeMap<String, String> {
    app.0.provider.as_ref().map(|provider| provider.scope.event_names.clone()).unwrap_or_default()
}

pub(super) async fn post_setup(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<SetupView>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    let request: SetupRequest = if body.is_empty() {
        SetupRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::Request(error.to_string()))?
    };
    let provider = configured(&app)?;
    let names = provider.scope.event_names.values().cloned().collect();
    let (ledger, tenants) = (&app.0.store.ledger, app.0.directory.current());
    let view = setup::run(&provider.sink, ledger, &names, tenants.customers(), request).await?;
    if request.apply {
        admin::audit(&app, token.name, "stripe setup", format!("{} billing periods noted", view.noted)).await?;
    }
    Ok(Json(view))
}

/// Accepts a webhook call. It needs no token: the signature authenticates it.
pub(super) async fn post_webhook(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let provider = configured(&app)?;
    if provider.secrets.is_empty() {
        return Err(ApiError::NotConfigured("there is no `stripe.webhook_secrets` in the configuration"));
    }
    if body.len() > webhook::BODY_MAX_BYTES {
        return Err(ApiError::TooLarge(webhook::BODY_MAX_BYTES));
    }
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Err(error) = signature::check(&provider.secrets, header, &body, app.0.clock.now()) {
        app.0.metrics.webhook(Outcome::BadSignature);
        return Err(ApiError::Request(error.to_string()));
    }
    let outcome = take(&app, provider, &body).await?;
    app.0.metrics.webhook(outcome);
    Ok(match outcome {
        Outcome::Malformed => ApiError::Request("the body is no event".to_owned()).into_response(),
        Outcome::NotFetched => ApiError::Busy.into_response(),
        _ => StatusCode::OK.into_response(),
    })
}

async fn take(app: &App, provider: &ProviderAccess, body: &[u8]) -> Result<Outcome, ApiError> {
    let Some(thin) = ThinEvent::parse(body) else { return Ok(Outcome::Malformed) };
    if thin.livemode.is_some_and(|livemode| livemode != provider.scope.account.livemode) {
        return Ok(Outcome::OtherMode);
    }
    let Some(kind) = thin.kind() else { return Ok(Outcome::UnknownType) };
    let id = thin.id.clone();
    let known = with_reader(app, move |reader| reports::is_known(reader.db(), &id)).await?;
    if known {
        return Ok(Outcome::Duplicate);
    }
    let (event_name, data) = match fetch(&provider.sink, &thin, kind).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(event = thin.id, %error, "a report of Stripe could not be fetched; it will come again");
            return Ok(Outcome::NotFetched);
        }
    };
    let (errors, now) = (data.reason.error_count, app.0.clock.now());
    let id = thin.id.clone();
    let outcome = app
        .0
        .store
        .ledger
        .call(move |ledger| ledger.durably(|db| reports::take(db, &id, &event_name, &data, now)))
        .await?;
    tracing::error!(
        event = thin.id,
        errors,
        "Stripe found errors in meter events that it had taken: weir stripe status"
    );
    Ok(outcome)
}

async fn fetch(sink: &StripeSink, thin: &ThinEvent, kind: Kind) -> Result<(String, webhook::Data), AskError> {
    let full = sink.core_event(&thin.id).await?;
    let event_name = match (kind, &thin.related_object) {
        (Kind::ErrorReport, Some(meter)) => sink.event_name(&meter.id).await?,
        _ => String::new(),
    };
    Ok((event_name, full.data))
}

impl From<SetupError> for ApiError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Ledger(error) => error.into(),
            SetupError::Ask(_) | SetupError::Account { .. } => ApiError::Report(error.to_string()),
        }
    }
}

impl From<ReconcileError> for ApiError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Ledger(error) => error.into(),
            ReconcileError::Billing(error) => error.into(),
            ReconcileError::Span(problem) => ApiError::Request(problem.to_owned()),
            ReconcileError::Task(error) => ApiError::internal(&error),
        }
    }
}
