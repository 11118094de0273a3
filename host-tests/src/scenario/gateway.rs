//! A running gateway, how it is started (`builder`), and what goes through it: requests (`exchange`) and the filter's own calls
//! (`call`).
mod builder;
mod call;
mod exchange;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::{Request, Response};
use crate::host::shared::{DataRules, LockTime, Metric, Metrics};
use crate::host::worker::{Blueprint, StartError, Worker};
use crate::host::{Chaos, Clock, LogLevel, LogLine, Place, Profile, Quirk, Trap};
use builder::Answerers;

pub use builder::{Config, GatewayBuilder};
pub use call::Call;
pub use exchange::{Reply, Sent};

/// The most rounds in which answers lead to further calls; more count as a loop.
const ANSWER_ROUNDS_MAX: usize = 1000;

/// A gateway with one filter, controlled by the test. All methods take `&self`, so threads may share it.
pub struct Gateway {
    blueprint: Blueprint,
    configs: Mutex<Vec<Vec<u8>>>,
    workers: Vec<Mutex<Worker>>,
    main: Option<Mutex<Worker>>,
    expects_traps: bool,
    traps: Mutex<Vec<Trap>>,
    answerers: Mutex<Arc<Answerers>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("profile", &self.profile()).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway that behaves like Envoy.
    pub fn envoy() -> GatewayBuilder {
        Self::of(Profile::Envoy)
    }

    /// A gateway that behaves like Kong.
    pub fn kong() -> GatewayBuilder {
        Self::of(Profile::Kong)
    }

    /// A gateway of this profile.
    pub fn of(profile: Profile) -> GatewayBuilder {
        GatewayBuilder::new(profile)
    }

    pub(super) fn start(
        blueprint: Blueprint,
        configs: Vec<Vec<u8>>,
        workers: usize,
        expects_traps: bool,
    ) -> Result<Self, StartError> {
        let has = |quirk| blueprint.settings.quirks.has(quirk);
        if has(Quirk::CanaryVm) {
            try_in_canary(&blueprint, &configs)?;
        }
        let start = |place| Worker::start(blueprint.clone(), place, &configs).map(Mutex::new);
        let main = has(Quirk::MainThreadTicks).then(|| start(Place::Main)).transpose()?;
        let workers = (0..workers).map(|index| start(Place::Worker(index))).collect::<Result<_, _>>()?;
        Ok(Self {
            blueprint: blueprint.clone(),
            configs: Mutex::new(configs),
            workers,
            main,
            expects_traps,
            traps: Mutex::default(),
            answerers: Mutex::default(),
        })
    }

    /// The host that it imitates.
    pub fn profile(&self) -> Profile {
        self.blueprint.settings.profile
    }

    /// Sends a request through worker 0.
    #[track_caller]
    pub fn send(&self, request: Request) -> Sent<'_> {
        self.worker(0).send(request)
    }

    /// The worker at `index`, from 0.
    pub fn worker(&self, index: usize) -> WorkerHandle<'_> {
        assert!(index < self.workers.len(), "this gateway has {} workers: no worker {index}", self.workers.len());
        WorkerHandle { gateway: self, place: Place::Worker(index) }
    }

    /// Runs `work` for every worker, each in its own thread.
    pub fn on_all_workers_at_once(&self, work: impl Fn(WorkerHandle<'_>) + Sync) {
        std::thread::scope(|scope| {
            for index in 0..self.workers.len() {
                let work = &work;
                scope.spawn(move || work(self.worker(index)));
            }
        });
    }

    /// True when its host behaves so.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.blueprint.settings.quirks.has(quirk)
    }

    /// The configurations in force, as the filter reads them.
    pub fn configurations(&self) -> Vec<String> {
        lock(&self.configs).iter().map(|config| String::from_utf8_lossy(config).into_owned()).collect()
    }

    /// Moves the clock without firing ticks.
    pub fn advance(&self, by: Duration) {
        self.blueprint.process.clock.advance(by);
    }

    /// Nanoseconds since the Unix epoch.
    pub fn now_ns(&self) -> u64 {
        self.blueprint.process.clock.now_ns()
    }

    /// Its clock, for an answerer that needs the time.
    pub fn clock(&self) -> Clock {
        self.blueprint.process.clock.clone()
    }

    /// Fires one tick of every root context with a period, on every worker (and on Envoy's main thread).
    #[track_caller]
    pub fn tick(&self) {
        for place in self.places() {
            self.with(place, Worker::tick);
        }
        self.answer_calls();
    }

    /// Moves the clock in steps and fires each tick when it is due.
    #[track_caller]
    pub fn run_for(&self, time: Duration) {
        let end_ns = self.now_ns() + u64::try_from(time.as_nanos()).expect("a test runs for less than centuries");
        loop {
            let due = self.places().into_iter().filter_map(|place| self.with(place, |worker| worker.next_tick_ns()));
            let next_ns = due.min().map_or(end_ns, |due_ns| due_ns.max(self.now_ns()).min(end_ns));
            self.advance(Duration::from_nanos(next_ns - self.now_ns()));
            let mut fired = false;
            for place in self.places() {
                fired |= self.with(place, Worker::tick_if_due);
            }
            self.answer_calls();
            if !fired && self.now_ns() >= end_ns {
                return;
            }
        }
    }

    /// The oldest open call to this upstream: of worker 0, else of the next worker, last of the main thread.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn next_call(&self, upstream: &str) -> Call<'_> {
        let all = self.calls();
        let found = all.iter().find(|call| call.upstream() == upstream).cloned();
        found.unwrap_or_else(|| panic!("no call to `{upstream}` is under way; under way are: {all:?}"))
    }

    /// Every call under way.
    pub fn calls(&self) -> Vec<Call<'_>> {
        let of = |place| self.with(place, |worker| worker.calls().to_vec()).into_iter().map(move |call| (place, call));
        self.places().into_iter().flat_map(of).map(|(place, call)| Call::new(self, place, call)).collect()
    }

    /// Asserts that no call is open.
    ///
    /// # Panics
    /// If a call is open.
    #[track_caller]
    pub fn assert_no_calls(&self) {
        assert!(self.calls().is_empty(), "calls are under way: {:?}", self.calls());
    }

    /// From now on answers every call to this upstream with `with`, at once.
    pub fn answer_all(&self, upstream: &str, with: impl Fn(&Call<'_>) -> Response + Send + Sync + 'static) {
        let mut answerers = lock(&self.answerers);
        let answerers = Arc::get_mut(&mut answerers).expect("answerers are set up before traffic runs");
        answerers.insert(upstream.to_owned(), Box::new(with));
    }

    #[track_caller]
    pub(super) fn answer_calls(&self) {
        let answerers = Arc::clone(&*lock(&self.answerers));
        if answerers.is_empty() {
            return;
        }
        for _ in 0..ANSWER_ROUNDS_MAX {
            let calls = self.calls();
            let mut answered = false;
            for call in calls {
                let Some(answer) = answerers.get(call.upstream()) else { continue };
                let response = answer(&call);
                call.answer_with(response);
                answered = true;
            }
            if !answered {
                return;
            }
        }
        panic!("{ANSWER_ROUNDS_MAX} rounds of answers only led to further calls: the filter calls in a loop");
    }

    /// From now on makes `percent` of a hundred hostcalls fail, return nothing, or return garbage. 0 ends it.
    pub fn unleash_chaos(&self, percent: u64, seed: u64) {
        for (salt, place) in (0..).zip(self.places()) {
            let chaos = (percent > 0).then(|| Chaos::new(percent, seed.wrapping_add(salt)));
            self.with(place, |worker| worker.set_chaos(chaos));
        }
    }

    /// From now on makes every call of one hostcall fail. `unleash_chaos(0, 0)` ends it.
    pub fn refuse_hostcall(&self, hostcall: &'static str) {
        for place in self.places() {
            self.with(place, |worker| worker.set_chaos(Some(Chaos::refusing(hostcall))));
        }
    }

    /// The value of a metric, by the filter's name for it; for a histogram, its number of samples.
    ///
    /// # Panics
    /// If the filter has not defined the metric.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics();
        *metrics.get(name).unwrap_or_else(|| panic!("no metric `{name}` was defined; there are: {metrics:?}"))
    }

    /// The value of every metric, by the filter's name for it.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        let shared = self.blueprint.process.shared.lock();
        shared.metrics.iter().map(|(name, metric)| (name.to_owned(), metric.value())).collect()
    }

    /// Which of the metrics are gauges.
    pub fn gauges(&self) -> BTreeSet<String> {
        let shared = self.blueprint.process.shared.lock();
        let gauges = shared.metrics.iter().filter(|(_, metric)| matches!(metric, Metric::Gauge(_)));
        gauges.map(|(name, _)| name.to_owned()).collect()
    }

    /// The name under which this host exports a metric.
    pub fn exported_metric_name(&self, name: &str) -> String {
        if self.blueprint.settings.quirks.has(Quirk::MetricsArePrefixed) {
            format!("wasmcustom.{name}")
        } else {
            name.to_owned()
        }
    }

    /// A value of the shared data.
    pub fn shared_data(&self, key: &str) -> Option<Vec<u8>> {
        let settings = &self.blueprint.settings;
        let mut shared = self.blueprint.process.shared.lock();
        let found = shared.data.get(DataRules::of(&settings.quirks), &settings.vm_id, key.as_bytes());
        found.ok().map(|(value, _)| value)
    }

    /// The time that workers have spent waiting for the lock of the shared data, and holding it.
    pub fn lock_time(&self) -> LockTime {
        self.blueprint.process.shared.lock_time()
    }

    /// Makes the next reader of this shared-data key see half of its value, on Kong.
    pub fn tear_shared_data(&self, key: &str) {
        let settings = &self.blueprint.settings;
        let mut shared = self.blueprint.process.shared.lock();
        shared.data.tear(DataRules::of(&settings.quirks), &settings.vm_id, key.as_bytes());
    }

    /// Every log line so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.blueprint.process.logs.lines()
    }

    /// The messages of one level, from workers and main thread.
    pub fn logs_at(&self, level: LogLevel) -> Vec<String> {
        self.logs().into_iter().filter(|line| line.level == level).map(|line| line.message).collect()
    }

    /// Asserts that a message was logged.
    ///
    /// # Panics
    /// If no line of this level contains `part`.
    #[track_caller]
    pub fn assert_logged(&self, level: LogLevel, part: &str) {
        let logs = self.logs();
        let found = logs.iter().any(|line| line.level == level && line.message.contains(part));
        assert!(found, "no {level:?} line contains `{part}`; logged was: {logs:#?}");
    }

    /// Asserts that a secret was never logged.
    ///
    /// # Panics
    /// If a line of any level contains `secret`.
    #[track_caller]
    pub fn assert_never_logged(&self, secret: &str) {
        let leak = self.logs().into_iter().find(|line| line.message.contains(secret));
        assert!(leak.is_none(), "a log line contains `{secret}`: {leak:?}");
    }

    /// The traps so far, on a gateway that expects traps.
    pub fn traps(&self) -> Vec<Trap> {
        lock(&self.traps).clone()
    }

    /// Gives the gateway a new configuration, as an administrator would. On Envoy a canary tries it, then every VM
    /// gets a new root context and the old one lives until [`Gateway::drain`]. On Kong new workers take the place of the
    /// old ones, and the shared data is wiped.
    ///
    /// # Errors
    /// [`StartError`] when the filter refuses it. On Envoy the old configuration stays; on Kong the workers die of it.
    #[track_caller]
    pub fn reload(&self, config: impl Into<Config>) -> Result<(), StartError> {
        let quirks = &self.blueprint.settings.quirks;
        if !quirks.has(Quirk::ReloadStartsAnew) {
            return self.change_configuration(config);
        }
        let configs = vec![config.into().0];
        if quirks.has(Quirk::ReloadWipesSharedData) {
            self.blueprint.process.shared.lock().data.wipe();
        }
        if !quirks.has(Quirk::MetricsSurviveReload) {
            self.blueprint.process.shared.lock().metrics = Metrics::default();
        }
        (*lock(&self.configs)).clone_from(&configs);
        let started: Vec<_> =
            self.places().into_iter().map(|place| self.with(place, |worker| worker.start_anew(&configs))).collect();
        started.into_iter().collect()
    }

    /// Changes the configuration of VMs that go on running: a reload on Envoy; on Kong what its own control plane does
    /// where filter chains change, after which old roots go on ticking.
    ///
    /// # Errors
    /// [`StartError`] if the filter refuses it; the old configuration then stays.
    #[track_caller]
    pub fn change_configuration(&self, config: impl Into<Config>) -> Result<(), StartError> {
        let configs = vec![config.into().0];
        if self.blueprint.settings.quirks.has(Quirk::CanaryVm) {
            try_in_canary(&self.blueprint, &configs)?;
        }
        for place in self.places() {
            self.with(place, |worker| worker.reconfigure(&configs))?;
        }
        *lock(&self.configs) = configs;
        Ok(())
    }

    /// Ends the drain time after a reload: replaced root contexts get `on_done`. Does nothing on a host where they
    /// never do.
    #[track_caller]
    pub fn drain(&self) {
        if self.blueprint.settings.quirks.has(Quirk::StaleRootsTick) {
            return;
        }
        for place in self.places() {
            self.with(place, Worker::drain);
        }
    }

    /// Restarts the process with its configuration: VMs and shared data are lost, time and logs continue.
    ///
    /// # Panics
    /// If the filter refuses its configuration.
    #[track_caller]
    pub fn restart(&mut self) {
        self.blueprint.process.shared = crate::host::shared::SharedStore::default();
        let configs = lock(&self.configs).clone();
        let workers = self.workers.len();
        let answerers = Arc::clone(&*lock(&self.answerers));
        let renewed = Self::start(self.blueprint.clone(), configs, workers, self.expects_traps);
        *self = renewed.unwrap_or_else(|error| panic!("the gateway does not start again: {error}"));
        *lock(&self.answerers) = answerers;
    }

    fn places(&self) -> Vec<Place> {
        let main = self.main.as_ref().map(|_| Place::Main);
        (0..self.workers.len()).map(Place::Worker).chain(main).collect()
    }

    /// Runs `work` on a worker. A trap in it fails the test, unless the test expects traps.
    #[track_caller]
    pub(super) fn with<T>(&self, place: Place, work: impl FnOnce(&mut Worker) -> T) -> T {
        let worker = match place {
            Place::Worker(index) => &self.workers[index],
            Place::Main | Place::Canary => self.main.as_ref().expect("places() names only what there is"),
        };
        let mut worker = lock(worker);
        let outcome = work(&mut worker);
        let traps = worker.take_traps();
        let hang = worker.hang_reason().map(str::to_owned);
        drop(worker);
        if let Some(hang) = hang.filter(|_| !self.expects_traps) {
            panic!("{place} hangs for ever: {hang}");
        }
        if let Some(trap) = traps.first().filter(|_| !self.expects_traps) {
            panic!("{trap}");
        }
        lock(&self.traps).extend(traps);
        outcome
    }
}

fn try_in_canary(blueprint: &Blueprint, configs: &[Vec<u8>]) -> Result<(), StartError> {
    configs
        .iter()
        .try_for_each(|config| Worker::start(blueprint.clone(), Place::Canary, std::slice::from_ref(config)).map(drop))
}

/// Ignores poisoning: a test that failed in another thread must not hide its message behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One worker of a gateway.
#[derive(Clone, Copy, Debug)]
pub struct WorkerHandle<'g> {
    gateway: &'g Gateway,
    place: Place,
}

impl<'g> WorkerHandle<'g> {
    /// Sends a request through this worker.
    #[track_caller]
    pub fn send(&self, request: Request) -> Sent<'g> {
        Sent::send(self.gateway, self.place, request)
    }

    /// Fires one tick of every root context with a period, on this worker.
    #[track_caller]
    pub fn tick(&self) {
        self.gateway.with(self.place, Worker::tick);
        self.gateway.answer_calls();
    }

    /// Kills its VM, as a trap in any stream would. The failure policy decides what follows.
    pub fn kill(&self) {
        self.gateway.with(self.place, Worker::kill);
    }

    /// Gives it a new VM.
    pub fn restart(&self) {
        self.gateway.with(self.place, Worker::restart);
    }

    /// The highest cost of one call of each callback since the last call of this method; empty if its VM is dead.
    pub fn take_costliest(&self) -> BTreeMap<crate::host::Callback, crate::host::Cost> {
        self.gateway.with(self.place, |worker| worker.vm_mut().map(crate::host::Vm::take_costliest).unwrap_or_default())
    }

    /// Bytes of its VM's linear memory; 0 if the VM is dead.
    pub fn memory_bytes(&self) -> usize {
        self.gateway.with(self.place, |worker| worker.vm().map_or(0, crate::host::Vm::memory_bytes))
    }

    /// Hostcalls that its VM has made so far, by name.
    pub fn hostcalls(&self) -> BTreeMap<&'static str, u64> {
        self.gateway.with(self.place, |worker| worker.vm().map(|vm| vm.state().hostcalls.clone()).unwrap_or_default())
    }
}
