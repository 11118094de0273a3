//! The state of one worker VM: its events and its metrics.
//!
//! Gateways run a VM on one thread and several configurations in it; after a reload an old one may go on ticking. So
//! events belong to the VM, not to a configuration, and carry their own destination.
use std::cell::RefCell;
use std::rc::Weak;

use weir_contract::Timestamp;
use weir_filter::emit::registry::survivors::{Surviving, Survivors};
use weir_filter::emit::{Emitter, Pushed};
use weir_filter::fleet::Renewals;
use weir_filter::limit::set::is_of_tenant;
use weir_filter::limit::{Attempts, Charge, Demand, Fault, Limiter, Settlement, SharedBuckets, Verdict};
use weir_filter::store::Store;
use weir_filter::worker::{FilterState, Worker};

use crate::gateway::is_kong;
use crate::host::{self, Level, SharedData};
use crate::metrics::{Metrics, SlotGauges};

/// Kong: a worker that has not ticked for so long is exiting, and will not tick again.
const EXITS_AFTER_MS: u64 = 5_000;

/// A VM's state.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) worker: Worker,
    pub(crate) metrics: Metrics,
    /// The leases that this VM sees to, whichever configuration draws from them.
    pub(crate) renewals: Renewals,
    /// The state of the newest configuration.
    pub(crate) latest: Weak<RefCell<FilterState>>,
    /// Kong: where the registry outlives a reload.
    survivors: Option<Survivors<SlotGauges>>,
    /// Kong: the last tick that sent events, of whichever configuration.
    ticked: Option<Timestamp>,
}

impl Vm {
    fn new() -> Self {
        Vm {
            worker: Worker::new(host::random()),
            metrics: Metrics::define(),
            renewals: Renewals::new(host::random()),
            latest: Weak::new(),
            survivors: None,
            ticked: None,
        }
    }

    /// Takes over what the configuration before knows of tenants and keys.
    pub(crate) fn inherit(&self, state: &mut FilterState) {
        if let Some(before) = self.latest.upgrade()
            && let Ok(before) = before.try_borrow()
        {
            state.inherit(&before);
        }
    }

    /// The events of this VM, and the store that its registry is kept in.
    fn emitter(&mut self) -> Option<(&mut Emitter, Surviving<'_, SharedData, SlotGauges>)> {
        let emitter = self.worker.emitter()?;
        if self.survivors.is_none() && is_kong() {
            self.survivors = Some(Survivors::new(SlotGauges::default(), emitter.source()));
        }
        Some((emitter, Surviving { store: SharedData, survivors: self.survivors.as_mut() }))
    }
}

thread_local! {
    static VM: RefCell<Option<Vm>> = const { RefCell::new(None) };
}

/// Runs `use_it` on the VM's state. None if a callback comes within another, which no gateway does.
pub(crate) fn with<T>(use_it: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|vm| {
        let mut vm = vm.try_borrow_mut().ok()?;
        Some(use_it(vm.get_or_insert_with(Vm::new)))
    })
}

/// Writes the last number to the shared data, where it outlives this VM.
pub(crate) fn heartbeat(now: Timestamp) {
    with(|vm| {
        if let Some((emitter, mut store)) = vm.emitter() {
            emitter.heartbeat(&mut store, now);
        }
    });
}

/// What is done at every tick, whichever configuration ticks. Kong lets old timers go on, and old configurations: false
/// where one of them has ticked just now.
pub(crate) fn tick(now: Timestamp, every_ms: u64) -> bool {
    let ticked = with(|vm| {
        if is_kong() && !is_due(vm.ticked, now, every_ms) {
            return false;
        }
        vm.ticked = Some(now);
        if let Some((emitter, mut store)) = vm.emitter() {
            emitter.tick(now).iter().for_each(settle);
            emitter.announce_expired(&mut store, now);
        }
        true
    });
    ticked.unwrap_or(false)
}

/// Whether half the time between two ticks has passed, or the clock went back.
pub(crate) fn is_due(last: Option<Timestamp>, now: Timestamp, every_ms: u64) -> bool {
    last.is_none_or(|last| now < last || now.millis_since(last) >= every_ms / 2)
}

/// Kong: logs what waits in a worker that is exiting, where it can be signed. No tick comes to it any more, and nobody says
/// so.
pub(crate) fn abandon_if_exiting(now: Timestamp) {
    if !is_kong() {
        return;
    }
    with(|vm| {
        if vm.ticked.is_some_and(|ticked| now.millis_since(ticked) >= EXITS_AFTER_MS)
            && let Some(emitter) = vm.worker.emitter()
        {
            emitter.abandon().iter().for_each(settle);
        }
    });
}

/// Logs an event that must not be lost.
pub(crate) fn settle(pushed: &Pushed) {
    match pushed {
        Pushed::Spilled(line) => host::log(Level::Warn, line),
        Pushed::Queued | Pushed::Lost => {}
    }
}

/// The limiter over the gateway's shared data; it counts what it cannot answer, and notes leases in demand.
pub(crate) struct CountedLimiter<'m> {
    pub(crate) metrics: &'m Metrics,
    pub(crate) renewals: &'m mut Renewals,
}

impl Limiter for CountedLimiter<'_> {
    fn take(&mut self, tenant: &str, charges: &[Charge], now: Timestamp) -> Verdict {
        let verdict = SharedBuckets::new(&mut SharedData).take(tenant, charges, now);
        match &verdict {
            Verdict::Unavailable(fault) => self.metrics.limit_fault(*fault),
            Verdict::Admitted(standings) => self.metrics.leases.taken(standings),
            Verdict::Limited(_) | Verdict::Short(_) | Verdict::Unreachable(_) => {}
        }
        verdict
    }

    fn note(&mut self, demand: &Demand<'_>, now: Timestamp) {
        self.renewals.note(demand, now);
    }

    fn refused(&mut self, tenant: &str, charge: &Charge, wait_ms: Option<u64>, now: Timestamp) {
        self.metrics.leases.refused(wait_ms);
        SharedBuckets::new(&mut SharedData).refused(tenant, charge, wait_ms, now);
    }

    fn attempted(&mut self, tally: Attempts) {
        self.metrics.attempted(tally);
    }

    fn shared(&mut self) -> Option<Box<dyn Store + '_>> {
        Some(Box::new(SharedData))
    }

    fn settle(&mut self, tenant: &str, settlements: &[Settlement], now: Timestamp) -> Result<(), Fault> {
        let settled = SharedBuckets::new(&mut SharedData).settle(tenant, settlements, now);
        // Of a pool the request has used as many tokens as of its plan: they count once.
        if is_of_tenant(tenant) {
            self.metrics.plan.settled(settlements);
        }
        settled.inspect_err(|fault| self.metrics.limit_fault(*fault))
    }
}
