//! One request.
use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use weir_filter::emit::EmittedEvent;
use weir_filter::refusal::{LocalReply, Unread};
use weir_filter::request::{Arrival, BodyAction, Decided, Edits, EndFacts, HeadAction, Request, ResponseEdits};
use weir_filter::routing::told;
use weir_filter::worker::FilterState;

use crate::gateway::{hands_over, is_kong};
use crate::host::{self, Buffer, HeaderMap, Level};
use crate::vm::{self, CountedLimiter, Vm};

mod answer;
mod asking;

/// A stream context.
#[derive(Debug)]
pub(crate) struct Http {
    state: Option<Rc<RefCell<FilterState>>>,
    request: Request,
    /// Bytes of an awaited body so far.
    buffered_bytes: usize,
    /// Bytes of a held answer so far.
    answer_bytes: usize,
    /// The call that the request is held for.
    call: Option<u32>,
    /// Bytes that arrived while it was held, of a body that nobody awaits.
    passing_bytes: usize,
    /// All of the body has arrived.
    body_ended: bool,
    /// The body that was awaited has been decided about.
    is_body_decided: bool,
    /// A refusal that the gateway did not accept. Nothing of the request may pass until it does.
    unsaid: Option<LocalReply>,
    /// The gateway did not show a part of the answer, or did not change it. Nothing of the answer may pass any more.
    is_stopped: bool,
}

/// The longest message that nginx's error log keeps whole, with room for what nginx adds to the line.
const KONG_LINE_MAX_BYTES: usize = 1_700;

/// The name under which an event is left for the access log: `%FILTER_STATE(wasm.weir_event:PLAIN)%`.
const SPOOL: &str = "weir_event";

/// On Kong, the path and query as the client sent them.
const SENT_PATH: [&str; 2] = ["request", "path"];

/// Replaces a chunk of server-sent events that is removed: a comment, which clients ignore. Kong hangs on an empty chunk.
const SSE_NOTHING: &[u8] = b":\n\n";

/// The metadata of an Envoy route that names a route of the configuration.
const ROUTE_METADATA: [&str; 5] = ["xds", "route_metadata", "filter_metadata", "weir", "route"];

impl Http {
    pub(crate) fn new(state: Option<Rc<RefCell<FilterState>>>) -> Self {
        Http {
            state,
            request: Request::default(),
            buffered_bytes: 0,
            answer_bytes: 0,
            call: None,
            passing_bytes: 0,
            body_ended: false,
            is_body_decided: false,
            unsaid: None,
            is_stopped: false,
        }
    }

    fn decide(&mut self, ends: bool) -> Option<HeadAction> {
        let headers = host::headers(HeaderMap::Request);
        let mut pairs = headers.pairs();
        // Kong decodes and normalises `:path`, but sends the client's own path upstream.
        let sent_path = if is_kong() { Some(host::property(&SENT_PATH)?) } else { None };
        if let (Some(sent), Some(path)) = (&sent_path, pairs.iter_mut().find(|(name, _)| *name == b":path")) {
            path.1 = sent;
        }
        let now = host::now();
        let mut state = self.state.as_ref()?.try_borrow_mut().ok()?;
        let routes = &state.policy.routes;
        // Kong logs an error where nothing is named.
        let named = routes.are_named_by_gateway() || (routes.keep_apart() && !is_kong());
        let route = if named { host::property(&ROUTE_METADATA) } else { None };
        vm::with(|vm| {
            let Vm { worker, metrics, renewals, .. } = vm;
            let mut limiter = CountedLimiter { metrics, renewals };
            let arrival = Arrival { pairs: &pairs, ends, route: route.as_deref() };
            let (decided, action) = self.request.head(worker, &mut state, &mut limiter, &arrival, now);
            metrics.decided(decided);
            metrics.plan.changed(self.request.changes());
            action
        })
    }

    /// Refuses a request with more headers than the gateway hands over.
    fn refuse_unread(&mut self) -> Option<HeadAction> {
        let now = host::now();
        let state = self.state.as_ref()?.try_borrow().ok()?;
        vm::with(|vm| {
            let (decided, action) = self.request.unreadable_head(&mut vm.worker, &state, now);
            vm.metrics.decided(decided);
            action
        })
    }

    /// Decides by an awaited body: `size` bytes of it, or None if there is more than is read.
    fn decide_by_body(&mut self, size: Option<usize>) -> Action {
        let bytes = match size {
            Some(0) => Ok(Vec::new()),
            // Kong stores a large body in a file and does not show it.
            Some(size) => {
                host::buffer(Buffer::RequestBody, size).filter(|bytes| bytes.len() == size).ok_or(Unread::TooLarge)
            }
            None => Err(Unread::TooLarge),
        };
        let body = bytes.as_deref().map_err(|unread| *unread);
        let is_unread = body.is_err();
        let now = host::now();
        self.is_body_decided = true;
        let action = vm::with(|vm| {
            let Vm { worker, metrics, renewals, .. } = vm;
            let mut limiter = CountedLimiter { metrics, renewals };
            let (decided, action) = self.request.body(worker, &mut limiter, body, now)?;
            metrics.decided(decided);
            metrics.plan.changed(self.request.changes());
            Some(action)
        });
        if is_unread && let Some(reply) = self.weigh_body(self.buffered_bytes) {
            return self.answer(reply);
        }
        match action.flatten() {
            Some(BodyAction::Forward(edits, changed)) if replace(changed.as_deref(), size) && apply(&edits) => {
                self.ask(Action::Continue)
            }
            Some(BodyAction::Answer(reply)) => self.answer(reply),
            Some(BodyAction::Forward(..)) | None => self.fail(),
        }
    }

    /// Counts a chunk of a body that passes by. It may exceed the plan's bound although the head did not say so.
    fn pass_body(&mut self, size: usize) -> Action {
        if let Some(reply) = self.weigh_body(size) {
            return self.answer(reply);
        }
        let refused = vm::with(|vm| {
            let Vm { worker, metrics, renewals, .. } = vm;
            let mut limiter = CountedLimiter { metrics, renewals };
            let (decided, reply) = self.request.request_body(worker, &mut limiter, size, host::now)?;
            metrics.decided(decided);
            Some(reply)
        });
        refused.flatten().map_or(Action::Continue, |reply| self.answer(reply))
    }

    /// What passes by of a body that is not read, and yet weighed. Returns the refusal, if that is the end of the request.
    fn weigh_body(&mut self, size: usize) -> Option<LocalReply> {
        if size == 0 || !self.request.is_weighed() {
            return None;
        }
        let chunk = host::buffer(Buffer::RequestBody, size).filter(|chunk| chunk.len() == size);
        // Kong stores a large body in a file and does not show it: there it passes where no rule needs it.
        if chunk.is_none() && is_kong() {
            return None;
        }
        let refused = vm::with(|vm| {
            let Vm { worker, metrics, renewals, .. } = vm;
            let mut limiter = CountedLimiter { metrics, renewals };
            let (decided, reply) = self.request.weigh(worker, &mut limiter, chunk.as_deref(), host::now)?;
            metrics.decided(decided);
            Some(reply)
        });
        refused.flatten()
    }

    /// Reads an answer with more headers than the gateway hands over by its status and its body.
    fn unread_response_head(&mut self, ends: bool) -> ResponseEdits {
        let status = host::property(&["response", "code"]).unwrap_or_default();
        self.request.response_head(&[(b":status", &status)], ends, host::now)
    }

    /// Refuses a request of which nothing is known, or that could not be changed as required.
    fn fail(&mut self) -> Action {
        self.request = Request::default();
        vm::with(|vm| vm.metrics.internal_fault());
        self.answer(unavailable())
    }

    /// Counts a provider's answer on an undeclared route, and warns of it once.
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
        // The answer to a call under way finds nobody.
        self.call = None;
        // Envoy's access log names who answered; Kong would put it into the status line, in the place of the reason.
        let details = if is_kong() { "" } else { "weir" };
        if !host::respond(&reply, details) {
            self.unsaid = Some(reply);
        }
        Action::Pause
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, count: usize, ends: bool) -> Action {
        let action = if hands_over(count) { self.decide(ends) } else { self.refuse_unread() };
        match action {
            Some(HeadAction::Forward(edits)) if apply(&edits) => self.ask(Action::Continue),
            Some(HeadAction::Hold(edits)) if apply(&edits) => {
                // Kong shows the body before it sends the head on, and hangs if told to wait.
                self.ask(if is_kong() { Action::Continue } else { Action::Pause })
            }
            Some(HeadAction::Answer(reply)) => self.answer(reply),
            Some(HeadAction::Forward(_) | HeadAction::Hold(_)) | None => self.fail(),
        }
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        if let Some(reply) = self.unsaid.take() {
            return self.answer(reply);
        }
        if self.call.is_some() {
            return self.body_while_asking(size, ends);
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

    /// With trailers, no chunk of the body is the last.
    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if let Some(reply) = self.unsaid.take() {
            return self.answer(reply);
        }
        if self.call.is_some() {
            self.body_ended = true;
            return Action::Pause;
        }
        if self.request.awaits_body() { self.decide_by_body(Some(self.buffered_bytes)) } else { Action::Continue }
    }

    fn on_http_response_headers(&mut self, count: usize, ends: bool) -> Action {
        if self.request.is_watched() {
            let edits = match hands_over(count) {
                true => self.request.response_head(&host::headers(HeaderMap::Response).pairs(), ends, host::now),
                false => self.unread_response_head(ends),
            };
            for name in &edits.remove {
                host::remove_response_header(name);
            }
            for (name, value) in &edits.set {
                // If refused, the client lacks the headers about its limits until it is limited.
                let _untold = host::set_response_header(name, value);
            }
            if edits.shortens || (edits.holds && is_kong()) {
                host::remove_response_header("content-length");
            }
            // Kong sends heads on whatever it is told.
            if edits.holds && !is_kong() {
                return Action::Pause;
            }
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        if self.is_stopped {
            return Action::Pause;
        }
        if self.request.holds_answer() {
            return self.hold_answer(size, ends);
        }
        if self.request.is_watched() {
            let shown = if size == 0 { Some(Vec::new()) } else { host::buffer(Buffer::ResponseBody, size) };
            if shown.is_none() && self.request.withhold_answer() {
                return self.stop_answer();
            }
            let chunk = shown.unwrap_or_default();
            if let Some(changed) = self.request.response_body(&chunk, ends, host::now) {
                let changed = if changed.is_empty() && is_kong() { SSE_NOTHING } else { &*changed };
                // If refused, the client gets the event that it did not ask for, which most tolerate, unless that may name others.
                if !host::set_buffer(Buffer::ResponseBody, size, changed) && self.request.withhold_answer() {
                    return self.stop_answer();
                }
            }
            // Only a body that Envoy was told to hold can still be added to when trailers come.
            if !ends && self.request.holds_back() && !is_kong() {
                return Action::Pause;
            }
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if self.is_stopped {
            return Action::Pause;
        }
        let rest = if self.request.wants_trailers() {
            self.request.response_trailers(&host::headers(HeaderMap::ResponseTrailers).pairs(), host::now)
        } else {
            self.request.response_trailers(&[], host::now)
        };
        if let Some(rest) = rest {
            // What waited was taken out of the chunks before, so that nothing of the body is there.
            let _lost = host::set_buffer(Buffer::ResponseBody, 0, &rest);
        }
        // With trailers, no chunk of the body is the last.
        if self.request.holds_answer() && !is_kong() {
            return self.release_answer(self.answer_bytes);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if !self.request.is_watched() {
            return;
        }
        // Kong has no such property, and logs an error each time.
        let needs_details = self.request.needs_details() && !is_kong();
        let details = if needs_details { host::property(&["response", "code_details"]) } else { None };
        let attempts = if self.request.needs_attempts() { host::property(&[told::ATTEMPTS]) } else { None };
        self.end(&EndFacts { details: details.as_deref(), attempts: attempts.as_deref(), unanswered: false });
    }
}

/// Kong's `error_page` ends a stream whose upstream does not answer without `on_log`: its context is only dropped. Reading
/// a property, header or body here kills the worker.
impl Drop for Http {
    fn drop(&mut self) {
        if self.request.is_watched() {
            self.end(&EndFacts { unanswered: true, ..EndFacts::default() });
        }
    }
}

impl Http {
    /// Makes the request's event at its end.
    fn end(&mut self, facts: &EndFacts<'_>) {
        if self.request.awaits_body() || self.request.is_asking() {
            // Kong shows no empty body, and a client may leave while its body or weir serve is awaited.
            vm::with(|vm| vm.metrics.decided(Decided::Admitted));
        }
        self.tell_undeclared();
        let now = host::now();
        let emitted = vm::with(|vm| {
            let Vm { worker, metrics, renewals, .. } = vm;
            let mut limiter = CountedLimiter { metrics, renewals };
            self.request.end(worker, &mut limiter, facts, now)
        });
        let Some(EmittedEvent { pushed, spool, search }) = emitted.flatten() else { return };
        std::iter::once(&pushed).chain(&search).for_each(vm::settle);
        vm::heartbeat(now);
        vm::abandon_if_exiting(now);
        if let Some(word) = spool
            && !keep(&word)
        {
            vm::with(|vm| vm.metrics.unspooled());
        }
    }
}

/// Leaves a signed event for Envoy's access log, or in Kong's error log. False: it is not there, or not whole.
fn keep(word: &str) -> bool {
    if !is_kong() {
        return host::set_property(SPOOL, word.as_bytes());
    }
    host::log(Level::Warn, word);
    word.len() <= KONG_LINE_MAX_BYTES
}

impl Context for Http {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        if self.call == Some(token) {
            self.draw_answered(headers, body_size);
        }
    }
}

/// Changes the request's head. Every change must succeed: a request with a forged header must not pass.
fn apply(edits: &Edits) -> bool {
    let on_kong = is_kong();
    let is_set = |name: &str| edits.set.iter().any(|(set, _)| *set == name);
    // On Kong, setting a header replaces the one that would be removed.
    edits.remove.iter().all(|name| (on_kong && is_set(name)) || host::remove_request_header(name, on_kong))
        && edits.set.iter().all(|(name, value)| host::set_request_header(name, value))
        && edits.choice.as_ref().is_none_or(|choice| host::set_property(told::CHOICE, choice.as_bytes()))
}

/// Replaces a body of `size` bytes, if there is another.
fn replace(changed: Option<&[u8]>, size: Option<usize>) -> bool {
    changed.is_none_or(|changed| host::set_buffer(Buffer::RequestBody, size.unwrap_or_default(), changed))
}

/// The reply without a configuration, or if the gateway fails: identity fails closed.
fn unavailable() -> LocalReply {
    LocalReply {
        status: 503,
        headers: vec![("content-type", "application/problem+json".to_owned()), ("retry-after", "1".to_owned())],
        body: r#"{"type":"about:blank","title":"The gateway cannot decide about this request now.","status":503,"code":"unavailable"}"#.to_owned(),
    }
}
