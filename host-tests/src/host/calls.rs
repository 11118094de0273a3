//! Calls that a guest dispatches, and their possible ends.

use super::headers::Headers;
use super::quirks::{Quirk, Quirks};

/// Envoy's message about a cluster that it cannot connect to.
const DEAD_CLUSTER: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";

/// The most bytes of an answer's body that Envoy passes on.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A call under way.
#[derive(Clone, Debug)]
pub struct PendingCall {
    /// Identifies the call within its VM.
    pub token: u32,
    /// The context that dispatched it.
    pub context: u32,
    /// The root context that it belongs to.
    pub root: u32,
    /// Name of the cluster (Envoy) or `host[:port]` (Kong).
    pub upstream: String,
    /// Head of the request, pseudo headers included.
    pub headers: Headers,
    /// Body of the request.
    pub body: Vec<u8>,
    /// Trailers of the request.
    pub trailers: Headers,
    /// The guest's time-out in milliseconds; 0 means none.
    pub timeout_ms: u32,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAnswer {
    /// The other side answered.
    Response(CallParts),
    /// The other side broke the connection during its response.
    Reset,
    /// No answer came in time.
    TimedOut,
    /// The connection failed.
    Dead,
}

/// The parts of an answer that the guest can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallParts {
    /// Head, with `:status`.
    pub headers: Headers,
    /// Body.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Headers,
}

impl CallParts {
    fn status(status: u16, body: &str) -> Self {
        let headers = [
            (":status", status.to_string()),
            ("content-length", body.len().to_string()),
            ("content-type", "text/plain".into()),
        ];
        Self { headers: headers.into_iter().collect(), body: body.into(), trailers: Headers::new() }
    }

    fn dispatch_status(reason: &str) -> Self {
        Self { headers: [(":dispatch_status", reason)].into_iter().collect(), ..Self::default() }
    }

    /// The number of headers passed to the callback; `:dispatch_status` does not count.
    pub(crate) fn header_count(&self) -> usize {
        self.headers.iter().filter(|(name, _)| *name != ":dispatch_status").count()
    }
}

impl CallAnswer {
    /// The parts that a host with these quirks shows its guest.
    pub fn into_parts(self, quirks: &Quirks) -> CallParts {
        let dispatch_status = quirks.has(Quirk::CallFailureIsDispatchStatus);
        let synthesized = quirks.has(Quirk::CallFailuresAreSynthesized);
        match self {
            CallAnswer::Response(mut parts) => {
                if quirks.has(Quirk::CallAnswersAreCut) {
                    parts.body.truncate(ANSWER_BYTES_MAX);
                }
                parts
            }
            CallAnswer::Reset if dispatch_status => CallParts::dispatch_status("broken connection"),
            CallAnswer::TimedOut if dispatch_status => CallParts::dispatch_status("timeout"),
            CallAnswer::Dead if dispatch_status => CallParts::dispatch_status("resolver failure"),
            CallAnswer::TimedOut if synthesized => CallParts::status(504, "upstream request timeout"),
            CallAnswer::Dead if synthesized => CallParts::status(503, DEAD_CLUSTER),
            CallAnswer::Reset | CallAnswer::TimedOut | CallAnswer::Dead => CallParts::default(),
        }
    }
}
