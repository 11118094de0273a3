//! Alerts in the server: makes messages of changes, sends them until they are taken, and answers about them.
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use weir_contract::Timestamp;
use weir_settings::secret::masked;
use weir_steer::message::signature;
use weir_steer::notice::{self, Attempt, Notice};
use weir_steer::receiver::{Receiver, Target};

use super::App;
use super::auth::require;
use super::error::{ApiError, object};
use super::read::with_reader;
use crate::alerts::{self, AlertsView, TestRequest};
use crate::config::tokens::Scope;

/// How often the server looks for changes to tell and messages to send.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most messages that are sent between two looks.
const SENT_MAX: u32 = 20;
/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// The characters of the ledger's name in ids: enough that two ledgers' messages differ.
const LEDGER_CHARS: usize = 12;

/// The receivers in force.
#[derive(Debug)]
pub(crate) struct AlertsInForce {
    receivers: RwLock<Arc<[Receiver]>>,
    /// Where the files of secrets are.
    base: PathBuf,
    /// None where the machine has no certificates to trust: then nothing can be sent.
    http: Option<Client>,
}

impl AlertsInForce {
    pub(super) fn new(receivers: Vec<Receiver>, base: PathBuf) -> Self {
        let http = Client::builder().timeout(ATTEMPT_MAX).redirect(redirect::Policy::none()).build().ok();
        AlertsInForce { receivers: RwLock::new(receivers.into()), base, http }
    }

    /// The receivers in force.
    fn receivers(&self) -> Arc<[Receiver]> {
        Arc::clone(&self.receivers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the receivers.
    pub(super) fn replace(&self, receivers: Vec<Receiver>) {
        *self.receivers.write().unwrap_or_else(PoisonError::into_inner) = receivers.into();
    }

    /// The call that brings a message to its receiver.
    fn call(&self, notice: &Notice, now: Timestamp) -> Result<RequestBuilder, Attempt> {
        let receivers = self.receivers();
        let gone = || Attempt::Gone("the receiver is no longer configured".to_owned());
        let receiver = receivers.iter().find(|receiver| receiver.name == notice.receiver).ok_or_else(gone)?;
        let http =
            self.http.as_ref().ok_or_else(|| Attempt::Failed("this machine trusts no certificates".to_owned()))?;
        let failed = |why: String| Attempt::Failed(masked(&why));
        let call = match &receiver.target {
            Target::Slack(address) => {
                let url = address.read(&self.base).map_err(|error| failed(error.to_string()))?;
                http.post(url.expose().trim())
            }
            Target::Webhook(webhook) => {
                let secret = webhook.secret.read(&self.base).map_err(|error| failed(error.to_string()))?;
                let signed = signature(&secret, &notice.id, now, notice.body.as_bytes());
                let signed = signed.map_err(|error| failed(error.to_string()))?;
                http.post(&webhook.url)
                    .header("webhook-id", &notice.id)
                    .header("webhook-timestamp", now.as_secs().to_string())
                    .header("webhook-signature", signed)
            }
        };
        Ok(call.header("content-type", "application/json").body(notice.body.clone()))
    }
}

/// The part of ids that names the ledger.
fn ledger_name(app: &App) -> String {
    app.0.store.ledger_id.chars().take(LEDGER_CHARS).collect()
}

/// Tells of changes for as long as the server runs.
pub(super) async fn tell(app: App) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = look(&app).await {
            tracing::error!(%error, "alerts are not told; trying again");
        }
    }
}

async fn look(app: &App) -> Result<(), ApiError> {
    loop {
        let (receivers, name, now) = (app.0.alerts.receivers(), ledger_name(app), app.0.clock.now());
        if !with_reader(app, move |reader| notice::has_untold(reader.db(), now)).await? {
            break;
        }
        let more = app.0.store.ledger.call(move |ledger| ledger.durably(|db| notice::take(db, &name, &receivers, now)));
        if !more.await? {
            break;
        }
    }
    let now = app.0.clock.now();
    for notice in with_reader(app, move |reader| notice::due(reader.db(), now, SENT_MAX)).await? {
        send(app, notice).await?;
    }
    Ok(())
}

/// Sends a message once, and notes what came of it.
async fn send(app: &App, notice: Notice) -> Result<(), ApiError> {
    let attempt = match app.0.alerts.call(&notice, app.0.clock.now()) {
        Ok(call) => answer(call).await,
        Err(attempt) => attempt,
    };
    app.0.metrics.alert_attempt(attempt == Attempt::Delivered);
    match &attempt {
        Attempt::Delivered => tracing::info!(receiver = %notice.receiver, id = %notice.id, "an alert is delivered"),
        Attempt::Failed(why) | Attempt::Gone(why) => {
            tracing::warn!(receiver = %notice.receiver, id = %notice.id, %why, attempts = notice.attempts + 1,
                           "an alert is not delivered");
        }
    }
    let now = app.0.clock.now();
    let noted = app.0.store.ledger.call(move |ledger| ledger.durably(|db| notice::note(db, &notice.id, &attempt, now)));
    Ok(noted.await?)
}

async fn answer(call: RequestBuilder) -> Attempt {
    match call.send().await {
        Ok(response) if response.status().is_success() => Attempt::Delivered,
        Ok(response) if response.status() == StatusCode::GONE => {
            Attempt::Gone("the receiver answered 410: it takes no more".to_owned())
        }
        Ok(response) => Attempt::Failed(format!("the receiver answered {}", response.status().as_u16())),
        // Without the address, which for Slack is a secret.
        Err(error) => Attempt::Failed(masked(&error.without_url().to_string())),
    }
}

pub(super) async fn get_alerts(State(app): State<App>, headers: HeaderMap) -> Result<Json<AlertsView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let receivers = app.0.alerts.receivers();
    with_reader(&app, move |reader| alerts::alerts(reader, &receivers)).await.map(Json)
}

/// Sends a test to a receiver, and answers what came of the first attempt.
pub(super) async fn post_test(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Notice>, ApiError> {
    require(&app, &headers, Scope::Admin)?;
    let TestRequest { receiver } = object(&body)?;
    let receivers = app.0.alerts.receivers();
    let Some(receiver) = receivers.iter().find(|known| known.name == receiver).cloned() else {
        return Err(ApiError::Report(format!("there is no receiver {receiver:?} in `alerts`")));
    };
    let (name, now) = (ledger_name(&app), app.0.clock.now());
    let made = app.0.store.ledger.call(move |ledger| {
        ledger.durably(|db| {
            let id = notice::test(db, &name, &receiver, now)?;
            notice::get(db, &id)
        })
    });
    let lost = || ApiError::Report("the test is gone before it was sent".to_owned());
    let made = made.await?.ok_or_else(lost)?;
    let id = made.id.clone();
    send(&app, made).await?;
    with_reader(&app, move |reader| notice::get(reader.db(), &id)).await?.map(Json).ok_or_else(lost)
}
