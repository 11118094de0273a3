//! Detects streams that will never end, and why; with a real gateway one sees only a hanging client.

use std::fmt;

use super::{ExchangeId, Held, Quirk, Side, Worker};

/// Why one direction of a stream is stuck although its sender has sent everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deadlock {
    /// Paused in headers, on a host that then shows nothing more.
    PausedInHeaders {
        /// Bytes of body that the filter has not seen.
        waiting_bytes: usize,
        /// The remedy.
        remedy: &'static str,
    },
    /// Paused in headers, and neither body nor trailers follow.
    PausedWithNothingToCome,
    /// Paused in the last body callback.
    PausedAtTheEnd {
        /// Bytes of body that are held.
        held_bytes: usize,
    },
    /// Paused in trailers.
    PausedInTrailers,
    /// The head announces another length than the body has.
    StaleContentLength {
        /// What `content-length` says, in bytes.
        promised_bytes: u64,
        /// The bytes sent.
        sent_bytes: u64,
    },
    /// The host itself hangs because of the filter's action.
    HostHangs(String),
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deadlock::PausedInHeaders { waiting_bytes, remedy } => write!(
                f,
                "deadlock: paused in headers, and on this host body callbacks never come while {waiting_bytes} bytes \
                 wait; {remedy}"
            ),
            Deadlock::PausedWithNothingToCome => {
                f.write_str("deadlock: paused in headers with end_of_stream, so no callback comes in which to go on")
            }
            Deadlock::PausedAtTheEnd { held_bytes } => write!(
                f,
                "deadlock: paused in the last body callback ({held_bytes} bytes held), so no callback comes in which \
                 to go on"
            ),
            Deadlock::PausedInTrailers => f.write_str("deadlock: paused in trailers, after which no callback comes"),
            Deadlock::StaleContentLength { promised_bytes, sent_bytes } => write!(
                f,
                "deadlock: content-length is {promised_bytes}, but {sent_bytes} bytes were sent: the receiver waits \
                 for the rest, or takes it for the next message; set content-length with the body"
            ),
            Deadlock::HostHangs(why) => write!(f, "deadlock: {why}"),
        }
    }
}

impl Worker {
    /// Why a direction of an exchange cannot continue, unless something else resumes it.
    pub(crate) fn deadlock(&self, id: ExchangeId, side: Side) -> Option<Deadlock> {
        let exchange = &self.exchanges[&id];
        if let Some(why) = &exchange.hang {
            return Some(Deadlock::HostHangs(why.clone()));
        }
        let flow = match side {
            Side::Request => &exchange.request,
            Side::Response => &exchange.response,
        };
        match flow.held {
            Held::Everything => {
                Some(Deadlock::PausedInHeaders { waiting_bytes: flow.waiting.body.len(), remedy: self.remedy() })
            }
            Held::Head if flow.sender_ended => Some(Deadlock::PausedWithNothingToCome),
            Held::Body if flow.sender_ended => Some(Deadlock::PausedAtTheEnd { held_bytes: self.held_bytes(id, side) }),
            Held::Trailers => Some(Deadlock::PausedInTrailers),
            Held::No if flow.delivered.ended => stale_length(&flow.delivered),
            Held::No | Held::Head | Held::Body => None,
        }
    }

    fn remedy(&self) -> &'static str {
        if self.has(Quirk::PauseWithoutCallHangs) {
            "Kong shows the whole body without a pause: continue in headers"
        } else {
            "set `allow_on_headers_stop_iteration: true` in the filter's configuration"
        }
    }

    fn held_bytes(&self, id: ExchangeId, side: Side) -> usize {
        let stream = self.vm.as_ref().and_then(|vm| vm.state().streams.get(&self.exchanges[&id].context));
        stream.map_or(0, |stream| match side {
            Side::Request => stream.request.body.len(),
            Side::Response => stream.response.body.len(),
        })
    }
}

fn stale_length(delivered: &super::Delivered) -> Option<Deadlock> {
    let promised_bytes = delivered.head.as_ref()?.content_length()?;
    let sent_bytes = delivered.body().len() as u64;
    let bodiless = delivered.chunks.is_empty();
    // Answers to HEAD and 304 announce the length of a body that they do not carry.
    (promised_bytes != sent_bytes && !bodiless).then_some(Deadlock::StaleContentLength { promised_bytes, sent_bytes })
}
