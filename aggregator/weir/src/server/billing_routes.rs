//! Routes about the billing provider: status, setup, comparison, held rows, errors that it found.
use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;

use super::auth::{allow, require};
use super::error::{ApiError, object};
use super::provider::configured;
use super::read::with_reader;
use super::{App, admin};
use crate::config::tokens::{Scope, Token};
use crate::finance::stripe_prices::{self, StripePricesView};
use crate::reporting::customers;
use weir_billing::outbox::look::{self, One, Reported, Settled, Sum, Waiting, Which};
use weir_billing::outbox::settle;
use weir_billing::outbox::view::{SettleRequest, SettledRow};
use weir_billing::reconcile::{self, ReconcileError, ReconcileRequest, ReconcileView, record};
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;
use weir_stripe::setup::{self, SetupError, SetupRequest, SetupTenants, SetupView};
use weir_stripe::status::{self, StatusView};
use weir_stripe::webhook::reports::{self, SeenRequest, SeenView};

pub(super) async fn post_reconcile(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ReconcileView>, ApiError> {
    require(&app, &headers, Scope::Operator)?;
    let request: ReconcileRequest = if body.is_empty() { ReconcileRequest::default() } else { object(&body)? };
    let provider = configured(&app)?;
    let _only = provider.comparing.lock().await;
    app.0.store.catch_up().await?;
    let scope = reconcile::Scope { customers: customers(&app.0.directory), ..provider.scope.clone() };
    let view = reconcile::run(&provider.sink, app.0.store.home.ledger(), &scope, &request, &*app.0.clock).await?;
    if request.customer.is_none() {
        let noted = view.clone();
        app.0.store.ledger.call(move |ledger| record::write(ledger.db(), &noted)).await?;
    }
    Ok(Json(view))
}

pub(super) async fn get_stripe(State(app): State<App>, headers: HeaderMap) -> Result<Json<StatusView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    status_rows(&app).await.map(Json)
}

/// The status with single rows.
pub(super) async fn status_rows(app: &App) -> Result<StatusView, ApiError> {
    let now = app.0.clock.now();
    let billed = billed(app);
    let view = with_reader(app, move |reader| status::read(reader.db(), now, true, &billed)).await?;
    Ok(StatusView { periods_undecided: app.0.metrics.periods_undecided(), ..view })
}

/// Where a page of rows goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    /// Held rows: above this number.
    pub(super) held: Option<i64>,
    /// Pending rows: above this number.
    pub(super) pending: Option<i64>,
    /// Reported rows: below this number.
    pub(super) reported: Option<i64>,
}

/// Rows as a page lists them.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) sums: Vec<Sum>,
    pub(super) held: Waiting,
    pub(super) pending: Waiting,
    pub(super) reported: Reported,
}

/// The rows of a page.
pub(super) async fn rows(app: &App, which: Which, start: Start) -> Result<Rows, ApiError> {
    let read = move |reader: &mut LedgerReader| {
        let db = reader.db();
        Ok(Rows {
            sums: look::sums(db, &which)?,
            held: look::waiting(db, "held", &which, start.held)?,
            pending: look::waiting(db, "pending", &which, start.pending)?,
            reported: look::reported(db, &which, start.reported)?,
        })
    };
    with_reader(app, read).await
}

/// Settled rows below a number, and the number to go on before.
pub(super) async fn settled(
    app: &App,
    which: Which,
    before: Option<i64>,
) -> Result<(Vec<Settled>, Option<i64>), ApiError> {
    with_reader(app, move |reader| look::settled(reader.db(), &which, before)).await
}

/// One row; None if there is none of this number.
pub(super) async fn row(app: &App, id: i64) -> Result<Option<One>, ApiError> {
    with_reader(app, move |reader| look::one(reader.db(), id)).await
}

/// Reads the status without single rows.
pub(super) fn status_totals(app: &App) -> impl FnOnce(&mut LedgerReader) -> Result<StatusView, LedgerError> + use<> {
    let (now, billed, periods_undecided) = (app.0.clock.now(), billed(app), app.0.metrics.periods_undecided());
    move |reader| Ok(StatusView { periods_undecided, ..status::read(reader.db(), now, false, &billed)? })
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
    let request: SetupRequest = if body.is_empty() { SetupRequest::default() } else { object(&body)? };
    let provider = configured(&app)?;
    let (ledger, snapshot) = (&app.0.store.ledger, app.0.directory.current());
    let tenants = SetupTenants { customers: snapshot.customers(), anchors: snapshot.anchors() };
    let view = setup::run(&provider.sink, ledger, &provider.event_names(), tenants, request, app.0.clock.now()).await?;
    if request.apply {
        admin::audit(&app, token.name, "stripe setup", format!("{} billing periods noted", view.noted)).await?;
    }
    Ok(Json(view))
}

/// Compares price plans with Stripe's prices.
pub(super) async fn post_prices(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<StripePricesView>, ApiError> {
    require(&app, &headers, Scope::Admin)?;
    let (provider, finances) = (configured(&app)?, app.finances());
    let found = provider.sink.prices(&provider.event_names()).await;
    let prices = found.map_err(|error| ApiError::Report(format!("Stripe: {error}")))?;
    let names = &provider.scope.event_names;
    Ok(Json(stripe_prices::compare(&finances.plans, names, &prices, app.0.clock.now())))
}

/// Settles held rows by hand. Waits for no report.
pub(super) async fn post_settle(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Vec<SettledRow>>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    settle(&app, token, object(&body)?).await.map(Json)
}

/// Settles held rows for an administrator. The ledger audits it, with the token's name.
pub(super) async fn settle(app: &App, token: Token, request: SettleRequest) -> Result<Vec<SettledRow>, ApiError> {
    allow(&token, Scope::Admin)?;
    let now = app.0.clock.now();
    let settle = move |db: &mut weir_database::Connection| settle::settle(db, &request, &token.name, now);
    Ok(app.0.store.ledger.call(move |ledger| ledger.durably(settle)).await?)
}

/// Acknowledges what Stripe found wrong.
pub(super) async fn post_seen(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<SeenView>, ApiError> {
    let token = require(&app, &headers, Scope::Operator)?;
    let request: SeenRequest = object(&body)?;
    let now = app.0.clock.now();
    let seen = move |db: &mut weir_database::Connection| reports::acknowledge(db, &request.why, &token.name, now);
    Ok(Json(app.0.store.ledger.call(move |ledger| ledger.durably(seen)).await?))
}

impl From<SetupError> for ApiError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Ledger(error) => error.into(),
            SetupError::Request(_) | SetupError::Account { .. } => ApiError::Report(error.to_string()),
        }
    }
}

impl From<ReconcileError> for ApiError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Ledger(error) => error.into(),
            ReconcileError::Billing(error) => error.into(),
            // Each moment is valid; together they ask for nothing, or for too much.
            ReconcileError::Span(problem) => ApiError::Report(problem.to_owned()),
            ReconcileError::Task(error) => ApiError::internal(&error),
        }
    }
}
