//! What one worker VM has in common: its events, its metrics.
//!
//! Gateways run a VM on one thread and several configurations in it; after a reload an old one may go on ticking. So
//! events belong to the VM, not to a configuration, and carry what they need of theirs.
use std::cell::{Cell, RefCell};

use weir_contract::Timestamp;
use weir_filter::emit::Pushed;
use weir_filter::limit::{Charge, Fault, Limiter, Settlement, SharedBuckets, Verdict};
use weir_filter::worker::Worker;

use crate::host::{self, Level, SharedData};
use crate::metrics::Metrics;

/// A VM's state.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) worker: Worker,
    pub(crate) metrics: Metrics,
}

thread_local! {
    static KONG: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Whether the gateway is Kong. Whatever else runs this: holding a request where nothing shows its body would hang it.
pub(crate) fn is_kong() -> bool {
    KONG.get().unwrap_or_else(|| {
        let kong = !host::is_envoy();
        KONG.set(Some(kong));
        kong
    })
}

thread_local! {
    static VM: RefCell<Option<Vm>> = const { RefCell::new(None) };
}

/// Uses the VM's state. None where a callback came within another: the gateway did what no gateway does.
pub(crate) fn with<T>(use_it: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|vm| {
        let mut vm = vm.try_borrow_mut().ok()?;
        let vm = vm.get_or_insert_with(|| Vm { worker: Worker::new(host::random()), metrics: Metrics::define() });
        Some(use_it(vm))
    })
}

/// Notes, where it outlives this VM, which number came last.
pub(crate) fn heartbeat(now: Timestamp) {
    with(|vm| {
        if let Some(emitter) = vm.worker.emitter() {
            emitter.heartbeat(&mut SharedData, now);
        }
    });
}

/// Logs what must not be lost.
pub(crate) fn settle(pushed: &Pushed) {
    match pushed {
        Pushed::Spilled(line) => host::log(Level::Warn, line),
        Pushed::Queued | Pushed::Lost => {}
    }
}

/// The limiter over the gateway's shared data; what it cannot answer is counted.
pub(crate) struct CountedLimiter<'m>(pub(crate) &'m Metrics);

impl Limiter for CountedLimiter<'_> {
    fn take(&mut self, tenant: &str, charges: &[Charge], now: Timestamp) -> Verdict {
        let verdict = SharedBuckets::new(&mut SharedData).take(tenant, charges, now);
        if let Verdict::Unavailable(fault) = verdict {
            self.0.limit_fault(fault);
        }
        verdict
    }

    fn settle(&mut self, tenant: &str, settlements: &[Settlement], now: Timestamp) -> Result<(), Fault> {
        let settled = SharedBuckets::new(&mut SharedData).settle(tenant, settlements, now);
        self.0.plan.settled(settlements);
        settled.inspect_err(|fault| self.0.limit_fault(*fault))
    }
}
