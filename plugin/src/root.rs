//! One configuration: reads it, ticks, sends batches.
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use weir_contract::Timestamp;
use weir_contract::batch::BATCH_CONTENT_TYPE;
use weir_filter::config::ConfigError;
use weir_filter::directory::poll::Update;
use weir_filter::emit::{Answer, DeliveryNotice, Dispatch, Emitter, RejectedEvent};
use weir_filter::fetch::{Fetch, Fetched, Target};
use weir_filter::fleet::Notice;
use weir_filter::identity::keyring::Renewal;
use weir_filter::upstream::Upstream;
use weir_filter::vault::from_seed;
use weir_filter::worker::fetching::FetchNotice;
use weir_filter::worker::{Configured, FetchOutcome, FilterState};

use crate::attempt::AttemptContext;
use crate::calls::{post, with_answer};
use crate::gateway::{call_headers, is_kong};
use crate::host::{self, Buffer, Level, SharedData};
use crate::http::Http;
use crate::vm;

/// How often the gateway calls for events to be sent.
const TICK_MS: u32 = 100;

/// The most bytes of an aggregator's answer that are read: a rejection for each event of a batch.
const ANSWER_MAX_BYTES: usize = 256 * 1024;

/// The most bytes of a fetched answer that are read: a page of the directory, or a key set.
const FETCHED_MAX_BYTES: usize = 256 * 1024;

/// How often the age of the tenants is reported to the gateway's metrics, in milliseconds.
const AGE_EVERY_MS: u64 = 1_000;

/// A root context.
#[derive(Debug, Default)]
pub(crate) struct Root {
    state: Option<Rc<RefCell<FilterState>>>,
    /// In the role `upstream`: what it does.
    upstream: Option<Rc<Upstream>>,
    /// Calls under way, by the gateway's token.
    calls: Vec<(u32, Call)>,
    reported_age: Timestamp,
    ticked: Option<Timestamp>,
    leaving: bool,
}

/// A call under way.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// A batch of events.
    Batch(u64),
    /// Tenants or keys.
    Fetch(Target),
    /// Leases.
    Leases(u64),
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = host::buffer(Buffer::Configuration, size).unwrap_or_default();
        match vm::with(|vm| vm.worker.configure_role(&json, &host::environment(), host::now())) {
            Some(Ok(Configured::Upstream(upstream))) => return self.stand_upstream(upstream),
            Some(Ok(Configured::Downstream(state))) => {
                let mut state = *state;
                state.identity.ports.property = host::property;
                if host::is_envoy() {
                    state.identity.ports.native = host::verify_signature;
                    state.sets_path = true;
                    state.edits_every_copy = true;
                    state.holds_for_calls = true;
                }
                if state.needs_keys()
                    && let Some(random) = random_for_keys(state.keys_seed())
                {
                    state.receive_keys(random);
                }
                if let Some(error) = state.unsupported() {
                    return refuse(&error);
                }
                vm::with(|vm| vm.inherit(&mut state));
                announce(&state);
                let state = Rc::new(RefCell::new(state));
                vm::with(|vm| vm.latest = Rc::downgrade(&state));
                self.state = Some(state);
            }
            Some(Err(error)) => return refuse(&error),
            None => return false,
        }
        if !host::tick_every(TICK_MS) {
            host::log(Level::Error, "weir: the gateway grants no tick, so no usage event would ever leave");
            return false;
        }
        true
    }

    fn on_tick(&mut self) {
        let now = host::now();
        if is_kong() && !vm::is_due(self.ticked, now, TICK_MS.into()) {
            return;
        }
        self.ticked = Some(now);
        self.sweep(now);
        self.take_in(now);
        self.fetch_due(now);
        if vm::tick(now, TICK_MS.into()) {
            vm::heartbeat(now);
            self.send_due(now);
            self.renew_leases(now);
        }
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        if let Some(upstream) = &self.upstream {
            return Some(Box::new(AttemptContext::new(Rc::clone(upstream))));
        }
        Some(Box::new(Http::new(self.state.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// 32 bytes that nobody can guess, for a key pair; None where the gateway has no source of them. Kong's randomness can be guessed:
/// there they come from the operator's seed, and the randomness only makes them differ by worker and start.
fn random_for_keys(seed: Option<&[u8]>) -> Option<[u8; 32]> {
    let strong = if host::is_envoy() { host::strong_random() } else { None };
    match seed {
        None => strong,
        Some(seed) => {
            let now = host::now().as_millis().to_be_bytes();
            Some(from_seed(seed, &[&strong.unwrap_or_default(), &host::random(), &now]))
        }
    }
}

/// Refuses a configuration. Kong's worker would die of it, with every service behind it: there each request of this chain is
/// answered 503 instead.
fn refuse(error: &ConfigError) -> bool {
    host::log(Level::Error, &format!("weir: the configuration is refused. {error}"));
    is_kong()
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(at) = self.calls.iter().position(|(call, _)| *call == token) else { return };
        match self.calls.swap_remove(at) {
            (_, Call::Batch(batch)) => {
                self.answered(batch, headers, body_size);
                // Sends batches that had no free call until now: ticks are rare. On Kong a call from here kills the worker.
                if !is_kong() {
                    self.send_due(host::now());
                }
            }
            (_, Call::Fetch(target)) => self.fetched(target, headers, body_size),
            (_, Call::Leases(call)) => {
                with_answer(headers, body_size, FETCHED_MAX_BYTES, |answer| leases_answered(call, answer));
            }
        }
        if self.leaving && self.batches() == 0 {
            self.leaving = false;
            host::done();
        }
    }

    /// Before the configuration goes, sends what is queued, as far as the gateway grants the time.
    fn on_done(&mut self) -> bool {
        self.leaving = true;
        let now = host::now();
        vm::with(|vm| {
            if let Some(emitter) = vm.worker.emitter() {
                emitter.flush(now).iter().for_each(vm::settle);
            }
        });
        vm::heartbeat(now);
        self.send_due(now);
        self.batches() == 0
    }
}

impl Root {
    /// Takes up the role `upstream`. It has nothing to do between requests, so it asks for no tick.
    fn stand_upstream(&mut self, upstream: Rc<Upstream>) -> bool {
        if is_kong() {
            let problem = "this gateway runs no filters in front of a provider. Choose models in Envoy";
            return refuse(&ConfigError::new("role", problem));
        }
        self.upstream = Some(upstream);
        true
    }

    fn sweep(&self, now: Timestamp) {
        if let Some(mut state) = self.state.as_ref().and_then(|state| state.try_borrow_mut().ok()) {
            state.identity.tokens.sweep(now);
        }
    }

    fn batches(&self) -> usize {
        self.calls.iter().filter(|(_, call)| matches!(call, Call::Batch(_))).count()
    }

    /// Takes in a part of the fetched tenants.
    fn take_in(&mut self, now: Timestamp) {
        let Some(state) = self.state.clone() else { return };
        let Ok(mut state) = state.try_borrow_mut() else { return };
        match state.step(now) {
            // Reported when the page arrived.
            None | Some(FetchOutcome::Tenants(Update::Staged)) => {}
            Some(outcome) => Self::report(&mut state, Target::Directory, &outcome, now),
        }
    }

    /// Fetches tenants and keys that are due, and reports the age of the tenants.
    fn fetch_due(&mut self, now: Timestamp) {
        let Some(state) = self.state.clone() else { return };
        let Ok(mut state) = state.try_borrow_mut() else { return };
        while let Some(fetch) = state.next_fetch(now) {
            match get(&fetch) {
                Some(token) => self.calls.push((token, Call::Fetch(fetch.target))),
                None => Self::learn(&mut state, fetch.target, &Fetched::Unsent, now),
            }
        }
        if now.millis_since(self.reported_age) >= AGE_EVERY_MS {
            self.reported_age = now;
            if let Some(age_ms) = state.tenants_age_ms(now) {
                let count = state.tenants(now).map_or(0, |tenants| tenants.len());
                let left_out = state.tenants(now).map_or(0, |tenants| tenants.identifiers_left_out());
                vm::with(|vm| vm.metrics.tenants(count, age_ms, left_out));
            }
        }
    }

    fn fetched(&mut self, target: Target, headers: usize, body_size: usize) {
        let Some(state) = self.state.clone() else { return };
        let Ok(mut state) = state.try_borrow_mut() else { return };
        with_answer(headers, body_size, FETCHED_MAX_BYTES, |answer| {
            Self::learn(&mut state, target, answer, host::now());
        });
    }

    /// Reports leases that are due, whichever configuration drew from them.
    fn renew_leases(&mut self, now: Timestamp) {
        if let Some(call) = vm::with(|vm| vm.renewals.next_call(&mut SharedData, !is_kong(), now)).flatten() {
            match post(&call.center, &call.center.path, &call.body) {
                Some(token) => self.calls.push((token, Call::Leases(call.call))),
                None => leases_answered(call.call, &Fetched::Unsent),
            }
        }
        vm::with(|vm| {
            let (tally, held) = (vm.renewals.tally(), vm.renewals.len());
            vm.metrics.leases.tallied(tally, held);
        });
    }

    fn learn(state: &mut FilterState, target: Target, answer: &Fetched<'_>, now: Timestamp) {
        if let Some(outcome) = state.answered(target, answer, now) {
            Self::report(state, target, &outcome, now);
            if let (FetchOutcome::Keys(Renewal::Changed), Target::Keys(at)) = (&outcome, target) {
                let issuer = state.policy.sources.issuers().get(at).map_or("", |issuer| issuer.issuer());
                let ignored = state.identity.keyring.ignored(at);
                ignored.iter().for_each(|key| host::log(Level::Warn, &format!("weir: issuer {issuer}: {key}")));
            }
        }
    }

    /// Counts the outcome of a fetch, and logs what has changed.
    fn report(state: &mut FilterState, target: Target, outcome: &FetchOutcome, now: Timestamp) {
        vm::with(|vm| vm.metrics.fetched(outcome));
        let (level, text) = match state.fetch_notice(target, outcome, now) {
            Some(FetchNotice::Failing(text)) => (Level::Warn, text),
            Some(FetchNotice::BackAgain(text) | FetchNotice::Note(text)) => (Level::Info, text),
            None => return,
        };
        host::log(level, &format!("weir: {text}"));
    }

    fn send_due(&mut self, now: Timestamp) {
        while let Some(dispatch) = vm::with(|vm| vm.worker.emitter()?.dispatch(now)).flatten() {
            match send(&dispatch) {
                Some(token) => self.calls.push((token, Call::Batch(dispatch.batch))),
                None => {
                    settle(dispatch.batch, &Answer::Nothing, now);
                    break;
                }
            }
        }
        tell_of_delivery();
        tell_of_plans();
        vm::with(|vm| {
            if let Some(emitter) = vm.worker.emitter() {
                let (counters, pending, found) = (emitter.counters(), emitter.pending(), emitter.found());
                vm.metrics.events(counters, pending);
                vm.metrics.findings(found);
            }
        });
    }

    /// After an upstream reset there are no headers, and reading them would be an error.
    fn answered(&mut self, batch: u64, headers: usize, body_size: usize) {
        let now = host::now();
        let map = call_headers(headers);
        let pairs = map.as_ref().map(host::Headers::pairs).unwrap_or_default();
        let number = |name: &[u8]| {
            let value = pairs.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
            value.and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok())
        };
        let status = number(b":status").and_then(|status| u16::try_from(status).ok());
        let Some(status) = status else { return settle(batch, &Answer::Nothing, now) };
        let body = host::buffer(Buffer::CallResponseBody, body_size.min(ANSWER_MAX_BYTES)).unwrap_or_default();
        settle(batch, &Answer::Status { status, retry_after_secs: number(b"retry-after"), body: &body }, now);
    }
}

fn leases_answered(call: u64, answer: &Fetched<'_>) {
    let now = host::now();
    match vm::with(|vm| vm.renewals.answered(&mut SharedData, call, answer, now)).flatten() {
        Some(Notice::Failing(text)) => host::log(Level::Warn, &format!("weir: {text}")),
        Some(Notice::BackAgain(text)) => host::log(Level::Info, &format!("weir: {text}")),
        None => {}
    }
}

fn announce(state: &FilterState) {
    let source = vm::with(|vm| vm.worker.emitter().map(|emitter| emitter.source().to_string())).flatten();
    let (version, tenants) = (&state.policy.version, state.policy.directory.len());
    let source = source.unwrap_or_default();
    let line =
        format!("weir: configuration {version} is in force, {tenants} tenants inline, events come from {source}");
    host::log(Level::Info, &line);
    for key in state.policy.sources.issuers().iter().flat_map(weir_filter::identity::jwt::Issuer::ignored_keys) {
        host::log(Level::Warn, &format!("weir: {key}"));
    }
}

fn send(dispatch: &Dispatch) -> Option<u32> {
    let to = &dispatch.destination;
    let headers = vec![
        (":method", "POST"),
        (":path", &*to.path),
        (":authority", &*to.authority),
        ("content-type", BATCH_CONTENT_TYPE),
        ("authorization", &*to.authorization),
    ];
    host::dispatch(&to.cluster, headers, Some(&dispatch.body), Duration::from_millis(to.timeout_ms))
}

fn get(fetch: &Fetch) -> Option<u32> {
    let mut headers = vec![
        (":method", "GET"),
        (":scheme", fetch.scheme),
        (":path", fetch.path.as_str()),
        (":authority", &*fetch.authority),
    ];
    headers.extend(fetch.headers.iter().map(|(name, value)| (*name, value.as_str())));
    host::dispatch(&fetch.cluster, headers, None, Duration::from_millis(fetch.timeout_ms))
}

fn settle(batch: u64, answer: &Answer<'_>, now: Timestamp) {
    let returned = vm::with(|vm| vm.worker.emitter().map(|emitter| emitter.answered(batch, answer, now)));
    for RejectedEvent { reason, line } in returned.flatten().unwrap_or_default() {
        host::log(Level::Error, &format!("weir: the aggregator refused an event for good: {reason}: {line}"));
    }
}

/// Logs, once for each change, that a tenant's plan is missing.
fn tell_of_plans() {
    let warnings = vm::with(|vm| vm.worker.unplanned.warnings()).unwrap_or_default();
    warnings.iter().for_each(|warning| host::log(Level::Warn, warning));
}

/// Logs, once for each change, that events get through or do not.
fn tell_of_delivery() {
    let notices = vm::with(|vm| vm.worker.emitter().map(Emitter::notices)).flatten().unwrap_or_default();
    for notice in notices {
        let level = match &notice {
            DeliveryNotice::Failing(..) => Level::Warn,
            DeliveryNotice::BackAgain(_) => Level::Info,
            DeliveryNotice::Losing(_) => Level::Error,
        };
        host::log(level, &format!("weir: {notice}"));
    }
}
