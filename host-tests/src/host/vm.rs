//! One VM: an instance of the filter, its host state, and typed calls into it.

mod guest;
mod imports;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Func, Instance, Linker, Store, Val};

pub(crate) use guest::{Guest, Hostcall, Refusal};
pub use state::{HostState, Process, Root};

use super::abi::{Action, Callback, LogLevel};
use super::logs::Place;
use super::module::{FilterModule, engine};
use super::settings::Settings;

/// The most instructions of one callback; more count as an endless loop. The most expensive legitimate callback, an
/// ES256 verification, takes some tens of millions.
pub(crate) const FUEL_PER_CALLBACK_MAX: u64 = 5_000_000_000;

/// A guest that stopped executing: a panic, an invalid access, an endless loop, or misuse of the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter trapped in {callback:?} on {place}: {cause}")]
pub struct Trap {
    /// The callback that trapped.
    pub callback: Callback,
    /// The VM.
    pub place: Place,
    /// The panic message in the guest's log, or the runtime's message.
    pub cause: String,
}

/// An instance of a filter. Calls are synchronous; after a [`Trap`] it is dead.
pub struct Vm {
    store: Store<HostState>,
    exports: BTreeMap<Callback, Func>,
    fuel: BTreeMap<Callback, u64>,
    costliest: BTreeMap<Callback, Cost>,
    last_fuel: u64,
    next_context: u32,
}

/// The cost of one callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Instructions; the same on every machine.
    pub fuel: u64,
    /// The longest time of one call, hostcalls included. Print it, do not assert on it.
    pub time: Duration,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("place", &self.state().place).finish_non_exhaustive()
    }
}

impl Vm {
    /// Instantiates the module and runs `_initialize`.
    ///
    /// # Errors
    /// [`Trap`] if the guest fails in it.
    pub fn start(module: &FilterModule, settings: Arc<Settings>, process: Process, place: Place) -> Result<Self, Trap> {
        let mut store = Store::new(engine(), HostState::new(settings, process, place));
        let failed = |error: wasmtime::Error| Trap { callback: Callback::Initialize, place, cause: root_cause(&error) };
        store.set_fuel(FUEL_PER_CALLBACK_MAX).map_err(failed)?;
        let mut linker = Linker::new(engine());
        imports::link(&mut linker).map_err(failed)?;
        let instance = linker.instantiate(&mut store, module.module()).map_err(failed)?;
        let exports = find_exports(&mut store, instance);
        let mut vm =
            Self { store, exports, fuel: BTreeMap::new(), costliest: BTreeMap::new(), last_fuel: 0, next_context: 1 };
        vm.find_memory(instance);
        vm.invoke(Callback::Initialize, 0, &[])?;
        Ok(vm)
    }

    fn find_memory(&mut self, instance: Instance) {
        let memory = instance.get_memory(&mut self.store, "memory").expect("checked when the module was loaded");
        let malloc = instance.get_typed_func(&mut self.store, "malloc").expect("malloc takes a size, gives a pointer");
        let state = self.store.data_mut();
        state.memory = Some(memory);
        state.malloc = Some(malloc);
    }

    /// The host's side of this VM.
    pub fn state(&self) -> &HostState {
        self.store.data()
    }

    /// The host's side of this VM.
    pub(crate) fn state_mut(&mut self) -> &mut HostState {
        self.store.data_mut()
    }

    /// Instructions executed so far, by callback.
    pub fn fuel(&self) -> &BTreeMap<Callback, u64> {
        &self.fuel
    }

    /// The highest cost of one call of each callback since the last time this was called.
    pub fn take_costliest(&mut self) -> BTreeMap<Callback, Cost> {
        std::mem::take(&mut self.costliest)
    }

    /// Instructions that the last callback executed.
    pub(crate) fn last_fuel(&self) -> u64 {
        self.last_fuel
    }

    /// Bytes of linear memory; it only grows.
    pub fn memory_bytes(&self) -> usize {
        self.state().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    /// A context id that this VM has not used yet.
    pub(crate) fn next_context(&mut self) -> u32 {
        self.next_context += 1;
        self.next_context - 1
    }

    /// Calls the guest's export of `callback` with `context` and `args`; None if the export is missing.
    ///
    /// # Errors
    /// [`Trap`], after which this VM must not be called again.
    pub fn invoke(&mut self, callback: Callback, context: u32, args: &[u32]) -> Result<Option<u32>, Trap> {
        let Some(function) = self.exports.get(&callback).copied() else { return Ok(None) };
        self.state_mut().enter(callback, context);
        let context = (callback != Callback::Initialize).then_some(context);
        let args: Vec<Val> = context.iter().chain(args).map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        self.store.set_fuel(FUEL_PER_CALLBACK_MAX).expect("fuel is on in the engine");
        #[allow(clippy::disallowed_methods, reason = "how long a callback takes is told in real time")]
        let started = Instant::now();
        let outcome = function.call(&mut self.store, &args, &mut results);
        let time = started.elapsed();
        let spent = FUEL_PER_CALLBACK_MAX - self.store.get_fuel().expect("fuel is on in the engine");
        *self.fuel.entry(callback).or_default() += spent;
        let costliest = self.costliest.entry(callback).or_default();
        *costliest = Cost { fuel: costliest.fuel.max(spent), time: costliest.time.max(time) };
        self.last_fuel = spent;
        match outcome {
            Ok(()) => Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned)),
            Err(error) => Err(self.trap(callback, &error)),
        }
    }

    /// As [`Vm::invoke`], for a callback that returns an action for the stream.
    ///
    /// # Errors
    /// [`Trap`].
    pub(crate) fn invoke_stream(&mut self, callback: Callback, context: u32, args: &[u32]) -> Result<Action, Trap> {
        let answer = self.invoke(callback, context, args)?.unwrap_or(0);
        // Any other number counts as Pause: proxy-wasm-cpp-host stops on everything but 0.
        Ok(Action::from_abi(answer).unwrap_or(Action::Pause))
    }

    fn trap(&self, callback: Callback, error: &wasmtime::Error) -> Trap {
        let state = self.state();
        let panic = state.last_critical.clone().filter(|(during, _)| *during == callback);
        let cause = panic.map_or_else(|| root_cause(error), |(_, message)| message);
        Trap { callback, place: state.place, cause }
    }
}

fn find_exports(store: &mut Store<HostState>, instance: Instance) -> BTreeMap<Callback, Func> {
    use Callback as C;
    let all = [
        C::Initialize,
        C::ContextCreate,
        C::VmStart,
        C::Configure,
        C::Tick,
        C::QueueReady,
        C::HttpCallResponse,
        C::RequestHeaders,
        C::RequestBody,
        C::RequestTrailers,
        C::ResponseHeaders,
        C::ResponseBody,
        C::ResponseTrailers,
        C::Log,
        C::Done,
        C::Delete,
    ];
    let found = all.into_iter().map(|callback| (callback, instance.get_func(&mut *store, callback.export())));
    found.filter_map(|(callback, function)| Some((callback, function?))).collect()
}

fn root_cause(error: &wasmtime::Error) -> String {
    let cause = error.root_cause().to_string();
    if cause.contains("all fuel consumed") {
        return format!("it executed {FUEL_PER_CALLBACK_MAX} instructions: an endless loop");
    }
    cause
}

/// Returns true for a message that the SDK's panic hook may have written.
fn is_panic(level: LogLevel) -> bool {
    level == LogLevel::Critical
}
