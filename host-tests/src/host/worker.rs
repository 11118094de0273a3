//! One thread of a gateway: a VM, its root contexts, and the requests that go through it.
//!
//! The test drives a worker step by step; it does nothing by itself. The [`Exchange`] shows the result of each step.
//! `drive` moves messages along, `ending` ends them, `failure` handles traps, `roots` handles configurations, ticks and
//! calls.

mod deadlock;
mod drive;
mod ending;
mod exchange;
mod failure;
mod properties;
mod roots;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use deadlock::Deadlock;
pub use exchange::{Delivered, Exchange, ExchangeId, Flow, Held, StreamEnd};
pub use roots::StartError;

use super::abi::{Action, Callback};
use super::headers::Headers;
use super::logs::Place;
use super::module::FilterModule;
use super::quirks::{Profile, Quirk};
use super::settings::Settings;
use super::stream::{HttpStream, Side, Wishes};
use super::vm::{Process, Trap, Vm};

/// The parts that a VM is made from.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// The filter.
    pub module: FilterModule,
    /// The gateway's settings.
    pub settings: Arc<Settings>,
    /// The state that its VMs share.
    pub process: Process,
}

/// A thread of a gateway; see the module's documentation.
#[derive(Debug)]
pub struct Worker {
    blueprint: Blueprint,
    place: Place,
    /// The VM; `None` after a trap.
    vm: Option<Vm>,
    died_at_ns: u64,
    roots: Vec<roots::RootSlot>,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    last_exchange: u64,
    traps: Vec<Trap>,
    /// Why it does nothing any more: it runs in circles, or it is dead and no other takes its place.
    hang: Option<String>,
}

/// The head of a request as a client sends it.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Fields, with `:method`, `:path`, `:authority`, `:scheme`.
    pub headers: Headers,
    /// True when neither body nor trailers follow.
    pub end_of_stream: bool,
    /// Properties that the gateway adds to those of the head, by path.
    pub properties: Vec<(Vec<String>, Vec<u8>)>,
}

impl Worker {
    /// The thread's place.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its VM; None after it died.
    pub fn vm(&self) -> Option<&Vm> {
        self.vm.as_ref()
    }

    /// Its VM; None after it died.
    pub(crate) fn vm_mut(&mut self) -> Option<&mut Vm> {
        self.vm.as_mut()
    }

    /// An exchange, under way or ended.
    pub fn exchange(&self, id: ExchangeId) -> &Exchange {
        &self.exchanges[&id]
    }

    /// Drops an exchange, so that a soak of a million requests needs no memory for it.
    pub fn forget(&mut self, id: ExchangeId) {
        self.exchanges.remove(&id);
    }

    /// Makes hostcalls of its VM fail from now on; `None` ends it.
    pub(crate) fn set_chaos(&mut self, chaos: Option<super::chaos::Chaos>) {
        if let Some(vm) = self.vm.as_mut() {
            vm.state_mut().chaos = chaos;
        }
    }

    /// Takes the traps since the last call.
    pub(crate) fn take_traps(&mut self) -> Vec<Trap> {
        std::mem::take(&mut self.traps)
    }

    /// Why it hangs for good, once it does.
    pub(crate) fn hang_reason(&self) -> Option<&str> {
        self.hang.as_deref()
    }

    fn hang(&mut self, id: ExchangeId, why: String) {
        self.exchange_mut(id).hang = Some(why.clone());
        self.hang = Some(why);
    }

    /// Opens a stream: a client sends a request's head to the filter chain of the configuration at index `root`.
    pub fn open(&mut self, root: usize, mut head: RequestHead) -> ExchangeId {
        self.revive();
        self.last_exchange += 1;
        let request_id = properties::request_id(self.place, self.last_exchange);
        head.headers = properties::arriving_head(&self.blueprint.settings, head.headers, &request_id);
        let id = ExchangeId(self.last_exchange);
        let opened_ns = self.blueprint.process.clock.now_ns();
        self.exchanges.insert(id, Exchange { opened_ns, hang: self.hang.clone(), ..Exchange::default() });
        if self.hang.is_some() {
            return id;
        }
        if self.vm.is_none() {
            self.meet_dead_vm(id);
        } else if let Err(trap) = self.create_stream(id, root, &head) {
            self.fail(trap);
        }
        if self.exchanges[&id].end.is_none() {
            self.feed_head(id, Side::Request, head.headers, head.end_of_stream);
        }
        id
    }

    fn create_stream(&mut self, id: ExchangeId, root: usize, head: &RequestHead) -> Result<(), Trap> {
        let root = self.roots[root].context;
        let now_ns = self.blueprint.process.clock.now_ns();
        let mut stream = HttpStream { root, ..HttpStream::default() };
        properties::of_request(&self.blueprint.settings, &mut stream, head, now_ns);
        let vm = self.vm.as_mut().expect("asked by the caller");
        let context = vm.next_context();
        vm.state_mut().streams.insert(context, stream);
        self.exchange_mut(id).context = context;
        vm_call(&mut self.vm, Callback::ContextCreate, context, &[root]).map(drop)
    }

    fn exchange_mut(&mut self, id: ExchangeId) -> &mut Exchange {
        self.exchanges.get_mut(&id).expect("an exchange that was opened here and not forgotten")
    }

    fn stream_mut(&mut self, id: ExchangeId) -> Option<&mut HttpStream> {
        let context = self.exchanges.get(&id)?.context;
        self.vm.as_mut()?.state_mut().streams.get_mut(&context)
    }

    fn has(&self, quirk: Quirk) -> bool {
        self.blueprint.settings.quirks.has(quirk)
    }

    /// Calls the filter for a stream and executes its requests. `None` means that the stream no longer belongs to the
    /// filter, and the caller must stop.
    fn call_stream(&mut self, id: ExchangeId, callback: Callback, args: &[u32]) -> Option<Action> {
        let exchange = &self.exchanges[&id];
        if exchange.end.is_some() {
            return None;
        }
        let context = exchange.context;
        let Some(vm) = self.vm.as_mut().filter(|_| !exchange.unfiltered) else { return Some(Action::Continue) };
        let outcome = vm.invoke_stream(callback, context, args);
        let fuel = vm.last_fuel();
        *self.exchange_mut(id).fuel.entry(callback).or_default() += fuel;
        match outcome {
            Ok(action) => self.carry_out(id, callback, action),
            Err(trap) => {
                self.fail(trap);
                (self.exchanges[&id].end.is_none()).then_some(Action::Continue)
            }
        }
    }

    /// Executes the filter's requests from the callback of stream `id`.
    fn carry_out(&mut self, id: ExchangeId, callback: Callback, action: Action) -> Option<Action> {
        let wishes = self.stream_mut(id).map(|stream| std::mem::take(&mut stream.wishes)).unwrap_or_default();
        self.carry_out_for_others();
        if let Some(why) = wishes.hang {
            self.hang(id, why);
            return None;
        }
        if wishes.close {
            self.finish(id, StreamEnd::ClosedByFilter);
            return None;
        }
        if let Some(reply) = wishes.local_reply {
            self.local_reply(id, callback, reply);
            return None;
        }
        let (own, other) = if callback.is_response() {
            (wishes.continue_response, wishes.continue_request.then_some(Side::Request))
        } else {
            (wishes.continue_request, wishes.continue_response.then_some(Side::Response))
        };
        if let Some(side) = other {
            self.resume(id, side);
        }
        Some(if own { Action::Continue } else { action })
    }

    /// Executes the filter's requests for streams other than the one that it was called for.
    fn carry_out_for_others(&mut self) {
        let Some(vm) = self.vm.as_mut() else { return };
        let wishes: Vec<(u32, Wishes)> = vm
            .state_mut()
            .streams
            .iter_mut()
            .map(|(context, stream)| (*context, std::mem::take(&mut stream.wishes)))
            .collect();
        for (context, wishes) in wishes {
            let found = self.exchanges.iter().find(|(_, exchange)| exchange.context == context);
            let Some(id) = found.filter(|(_, exchange)| exchange.end.is_none()).map(|(id, _)| *id) else { continue };
            if wishes.close {
                self.finish(id, StreamEnd::ClosedByFilter);
            } else if let Some(reply) = wishes.local_reply {
                self.local_reply(id, Callback::RequestHeaders, reply);
            } else {
                self.resume_as_wished(id, &wishes);
            }
        }
    }

    fn resume_as_wished(&mut self, id: ExchangeId, wishes: &Wishes) {
        if wishes.continue_request {
            self.resume(id, Side::Request);
        }
        if wishes.continue_response {
            self.resume(id, Side::Response);
        }
    }
}

/// Calls a VM that must be alive, without borrowing its worker.
fn vm_call(vm: &mut Option<Vm>, callback: Callback, context: u32, args: &[u32]) -> Result<Option<u32>, Trap> {
    match vm {
        Some(vm) => vm.invoke(callback, context, args),
        None => Ok(None),
    }
}
