//! Stripe's meters as a [`BillingSink`]. `POST /v1/billing/meter_events` takes a form and answers JSON.
//!
//! [`wire`] builds requests and classifies answers, duplicates among them; `stream` sends a hundred events a call.
//! `requests` reads the account, the meters and their sums; [`setup`] checks and creates meters; [`prices`] reads prices;
//! [`provisioning`] makes customers and subscriptions; [`status`] shows how reporting stands; [`webhook`] stores the errors that
//! Stripe reports.
#![forbid(unsafe_code)]

mod body;
pub mod prices;
pub mod provisioning;
pub mod requests;
pub mod setup;
pub mod status;
mod stream;
pub mod subscriptions;
pub mod webhook;
pub mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::sync::Mutex;
use weir_contract::Timestamp;

use weir_billing::pace::Pacer;
use weir_billing::{Account, Answer, BillingSink, MeterEvent, ProviderMessage, RequestError, Summary};
use weir_clock::Clock;
use weir_settings::secret::Secret;

/// The longest call. Stripe answers within seconds, so a longer call counts as lost.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The API version that this crate is written for.
const API_VERSION: &str = "2026-09-30.endive";

/// Stripe, with one key.
#[derive(Debug)]
pub struct StripeSink {
    client: Client,
    url: String,
    account: Account,
    /// Stripe's ids of meters, by their event name. They never change.
    meter_ids: Mutex<HashMap<String, String>>,
    /// The stream for events; without it each event is a call of its own.
    stream: Option<stream::Stream>,
    /// The pacer of questions, and the most a second. The sender of events paces them itself.
    pace: Option<(Arc<Pacer>, u32)>,
}

/// Why the sink cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// The key is not in the form of a Stripe key.
    #[error("the Stripe key must start with sk_live_, sk_test_, rk_live_ or rk_test_; look at `stripe.secret_key`")]
    Key,
    /// The HTTP client cannot be created.
    #[error("the HTTP client for Stripe: {0}")]
    Client(#[from] reqwest::Error),
}

impl StripeSink {
    /// A sink at `url` (`https://api.stripe.com`, or a stand-in) with `key`. `account` names the account in
    /// identifiers; the key determines live or test mode.
    pub fn new(url: &str, key: &Secret, account: Option<&str>) -> Result<Self, StripeError> {
        let livemode = wire::livemode(key.expose()).ok_or(StripeError::Key)?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| StripeError::Key)?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert("stripe-version", HeaderValue::from_static(API_VERSION));
        let client = Client::builder()
            .default_headers(headers)
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(StripeSink {
            client,
            url: url.trim_end_matches('/').to_owned(),
            account: Account { id: account.unwrap_or_default().to_owned(), livemode },
            meter_ids: Mutex::default(),
            stream: None,
            pace: None,
        })
    }

    /// As before, but sends events through the v2 streams at `stream_url`.
    #[must_use]
    pub fn streaming(self, stream_url: &str, clock: Arc<dyn Clock>) -> Self {
        let stream = stream::Stream::new(self.client.clone(), &self.url, stream_url, clock);
        StripeSink { stream: Some(stream), ..self }
    }

    /// As before, but asks at most `per_second` questions a second, and none while `pacer` pauses calls.
    #[must_use]
    pub fn paced(self, pacer: Arc<Pacer>, per_second: u32) -> Self {
        StripeSink { pace: Some((pacer, per_second)), ..self }
    }

    async fn call(&self, event: &MeterEvent) -> Result<Answer, reqwest::Error> {
        let response = self
            .client
            .post(format!("{}/v1/billing/meter_events", self.url))
            .header("idempotency-key", &event.idempotency_key)
            .form(&wire::form(event))
            .send()
            .await?;
        let (status, head) = (response.status().as_u16(), wire::Head::of(response.headers()));
        Ok(match body::read(response, body::SENT_MAX_BYTES).await? {
            Some(body) => wire::classify(status, &head, &body, wire::Proof::MeterEvent(&event.identifier)),
            None => wire::too_long(status, &head),
        })
    }
}

impl BillingSink for StripeSink {
    fn account(&self) -> &Account {
        &self.account
    }

    async fn identify(&self) -> Result<Account, RequestError> {
        self.fetch_account().await
    }

    async fn summaries(
        &self,
        customer: &str,
        event_name: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Summary>, RequestError> {
        self.fetch_summaries(customer, event_name, from, to).await
    }

    async fn send(&self, event: MeterEvent) -> Answer {
        match &self.stream {
            Some(stream) => stream.send(event).await,
            None => self.call(&event).await.unwrap_or_else(|error| without_answer(&error)),
        }
    }
}

/// A message about a call that brought no answer.
fn lost(error: &reqwest::Error) -> ProviderMessage {
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        detail = format!("{detail}: {inner}");
        cause = inner.source();
    }
    ProviderMessage { detail: wire::shorten(&detail), request_id: None }
}

/// The outcome of a call that brought no answer: once a connection existed, Stripe may have accepted the event.
fn without_answer(error: &reqwest::Error) -> Answer {
    let message = lost(error);
    if error.is_builder() {
        Answer::Halt(message)
    } else if error.is_connect() {
        Answer::NotTaken { message, after: None }
    } else {
        Answer::Unsure { message, after: None, key_used_up: false }
    }
}
