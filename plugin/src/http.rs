//! One request.
use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use weir_filter::emit::EmittedEvent;
use weir_filter::refusal::{LocalReply, Unread};
use weir_filter::request::{Arrival, BodyAction, Decided, Edits, EndFacts, HeadAction, Request};
use weir_filter::worker::FilterState;

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

/// Under this name an event is left for the access log: `%FILTER_STATE(wasm.weir_event:PLAIN)%`.
const SPOOL: &str = "weir_event";

/// Where an Envoy route names a route of the configuration.
const ROUTE_METADATA: [&str; 5] = ["xds", "route_metadata", "filter_metadata", "weir", "route"];

impl Http {
    pub(crate) fn new(state: Option<Rc<RefCell<FilterState>>>) -> Self {
        Http { state, request: Request::default(), buffered_bytes: 0, unsaid: None }
    }

    fn decide(&mut self, ends: bool) -> Option<HeadAction> {
        let headers = host::headers(HeaderMap::Request);
        let pairs = headers.pairs();
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
        self.weigh_body(size);
        let refused = vm::with(|vm| {
            let mut limiter = CountedLimiter(&vm.metrics);
            let (decided, reply) = self.request.request_body(&mut vm.worker, &mut limiter, size, host::now)?;
            vm.metrics.decided(decided);
            Some(reply)
        });
        refused.flatten().map_or(Action::Continue, |reply| self.answer(reply))
    }

    /// What passes by of a body that is not read, and yet weighed.
    fn weigh_body(&mut self, size: usize) {
        if size > 0
            && self.request.is_weighed()
            && let Some(chunk) = host::buffer(Buffer::RequestBody, size)
        {
            self.request.weigh(&chunk);
        }
    }

    /// Nothing is known of this request, or it could not be changed as it must be: it must not go on.
    fn fail(&mut self) -> Action {
        self.request = Request::default();
        vm::with(|vm| vm.metrics.internal_fault());
        self.answer(unavailable())
    }

    /// Counts a provider's answer whose usage nobody has asked to be read, and warns of it once.
    fn tell_undeclared(&self) {
        let undeclared = vm::with(|vm| {
            let undeclared = self.request.undeclared(&mut vm.worker)?;
            vm.metrics.undeclared();
            undeclared.warning
        });
        if let Some(warning) = undeclared.flatten() {
            host::log(Level::Warn, &warning);
        }
    }

    fn answer(&mut self, reply: LocalReply) -> Action {
        if !host::respond(&reply, "weir") {
            self.unsaid = Some(reply);
        }
        Action::Pause
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, ends: bool) -> Action {
        match self.decide(ends) {
            Some(HeadAction::Forward(edits)) if apply(&edits) => Action::Continue,
            Some(HeadAction::Hold(edits)) if apply(&edits) => {
                // Kong shows the body before it sends the head on, and hangs when it is told to wait.
                if vm::is_kong() { Action::Continue } else { Action::Pause }
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
            let action = self.decide_by_body(None);
            self.weigh_body(size);
            return action;
        }
        if ends || vm::is_kong() { self.decide_by_body(Some(size)) } else { Action::Pause }
    }

    /// With trailers no body is ever the last.
    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if let Some(reply) = self.unsaid.take() {
            return self.answer(reply);
        }
        if self.request.awaits_body() { self.decide_by_body(Some(self.buffered_bytes)) } else { Action::Continue }
    }

    fn on_http_response_headers(&mut self, _count: usize, ends: bool) -> Action {
        if self.request.is_watched() {
            let edits = self.request.response_head(&host::headers(HeaderMap::Response).pairs(), ends, host::now);
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
                // Refused: the client gets the event that it has not asked for, which does no harm to most.
                let _left = host::set_buffer(Buffer::ResponseBody, size, &changed);
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
        if self.request.awaits_body() {
            // Kong shows no empty body; and a client may leave while its body is awaited.
            vm::with(|vm| vm.metrics.decided(Decided::Admitted));
        }
        self.tell_undeclared();
        let details = if self.request.needs_details() { host::property(&["response", "code_details"]) } else { None };
        let facts = EndFacts { details: details.as_deref() };
        let now = host::now();
        let emitted = vm::with(|vm| {
            let mut limiter = CountedLimiter(&vm.metrics);
            self.request.end(&mut vm.worker, &mut limiter, &facts, now)
        });
        let Some(EmittedEvent { pushed, spool }) = emitted.flatten() else { return };
        vm::settle(&pushed);
        vm::heartbeat(now);
        if let Some(word) = spool
            && !host::set_property(SPOOL, word.as_bytes())
        {
            vm::with(|vm| vm.metrics.unspooled());
        }
    }
}

impl Context for Http {}

/// Changes the request's head. Every change must hold: a request that kept a forged header must not go on.
fn apply(edits: &Edits) -> bool {
    let is_kong = vm::is_kong();
    edits.remove.iter().all(|name| host::remove_request_header(name, is_kong))
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
