use super::*;
use crate::emit::registry::WorkerRegistry;
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
struct Metrics(HashMap<(usize, usize), u64>);

impl Gauges for &mut Metrics {
    fn get(&mut self, slot: usize, field: usize) -> u64 {
        self.0.get(&(slot, field)).copied().unwrap_or(0)
    }

    fn set(&mut self, slot: usize, field: usize, value: u64) {
        self.0.insert((slot, field), value);
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
fn beat(kong: &mut Kong, metrics: &mut Metrics, life: u8, last: u64) {
    let (source, mut registry) = (source(life), WorkerRegistry::default());
    let mut survivors = Survivors::new(metrics, &source);
    let mut store = Surviving { store: kong, survivors: Some(&mut survivors) };
    assert!(registry.heartbeat(&mut store, &source, gave(last), at(0)));
}

/// What a new VM finds dead within a minute, as life and last number.
fn found_by(kong: &mut Kong, metrics: &mut Metrics, life: u8) -> Vec<(SourceId, SourceStatus)> {
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
    let (mut kong, mut metrics) = (Kong::default(), Metrics::default());
    beat(&mut kong, &mut metrics, 1, 41);
    beat(&mut kong, &mut metrics, 2, 7);
    kong.values.clear();
    let found = found_by(&mut kong, &mut metrics, 3);
    assert_eq!(found, [(source(1), gave(41)), (source(2), gave(7))]);
    kong.values.clear();
    assert_eq!(found_by(&mut kong, &mut metrics, 4), [], "a slot that is free stays free");
}

#[test]
fn a_new_source_takes_no_slot_of_one_that_a_reload_took() {
    let (mut kong, mut metrics) = (Kong::default(), Metrics::default());
    beat(&mut kong, &mut metrics, 1, 41);
    kong.values.clear();
    beat(&mut kong, &mut metrics, 2, 1);
    let lives: Vec<_> = found_by(&mut kong, &mut metrics, 3).into_iter().map(|(source, _)| source).collect();
    assert_eq!(lives, [source(1), source(2)]);
}

#[test]
fn a_record_that_is_not_whole_or_of_another_gateway_is_left_out() {
    let (mut kong, mut metrics) = (Kong::default(), Metrics::default());
    beat(&mut kong, &mut metrics, 1, 41);
    let mut other = Survivors::new(&mut metrics, &SourceId::new("other", [9; 16]).expect("a source"));
    assert_eq!(other.restored(0), None);
    metrics.0.insert((0, 2), 42);
    kong.values.clear();
    assert_eq!(found_by(&mut kong, &mut metrics, 3), []);
}

#[test]
fn of_an_event_only_the_number_and_the_checksum_are_written_anew() {
    #[derive(Default)]
    struct Counting(Vec<usize>);
    impl Gauges for &mut Counting {
        fn get(&mut self, _slot: usize, _field: usize) -> u64 {
            0
        }
        fn set(&mut self, _slot: usize, field: usize, _value: u64) {
            self.0.push(field);
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
    let mut metrics = Metrics::default();
    let mut survivors = Survivors::new(&mut metrics, &source(1));
    survivors.keep(SLOTS, &entry(SLOTS, &source(1), gave(1), at(0)));
    assert_eq!((survivors.restored(SLOTS), survivors.restored(1)), (None, None));
    assert!(metrics.0.is_empty());
}
