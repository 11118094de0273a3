//! The v2 streams: sessions with up to a hundred meter events a call.
//!
//! Events sent at about the same time share a call. A call without a clear answer leaves all its events unsure; each is
//! sent again under its own identifier, and Stripe drops those that it has. Streams drop a repeated identifier
//! silently, so weir cannot tell here that another sender used it first; `weir reconcile` shows that.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use weir_contract::Timestamp;

use super::{body, lost, wire, without_answer};
use weir_billing::{Answer, MeterEvent, ProviderMessage};
use weir_clock::Clock;

/// The most events of one call.
const BATCH_MAX: usize = 100;
/// How long an event waits for others to share its call.
const LINGER: Duration = Duration::from_millis(20);
/// How long a token is used. It is valid for 15 minutes.
const TOKEN_USED: Duration = Duration::from_secs(14 * 60);
/// Stripe's error code for an expired token.
const EXPIRED: &str = "billing_meter_event_session_expired";

/// A handle to Stripe's streams.
#[derive(Clone, Debug)]
pub(super) struct Stream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    session_url: String,
    stream_url: String,
    clock: Arc<dyn Clock>,
    session: tokio::sync::Mutex<Option<Session>>,
    queue: Mutex<Queue>,
}

type Waiting = (MeterEvent, oneshot::Sender<Answer>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// True if a flush is already scheduled.
    called: bool,
}

#[derive(Clone, Debug)]
struct Session {
    token: HeaderValue,
    since: Duration,
}

#[derive(Deserialize)]
struct SessionBody {
    authentication_token: String,
}

impl Stream {
    pub(super) fn new(client: Client, url: &str, stream_url: &str, clock: Arc<dyn Clock>) -> Self {
        Stream(Arc::new(Inner {
            client,
            session_url: format!("{url}/v2/billing/meter_event_session"),
            stream_url: format!("{}/v2/billing/meter_event_stream", stream_url.trim_end_matches('/')),
            clock,
            session: tokio::sync::Mutex::default(),
            queue: Mutex::default(),
        }))
    }

    /// Sends one event, together with others.
    pub(super) async fn send(&self, event: MeterEvent) -> Answer {
        let (answer, answered) = oneshot::channel();
        let call = {
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push((event, answer));
            !std::mem::replace(&mut queue.called, true)
        };
        if call {
            // A task of its own: the first caller may go away, and the others still get their answers.
            tokio::spawn(flush(Arc::clone(&self.0)));
        }
        let message = ProviderMessage { detail: "the call was given up".to_owned(), request_id: None };
        answered.await.unwrap_or(Answer::Unsure { message, after: None, key_used_up: false })
    }
}

async fn flush(inner: Arc<Inner>) {
    tokio::time::sleep(LINGER).await;
    let mut waiting = {
        let mut queue = inner.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.called = false;
        std::mem::take(&mut queue.waiting)
    };
    while !waiting.is_empty() {
        let batch: Vec<Waiting> = waiting.drain(..waiting.len().min(BATCH_MAX)).collect();
        tokio::spawn(deliver(Arc::clone(&inner), batch));
    }
}

async fn deliver(inner: Arc<Inner>, batch: Vec<Waiting>) {
    let (events, answers): (Vec<MeterEvent>, Vec<_>) = batch.into_iter().unzip();
    let outcomes = inner.answers(events).await;
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        let _ = answer.send(outcome);
    }
}

impl Inner {
    /// Sends a call and returns an answer for each event.
    fn answers(&self, events: Vec<MeterEvent>) -> BoxFuture<'_, Vec<Answer>> {
        async move {
            let answer = self.call(&events).await;
            if events.len() == 1 || !matches!(answer, Answer::Refused(_)) {
                return vec![answer; events.len()];
            }
            // One event is wrong: resent alone, each gets its own answer, and Stripe drops those that it already
            // accepted.
            let mut answers = Vec::with_capacity(events.len());
            for event in events {
                answers.extend(self.answers(vec![event]).await);
            }
            answers
        }
        .boxed()
    }

    /// Sends events under the current token. A token that Stripe refuses is not used again.
    async fn call(&self, events: &[MeterEvent]) -> Answer {
        let mut last = Answer::NotTaken { message: ProviderMessage::default(), after: None };
        for fresh in [false, true] {
            let token = match self.token(fresh).await {
                Ok(token) => token,
                Err(answer) => return answer,
            };
            let (answer, token_failed) =
                self.post(events, &token).await.unwrap_or_else(|error| (without_answer(&error), false));
            if token_failed {
                self.drop_session(&token).await;
            }
            // Somebody else's 403 says nothing about the events: they may be taken.
            if !token_failed || matches!(answer, Answer::Unproven(_)) {
                return answer;
            }
            last = answer;
        }
        last
    }

    /// What the answer means, and whether the token is not good.
    async fn post(&self, events: &[MeterEvent], token: &HeaderValue) -> Result<(Answer, bool), reqwest::Error> {
        let body = json!({"events": events.iter().map(event).collect::<Vec<Value>>()});
        let request = self.client.post(&self.stream_url).header(AUTHORIZATION, token.clone()).json(&body);
        let response = request.send().await?;
        let (status, head) = (response.status().as_u16(), wire::Head::of(response.headers()));
        let Some(body) = body::read(response, body::SENT_MAX_BYTES).await? else {
            return Ok((wire::too_long(status, &head), false));
        };
        let answer = wire::classify(status, &head, &body, wire::Proof::Stream);
        Ok((without(answer, token), matches!(status, 401 | 403) || says_expired(&body)))
    }

    /// Forgets the session with this token, unless another one took its place.
    async fn drop_session(&self, token: &HeaderValue) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|known| known.token == *token) {
            *session = None;
        }
    }

    /// A token: the cached one if it is still valid, unless `fresh`. An error means that nothing was sent.
    async fn token(&self, fresh: bool) -> Result<HeaderValue, Answer> {
        let mut session = self.session.lock().await;
        let now = self.clock.elapsed();
        if let Some(known) = session.as_ref().filter(|known| !fresh && now - known.since < TOKEN_USED) {
            return Ok(known.token.clone());
        }
        let not_taken = |message: ProviderMessage| Answer::NotTaken { message, after: None };
        let request = self.client.post(&self.session_url).json(&json!({}));
        let response = request.send().await.map_err(|error| not_taken(lost(&error)))?;
        let (status, head) = (response.status().as_u16(), wire::Head::of(response.headers()));
        let body = body::read(response, body::SENT_MAX_BYTES).await.map_err(|error| not_taken(lost(&error)))?;
        let body = body.unwrap_or_default();
        let token = serde_json::from_slice::<SessionBody>(&body).ok().filter(|_| (200..300).contains(&status));
        let token = token.and_then(|body| HeaderValue::from_str(&format!("Bearer {}", body.authentication_token)).ok());
        let Some(mut token) = token else {
            let message = wire::message(status, &head, &body);
            let again = status >= 500 || matches!(status, 409 | 429);
            return Err(if again {
                Answer::NotTaken { message, after: head.retry_after }
            } else {
                Answer::Halt(message)
            });
        };
        token.set_sensitive(true);
        *session = Some(Session { token: token.clone(), since: now });
        Ok(token)
    }
}

/// The same answer without the token, should a peer repeat it.
fn without(mut answer: Answer, token: &HeaderValue) -> Answer {
    let token = token.to_str().unwrap_or_default().trim_start_matches("Bearer ");
    if let Some(message) = answer.message_mut().filter(|_| !token.is_empty()) {
        message.detail = message.detail.replace(token, "***");
        message.request_id = message.request_id.take().map(|id| id.replace(token, "***"));
    }
    answer
}

fn says_expired(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body["error"]["code"] == EXPIRED)
}

fn event(event: &MeterEvent) -> Value {
    json!({
        "event_name": event.event_name,
        "identifier": event.identifier,
        "timestamp": Timestamp::from_secs(event.timestamp).to_string(),
        "payload": {"stripe_customer_id": event.customer, "value": event.value.to_string()},
    })
}
