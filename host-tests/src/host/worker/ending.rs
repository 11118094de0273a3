//! The ends of streams: completion, the filter's own answer, or a peer that leaves.

use super::{Callback, ExchangeId, Headers, Profile, Quirk, Side, StreamEnd, Worker, properties, vm_call};
use crate::host::stream::LocalReply;

impl Worker {
    /// The client closes the connection.
    pub fn client_gone(&mut self, id: ExchangeId) {
        self.finish(id, StreamEnd::DownstreamGone);
    }

    /// The upstream breaks the connection: 503 if no answer has begun, else a broken response.
    pub fn upstream_reset(&mut self, id: ExchangeId) {
        let body = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        self.upstream_failed(id, StreamEnd::UpstreamReset, 503, body);
    }

    /// The route's time-out passes: 504 if no answer has begun, else a broken response.
    pub(crate) fn upstream_timeout(&mut self, id: ExchangeId) {
        self.upstream_failed(id, StreamEnd::TimedOut, 504, "upstream request timeout");
    }

    fn upstream_failed(&mut self, id: ExchangeId, end: StreamEnd, status: u16, body: &str) {
        if self.exchanges[&id].response.delivered.head.is_some() {
            return self.finish(id, end);
        }
        let status = match (self.blueprint.settings.profile, end) {
            (Profile::Kong, StreamEnd::UpstreamReset) => 502,
            _ => status,
        };
        if self.has(Quirk::ErrorPageDropsTheStream) && self.blueprint.settings.has_error_page {
            return self.show_error_page(id, status);
        }
        let headers = local_head(status, &Headers::new(), body.len());
        self.feed_head(id, Side::Response, headers, false);
        if self.exchanges[&id].end.is_none() {
            self.response_body(id, body.as_bytes(), true);
        }
    }

    /// nginx answers from another location, where there is no filter: its stream is deleted.
    fn show_error_page(&mut self, id: ExchangeId, status: u16) {
        let context = self.exchanges[&id].context;
        let delivered = &mut self.exchange_mut(id).response.delivered;
        delivered.head = Some(local_head(status, &Headers::new(), 0));
        delivered.ended = true;
        self.exchange_mut(id).end = Some(StreamEnd::Complete);
        if let Err(trap) = vm_call(&mut self.vm, Callback::Delete, context, &[]) {
            return self.fail(trap);
        }
        self.drop_context(context);
    }

    /// Sends a local reply that the filter asked for in `during`.
    pub(super) fn local_reply(&mut self, id: ExchangeId, during: Callback, reply: LocalReply) {
        let exchange = self.exchange_mut(id);
        exchange.local_reply = Some(reply.clone());
        exchange.request.held = super::Held::No;
        if exchange.response.delivered.head.is_some() {
            return self.finish(id, StreamEnd::ClosedByFilter);
        }
        if during.is_response() {
            if self.has(Quirk::LocalReplyInResponseHeadersHangs) {
                self.exchange_mut(id).hang = Some("a local reply in response headers hangs on this host".into());
                return;
            }
            return self.deliver_reply(id, &reply);
        }
        if self.has(Quirk::LocalRepliesAreShown) {
            return self.show_reply(id, &reply);
        }
        self.deliver_reply(id, &reply);
    }

    /// Runs the reply through the filter's own response callbacks.
    fn show_reply(&mut self, id: ExchangeId, reply: &LocalReply) {
        let head = local_head(reply.status, &reply.headers, reply.body.len());
        self.feed_head(id, Side::Response, head, reply.body.is_empty());
        if !reply.body.is_empty() && self.exchanges[&id].end.is_none() {
            self.response_body(id, &reply.body, true);
        }
    }

    /// Sends the reply as it is.
    pub(super) fn deliver_reply(&mut self, id: ExchangeId, reply: &LocalReply) {
        let head = local_head(reply.status, &reply.headers, reply.body.len());
        if let Some(stream) = self.stream_mut(id) {
            stream.response.headers.clone_from(&head);
        }
        let delivered = &mut self.exchange_mut(id).response.delivered;
        delivered.head = Some(head);
        delivered.chunks = if reply.body.is_empty() { Vec::new() } else { vec![reply.body.clone()] };
        delivered.ended = true;
        self.finish(id, StreamEnd::Complete);
    }

    /// Answers a held message that outgrows Envoy's buffer.
    pub(super) fn refuse_overflow(&mut self, id: ExchangeId, side: Side) {
        let (status, body) = match side {
            Side::Request => (413, "Payload Too Large"),
            Side::Response => (500, "Internal Server Error"),
        };
        let details = match side {
            Side::Request => "request_payload_too_large",
            Side::Response => "response_payload_too_large",
        };
        let reply = LocalReply { status, headers: Headers::new(), body: body.into(), details: details.into() };
        match side {
            Side::Request => self.show_reply(id, &reply),
            Side::Response => self.deliver_reply(id, &reply),
        }
    }

    /// Runs the last callbacks of a stream in the host's order, then drops its context.
    pub(super) fn finish(&mut self, id: ExchangeId, end: StreamEnd) {
        if self.exchanges[&id].end.is_some() {
            return;
        }
        self.exchange_mut(id).end = Some(end);
        let exchange = &self.exchanges[&id];
        let (context, now_ns) = (exchange.context, self.blueprint.process.clock.now_ns());
        let Some(vm) = self.vm.as_mut().filter(|_| !exchange.unfiltered) else { return };
        let Some(stream) = vm.state_mut().streams.get_mut(&context) else { return };
        stream.logging = true;
        properties::of_end(&self.blueprint.settings, stream, exchange, end, now_ns);
        let order = if self.has(Quirk::LogComesBeforeDone) {
            [Callback::Log, Callback::Done, Callback::Delete]
        } else {
            [Callback::Done, Callback::Log, Callback::Delete]
        };
        for callback in order {
            if let Err(trap) = vm_call(&mut self.vm, callback, context, &[]) {
                self.keep_filter_state(id);
                return self.fail(trap);
            }
            let fuel = self.vm.as_ref().map_or(0, super::Vm::last_fuel);
            *self.exchange_mut(id).fuel.entry(callback).or_default() += fuel;
        }
        self.keep_filter_state(id);
        self.drop_context(context);
        self.carry_out_for_others();
    }

    fn keep_filter_state(&mut self, id: ExchangeId) {
        let state = self.stream_mut(id).map(|stream| stream.filter_state.clone());
        self.exchange_mut(id).filter_state = state.unwrap_or_default();
    }

    fn drop_context(&mut self, context: u32) {
        let outlives = self.has(Quirk::CallAnswersGoToTheRoot);
        let Some(vm) = self.vm.as_mut() else { return };
        vm.state_mut().streams.remove(&context);
        if !outlives {
            vm.state_mut().calls.retain(|call| call.context != context);
        }
    }
}

/// The head of an answer made by the gateway.
fn local_head(status: u16, fields: &Headers, body_bytes: usize) -> Headers {
    let mut head = Headers::new();
    head.add(":status", status.to_string());
    head.extend(fields);
    if body_bytes > 0 {
        head.add("content-length", body_bytes.to_string());
        if fields.bytes("content-type").is_none() {
            head.add("content-type", "text/plain");
        }
    }
    head
}
