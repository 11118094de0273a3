//! [`Stripe`] on a TCP port.

use super::webhook::Delivery;
use super::{Account, Fault, Outcome, Stripe};
use crate::clock;
use crate::load::{Call, Client};
use crate::server::{Handler, Reset, Server};
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tells the stand-in what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The largest request, in bytes.
const BODY_MAX_BYTES: usize = 1 << 20;

/// A call that is never answered is let go after this long; no client waits longer.
const HANG_MAX: Duration = Duration::from_secs(600);

/// The bytes that an endless answer repeats.
static ENDLESS_CHUNK: [u8; 16 * 1024] = [b' '; 16 * 1024];

/// A running stand-in. Dropping it ends it.
#[derive(Debug)]
pub struct StripeServer {
    server: Server,
    state: Arc<State>,
}

struct State {
    stripe: Mutex<Stripe>,
    clock: Clock,
    latency_ms: AtomicU64,
    endless_bytes: Arc<AtomicU64>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("State").field("stripe", &self.stripe).finish_non_exhaustive()
    }
}

impl StripeServer {
    /// Starts a new account on a free port, in real time.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(account: Account) -> io::Result<Self> {
        Self::start_with_clock(Stripe::new(account), Arc::new(clock::now))
    }

    /// Starts `stripe` on a free port, with a clock of the test's own.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start_with_clock(stripe: Stripe, clock: Clock) -> io::Result<Self> {
        let state = Arc::new(State {
            stripe: Mutex::new(stripe),
            clock,
            latency_ms: AtomicU64::new(0),
            endless_bytes: Arc::default(),
        });
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { serve(&state, request).await })
        });
        Ok(Self { server: Server::start("stripe", handler)?, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:PORT`: v1, v2 and the stream alike.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The state machine itself, to set it up or to look into it.
    pub fn stripe(&self) -> MutexGuard<'_, Stripe> {
        self.state.stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` calls that send meter events meet this fault.
    pub fn fail_next(&self, times: usize, fault: Fault) {
        self.stripe().fail_next(times, fault);
    }

    /// Every call takes this long, so that calls overlap.
    pub fn set_latency(&self, latency: Duration) {
        let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.state.latency_ms.store(ms, Ordering::Relaxed);
    }

    /// How much of answers without an end was asked for, in bytes: what a client takes, and what lies in buffers.
    #[must_use]
    pub fn endless_bytes(&self) -> u64 {
        self.state.endless_bytes.load(Ordering::Relaxed)
    }

    /// Posts the webhooks that are due to `url`; the statuses that came back, 0 where nothing did.
    pub async fn deliver_webhooks(&self, url: &str) -> Vec<u16> {
        let deliveries: Vec<Delivery> = self.stripe().webhooks((self.state.clock)());
        let client = Client::new();
        let mut statuses = Vec::new();
        for delivery in deliveries {
            let json = serde_json::from_str(&delivery.body).unwrap_or_default();
            // The very bytes that were signed.
            let call = Call { body: delivery.body.into(), ..Call::post(url, &json) };
            let reply = client.send(call.header("stripe-signature", &delivery.signature)).await;
            statuses.push(reply.status);
        }
        statuses
    }
}

async fn serve(state: &State, request: Request<Body>) -> Result<Response<Body>, Reset> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX_BYTES).await.map_err(|_| Reset)?;
    let request = Request::from_parts(head, body);
    let stripe = || state.stripe.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = stripe().begin((state.clock)(), &request);
    // Finished on every way out: a client that goes away must not leave its series locked.
    let call = InFlight { state, begun: Some(begun) };
    tokio::time::sleep(Duration::from_millis(state.latency_ms.load(Ordering::Relaxed))).await;
    match call.finish() {
        Outcome::Answer(response) => Ok(response.map(Body::from)),
        Outcome::Reset => Err(Reset),
        Outcome::Hang => {
            tokio::time::sleep(HANG_MAX).await;
            Err(Reset)
        }
        Outcome::Endless(status) => {
            let sent = Arc::clone(&state.endless_bytes);
            let chunks = futures::stream::repeat_with(move || {
                sent.fetch_add(ENDLESS_CHUNK.len() as u64, Ordering::Relaxed);
                Ok::<_, io::Error>(Bytes::from_static(&ENDLESS_CHUNK))
            });
            Response::builder().status(status).body(Body::from_stream(chunks)).map_err(|_| Reset)
        }
    }
}

struct InFlight<'a> {
    state: &'a State,
    begun: Option<super::Begun>,
}

impl InFlight<'_> {
    fn finish(mut self) -> Outcome {
        self.end().unwrap_or(Outcome::Reset)
    }

    fn end(&mut self) -> Option<Outcome> {
        let begun = self.begun.take()?;
        Some(self.state.stripe.lock().unwrap_or_else(PoisonError::into_inner).finish(begun))
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
