//! One request.
use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use weir_filter::emit::EmittedEvent;
use weir_filter::refusal::{LocalReply, Unread};
use weir_filter::request::{Arrival, BodyAction, Decided, Edits, EndFacts, HeadAction, Request, ResponseEdits};
use weir_filter::worker::FilterState;

use crate::gateway::{hands_over, is_kong};
use crate::host::{self, Buffer, HeaderMap, Level};
use crate::vm::{self, CountedLimiter};

/// A stream context.
#[derive(Debug)]
pub(crate) struct Http {
    state: Option<Rc<RefCell<FilterState>>>,
    request: Request,
    /// Bytes of a held body so far.
    buffered_bytes: usize,
    /// A refusal that the gateway did not take: as long as it is not said, nothing of the request may go on.
    unsaid: Option<LocalReply>,
}

/// What fits into a line of nginx's error log beside what nginx writes itself; a longer one is cut.
const KONG_LINE_MAX_BYTES: usize = 1_700;

/// Under this name an event is left for the access log: `%FILTER_STATE(wasm.weir_event:PLAIN)%`.
const SPOOL: &str = "weir_event";

/// The path and query as the client has sent them, on Kong.
const SENT_PATH: [&str; 2] = ["request", "path"];

/// What takes the place of a chunk of server-sent events that goes: a comment, which no client shows. Kong hangs where
/// nothing takes it.
const SSE_NOTHING: &[u8] = b":\n\n";

/// Where an Envoy route names a route of the configuration.
const ROUTE_METADATA: [&str; 5] = ["xds", "route_metadata", "filter_metadata", "weir", "route"];

impl Http {
    pub(crate) fn new(state: Option<Rc<RefCell<FilterState>>>) -> Self {
        Http { state, request: Request::default(), buffered_bytes: 0, unsaid: None }
    }

    fn decide(&mut self, ends: bool) -> Option<HeadAction> {
        let headers = host::headers(HeaderMap::Request);
        let mut pairs = headers.pairs();
        // Kong's `:path` is decoded and normalised, while the upstream gets what the client has sent.
        let sent_path = if is_kong() { Some(host::property(&SENT_PATH)?) } else { None };
        if let (Some(sent), Some(path)) = (&sent_path, pairs.iter_mut().find(|(name, _)| *name == b":path")) {
            path.1 = sent;
        }
        let now = host::now();
        let mut state = self.state.as_ref()?.try_borrow_mut().ok()?;
        let named = state.policy.routes.are_named_by_gateway();
        let route = if named { host::property(&ROUTE_METADATA) } else { None };
        vm::with(|vm| {
            let mut limiter = CountedLimiter(&vm.metrics);
            let arrival = Arrival { pairs: &pairs, ends, route: route.as_deref() };
            let (decided, action) = self.request.head(&mut vm.worker, &mut state, &mut limiter, &arrival, now);
            vm.metrics.decided(decided);
            vm.metrics.plan.changed(self.request.changes());
            action
        })
    }

    /// The gateway does not hand over so many headers.
    fn refuse_unread(&mut self) -> Option<HeadAction> {
        let now = host::now();
        let state = self.state.as_ref()?.try_borrow().ok()?;
        vm::with(|vm| {
            let (decided, action) = self.request.unreadable_head(&mut vm.worker, &state, now);
            vm.metrics.decided(decided);
            action
        })
    }

    /// The body of a held request is there, `size` bytes of it, or there is more than is read.
    fn decide_by_body(&mut self, size: Option<usize>) -> Action {
        let bytes = match size {
            Some(0) => Ok(Vec::new()),
            // Kong has put it into a file.
            Some(size) => {
                host::buffer(Buffer::RequestBody, size).filter(|bytes| bytes.len() == size).ok_or(Unread::TooLarge)
            }
            None => Err(Unread::TooLarge),
        };
        let body = bytes.as_deref().map_err(|unread| *unread);
        let now = host::now();
        let action = vm::with(|vm| {
            let mut limiter = CountedLimiter(&vm.metrics);
            let (decided, action) = self.request.body(&mut vm.worker, &mut limiter, body, now)?;
            vm.metrics.decided(decided);
            vm.metrics.plan.changed(self.request.changes());
            Some(action)
        });
        match action.flatten() {
            Some(BodyAction::Forward(edits, changed)) if replace(changed.as_deref(), size) && apply(&edits) => {
                Action::Continue
            }
            Some(BodyAction::Answer(reply)) => self.answer(reply),
            Some(BodyAction::Forward(..)) | None => self.fail(),
        }
    }

    /// A chunk of a body goes by that is not held. Its head may not have told that it is larger than the plan allows.
    fn pass_body(&mut self, size: usize) -> Action {
        let refused = vm::with(|vm| {
            let mut limiter = CountedLimiter(&vm.metrics);
            let (decided, reply) = self.request.request_body(&mut vm.worker, &mut limiter, size, host::now)?;
            vm.metrics.decided(decided);
            Some(reply)
        });
        refused.flatten().map_or(Action::Continue, |reply| self.answer(reply))
    }

    /// The gateway does not hand over so many headers of an answer: its status is known, and its body tells the rest.
    fn unread_response_head(&mut self, ends: bool) -> ResponseEdits {
        let status = host::property(&["response", "code"]).unwrap_or_default();
        self.request.response_head(&[(b":status", &status)], ends, host::now)
    }

    /// Nothing is known of this request, or it could not be changed as it must be: it must not go on.
    fn fail(&mut self) -> Action {
        self.request = Request::default();
        vm::with(|vm| vm.metrics.internal_fault());
        self.answer(unavailable())
    }

    fn answer(&mut self, reply: LocalReply) -> Action {
        if !host::respond(&reply, "weir") {
            self.unsaid = Some(reply);
        }
        Action::Pause
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, count: usize, ends: bool) -> Action {
        let action = if hands_over(count) { self.decide(ends) } else { self.refuse_unread() };
        match action {
            Some(HeadAction::Forward(edits)) if apply(&edits) => Action::Continue,
            Some(HeadAction::Hold(edits)) if apply(&edits) => {
                // Kong shows the body before it sends the head on, and hangs when it is told to wait.
                if is_kong() { Action::Continue } else { Action::Pause }
            }
            Some(HeadAction::Answer(reply)) => self.answer(reply),
            Some(HeadAction::Forward(_) | HeadAction::Hold(_)) | None => self.fail(),
        }
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        if let Some(reply) = self.unsaid.take() {
            return self.answer(reply);
        }
        if !self.request.awaits_body() {
            return self.pass_body(size);
        }
        self.buffered_bytes = size;
        if self.request.body_buffered(size) {
            return self.decide_by_body(None);
        }
        if ends || is_kong() { self.decide_by_body(Some(size)) } else { Action::Pause }
    }

    /// With trailers no body is ever the last.
    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if let Some(reply) = self.unsaid.take() {
            return self.answer(reply);
        }
        if self.request.awaits_body() { self.decide_by_body(Some(self.buffered_bytes)) } else { Action::Continue }
    }

    fn on_http_response_headers(&mut self, count: usize, ends: bool) -> Action {
        if self.request.is_watched() {
            let edits = match hands_over(count) {
                true => self.request.response_head(&host::headers(HeaderMap::Response).pairs(), ends, host::now),
                false => self.unread_response_head(ends),
            };
            for (name, value) in &edits.set {
                // A client that is not told how its limits stand is told when it is refused.
                let _untold = host::set_response_header(name, value);
            }
            if edits.shortens {
                host::remove_response_header("content-length");
            }
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        if self.request.is_watched() {
            let chunk = if size == 0 { None } else { host::buffer(Buffer::ResponseBody, size) };
            let chunk = chunk.unwrap_or_default();
            if let Some(changed) = self.request.response_body(&chunk, ends, host::now) {
                let changed = if changed.is_empty() && is_kong() { SSE_NOTHING } else { &*changed };
                // Refused: the client gets the event that it has not asked for, which does no harm to most.
                let _left = host::set_buffer(Buffer::ResponseBody, size, changed);
            }
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if self.request.wants_trailers() {
            self.request.response_trailers(&host::headers(HeaderMap::ResponseTrailers).pairs());
        } else {
            self.request.response_trailers(&[]);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if !self.request.is_watched() {
            return;
        }
        // Kong knows none, and logs an error whenever it is asked.
        let needs_details = self.request.needs_details() && !is_kong();
        let details = if needs_details { host::property(&["response", "code_details"]) } else { None };
        self.end(&EndFacts { details: details.as_deref(), unanswered: false });
    }
}

/// Kong's `error_page` ends a stream whose upstream gives no answer without a word but this. It must ask for no property,
/// header or body here: the worker would die of it.
impl Drop for Http {
    fn drop(&mut self) {
        if self.request.is_watched() {
            self.end(&EndFacts { details: None, unanswered: true });
        }
    }
}

impl Http {
    /// The request is over, and makes its event.
    fn end(&mut self, facts: &EndFacts<'_>) {
        if self.request.awaits_body() {
            // Kong shows no empty body; and a client may leave while its body is awaited.
            vm::with(|vm| vm.metrics.decided(Decided::Admitted));
        }
        let now = host::now();
        let emitted = vm::with(|vm| {
            let mut limiter = CountedLimiter(&vm.metrics);
            self.request.end(&mut vm.worker, &mut limiter, facts, now)
        });
        let Some(EmittedEvent { pushed, spool }) = emitted.flatten() else { return };
        vm::settle(&pushed);
        vm::heartbeat(now);
        vm::abandon_if_exiting(now);
        if let Some(word) = spool
            && !keep(&word)
        {
            vm::with(|vm| vm.metrics.unspooled());
        }
    }
}

/// Leaves a signed event for the gateway's access log; on Kong, which has no place for it there, in its error log.
fn keep(word: &str) -> bool {
    if !is_kong() {
        return host::set_property(SPOOL, word.as_bytes());
    }
    host::log(Level::Warn, word);
    word.len() <= KONG_LINE_MAX_BYTES
}

impl Context for Http {}

/// Changes the request's head. Every change must hold: a request that kept a forged header must not go on.
fn apply(edits: &Edits) -> bool {
    let on_kong = is_kong();
    let is_set = |name: &str| edits.set.iter().any(|(set, _)| *set == name);
    // On Kong a header that is set takes the place of the one that would be removed.
    edits.remove.iter().all(|name| (on_kong && is_set(name)) || host::remove_request_header(name, on_kong))
        && edits.set.iter().all(|(name, value)| host::set_request_header(name, value))
}

/// Puts another body in the place of the one of `size` bytes, if there is one.
fn replace(changed: Option<&[u8]>, size: Option<usize>) -> bool {
    changed.is_none_or(|changed| host::set_buffer(Buffer::RequestBody, size.unwrap_or_default(), changed))
}

/// No configuration, or a gateway that fails: identity fails closed.
fn unavailable() -> LocalReply {
    LocalReply {
        status: 503,
        headers: vec![("content-type", "application/problem+json".to_owned()), ("retry-after", "1".to_owned())],
        body: r#"{"type":"about:blank","title":"The gateway cannot decide about this request now.","status":503,"code":"unavailable"}"#.to_owned(),
    }
}
