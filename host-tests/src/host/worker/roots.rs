//! A worker's configurations: root contexts, their ticks, and the calls that they dispatch.

use std::collections::BTreeMap;

use super::{Blueprint, Callback, Place, Quirk, Trap, Vm, Worker, vm_call};
use crate::host::calls::{CallAnswer, PendingCall};
use crate::host::vm::Root;

/// Nanoseconds in a millisecond.
const NS_PER_MS: u64 = 1_000_000;

/// One configuration and its root context.
#[derive(Clone, Debug)]
pub(super) struct RootSlot {
    pub(super) context: u32,
    config: Vec<u8>,
    /// The number of timers that fire its tick; more than one after timers leaked.
    timers: u32,
    /// False after a newer configuration replaced it.
    current: bool,
}

/// Why a worker does not start with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The filter refused: a gateway aborts at start-up, or keeps its old configuration.
    #[error("the filter refused its configuration: {callback:?} answered false on {place}; it logged: {logged}")]
    Refused {
        /// `on_vm_start` or `on_configure`.
        callback: Callback,
        /// The VM.
        place: Place,
        /// Its last log line.
        logged: String,
    },
    /// The filter trapped.
    #[error(transparent)]
    Trapped(#[from] Trap),
}

impl Worker {
    /// Starts a VM with one root context for each configuration.
    ///
    /// # Errors
    /// [`StartError`] if the filter refuses one or traps.
    pub fn start(blueprint: Blueprint, place: Place, configs: &[Vec<u8>]) -> Result<Self, StartError> {
        let mut worker = Self {
            blueprint,
            place,
            vm: None,
            died_at_ns: 0,
            roots: Vec::new(),
            exchanges: BTreeMap::new(),
            last_exchange: 0,
            traps: Vec::new(),
            hang: None,
        };
        worker.start_vm(configs)?;
        Ok(worker)
    }

    fn start_vm(&mut self, configs: &[Vec<u8>]) -> Result<(), StartError> {
        let Blueprint { module, settings, process } = &self.blueprint;
        self.vm = Some(Vm::start(module, settings.clone(), process.clone(), self.place)?);
        self.roots.clear();
        for config in configs {
            self.add_root(config.clone())?;
        }
        Ok(())
    }

    /// Starts a new VM with the current configurations; contexts and memory of the old one are lost.
    pub fn restart(&mut self) {
        let configs: Vec<Vec<u8>> =
            self.roots.iter().filter(|slot| slot.current).map(|slot| slot.config.clone()).collect();
        let slots = std::mem::take(&mut self.roots);
        if let Err(error) = self.start_vm(&configs) {
            self.vm = None;
            self.roots = slots;
            if let StartError::Trapped(trap) = error {
                self.traps.push(trap);
            }
        }
    }

    pub(super) fn restart_leaking_timers(&mut self) {
        let leaked: Vec<u32> = self.roots.iter().filter(|slot| slot.current).map(|slot| slot.timers).collect();
        self.restart();
        for (slot, timers) in self.roots.iter_mut().zip(leaked) {
            slot.timers += timers;
        }
    }

    /// Creates a root context for a configuration.
    fn add_root(&mut self, config: Vec<u8>) -> Result<(), StartError> {
        let Some(vm) = self.vm.as_mut() else { return Ok(()) };
        let context = vm.next_context();
        let length = u32::try_from(config.len()).expect("a configuration is below 4 GiB");
        vm.state_mut().roots.insert(context, Root { config: config.clone(), ..Root::default() });
        vm.invoke(Callback::ContextCreate, context, &[0])?;
        if self.roots.is_empty() {
            self.ask(Callback::VmStart, context, 0)?;
        }
        self.ask(Callback::Configure, context, length)?;
        self.roots.push(RootSlot { context, config, timers: 1, current: true });
        Ok(())
    }

    fn ask(&mut self, callback: Callback, context: u32, length: u32) -> Result<(), StartError> {
        if vm_call(&mut self.vm, callback, context, &[length])?.unwrap_or(1) != 0 {
            return Ok(());
        }
        let lines = self.blueprint.process.logs.lines();
        let logged = lines.last().map_or_else(|| "nothing".to_owned(), |line| line.message.clone());
        Err(StartError::Refused { callback, place: self.place, logged })
    }

    /// Replaces the current configurations. The old root contexts live until [`Worker::drain`].
    ///
    /// # Errors
    /// [`StartError`]; the old configurations then stay current.
    pub(crate) fn reconfigure(&mut self, configs: &[Vec<u8>]) -> Result<(), StartError> {
        let old = self.roots.len();
        for config in configs {
            if let Err(error) = self.add_root(config.clone()) {
                self.roots.truncate(old);
                return Err(error);
            }
        }
        self.roots.rotate_left(old);
        let new = self.roots.len() - old;
        for slot in &mut self.roots[new..] {
            slot.current = false;
        }
        Ok(())
    }

    /// Replaces this worker by another one with new configurations. Its memory and its open exchanges are lost.
    ///
    /// # Errors
    /// [`StartError`]; the worker is then dead for good, and its callers wait.
    pub(crate) fn start_anew(&mut self, configs: &[Vec<u8>]) -> Result<(), StartError> {
        for exchange in self.exchanges.values_mut() {
            exchange.end.get_or_insert(super::StreamEnd::DownstreamGone);
        }
        let started = self.start_vm(configs);
        if let Err(error) = &started
            && self.has(Quirk::RefusalKillsTheWorker)
        {
            self.vm = None;
            self.hang = Some(format!("the worker died of its configuration, and its clients hang: {error}"));
        }
        started
    }

    /// Ends the drain time of replaced configurations: their roots get `on_done`, and are removed once they agree.
    pub fn drain(&mut self) {
        let old: Vec<u32> = self.roots.iter().filter(|slot| !slot.current).map(|slot| slot.context).collect();
        for context in old {
            self.root_done(context);
        }
        self.collect_done_roots();
    }

    fn root_done(&mut self, context: u32) {
        match vm_call(&mut self.vm, Callback::Done, context, &[]) {
            Ok(answer) => {
                let agrees = answer.unwrap_or(1) != 0;
                if let Some(root) = self.vm.as_mut().and_then(|vm| vm.state_mut().roots.get_mut(&context)) {
                    root.done |= agrees;
                }
            }
            Err(trap) => self.fail(trap),
        }
    }

    /// Removes replaced roots that are done.
    fn collect_done_roots(&mut self) {
        let Some(vm) = self.vm.as_ref() else { return };
        let roots = &vm.state().roots;
        let done: Vec<u32> = self
            .roots
            .iter()
            .filter(|slot| !slot.current && roots.get(&slot.context).is_some_and(|root| root.done))
            .map(|slot| slot.context)
            .collect();
        for context in done {
            if let Err(trap) = vm_call(&mut self.vm, Callback::Delete, context, &[]) {
                return self.fail(trap);
            }
            self.roots.retain(|slot| slot.context != context);
            if let Some(vm) = self.vm.as_mut() {
                vm.state_mut().roots.remove(&context);
                vm.state_mut().calls.retain(|call| call.root != context);
            }
        }
    }

    /// Fires the tick of every root with a period, whatever the clock shows.
    pub fn tick(&mut self) {
        self.tick_where(|_| true);
    }

    /// Fires the ticks that are due. Returns true if there was one.
    pub(crate) fn tick_if_due(&mut self) -> bool {
        let now_ns = self.blueprint.process.clock.now_ns();
        self.tick_where(|root| root.next_tick_ns <= now_ns)
    }

    /// When the next tick is due, in nanoseconds since the Unix epoch.
    pub(crate) fn next_tick_ns(&self) -> Option<u64> {
        if self.hang.is_some() {
            return None;
        }
        let roots = self.vm.as_ref()?.state().roots.values();
        roots.filter(|root| root.tick_period_ms > 0).map(|root| root.next_tick_ns).min()
    }

    fn tick_where(&mut self, due: impl Fn(&Root) -> bool) -> bool {
        if self.hang.is_some() {
            return false;
        }
        let now_ns = self.blueprint.process.clock.now_ns();
        let slots: Vec<(u32, u32)> = self.roots.iter().map(|slot| (slot.context, slot.timers)).collect();
        let mut fired = false;
        for (context, timers) in slots {
            let Some(vm) = self.vm.as_mut() else { return fired };
            let Some(root) = vm.state_mut().roots.get_mut(&context) else { continue };
            if root.tick_period_ms == 0 || !due(root) {
                continue;
            }
            root.next_tick_ns = now_ns + u64::from(root.tick_period_ms) * NS_PER_MS;
            fired = true;
            for _ in 0..timers {
                self.call_root(Callback::Tick, context, &[]);
            }
        }
        fired
    }

    fn call_root(&mut self, callback: Callback, context: u32, args: &[u32]) {
        match vm_call(&mut self.vm, callback, context, args) {
            Ok(_) => {
                self.carry_out_for_others();
                self.collect_done_roots();
                self.show_queues();
            }
            Err(trap) => self.fail(trap),
        }
    }

    /// Notifies the listeners of queues that have messages.
    fn show_queues(&mut self) {
        let Some(vm) = self.vm.as_ref() else { return };
        let state = vm.state();
        let shared = state.process.shared.lock();
        let ready: Vec<(u32, u32)> = state
            .listened_queues
            .iter()
            .filter(|(id, _)| shared.queues.holds_something(**id))
            .map(|(id, root)| (*id, *root))
            .collect();
        drop(shared);
        for (id, root) in ready {
            if let Err(trap) = vm_call(&mut self.vm, Callback::QueueReady, root, &[id]) {
                return self.fail(trap);
            }
        }
    }

    /// The calls under way, oldest first.
    pub fn calls(&self) -> &[PendingCall] {
        self.vm.as_ref().map_or(&[], |vm| &vm.state().calls)
    }

    /// Ends a call and tells the context that dispatched it. A call whose VM has died answers no context.
    pub(crate) fn answer_call(&mut self, token: u32, answer: CallAnswer) {
        let mut parts = answer.into_parts(&self.blueprint.settings.quirks);
        parts.headers = self.blueprint.settings.named_by_peer(parts.headers);
        parts.trailers = self.blueprint.settings.named_by_peer(parts.trailers);
        let Some(vm) = self.vm.as_mut() else { return };
        let state = vm.state_mut();
        let Some(place) = state.calls.iter().position(|call| call.token == token) else { return };
        let call = state.calls.remove(place);
        let context = if state.has(Quirk::CallAnswersGoToTheRoot) { call.root } else { call.context };
        let sizes = [parts.header_count(), parts.body.len(), parts.trailers.len()];
        let [headers, body, trailers] = sizes.map(|size| u32::try_from(size).expect("an answer is below 4 GiB"));
        state.call_answer = Some(parts);
        self.call_root(Callback::HttpCallResponse, context, &[token, headers, body, trailers]);
        if let Some(vm) = self.vm.as_mut() {
            vm.state_mut().call_answer = None;
        }
    }
}
