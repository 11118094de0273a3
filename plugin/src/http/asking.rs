//! A request that is held while weir serve is asked for what leases lack: on Envoy only.
use proxy_wasm::types::Action;
use weir_filter::fetch::Fetched;
use weir_filter::fleet::draw;

use super::Http;
use crate::calls::{post, with_answer};
use crate::host;
use crate::vm::{self, CountedLimiter, Vm};

/// The most bytes of an answer that are read.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

impl Http {
    /// Sends the call that the request is held for, if it is. `otherwise`: what goes on without one.
    pub(super) fn ask(&mut self, otherwise: Action) -> Action {
        if !self.request.is_asking() {
            return otherwise;
        }
        self.call = self.send_draw();
        if self.call.is_some() {
            return Action::Pause;
        }
        // A reply has been sent where it goes no further.
        if self.drew(&Fetched::Unsent) { otherwise } else { Action::Pause }
    }

    fn send_draw(&self) -> Option<u32> {
        let ask = vm::with(|vm| self.request.ask(&vm.renewals, &mut host::SharedData)).flatten()?;
        post(&ask.center, &[&*ask.center.path, draw::PATH].concat(), &ask.body)
    }

    /// Takes in the answer; false where the request goes no further.
    fn drew(&mut self, answer: &Fetched<'_>) -> bool {
        let now = host::now();
        let drew = vm::with(|vm| {
            let Vm { worker, metrics, renewals, .. } = vm;
            let mut limiter = CountedLimiter { metrics, renewals };
            let (decided, reply) = self.request.drew(worker, &mut limiter, answer, now)?;
            metrics.decided(decided);
            if reply.is_none() {
                metrics.leases.drawn();
            }
            Some(reply)
        });
        match drew.flatten() {
            Some(Some(reply)) => {
                self.answer(reply);
                false
            }
            Some(None) => true,
            None => {
                self.fail();
                false
            }
        }
    }

    /// The answer to the call has arrived: the request goes on from where it was held.
    pub(super) fn draw_answered(&mut self, headers: usize, body_size: usize) {
        self.call = None;
        let goes_on = with_answer(headers, body_size, ANSWER_MAX_BYTES, |answer| self.drew(answer));
        if !goes_on || self.resume() == Action::Pause {
            return;
        }
        host::continue_request();
    }

    /// What the body that arrived meanwhile makes of the request.
    fn resume(&mut self) -> Action {
        if !self.request.awaits_body() {
            let passed = std::mem::take(&mut self.passing_bytes);
            return if passed > 0 { self.pass_body(passed) } else { Action::Continue };
        }
        if self.request.body_buffered(self.buffered_bytes) {
            return self.decide_by_body(None);
        }
        if self.body_ended { self.decide_by_body(Some(self.buffered_bytes)) } else { Action::Pause }
    }

    /// A part of the body arrives while the answer is awaited: `size` bytes so far.
    pub(super) fn body_while_asking(&mut self, size: usize, ends: bool) -> Action {
        self.body_ended |= ends;
        if self.request.awaits_body() {
            self.buffered_bytes = size;
        } else if !self.is_body_decided {
            self.passing_bytes = size;
        }
        Action::Pause
    }
}
