//! A call that the filter dispatched, for the test to answer.

use std::time::Duration;

use serde_json::Value;

use super::Gateway;
use crate::host::Place;
use crate::host::calls::{CallAnswer, CallParts, PendingCall};
use crate::scenario::message::Step;
use crate::scenario::{Response, status};

/// A call under way.
#[derive(Clone)]
pub struct Call<'g> {
    gateway: &'g Gateway,
    place: Place,
    call: PendingCall,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(self.body());
        write!(f, "{} {} to `{}` from {}: {body}", self.method(), self.path(), self.upstream(), self.place)
    }
}

impl<'g> Call<'g> {
    pub(super) fn new(gateway: &'g Gateway, place: Place, call: PendingCall) -> Self {
        Self { gateway, place, call }
    }

    /// The destination: the name of a cluster (Envoy) or `host[:port]` (Kong).
    pub fn upstream(&self) -> &str {
        &self.call.upstream
    }

    /// The VM that made it.
    pub fn place(&self) -> Place {
        self.place
    }

    /// `:method`.
    pub fn method(&self) -> &str {
        self.header(":method").unwrap_or_default()
    }

    /// `:path`.
    pub fn path(&self) -> &str {
        self.header(":path").unwrap_or_default()
    }

    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.call.headers.get(name)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.call.body
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body()).unwrap_or_else(|error| {
            panic!("the call's body is not JSON: {error}: {}", String::from_utf8_lossy(self.body()))
        })
    }

    /// The time-out that the filter set.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.call.timeout_ms))
    }

    /// Asserts the path.
    ///
    /// # Panics
    /// If the call goes to another path.
    #[track_caller]
    #[must_use]
    pub fn expect_path(self, path: &str) -> Self {
        assert_eq!(self.path(), path, "path of the call to `{}`", self.upstream());
        self
    }

    /// Answers with status and body.
    #[track_caller]
    pub fn answer(self, code: u16, body: impl AsRef<[u8]>) {
        self.answer_with(status(code).body(body));
    }

    /// Answers with a whole response. One that ends in [`Response::reset`] or [`Response::timed_out`] fails in that
    /// way.
    #[track_caller]
    pub fn answer_with(self, response: Response) {
        let mut parts = CallParts { headers: response.headers, ..CallParts::default() };
        for step in response.steps {
            match step {
                Step::Chunk(chunk) => parts.body.extend_from_slice(&chunk),
                Step::Trailers(trailers) => parts.trailers = trailers,
                Step::Wait(time) => self.gateway.advance(time),
                Step::Reset => return self.end(CallAnswer::Reset),
                Step::TimedOut => return self.end(CallAnswer::TimedOut),
                Step::ClientGone => panic!("a call has no client that could go away"),
            }
        }
        self.end(CallAnswer::Response(parts));
    }

    /// Lets the call time out.
    #[track_caller]
    pub fn time_out(self) {
        self.end(CallAnswer::TimedOut);
    }

    /// Breaks the connection during the response.
    #[track_caller]
    pub fn reset(self) {
        self.end(CallAnswer::Reset);
    }

    /// Fails the connection.
    #[track_caller]
    pub fn find_nobody(self) {
        self.end(CallAnswer::Dead);
    }

    #[track_caller]
    fn end(self, answer: CallAnswer) {
        self.gateway.with(self.place, |worker| worker.answer_call(self.call.token, answer));
    }
}
