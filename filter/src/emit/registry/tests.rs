use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Envoy's shared data, or Kong's.
#[derive(Default)]
struct Shared {
    values: HashMap<String, (Vec<u8>, u32)>,
    last: u32,
    kong: bool,
}

impl Store for Shared {
    fn read(&mut self, key: &str) -> Read {
        self.values.get(key).map_or(Read::Missing, |(value, cas)| Read::Found(value.clone(), *cas))
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        let fits = match self.values.get(key) {
            None => cas == 0 || !self.kong,
            Some((_, found)) => *found == cas || (cas == 0 && !self.kong),
        };
        if !fits {
            return Write::Mismatch;
        }
        self.last += 1;
        self.values.insert(key.to_owned(), (value.to_vec(), self.last));
        Write::Written
    }
}

fn both(test: impl Fn(Shared)) {
    [false, true].into_iter().for_each(|kong| test(Shared { kong, ..Shared::default() }));
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

fn source(life: u8) -> SourceId {
    SourceId::new("gw", [life; 16]).expect("a source")
}

fn gave(last: u64) -> SourceStatus {
    SourceStatus { last, ..SourceStatus::default() }
}

/// Looks as often as a VM does, from `from` to `to`, in milliseconds.
fn watch(registry: &mut WorkerRegistry, store: &mut Shared, from: u64, to: u64) -> Vec<ExpiredWorker> {
    (from..=to).step_by(500).flat_map(|ms| registry.scan(store, at(ms))).collect()
}

#[test]
fn a_source_that_stands_still_is_found_dead_once_with_its_last_number() {
    both(|mut store| {
        let (mut dying, mut living) = (WorkerRegistry::default(), WorkerRegistry::default());
        assert!(
            dying.heartbeat(&mut store, &source(1), gave(1), at(0))
                && living.heartbeat(&mut store, &source(2), gave(9), at(0))
        );
        assert!(dying.heartbeat(&mut store, &source(1), gave(7), at(100)));
        let expired = watch(&mut living, &mut store, 0, EXPIRED_AFTER_MS + 3 * SCAN_EVERY_MS);
        assert_eq!(expired, [ExpiredWorker { slot: 0, source: source(1), status: gave(7) }]);
        living.free(&mut store, 0, &source(1));
        assert_eq!(watch(&mut living, &mut store, 100_000, 200_000), []);
        let mut new = WorkerRegistry::default();
        assert!(new.heartbeat(&mut store, &source(3), gave(1), at(200_000)));
        assert_eq!(new.own, Some(0), "the place is used again");
    });
}

#[test]
fn one_that_beats_is_never_found_dead() {
    both(|mut store| {
        let (mut quiet, mut other) = (WorkerRegistry::default(), WorkerRegistry::default());
        for ms in (0..60_000).step_by(100) {
            assert!(quiet.heartbeat(&mut store, &source(1), gave(5), at(ms)));
            assert_eq!(other.scan(&mut store, at(ms)), [], "after {ms} ms");
        }
    });
}

#[test]
fn an_observer_that_slept_knows_nothing_of_the_others() {
    both(|mut store| {
        let (mut one, mut other) = (WorkerRegistry::default(), WorkerRegistry::default());
        one.heartbeat(&mut store, &source(1), gave(5), at(0));
        assert_eq!(watch(&mut other, &mut store, 0, 3_000), []);
        assert_eq!(other.scan(&mut store, at(86_400_000)), [], "a day of sleep is no day of silence");
    });
}

#[test]
fn of_two_observers_one_takes_a_dead_source_over_and_the_other_if_that_dies_too() {
    both(|mut store| {
        let (mut first, mut second) = (WorkerRegistry::default(), WorkerRegistry::default());
        WorkerRegistry::default().heartbeat(&mut store, &source(1), gave(5), at(0));
        let mut found = 0;
        for ms in (0..=20_000).step_by(500) {
            found += first.scan(&mut store, at(ms)).len() + second.scan(&mut store, at(ms)).len();
        }
        assert_eq!(found, 1);
        assert_eq!(watch(&mut second, &mut store, 20_500, 60_000).first().map(|expired| expired.status), Some(gave(5)));
    });
}

#[test]
fn a_source_whose_place_was_given_away_takes_another_and_disturbs_nobody() {
    both(|mut store| {
        let (mut slow, mut other, mut third) =
            (WorkerRegistry::default(), WorkerRegistry::default(), WorkerRegistry::default());
        slow.heartbeat(&mut store, &source(1), gave(5), at(0));
        assert_eq!(watch(&mut other, &mut store, 0, 20_000).len(), 1);
        other.free(&mut store, 0, &source(1));
        assert!(third.heartbeat(&mut store, &source(3), gave(1), at(20_000)));
        assert!(slow.heartbeat(&mut store, &source(1), gave(6), at(20_100)));
        assert!(is_in(&mut store, 0, &source(3)) && is_in(&mut store, 1, &source(1)));
    });
}

#[test]
fn where_every_place_is_taken_a_source_goes_without() {
    both(|mut store| {
        for life in 0..SLOTS {
            let source = SourceId::new("gw", (life as u128).to_be_bytes()).expect("a source");
            assert!(WorkerRegistry::default().heartbeat(&mut store, &source, gave(1), at(0)));
        }
        let mut late = WorkerRegistry::default();
        assert!(!late.heartbeat(&mut store, &source(0xff), gave(1), at(0)));
        assert!(late.heartbeat(&mut store, &source(0xff), gave(2), at(1)), "it does not search again at every event");
        assert!(!late.heartbeat(&mut store, &source(0xff), gave(3), at(BEAT_MS)));
    });
}

#[test]
fn a_value_of_another_key_and_a_torn_one_are_left_alone() {
    both(|mut store| {
        let foreign = entry(5, &source(1), gave(5), at(0));
        store.write(&key(0), &foreign, 0);
        let torn = entry(1, &source(1), gave(5), at(0));
        store.write(&key(1), &torn[..40], 0);
        let mut registry = WorkerRegistry::default();
        assert_eq!(watch(&mut registry, &mut store, 0, 60_000), []);
        assert!(registry.heartbeat(&mut store, &source(2), gave(1), at(0)));
        assert_eq!(registry.own, Some(2));
    });
}

#[test]
fn a_store_that_was_wiped_is_written_again_at_the_next_beat() {
    both(|mut store| {
        let mut registry = WorkerRegistry::default();
        registry.heartbeat(&mut store, &source(1), gave(5), at(0));
        store.values.clear();
        assert!(registry.heartbeat(&mut store, &source(1), gave(5), at(BEAT_MS)));
        assert!(is_in(&mut store, 0, &source(1)));
    });
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_no_bytes_make_it_panic(
        status in (any::<u64>(), any::<u64>(), any::<u64>()), slot in 0..SLOTS, bytes in any::<Vec<u8>>(),
    ) {
        let (last, spilled, refused) = status;
        let status = SourceStatus { last, spilled, refused };
        let text = entry(slot, &source(7), status, at(0));
        prop_assert_eq!(Slot::read(&text, slot), Some(Slot::Taken(source(7), status)));
        prop_assert_eq!(Slot::read(&text, slot + 1), None);
        prop_assert_eq!(Slot::read(&bytes, slot), None);
    }
}
