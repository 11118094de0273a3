//! The consequences of a trap for a worker.

use super::{ExchangeId, Headers, Profile, Quirk, StreamEnd, Trap, Worker};
use crate::host::settings::FailurePolicy;
use crate::host::stream::LocalReply;

/// Envoy's wait before it starts a new VM under `FAIL_RELOAD`, in nanoseconds.
const RELOAD_BACKOFF_NS: u64 = 1_000_000_000;

impl Worker {
    /// Drops the VM with all its streams.
    pub(super) fn fail(&mut self, trap: Trap) {
        self.salvage_open_streams();
        self.vm = None;
        self.died_at_ns = self.blueprint.process.clock.now_ns();
        let open: Vec<ExchangeId> =
            self.exchanges.iter().filter(|(_, exchange)| exchange.end.is_none()).map(|(id, _)| *id).collect();
        for id in open {
            self.exchange_mut(id).trap = Some(trap.clone());
            self.meet_dead_vm(id);
        }
        self.traps.push(trap);
        if self.has(Quirk::TrapLeaksTimers) {
            self.restart_leaking_timers();
        }
    }

    /// Continues held streams unfiltered, if the policy allows it.
    fn salvage_open_streams(&mut self) {
        let policy = self.blueprint.settings.failure_policy;
        let Some(vm) = self.vm.as_mut().filter(|_| policy == FailurePolicy::FailOpen) else { return };
        let streams = std::mem::take(&mut vm.state_mut().streams);
        for exchange in self.exchanges.values_mut().filter(|exchange| exchange.end.is_none()) {
            let Some(stream) = streams.get(&exchange.context) else { continue };
            for (half, flow) in [(&stream.request, &mut exchange.request), (&stream.response, &mut exchange.response)] {
                if flow.delivered.head.is_none() && !half.outgoing.is_empty() {
                    flow.delivered.head = Some(half.outgoing.clone());
                }
                if !half.body.is_empty() {
                    flow.delivered.chunks.push(half.body.clone());
                }
                flow.held = super::Held::No;
            }
        }
    }

    /// Kills the VM as a trap would, for example because its memory ran out.
    pub fn kill(&mut self) {
        let cause = "killed by the test".to_owned();
        self.fail(Trap { callback: super::Callback::Tick, place: self.place, cause });
        self.traps.pop();
    }

    /// Handles a request on a worker without a VM.
    pub(super) fn meet_dead_vm(&mut self, id: ExchangeId) {
        if self.blueprint.settings.failure_policy == FailurePolicy::FailOpen
            && self.blueprint.settings.profile == Profile::Envoy
        {
            self.exchange_mut(id).unfiltered = true;
            return;
        }
        let exchange = self.exchange_mut(id);
        if exchange.response.delivered.head.is_some() {
            exchange.end = Some(StreamEnd::Trapped);
            return;
        }
        let status = match self.blueprint.settings.profile {
            Profile::Envoy => 503,
            Profile::Kong => 500,
        };
        self.deliver_reply(
            id,
            &LocalReply { status, headers: Headers::new(), body: Vec::new(), details: "wasm_fail_stream".into() },
        );
        self.exchange_mut(id).end = Some(StreamEnd::Trapped);
    }

    /// Starts a new VM for the next request, if Envoy's policy and back-off allow it.
    pub(super) fn revive(&mut self) {
        let due = self.blueprint.process.clock.now_ns() >= self.died_at_ns + RELOAD_BACKOFF_NS;
        if self.vm.is_none() && due && self.blueprint.settings.failure_policy == FailurePolicy::FailReload {
            self.restart();
        }
    }
}
