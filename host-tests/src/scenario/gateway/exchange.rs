//! A request that was sent, and its result.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Gateway;
use crate::host::stream::Side;
use crate::host::worker::{Delivered, Exchange, ExchangeId, RequestHead, StreamEnd, Worker};
use crate::host::{Callback, Headers, Place, Quirk, Trap};
use crate::scenario::message::{Ending, Step};
use crate::scenario::{Message, Request, Response};

/// A request on its way. Answer it with [`Sent::upstream`], or read the filter's own answer with [`Sent::reply`].
#[derive(Clone, Copy, Debug)]
pub struct Sent<'g> {
    gateway: &'g Gateway,
    place: Place,
    id: ExchangeId,
}

impl<'g> Sent<'g> {
    #[track_caller]
    pub(super) fn send(gateway: &'g Gateway, place: Place, request: Request) -> Self {
        let Request { headers, steps, ending, properties, chain } = request;
        let end_of_stream = steps.is_empty() && ending != Ending::Never;
        let head = RequestHead { headers, end_of_stream, properties };
        let id = gateway.with(place, |worker| worker.open(chain, head));
        let sent = Self { gateway, place, id };
        sent.run(Side::Request, steps, ending);
        gateway.answer_calls();
        sent
    }

    /// Sends a further chunk of the request body.
    #[track_caller]
    pub fn chunk(&self, chunk: impl AsRef<[u8]>) -> &Self {
        self.run(Side::Request, vec![Step::Chunk(chunk.as_ref().to_vec())], Ending::Never);
        self
    }

    /// Ends the request.
    #[track_caller]
    pub fn end(&self) -> &Self {
        self.with(|worker, id| worker.request_body(id, b"", true));
        self
    }

    /// Closes the client's connection.
    #[track_caller]
    pub fn client_gone(&self) -> Reply<'g> {
        self.with(Worker::client_gone);
        Reply { sent: *self }
    }

    /// Returns true while the filter holds the request.
    pub fn is_paused(&self) -> bool {
        self.exchange().request.held != crate::host::worker::Held::No
    }

    /// The message that the upstream has received so far; `None` while the head is held.
    pub fn seen_upstream(&self) -> Option<Message> {
        message(&self.exchange().request.delivered)
    }

    /// The message that the client has received so far; `None` before its head.
    pub fn seen_downstream(&self) -> Option<Message> {
        message(&self.exchange().response.delivered)
    }

    /// Answers as the upstream. If the filter has answered itself, returns that answer, and the upstream sees nothing.
    ///
    /// # Panics
    /// If the request hangs, or its head has not reached the upstream.
    #[track_caller]
    pub fn upstream(&self, response: Response) -> Reply<'g> {
        let exchange = self.exchange();
        if exchange.end.is_none() && exchange.local_reply.is_none() {
            self.assert_request_flows();
            self.respond(response);
        }
        self.gateway.answer_calls();
        Reply { sent: *self }
    }

    /// The filter's own answer.
    ///
    /// # Panics
    /// If there is none: the request went to the upstream, or hangs.
    #[track_caller]
    pub fn reply(&self) -> Reply<'g> {
        let exchange = self.exchange();
        if exchange.end.is_none() {
            self.assert_request_flows();
            panic!(
                "the filter did not answer: the request went to the upstream, which has seen {:?}; answer it with \
                 `.upstream(…)`",
                exchange.request.delivered
            );
        }
        Reply { sent: *self }
    }

    #[track_caller]
    fn assert_request_flows(&self) {
        let deadlock = self.with(|worker, id| worker.deadlock(id, Side::Request));
        if let Some(deadlock) = deadlock {
            panic!("{deadlock}{}", self.calls_under_way());
        }
        assert!(
            self.exchange().request.delivered.head.is_some(),
            "the request has not reached the upstream: the filter holds it and waits for more of it{}",
            self.calls_under_way()
        );
    }

    fn calls_under_way(&self) -> String {
        let calls = self.gateway.calls();
        if calls.is_empty() { String::new() } else { format!("; or answer one of these first: {calls:?}") }
    }

    #[track_caller]
    fn respond(&self, response: Response) {
        let Response { headers, steps, ending } = response;
        let fails_first = matches!(steps.iter().find(|step| !matches!(step, Step::Wait(_))), Some(first) if
            matches!(first, Step::Reset | Step::TimedOut | Step::ClientGone));
        if !fails_first {
            let end_of_stream = steps.is_empty() && ending != Ending::Never;
            self.with(|worker, id| worker.response_head(id, headers, end_of_stream));
        }
        self.run(Side::Response, steps, ending);
    }

    #[track_caller]
    fn run(&self, side: Side, steps: Vec<Step>, ending: Ending) {
        let last_chunk = steps.iter().rposition(|step| matches!(step, Step::Chunk(_)));
        let ends_itself = steps.is_empty() || steps.iter().any(|step| !matches!(step, Step::Chunk(_) | Step::Wait(_)));
        for (index, step) in steps.into_iter().enumerate() {
            let end = ending == Ending::WithLastChunk && last_chunk == Some(index) && !ends_itself;
            self.take(side, step, end);
        }
        if ending == Ending::Own && !ends_itself {
            self.take(side, Step::Chunk(Vec::new()), true);
        }
    }

    #[track_caller]
    fn take(&self, side: Side, step: Step, end: bool) {
        if let Step::Wait(time) = step {
            return self.gateway.advance(time);
        }
        if self.exchange().end.is_some() {
            return;
        }
        self.with(|worker, id| match (step, side) {
            (Step::Chunk(chunk), Side::Request) => worker.request_body(id, &chunk, end),
            (Step::Chunk(chunk), Side::Response) => worker.response_body(id, &chunk, end),
            (Step::Trailers(trailers), Side::Request) => worker.request_trailers(id, trailers),
            (Step::Trailers(trailers), Side::Response) => worker.response_trailers(id, trailers),
            (Step::ClientGone, _) => worker.client_gone(id),
            (Step::Reset, _) => worker.upstream_reset(id),
            (Step::TimedOut, _) => worker.upstream_timeout(id),
            (Step::Wait(_), _) => {}
        });
    }

    #[track_caller]
    fn with<T>(&self, work: impl FnOnce(&mut Worker, ExchangeId) -> T) -> T {
        self.gateway.with(self.place, |worker| work(worker, self.id))
    }

    /// The host's record of this exchange.
    #[track_caller]
    pub fn exchange(&self) -> Exchange {
        self.with(|worker, id| worker.exchange(id).clone())
    }
}

/// The result of a request. It shows the present state, so a test may use it while a response still streams.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'g> {
    sent: Sent<'g>,
}

impl Reply<'_> {
    /// Sends a further chunk as the upstream.
    #[track_caller]
    pub fn chunk(&self, chunk: impl AsRef<[u8]>) -> &Self {
        self.sent.take(Side::Response, Step::Chunk(chunk.as_ref().to_vec()), false);
        self
    }

    /// Ends the upstream's response.
    #[track_caller]
    pub fn end(&self) -> &Self {
        self.sent.take(Side::Response, Step::Chunk(Vec::new()), true);
        self
    }

    /// Closes the client's connection.
    #[track_caller]
    pub fn client_gone(&self) -> &Self {
        self.sent.take(Side::Response, Step::ClientGone, false);
        self
    }

    /// Breaks the upstream's connection.
    #[track_caller]
    pub fn reset(&self) -> &Self {
        self.sent.take(Side::Response, Step::Reset, false);
        self
    }

    /// The response as the client has received it so far.
    ///
    /// # Panics
    /// If the client has received nothing: the response hangs, or the stream broke before it.
    #[track_caller]
    pub fn response(&self) -> Message {
        let deadlock = self.sent.with(|worker, id| worker.deadlock(id, Side::Response));
        if let Some(deadlock) = deadlock {
            panic!("{deadlock}");
        }
        let exchange = self.sent.exchange();
        message(&exchange.response.delivered)
            .unwrap_or_else(|| panic!("the client received no response: the stream ended as {:?}", exchange.end))
    }

    /// The status that the client received.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let response = self.response();
        let status = response.header(":status").and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("the response has no valid :status: {:?}", response.headers))
    }

    /// Asserts the status.
    ///
    /// # Panics
    /// If the client received another status.
    #[track_caller]
    pub fn assert_status(&self, expected: u16) -> &Self {
        let actual = self.status();
        assert_eq!(actual, expected, "status; the body is: {}", String::from_utf8_lossy(&self.body()));
        self
    }

    /// Asserts the first value of a field.
    ///
    /// # Panics
    /// If the value is different.
    #[track_caller]
    pub fn assert_header(&self, name: &str, expected: &str) -> &Self {
        assert_eq!(self.header(name).as_deref(), Some(expected), "header `{name}`");
        self
    }

    /// The first value of a field that the client received.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        self.response().header(name).map(str::to_owned)
    }

    /// The head that the client received.
    #[track_caller]
    pub fn headers(&self) -> Headers {
        self.response().headers
    }

    /// The body that the client received.
    #[track_caller]
    pub fn body(&self) -> Vec<u8> {
        self.response().body()
    }

    /// The body that the client received, as text.
    #[track_caller]
    pub fn text(&self) -> String {
        self.response().text()
    }

    /// The body that the client received, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.response().json()
    }

    /// The request as the upstream received it.
    ///
    /// # Panics
    /// If the upstream received none.
    #[track_caller]
    pub fn upstream_request(&self) -> Message {
        let exchange = self.sent.exchange();
        message(&exchange.request.delivered).unwrap_or_else(|| {
            panic!("no request reached the upstream: the client received {:?}", exchange.response.delivered)
        })
    }

    /// Returns true if the upstream received the request, or a part of it.
    pub fn reached_upstream(&self) -> bool {
        self.sent.seen_upstream().is_some()
    }

    /// Returns true if the filter answered itself.
    pub fn is_local(&self) -> bool {
        self.sent.exchange().local_reply.is_some()
    }

    /// The reason in the status line of the filter's own answer, where it is not the status's own.
    pub fn reason(&self) -> Option<String> {
        let details = self.sent.exchange().local_reply?.details;
        let is_shown = self.sent.gateway.has(Quirk::DetailsAreTheReason) && !details.is_empty();
        is_shown.then_some(details)
    }

    /// How the stream ended; `None` while it lasts.
    pub fn stream_end(&self) -> Option<StreamEnd> {
        self.sent.exchange().end
    }

    /// The value that the filter stored under this name for the access log.
    pub fn filter_state(&self, name: &str) -> Option<Vec<u8>> {
        self.sent.exchange().filter_state.get(name).cloned()
    }

    /// The trap that ended the stream.
    pub fn trap(&self) -> Option<Trap> {
        self.sent.exchange().trap
    }

    /// Instructions executed for this request.
    pub fn fuel(&self) -> u64 {
        self.fuel_by_callback().values().sum()
    }

    /// Instructions executed for this request, by callback.
    pub fn fuel_by_callback(&self) -> BTreeMap<Callback, u64> {
        self.sent.exchange().fuel
    }

    /// Drops the exchange, so that a soak needs no memory for it.
    pub fn forget(self) {
        self.sent.with(Worker::forget);
    }
}

fn message(delivered: &Delivered) -> Option<Message> {
    let Delivered { head, chunks, trailers, ended } = delivered.clone();
    Some(Message { headers: head?, chunks, trailers, ended })
}
