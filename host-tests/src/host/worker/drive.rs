//! Moves messages along: shows them to the filter, holds them, releases them.

use super::{Action, Callback, ExchangeId, Headers, Held, Quirk, Side, StreamEnd, Worker};

fn headers_callback(side: Side) -> Callback {
    match side {
        Side::Request => Callback::RequestHeaders,
        Side::Response => Callback::ResponseHeaders,
    }
}

fn body_callback(side: Side) -> Callback {
    match side {
        Side::Request => Callback::RequestBody,
        Side::Response => Callback::ResponseBody,
    }
}

fn trailers_callback(side: Side) -> Callback {
    match side {
        Side::Request => Callback::RequestTrailers,
        Side::Response => Callback::ResponseTrailers,
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("a test's messages are below 4 GiB")
}

impl Worker {
    /// Receives a chunk of the request body from the client.
    pub fn request_body(&mut self, id: ExchangeId, chunk: &[u8], end_of_stream: bool) {
        if !self.has(Quirk::BodyComesWhole) {
            return self.feed_body(id, Side::Request, chunk, end_of_stream);
        }
        let waiting = &mut self.exchange_mut(id).request.waiting;
        waiting.body.extend_from_slice(chunk);
        waiting.has_body = true;
        if end_of_stream {
            self.request_is_whole(id);
        }
    }

    /// Receives the request's trailers from the client; they end the request.
    pub fn request_trailers(&mut self, id: ExchangeId, trailers: Headers) {
        if self.has(Quirk::TrailersAreHidden) {
            return self.request_is_whole(id);
        }
        let trailers = self.blueprint.settings.named_by_peer(trailers);
        self.feed_trailers(id, Side::Request, trailers);
    }

    /// Receives a response head from the upstream. Hosts that hide 1xx heads do not show them, except 101, which ends
    /// an upgrade's request.
    pub fn response_head(&mut self, id: ExchangeId, headers: Headers, end_of_stream: bool) {
        let status = headers.bytes(":status").unwrap_or_default();
        let informational = status.first() == Some(&b'1') && status != b"101";
        if informational && self.has(Quirk::InformationalResponsesHidden) {
            return;
        }
        let now_ns = self.blueprint.process.clock.now_ns();
        self.exchange_mut(id).answered_ns = Some(now_ns);
        let headers = self.blueprint.settings.named_by_peer(headers);
        self.feed_head(id, Side::Response, headers, end_of_stream);
    }

    /// Receives a chunk of the response body from the upstream.
    pub fn response_body(&mut self, id: ExchangeId, chunk: &[u8], end_of_stream: bool) {
        if self.answers_head_only(id) {
            self.exchange_mut(id).response.sender_ended |= end_of_stream;
            if end_of_stream {
                self.end_unseen(id, Side::Response);
            }
            return;
        }
        self.feed_body(id, Side::Response, chunk, end_of_stream);
    }

    /// nginx has no body to show where HEAD was asked.
    fn answers_head_only(&mut self, id: ExchangeId) -> bool {
        let asks_head = |stream: &mut super::HttpStream| stream.request.headers.bytes(":method") == Some(b"HEAD");
        self.has(Quirk::HeadShowsNoBody) && self.stream_mut(id).is_some_and(asks_head)
    }

    /// Receives the response's trailers from the upstream; they end the response.
    pub fn response_trailers(&mut self, id: ExchangeId, trailers: Headers) {
        let trailers = self.blueprint.settings.named_by_peer(trailers);
        self.feed_trailers(id, Side::Response, trailers);
    }

    /// Handles a complete request: Kong reads it to the end before it shows the body, if there is one.
    fn request_is_whole(&mut self, id: ExchangeId) {
        let flow = &mut self.exchange_mut(id).request;
        flow.sender_ended = true;
        if flow.held == Held::Everything {
            return;
        }
        let body = std::mem::take(&mut flow.waiting).body;
        if body.is_empty() {
            return self.release(id, Side::Request);
        }
        self.show_body(id, Side::Request, body, true);
    }

    pub(super) fn feed_head(&mut self, id: ExchangeId, side: Side, headers: Headers, end: bool) {
        let counts_real = self.has(Quirk::CountsLeaveOutPseudoFields);
        let fields = count(if counts_real { headers.real_len() } else { headers.len() });
        let shown = super::properties::shown_head(&self.blueprint.settings, side, &headers);
        self.exchange_mut(id).flow(side).sender_ended = end;
        let settings = std::sync::Arc::clone(&self.blueprint.settings);
        if let Some(stream) = self.stream_mut(id) {
            super::properties::of_head(&settings, stream, side, &headers);
            let half = stream.half(side);
            half.headers = shown;
            half.outgoing = headers;
            half.headers_open = true;
        } else {
            self.exchange_mut(id).flow(side).delivered.head = Some(headers);
        }
        match self.call_stream(id, headers_callback(side), &[fields, u32::from(end)]) {
            None => {}
            Some(Action::Pause) if !self.ignores_pause(side) => self.hold_head(id, side),
            Some(_) if self.crashes_by_dispatch(id, side) => {}
            Some(_) => self.release_head(id, side, end),
        }
    }

    /// Returns true if the worker has just crashed, because it dispatched in request headers without pausing.
    fn crashes_by_dispatch(&mut self, id: ExchangeId, side: Side) -> bool {
        let context = self.exchanges[&id].context;
        let dispatched = self.calls().iter().any(|call| call.context == context);
        if side == Side::Response || !dispatched || !self.has(Quirk::DispatchWithoutPauseCrashes) {
            return false;
        }
        let cause = "dispatching a call in request headers without pausing crashes this host's worker".to_owned();
        self.fail(super::Trap { callback: Callback::RequestHeaders, place: self.place, cause });
        true
    }

    fn ignores_pause(&self, side: Side) -> bool {
        side == Side::Response && self.has(Quirk::ResponseHeadPauseIgnored)
    }

    fn hold_head(&mut self, id: ExchangeId, side: Side) {
        let stops = self.has(Quirk::HeadersPauseStopsBody) && !self.blueprint.settings.allow_on_headers_stop_iteration;
        let stops = stops || self.has(Quirk::PauseWithoutCallHangs);
        self.exchange_mut(id).flow(side).held = if stops { Held::Everything } else { Held::Head };
    }

    fn release_head(&mut self, id: ExchangeId, side: Side, end: bool) {
        if end {
            return self.release(id, side);
        }
        // nginx connects to the upstream after reading the request, so the head can still change until then.
        if side == Side::Response || self.has(Quirk::HeadLeavesWithContinue) {
            self.deliver_head(id, side);
        }
    }

    fn deliver_head(&mut self, id: ExchangeId, side: Side) {
        let closes = self.has(Quirk::MapsCloseWithContinue);
        let now_ns = self.blueprint.process.clock.now_ns();
        let Some(stream) = self.stream_mut(id) else { return };
        let half = stream.half(side);
        half.headers_open &= !closes;
        let head = half.outgoing.clone();
        let exchange = self.exchange_mut(id);
        exchange.flow(side).delivered.head.get_or_insert(head);
        if side == Side::Request {
            exchange.forwarded_ns.get_or_insert(now_ns);
        }
    }

    fn feed_body(&mut self, id: ExchangeId, side: Side, chunk: &[u8], end: bool) {
        let flow = self.exchange_mut(id).flow(side);
        flow.sender_ended |= end;
        if flow.held == Held::Everything {
            flow.waiting.body.extend_from_slice(chunk);
            flow.waiting.has_body = true;
            return;
        }
        let shown_end = end && !self.hides_end(id, side);
        if end && !shown_end && chunk.is_empty() {
            return self.end_unseen(id, side);
        }
        let held = self.exchange_mut(id).flow(side).held == Held::Body;
        let mut body = match self.stream_mut(id) {
            Some(stream) if held => std::mem::take(&mut stream.half(side).body),
            _ => Vec::new(),
        };
        body.extend_from_slice(chunk);
        if held && side == Side::Request && self.overflows(body.len()) {
            return self.refuse_overflow(id, side);
        }
        self.show_body(id, side, body, shown_end);
        if end && !shown_end {
            self.end_unseen(id, side);
        }
    }

    fn hides_end(&mut self, id: ExchangeId, side: Side) -> bool {
        side == Side::Response
            && self.has(Quirk::EndOfStreamMissing)
            && self.stream_mut(id).is_some_and(|stream| stream.response.headers.content_length().is_some())
    }

    /// Ends a complete message without showing its end to the filter.
    fn end_unseen(&mut self, id: ExchangeId, side: Side) {
        if self.exchanges[&id].end.is_none() && self.exchange_mut(id).flow(side).held == Held::No {
            self.release(id, side);
        }
    }

    fn show_body(&mut self, id: ExchangeId, side: Side, body: Vec<u8>, end: bool) {
        let length = body.len();
        let spools = side == Side::Request
            && self.has(Quirk::LargeBodyIsSpooled)
            && length > self.blueprint.settings.body_buffer_bytes;
        if let Some(stream) = self.stream_mut(id) {
            stream.response_ends = end && side == Side::Response;
            let half = stream.half(side);
            half.body = body;
            half.body_open = true;
            half.body_spooled = spools;
        } else if !body.is_empty() {
            self.exchange_mut(id).flow(side).delivered.chunks.push(body);
        }
        match self.call_stream(id, body_callback(side), &[count(length), u32::from(end)]) {
            None => {}
            Some(Action::Pause) => self.hold_body(id, side),
            Some(Action::Continue) => self.release_body(id, side, end),
        }
    }

    fn hold_body(&mut self, id: ExchangeId, side: Side) {
        let first = self.exchange_mut(id).flow(side).held != Held::Body;
        self.exchange_mut(id).flow(side).held = Held::Body;
        let repeats = first && side == Side::Response && self.has(Quirk::PausedChunkRepeats);
        let Some(stream) = self.stream_mut(id) else { return };
        let half = stream.half(side);
        if repeats {
            let chunk = half.body.clone();
            half.body.extend_from_slice(&chunk);
        }
        let held_bytes = half.body.len();
        if self.overflows(held_bytes) {
            self.refuse_overflow(id, side);
        }
    }

    fn overflows(&self, held_bytes: usize) -> bool {
        held_bytes > self.blueprint.settings.buffer_max_bytes && self.has(Quirk::BufferLimitRefuses)
    }

    fn release_body(&mut self, id: ExchangeId, side: Side, end: bool) {
        if end {
            return self.release(id, side);
        }
        self.exchange_mut(id).flow(side).held = Held::No;
        self.deliver_head(id, side);
        self.deliver_body(id, side);
    }

    fn deliver_body(&mut self, id: ExchangeId, side: Side) {
        let Some(stream) = self.stream_mut(id) else { return };
        let half = stream.half(side);
        half.body_open = false;
        let chunk = std::mem::take(&mut half.body);
        if !chunk.is_empty() {
            self.exchange_mut(id).flow(side).delivered.chunks.push(chunk);
        }
    }

    fn feed_trailers(&mut self, id: ExchangeId, side: Side, trailers: Headers) {
        let flow = self.exchange_mut(id).flow(side);
        flow.sender_ended = true;
        if flow.held == Held::Everything {
            flow.waiting.trailers = Some(trailers);
            return;
        }
        let fields = count(trailers.len());
        if let Some(stream) = self.stream_mut(id) {
            let half = stream.half(side);
            half.trailers = trailers;
            half.trailers_open = true;
            // The held body stays readable, because it ends here.
            half.body_open = true;
        } else {
            self.exchange_mut(id).flow(side).delivered.trailers = Some(trailers);
        }
        match self.call_stream(id, trailers_callback(side), &[fields]) {
            None => {}
            Some(Action::Pause) => self.exchange_mut(id).flow(side).held = Held::Trailers,
            Some(Action::Continue) => self.release(id, side),
        }
    }

    /// Releases everything that has arrived; completes the message if its sender has ended.
    fn release(&mut self, id: ExchangeId, side: Side) {
        self.exchange_mut(id).flow(side).held = Held::No;
        self.fix_content_length(id, side);
        self.deliver_head(id, side);
        self.deliver_body(id, side);
        let trailers = self.stream_mut(id).map(|stream| stream.half(side).trailers.clone());
        let flow = self.exchange_mut(id).flow(side);
        if let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) {
            flow.delivered.trailers = Some(trailers);
        }
        flow.delivered.ended = flow.sender_ended;
        if side == Side::Response && flow.delivered.ended {
            self.finish(id, StreamEnd::Complete);
        }
    }

    fn fix_content_length(&mut self, id: ExchangeId, side: Side) {
        if side == Side::Response || self.has(Quirk::ContentLengthStaysStale) {
            return;
        }
        let Some(stream) = self.stream_mut(id) else { return };
        let half = &mut stream.request;
        if half.outgoing.bytes("content-length").is_some() && !half.body.is_empty() && !half.length_set {
            half.outgoing.set("content-length", half.body.len().to_string());
        }
    }

    /// Resumes a held message at the filter's request.
    pub(super) fn resume(&mut self, id: ExchangeId, side: Side) {
        let flow = self.exchange_mut(id).flow(side);
        match std::mem::take(&mut flow.held) {
            Held::No => {}
            Held::Everything => self.show_what_waited(id, side),
            Held::Head | Held::Body | Held::Trailers => self.release(id, side),
        }
    }

    fn show_what_waited(&mut self, id: ExchangeId, side: Side) {
        if self.has(Quirk::BodyComesWhole) && side == Side::Request {
            if self.exchange_mut(id).request.sender_ended {
                self.request_is_whole(id);
            }
            return;
        }
        let flow = self.exchange_mut(id).flow(side);
        let (waiting, ended) = (std::mem::take(&mut flow.waiting), flow.sender_ended);
        if !waiting.has_body && waiting.trailers.is_none() {
            return self.release_head(id, side, ended);
        }
        self.deliver_head(id, side);
        if waiting.has_body {
            self.feed_body(id, side, &waiting.body, ended && waiting.trailers.is_none());
        }
        if let Some(trailers) = waiting.trailers {
            self.feed_trailers(id, side, trailers);
        }
    }
}
