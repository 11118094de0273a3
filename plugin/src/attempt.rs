//! The role `upstream`: one attempt of a request at one provider.
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use weir_filter::refusal::LocalReply;
use weir_filter::routing::told;
use weir_filter::upstream::{Attempt, Given, LAST, NotTried, Piece, RequestChanges, Upstream};

use crate::host::{self, Buffer, HeaderMap};
use crate::vm::{self, Vm};

/// A stream context of the role.
#[derive(Debug)]
pub(crate) struct AttemptContext {
    upstream: Rc<Upstream>,
    attempt: Attempt,
    /// The body is awaited.
    awaits_body: bool,
    /// Bytes of it so far.
    buffered_bytes: usize,
    /// Bytes so far of an answer that is held as it is.
    held_bytes: usize,
}

impl AttemptContext {
    pub(crate) fn new(upstream: Rc<Upstream>) -> Self {
        AttemptContext {
            upstream,
            attempt: Attempt::at(host::now()),
            awaits_body: false,
            buffered_bytes: 0,
            held_bytes: 0,
        }
    }

    /// Writes the request anew, once its body is there.
    fn send(&mut self) -> Action {
        self.awaits_body = false;
        let size = self.buffered_bytes;
        let body = if size == 0 { None } else { host::buffer(Buffer::RequestBody, size) };
        match self.attempt.request(&self.upstream, &body.unwrap_or_default()) {
            Ok((changes, body)) if change_request(&changes) && host::set_buffer(Buffer::RequestBody, size, &body) => {
                Action::Continue
            }
            Ok(_) => fail("The gateway could not change the request."),
            Err(unfit) => {
                host::log(host::Level::Info, &format!("weir: the chosen provider cannot serve a request: {unfit}"));
                self.tell();
                host::respond(&self.attempt.refusal(), "weir");
                Action::Pause
            }
        }
    }

    /// Lets the attempt go to its provider, with the tenant's own key where it has one, or answers in its place.
    fn go(&mut self, ends: bool) -> Action {
        let granted = if self.attempt.is_first() { None } else { host::property(&[told::GRANTED]) };
        let admitted = vm::with(|vm| {
            let Vm { worker, metrics, .. } = vm;
            let kept = (&worker.handed, &mut worker.retries);
            let admitted = self.attempt.admit(&self.upstream, kept, granted.as_deref(), host::now());
            if let Err((NotTried::Retries, _)) = &admitted {
                metrics.retry_refused();
            }
            admitted
        });
        match admitted {
            Some(Ok(admission)) => {
                let is_keyed = admission.key.is_none_or(|(name, value)| host::set_request_header(name, &value));
                if !is_keyed {
                    return fail("The gateway could not change the request.");
                }
                self.tell();
                self.awaits_body = admission.awaits_body && !ends;
                if self.awaits_body { Action::Pause } else { Action::Continue }
            }
            Some(Err((why, reply))) => {
                if why == NotTried::Retries {
                    self.tell();
                }
                host::respond(&reply, "weir");
                Action::Pause
            }
            None => fail("The gateway could not decide about the request."),
        }
    }

    /// Has the gateway try nobody else where the attempt has failed and nothing is left of the budget of retries.
    fn bound(&mut self) {
        let follows = vm::with(|vm| {
            let follows = self.attempt.follow(&mut vm.worker.retries, host::now());
            if follows.is_err() {
                vm.metrics.retry_refused();
            }
            follows
        });
        match follows {
            // If refused, the next attempt draws once more.
            Some(Ok(Some(number))) => drop(host::set_property(told::GRANTED, number.to_string().as_bytes())),
            Some(Err(_)) => {
                let _untold = host::set_response_header(LAST, "true");
                self.tell();
            }
            Some(Ok(None)) | None => {}
        }
    }

    /// Leaves the list of attempts for the next one, and for the downstream role.
    fn tell(&self) {
        if let Some(attempts) = self.attempt.attempts(&self.upstream) {
            // If refused, failures count for no breaker.
            let _untold = host::set_property(told::ATTEMPTS, attempts.as_bytes());
        }
    }

    /// Puts a piece of a translated answer in the place of `size` bytes.
    fn pass(&mut self, size: usize, ends: bool) -> Action {
        let chunk = if size == 0 { None } else { host::buffer(Buffer::ResponseBody, size) };
        let piece = self.attempt.answer_chunk(&chunk.unwrap_or_default(), ends);
        self.put(size, &piece)
    }

    /// Looks at an answer in the client's own dialect, once what is to be looked at has come.
    fn look(&mut self, size: usize, ends: bool) -> Action {
        if self.attempt.waits_with(size, ends) {
            return Action::Pause;
        }
        let bytes = if size == 0 { None } else { host::buffer(Buffer::ResponseBody, size) };
        match self.attempt.look(&bytes.unwrap_or_default(), ends) {
            Some(piece) => self.put(size, &piece),
            None => {
                self.tell();
                self.bound();
                Action::Continue
            }
        }
    }

    /// Puts a piece in the place of `size` bytes of the answer.
    fn put(&mut self, size: usize, piece: &Piece) -> Action {
        for (name, value) in &piece.set {
            let _untold = host::set_response_header(name, value);
        }
        if piece.tells {
            self.tell();
            self.bound();
        }
        // What is held is kept by the translator; the gateway's buffer stays empty.
        let changes = size > 0 || !piece.bytes.is_empty();
        let _lost = changes && host::set_buffer(Buffer::ResponseBody, size, &piece.bytes);
        if piece.holds { Action::Pause } else { Action::Continue }
    }

    /// Takes the next part of an answer.
    fn take(&mut self, size: usize, ends: bool) -> Action {
        match () {
            () if self.attempt.translates() => self.pass(size, ends),
            () if self.attempt.holds_own() => {
                self.held_bytes = self.held_bytes.max(size);
                self.look(self.held_bytes, ends)
            }
            () if self.attempt.drops_rest() => self.put(size, &Piece::default()),
            () => Action::Continue,
        }
    }
}

impl HttpContext for AttemptContext {
    fn on_http_request_headers(&mut self, _count: usize, ends: bool) -> Action {
        let (choice, attempts) = (host::property(&[told::CHOICE]), host::property(&[told::ATTEMPTS]));
        let headers = host::headers(HeaderMap::Request);
        let given = Given { choice: choice.as_deref(), attempts: attempts.as_deref() };
        let changes = self.attempt.begin(&self.upstream, &given, &headers.pairs());
        if change_request(&changes) { self.go(ends) } else { fail("The gateway could not change the request.") }
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        if !self.awaits_body {
            return Action::Continue;
        }
        self.buffered_bytes = size;
        if ends { self.send() } else { Action::Pause }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if self.awaits_body { self.send() } else { Action::Continue }
    }

    fn on_http_response_headers(&mut self, _count: usize, ends: bool) -> Action {
        let headers = host::headers(HeaderMap::Response);
        let changes = self.attempt.answer_head(&self.upstream, &headers.pairs(), ends, host::now());
        for name in &changes.remove {
            host::remove_response_header(name);
        }
        for (name, value) in &changes.set {
            let _untold = host::set_response_header(name, value);
        }
        self.tell();
        if !changes.holds {
            self.bound();
        }
        if changes.holds { Action::Pause } else { Action::Continue }
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        self.take(size, ends)
    }

    /// With trailers, no chunk of the body is the last.
    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.take(0, true)
    }
}

impl Context for AttemptContext {
    /// Says why the attempt got no answer. The next one may have begun meanwhile: then it has listed this one already.
    fn on_done(&mut self) -> bool {
        if !self.attempt.is_unanswered() {
            return true;
        }
        let before = self.attempt.attempts(&self.upstream);
        // Without a connection there is no address at this end of it.
        let is_connected = host::property(&["upstream", "local_address"]).is_some_and(|address| !address.is_empty());
        self.attempt.end(&self.upstream, is_connected, host::now());
        if before.is_some_and(|text| host::property(&[told::ATTEMPTS]).is_some_and(|now| now == text.as_bytes())) {
            self.tell();
        }
        true
    }
}

/// Changes the request's head. Every change must succeed: a credential must not reach another provider.
fn change_request(changes: &RequestChanges) -> bool {
    changes.remove.iter().all(|name| host::remove_request_header(name, false))
        && changes.set.iter().all(|(name, value)| host::set_request_header(name, value))
}

fn fail(title: &str) -> Action {
    vm::with(|vm| vm.metrics.internal_fault());
    let reply = LocalReply {
        status: 502,
        headers: vec![("content-type", "application/problem+json".to_owned())],
        body: format!(r#"{{"type":"about:blank","title":"{title}","status":502,"code":"unavailable"}}"#),
    };
    host::respond(&reply, "weir");
    Action::Pause
}
