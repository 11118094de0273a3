//! What Stripe tells by webhook, once its signature holds: errors that it found later, and changed subscriptions.
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::ApiError;
use super::periods;
use super::provider::{ProviderAccess, configured};
use super::read::with_own_reader;
use weir_billing::outbox::close;
use weir_stripe::StripeSink;
use weir_stripe::webhook::{self, FullEvent, Kind, Outcome, ThinEvent, reports, signature};

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
    let outcome = take(&app, provider, &body).await?;
    app.0.metrics.webhook(outcome);
    Ok(match outcome {
        Outcome::Malformed => ApiError::Request("the body is no event".to_owned()).into_response(),
        Outcome::NotFetched | Outcome::Unreadable => ApiError::Busy.into_response(),
        _ => StatusCode::OK.into_response(),
    })
}

/// Takes an event in. What cannot be read now is told as an error and shown until it is.
async fn take(app: &App, provider: &ProviderAccess, body: &[u8]) -> Result<Outcome, ApiError> {
    let Some(thin) = ThinEvent::parse(body) else {
        note_unread(app, "a body that is no event", "its signature is good, and it is no event of Stripe").await?;
        return Ok(Outcome::Malformed);
    };
    if !thin.is_of(&account(app, provider).await?) {
        return Ok(Outcome::OtherAccount);
    }
    if thin.livemode.is_some_and(|livemode| livemode != provider.scope.account.livemode) {
        return Ok(Outcome::OtherMode);
    }
    match thin.kind() {
        None => Ok(Outcome::UnknownType),
        Some(Kind::Subscription) => take_subscription(app, &thin).await,
        Some(kind @ (Kind::ErrorReport | Kind::NoMeter)) => take_report(app, provider, &thin, kind).await,
    }
}

/// The account that is ours: as configured, else as the first report found it.
async fn account(app: &App, provider: &ProviderAccess) -> Result<String, ApiError> {
    let configured = &provider.scope.account.id;
    if !configured.is_empty() {
        return Ok(configured.clone());
    }
    let pinned = app.0.store.ledger.call(|ledger| close::pinned(ledger.db())).await?;
    Ok(pinned.map(|account| account.id).unwrap_or_default())
}

/// A subscription changed: its customer's billing periods are read anew, whatever order events come in.
async fn take_subscription(app: &App, thin: &ThinEvent) -> Result<Outcome, ApiError> {
    let Some(customer) = thin.customer() else {
        note_unread(app, &thin.id, "an event of a subscription that names no customer").await?;
        return Ok(Outcome::Unreadable);
    };
    if !app.0.directory.current().customers().values().any(|known| known == customer) {
        return Ok(Outcome::OtherCustomer);
    }
    if let Err(error) = periods::refresh(app, Some(customer)).await {
        note_unread(app, &thin.id, &format!("billing periods could not be read: {error}")).await?;
        return Ok(Outcome::NotFetched);
    }
    let id = thin.id.clone();
    app.0.store.ledger.call(move |ledger| reports::note_read(ledger.db(), &id)).await?;
    Ok(Outcome::Taken)
}

async fn take_report(app: &App, provider: &ProviderAccess, thin: &ThinEvent, kind: Kind) -> Result<Outcome, ApiError> {
    let id = thin.id.clone();
    if with_own_reader(app, move |reader| reports::is_known(reader.db(), &id)).await? {
        return Ok(Outcome::Duplicate);
    }
    let (event_name, full) = match fetch(&provider.sink, thin, kind).await {
        Ok(fetched) => fetched,
        Err((outcome, problem)) => {
            note_unread(app, &thin.id, &problem).await?;
            return Ok(outcome);
        }
    };
    let (errors, id, now) = (full.data.reason.error_count, thin.id.clone(), app.0.clock.now());
    let take = move |db: &mut weir_database::Connection| reports::take(db, &id, &event_name, &full.data, now);
    let outcome = app.0.store.ledger.call(move |ledger| ledger.durably(take)).await?;
    tracing::error!(
        event = thin.id,
        errors,
        "Stripe found errors in meter events that it had taken: weir stripe status"
    );
    Ok(outcome)
}

/// Stripe's name of the meter and the whole report; or what keeps it from being read.
async fn fetch(sink: &StripeSink, thin: &ThinEvent, kind: Kind) -> Result<(String, FullEvent), (Outcome, String)> {
    let not_fetched = |error: weir_billing::RequestError| (Outcome::NotFetched, error.to_string());
    let unreadable = |problem: String| (Outcome::Unreadable, problem);
    let whole = sink.core_event(&thin.id).await.map_err(not_fetched)?;
    let full: FullEvent = serde_json::from_value(whole).map_err(|error| unreadable(error.to_string()))?;
    if full.id != thin.id {
        return Err(unreadable("Stripe answered with another event".to_owned()));
    }
    if !full.data.is_report() {
        return Err(unreadable("the report counts no errors".to_owned()));
    }
    let event_name = match (kind, &thin.related_object) {
        (Kind::ErrorReport, Some(meter)) => sink.event_name(&meter.id).await.map_err(not_fetched)?,
        _ => String::new(),
    };
    Ok((event_name, full))
}

async fn note_unread(app: &App, id: &str, problem: &str) -> Result<(), ApiError> {
    let problem = weir_stripe::wire::shorten(problem);
    tracing::error!(event = id, %problem, "what Stripe tells by webhook could not be read: weir stripe status");
    let (id, now) = (id.to_owned(), app.0.clock.now());
    let note = move |db: &mut weir_database::Connection| reports::note_unread(db, &id, &problem, now);
    Ok(app.0.store.ledger.call(move |ledger| ledger.durably(note)).await?)
}
