//! A held answer: buffered by Envoy, or shown chunk by chunk by Kong.
use proxy_wasm::types::Action;
use weir_filter::request::AnswerAction;

use super::Http;
use crate::gateway::is_kong;
use crate::host::{self, Buffer};
use crate::vm;

impl Http {
    /// Ends an answer that would go on unchanged although it must not. What has arrived of it stays with the gateway, and so does
    /// whatever follows; Envoy resets it at once.
    pub(super) fn stop_answer(&mut self) -> Action {
        self.is_stopped = true;
        vm::with(|vm| vm.metrics.answer_stopped());
        if !is_kong() {
            host::reset_response();
        }
        Action::Pause
    }

    /// Takes `size` bytes of a held answer: on Envoy all so far, on Kong a chunk.
    pub(super) fn hold_answer(&mut self, size: usize, ends: bool) -> Action {
        if is_kong() {
            return self.gather_answer(size, ends);
        }
        self.answer_bytes = size;
        if self.request.answer_is_due(size, ends) { self.release_answer(size) } else { Action::Pause }
    }

    /// Decides about the answer that Envoy has buffered. Where a change fails, nothing of it goes on.
    pub(super) fn release_answer(&mut self, size: usize) -> Action {
        let body = match size {
            0 => Some(Vec::new()),
            _ => host::buffer(Buffer::ResponseBody, size).filter(|bytes| bytes.len() == size),
        };
        let Some(AnswerAction { status, body, location, kept }) = self.request.answer(body.as_deref(), host::now)
        else {
            return Action::Pause;
        };
        if let Some(kept) = kept {
            vm::with(|vm| vm.metrics.kept(kept));
        }
        let Some(body) = body else { return Action::Continue };
        // Behind an answer that was refused before its end the head is gone: only its first part has a head to change.
        let is_told = kept.is_none() || tell(status, location.as_deref(), &body);
        let is_nothing = size == 0 && body.is_empty();
        if is_told && (is_nothing || host::set_buffer(Buffer::ResponseBody, size, &body)) {
            // What follows is counted from here on.
            self.answer_bytes = 0;
            return Action::Continue;
        }
        Action::Pause
    }

    fn gather_answer(&mut self, size: usize, ends: bool) -> Action {
        let chunk = if size == 0 { None } else { host::buffer(Buffer::ResponseBody, size) };
        let goes_on = self.request.answer_chunk(&chunk.unwrap_or_default(), ends, host::now);
        let Some((bytes, kept)) = goes_on else { return Action::Continue };
        if let Some(kept) = kept {
            vm::with(|vm| vm.metrics.kept(kept));
        }
        if host::set_buffer(Buffer::ResponseBody, size, &bytes) { Action::Continue } else { self.stop_answer() }
    }
}

/// Changes the head of an answer for another body.
fn tell(status: Option<u16>, location: Option<&str>, body: &[u8]) -> bool {
    let is_status_set = status.is_none_or(|status| {
        host::remove_response_header("content-encoding");
        host::set_response_header(":status", &status.to_string())
            && host::set_response_header("content-type", "application/json")
    });
    let is_sent_on = location.is_none_or(|location| host::set_response_header("location", location));
    is_status_set && is_sent_on && host::set_response_header("content-length", &body.len().to_string())
}
