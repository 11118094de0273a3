//! Sends messages: signed JSON, Slack's JSON, e-mail, Alertmanager's JSON.
use reqwest::{RequestBuilder, StatusCode};
use weir_contract::Timestamp;
use weir_settings::secret::masked;
use weir_steer::message::{alertmanager, signature};
use weir_steer::notice::Notice;
use weir_steer::notice::outbox::{self, Attempt};
use weir_steer::receiver::tenant_mail::of_receiver;
use weir_steer::receiver::{AlertmanagerFile, Target, WebhookFile};

use super::{AlertsInForce, App, mail};
use crate::server::error::ApiError;

/// Where Alertmanager takes alerts.
const ALERTMANAGER_PATH: &str = "/api/v2/alerts";

/// Sends a message once, and notes what came of it. Returns whether it was taken.
pub(super) async fn send(app: &App, notice: Notice) -> Result<bool, ApiError> {
    let attempt = match of_receiver(&notice.receiver) {
        Some(address) => to_tenant(app, address, &notice).await,
        None => app.0.alerts.attempt(&notice, app.0.clock.now()).await,
    };
    let is_taken = attempt == Attempt::Delivered;
    app.0.metrics.alerts.attempted(is_taken);
    match &attempt {
        Attempt::Delivered => tracing::info!(receiver = %notice.receiver, id = %notice.id, "an alert is delivered"),
        Attempt::Failed(why) | Attempt::Gone(why) => {
            tracing::warn!(receiver = %notice.receiver, id = %notice.id, %why, attempts = notice.attempts + 1,
                           "an alert is not delivered");
        }
    }
    let now = app.0.clock.now();
    let noted = app.0.store.ledger.call(move |ledger| ledger.durably(|db| outbox::note(db, &notice.id, &attempt, now)));
    noted.await?;
    Ok(is_taken)
}

/// Sends a message to an address of a tenant's own, if it is still one, with the link that ends such messages.
async fn to_tenant(app: &App, (number, tenant): (i64, &str), notice: &Notice) -> Attempt {
    let proven = app.0.kept.proven();
    let known = proven.get(tenant).and_then(|addresses| addresses.iter().find(|address| address.id == number));
    let (Some(address), Some(mail)) = (known, app.0.alerts.tenant_mail()) else {
        return Attempt::Gone("the address is removed, or there is no `alerts.tenant_mail`".to_owned());
    };
    let stop = format!("{}/ui/alert-address/stop?token={}", mail.url.trim_end_matches('/'), address.stop);
    mail::attempt_with(&mail.to(&address.email), app.0.alerts.base(), notice, Some(&stop)).await
}

impl AlertsInForce {
    async fn attempt(&self, notice: &Notice, now: Timestamp) -> Attempt {
        let alerts = self.current();
        let Some(receiver) = alerts.receivers.iter().find(|receiver| receiver.name == notice.receiver) else {
            return Attempt::Gone("the receiver is no longer configured".to_owned());
        };
        let call = match &receiver.target {
            Target::Email(email) => return mail::attempt(email, &self.base, notice).await,
            Target::Slack(address) => address
                .read(&self.base)
                .map_err(|error| error.to_string())
                .and_then(|url| Ok(self.post(url.expose().trim())?.body(notice.body.clone()))),
            Target::Webhook(webhook) => self.signed(webhook, &notice.id, notice.body.clone(), now),
            Target::Alertmanager(target) => serde_json::from_str(&notice.body)
                .map_err(|error| error.to_string())
                .and_then(|alerts| self.alertmanager(target, alertmanager::believed(alerts, now).to_string())),
        };
        match call {
            Ok(call) => answer(call).await,
            Err(why) => Attempt::Failed(masked(&why)),
        }
    }

    fn post(&self, url: &str) -> Result<RequestBuilder, String> {
        let http = self.http.as_ref().ok_or_else(|| "this machine trusts no certificates".to_owned())?;
        Ok(http.post(url).header("content-type", "application/json"))
    }

    /// A call with the headers of Standard Webhooks.
    pub(in crate::server) fn signed(
        &self,
        webhook: &WebhookFile,
        id: &str,
        body: String,
        now: Timestamp,
    ) -> Result<RequestBuilder, String> {
        let secret = webhook.secret.read(&self.base).map_err(|error| error.to_string())?;
        let signed = signature(&secret, id, now, body.as_bytes()).map_err(|error| error.to_string())?;
        let call = self.post(&webhook.url)?;
        Ok(call
            .header("webhook-id", id)
            .header("webhook-timestamp", now.as_secs().to_string())
            .header("webhook-signature", signed)
            .body(body))
    }

    /// The call that tells Alertmanager of alerts.
    pub(super) fn alertmanager(&self, to: &AlertmanagerFile, body: String) -> Result<RequestBuilder, String> {
        let call = self.post(&format!("{}{ALERTMANAGER_PATH}", to.url.trim_end_matches('/')))?;
        let call = match &to.token {
            Some(token) => {
                let token = token.read(&self.base).map_err(|error| error.to_string())?;
                call.bearer_auth(token.expose().trim())
            }
            None => call,
        };
        Ok(call.body(body))
    }
}

/// Calls, and says what came of it.
pub(super) async fn answer(call: RequestBuilder) -> Attempt {
    match call.send().await {
        Ok(response) if response.status().is_success() => Attempt::Delivered,
        Ok(response) if response.status() == StatusCode::GONE => {
            Attempt::Gone("the receiver answered 410: it takes no more".to_owned())
        }
        Ok(response) => Attempt::Failed(format!("the receiver answered {}", response.status().as_u16())),
        Err(error) => Attempt::Failed(masked(&with_causes(error))),
    }
}

/// An error with its causes, without the address, which for Slack is a secret.
fn with_causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
