//! What concerns the billing provider: comparing with it, and being called by it.
use std::collections::{BTreeMap, BTreeSet};
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
use super::run::ServeError;
use super::{App, admin, hooks};
use crate::api::{SeenRequest, SeenView, SettleRequest, SettledRow};
use crate::billing::pace::Pacer;
use crate::config::secret::Secret;
use crate::config::tokens::Scope;
use crate::config::{Config, StripeConfig};
use crate::directory::Directory;
use crate::outbox::settle;
use crate::reconcile::{self, ReconcileError, ReconcileRequest, ReconcileView, record};
use crate::stripe::StripeSink;
use crate::stripe::setup::{self, SetupError, SetupRequest, SetupTenants, SetupView};
use crate::stripe::status::{self, StatusView};
use crate::webhook::{self, Outcome, reports, signature};

/// What answers for what was billed.
#[derive(Debug)]
pub struct ProviderAccess {
    pub(super) sink: StripeSink,
    pub(super) scope: reconcile::Scope,
    secrets: Vec<Secret>,
    /// One comparison at a time: each asks thousands of questions.
    comparing: Mutex<()>,
    /// What was last logged of billing periods.
    pub(super) told: std::sync::Mutex<Option<String>>,
}

impl ProviderAccess {
    /// As `config` says; what is asked is paced by `pacer` with what is reported.
    pub fn new(config: &Config, stripe: &StripeConfig, pacer: Arc<Pacer>) -> Result<Self, ServeError> {
        let sink = StripeSink::new(&stripe.url, &config.stripe_key(stripe)?, stripe.account.as_deref())?
            .paced(pacer, stripe.pace.calls_per_second);
        Ok(ProviderAccess {
            scope: scope(config, stripe, &sink),
            secrets: config.webhook_secrets(stripe)?,
            sink,
            comparing: Mutex::default(),
            told: std::sync::Mutex::default(),
        })
    }

    /// Stripe's names of the meters that are reported.
    pub(super) fn event_names(&self) -> BTreeSet<String> {
        self.scope.event_names.values().cloned().collect()
    }
}

/// What is compared under `config`; customers are added by [`customers`].
pub fn scope(config: &Config, stripe: &StripeConfig, sink: &StripeSink) -> reconcile::Scope {
    reconcile::Scope {
        account: crate::billing::BillingSink::account(sink).clone(),
        event_names: stripe.event_names.clone(),
        customers: BTreeSet::new(),
        grace_ms: config.grace_ms,
        concurrency: stripe.pace.concurrency,
    }
}

/// Every customer of the tenants.
pub fn customers(directory: &Directory) -> BTreeSet<String> {
    directory.current().customers().values().cloned().collect()
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
    let view = reconcile::run(&provider.sink, &app.0.store.home, &scope, &request, &*app.0.clock).await?;
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

/// The same without single rows, for metrics.
pub(super) async fn status_totals(app: &App) -> Result<StatusView, ApiError> {
    let now = app.0.clock.now();
    let billed = billed(app);
    with_reader(app, move |reader| status::read(reader.db(), now, false, &billed)).await
}

/// The meters that are reported, if something is.
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
    let (ledger, snapshot) = (&app.0.store.ledger, app.0.directory.current());
    let tenants = SetupTenants { customers: snapshot.customers(), anchors: snapshot.anchors() };
    let view = setup::run(&provider.sink, ledger, &provider.event_names(), tenants, request, app.0.clock.now()).await?;
    if request.apply {
        admin::audit(&app, token.name, "stripe setup", format!("{} billing periods noted", view.noted)).await?;
    }
    Ok(Json(view))
}

/// Settles held rows by hand. Waits for no report.
pub(super) async fn post_settle(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Vec<SettledRow>>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    let request: SettleRequest = serde_json::from_slice(&body).map_err(|error| ApiError::Request(error.to_string()))?;
    let now = app.0.clock.now();
    let settle = move |db: &mut rusqlite::Connection| settle::settle(db, &request, &token.name, now);
    Ok(Json(app.0.store.ledger.call(move |ledger| ledger.durably(settle)).await?))
}

/// Acknowledges what Stripe found wrong.
pub(super) async fn post_seen(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<SeenView>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    let request: SeenRequest = serde_json::from_slice(&body).map_err(|error| ApiError::Request(error.to_string()))?;
    let now = app.0.clock.now();
    let seen = move |db: &mut rusqlite::Connection| reports::acknowledge(db, &request.why, &token.name, now);
    Ok(Json(app.0.store.ledger.call(move |ledger| ledger.durably(seen)).await?))
}

/// Takes what Stripe tells. No token: the signature is the proof.
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
    let outcome = hooks::take(&app, provider, &body).await?;
    app.0.metrics.webhook(outcome);
    Ok(match outcome {
        Outcome::Malformed => ApiError::Request("the body is no event".to_owned()).into_response(),
        Outcome::NotFetched | Outcome::Unreadable => ApiError::Busy.into_response(),
        _ => StatusCode::OK.into_response(),
    })
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
            ReconcileError::Span(problem) => ApiError::Request(problem.to_owned()),
            ReconcileError::Task(error) => ApiError::internal(&error),
        }
    }
}
