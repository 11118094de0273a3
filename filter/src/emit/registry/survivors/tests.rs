use super::*;
use crate::emit::registry::WorkerRegistry;
use std::cell::RefCell;
use std::collections::HashMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Kong's shared data and metrics.
#[derive(Default)]
struct Kong {
    values: HashMap<String, (Vec<u8>, u32)>,
    last: u32,
}

impl Store for &mut Kong {
    fn read(&mut self, key: &str) -> Read {
        self.values.get(key).map_or(Read::Missing, |(value, cas)| Read::Found(value.clone(), *cas))
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        if self.values.get(key).map_or(0, |(_, found)| *found) != cas {
            return Write::Mismatch;
        }
        self.last += 1;
        self.values.insert(key.to_owned(), (value.to_vec(), self.last));
        Write::Written
    }
}

#[derive(Default)]
struct Metrics(RefCell<HashMap<(usize, usize), u64>>);

impl Gauges for &Metrics {
    fn get(&mut self, slot: usize, field: usize) -> u64 {
        self.0.borrow().get(&(slot, field)).copied().unwrap_or(0)
    }

    fn set(&mut self, slot: usize, field: usize, value: u64) {
        self.0.borrow_mut().insert((slot, field), value);
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

fn source(life: u8) -> SourceId {
    SourceId::new("gw", [life; 16]).expect("a source")
}

fn gave(last: u64) -> SourceStatus {
    SourceStatus { last, spilled: 2, refused: 1 }
}

/// Lets a source say what it gave.
fn beat(kong: &mut Kong, metrics: &Metrics, life: u8, last: u64) {
    let (source, mut registry) = (source(life), WorkerRegistry::default());
    let mut survivors = Survivors::new(metrics, &source);
    let mut store = Surviving { store: kong, survivors: Some(&mut survivors) };
    assert!(registry.heartbeat(&mut store, &source, gave(last), at(0)));
}

/// What a new VM finds dead within a minute, as life and last number.
fn found_by(kong: &mut Kong, metrics: &Metrics, life: u8) -> Vec<(SourceId, SourceStatus)> {
    let mut registry = WorkerRegistry::default();
    let mut survivors = Survivors::new(metrics, &source(life));
    let mut store = Surviving { store: kong, survivors: Some(&mut survivors) };
    let mut found = Vec::new();
    for ms in (0..60_000).step_by(500) {
        for expired in registry.scan(&mut store, at(ms)) {
            registry.free(&mut store, expired.slot, &expired.source);
            found.push((expired.source, expired.status));
        }
    }
    found
}

#[test]
fn what_a_reload_took_is_found_once_with_its_last_numbers() {
    let (mut kong, metrics) = (Kong::default(), Metrics::default());
    beat(&mut kong, &metrics, 1, 41);
    beat(&mut kong, &metrics, 2, 7);
    kong.values.clear();
    let found = found_by(&mut kong, &metrics, 3);
    assert_eq!(found, [(source(1), gave(41)), (source(2), gave(7))]);
    kong.values.clear();
    assert_eq!(found_by(&mut kong, &metrics, 4), [], "a slot that is free stays free");
}

/// One VM, with its own view of the registry.
struct Vm<'m>(SourceId, WorkerRegistry, Survivors<&'m Metrics>);

impl<'m> Vm<'m> {
    fn new(metrics: &'m Metrics, life: u8) -> Self {
        Vm(source(life), WorkerRegistry::default(), Survivors::new(metrics, &source(life)))
    }

    fn gives(&mut self, kong: &mut Kong, last: u64, ms: u64) {
        let mut store = Surviving { store: kong, survivors: Some(&mut self.2) };
        assert!(self.1.heartbeat(&mut store, &self.0, gave(last), at(ms)));
    }

    /// Lets the observer run for these milliseconds. Returns the last numbers of the expired sources that it finds and
    /// frees.
    fn finds(&mut self, kong: &mut Kong, ms: std::ops::Range<u64>) -> Vec<u64> {
        let mut store = Surviving { store: kong, survivors: Some(&mut self.2) };
        let mut found = Vec::new();
        for now in ms.step_by(500) {
            for expired in self.1.scan(&mut store, at(now)) {
                self.1.free(&mut store, expired.slot, &expired.source);
                found.push(expired.status.last);
            }
        }
        found
    }
}

/// A worker that is exiting keeps the shared data from before the reload, which nobody else sees.
#[test]
fn a_worker_that_numbers_on_while_it_exits_is_announced_again_with_each_later_number() {
    let (mut before, mut after, metrics) = (Kong::default(), Kong::default(), Metrics::default());
    let (mut exiting, mut new) = (Vm::new(&metrics, 1), Vm::new(&metrics, 2));
    exiting.gives(&mut before, 5, 0);
    assert_eq!(new.finds(&mut after, 0..5_000), [0; 0]);
    exiting.gives(&mut before, 6, 5_000);
    assert_eq!(new.finds(&mut after, 5_000..30_000), [6], "not before it stood still for a while");
    exiting.gives(&mut before, 7, 30_000);
    assert_eq!(new.finds(&mut after, 30_000..60_000), [7]);
    assert_eq!(new.finds(&mut after, 60_000..90_000), [0; 0]);
}

#[test]
fn an_exiting_worker_whose_slot_has_another_owner_does_not_spoil_it() {
    let (mut before, mut after, metrics) = (Kong::default(), Kong::default(), Metrics::default());
    let (mut exiting, mut new, mut next) = (Vm::new(&metrics, 1), Vm::new(&metrics, 2), Vm::new(&metrics, 3));
    exiting.gives(&mut before, 5, 0);
    assert_eq!(new.finds(&mut after, 0..20_000), [5]);
    next.gives(&mut after, 1, 20_000);
    exiting.gives(&mut before, 6, 21_000);
    next.gives(&mut after, 2, 30_000);
    next.gives(&mut after, 3, 30_001);
    let mut later = Kong::default();
    assert_eq!(Vm::new(&metrics, 4).finds(&mut later, 0..30_000), [3]);
}

#[test]
fn a_new_source_takes_no_slot_of_one_that_a_reload_took() {
    let (mut kong, metrics) = (Kong::default(), Metrics::default());
    beat(&mut kong, &metrics, 1, 41);
    kong.values.clear();
    beat(&mut kong, &metrics, 2, 1);
    let lives: Vec<_> = found_by(&mut kong, &metrics, 3).into_iter().map(|(source, _)| source).collect();
    assert_eq!(lives, [source(1), source(2)]);
}

#[test]
fn a_record_that_is_not_whole_or_of_another_gateway_is_left_out() {
    let (mut kong, metrics) = (Kong::default(), Metrics::default());
    beat(&mut kong, &metrics, 1, 41);
    let mut other = Survivors::new(&metrics, &SourceId::new("other", [9; 16]).expect("a source"));
    assert_eq!(other.restored(0), None);
    metrics.0.borrow_mut().insert((0, 2), 42);
    kong.values.clear();
    assert_eq!(found_by(&mut kong, &metrics, 3), []);
}

#[test]
fn of_an_event_only_the_number_and_the_checksum_are_written_anew() {
    /// Which fields are set, and the checksum.
    #[derive(Default)]
    struct Counting(Vec<usize>, u64);
    impl Gauges for &mut Counting {
        fn get(&mut self, _slot: usize, _field: usize) -> u64 {
            self.1
        }
        fn set(&mut self, _slot: usize, field: usize, value: u64) {
            self.0.push(field);
            self.1 = value;
        }
    }
    let mut gauges = Counting::default();
    let mut survivors = Survivors::new(&mut gauges, &source(1));
    survivors.keep(0, &entry(0, &source(1), gave(1), at(0)));
    survivors.keep(0, &entry(0, &source(1), gave(2), at(1)));
    assert_eq!(gauges.0, [0, 1, 2, 3, 4, 2, 4]);
}

#[test]
fn slots_beyond_those_that_are_kept_and_those_that_nobody_used_are_not_asked_for() {
    let metrics = Metrics::default();
    let mut survivors = Survivors::new(&metrics, &source(1));
    survivors.keep(SLOTS, &entry(SLOTS, &source(1), gave(1), at(0)));
    assert_eq!((survivors.restored(SLOTS), survivors.restored(1)), (None, None));
    assert!(metrics.0.borrow().is_empty());
}
