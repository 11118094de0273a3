use super::*;
use crate::limit::Unit;
use crate::limit::record::FIXED;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

type Values = HashMap<String, (Vec<u8>, u32)>;

/// Envoy's shared data: a missing key takes any generation.
#[derive(Clone, Default)]
struct Memory {
    values: Arc<Mutex<Values>>,
    fails: bool,
    /// Kong: a missing key takes 0 only, an existing one never.
    compares_missing: bool,
}

impl Store for Memory {
    fn read(&mut self, key: &str) -> Read {
        if self.fails {
            return Read::Failed;
        }
        let values = self.values.lock().expect("lock");
        values.get(key).map_or(Read::Missing, |(value, cas)| Read::Found(value.clone(), *cas))
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        let mut values = self.values.lock().expect("lock");
        let next = match values.get(key) {
            Some((_, found)) if *found != cas => return Write::Mismatch,
            Some((_, found)) => found + 1,
            None if self.compares_missing && cas != 0 => return Write::Mismatch,
            None => 1,
        };
        values.insert(key.to_owned(), (value.to_vec(), next));
        Write::Written
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

fn charge(bucket_id: u64, capacity: u64, cost: u64) -> Charge {
    let (limit, unit, bucket_id) = (0, Unit::Requests, bucket_id | FIXED);
    Charge {
        limit,
        unit,
        bucket_id,
        shared_bucket_id: bucket_id,
        bucket: Bucket::new(capacity, capacity, 60_000).expect("a bucket"),
        cost,
        fleet: None,
        from: DrawnFrom::Bucket,
    }
}

fn admitted(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Admitted(_))
}

#[test]
fn a_bucket_admits_its_capacity_and_then_says_how_long_to_wait() {
    let mut store = Memory::default();
    let mut limiter = SharedBuckets::new(&mut store);
    let charges = [charge(1, 3, 1)];
    for left in [2, 1, 0] {
        let Verdict::Admitted(standings) = limiter.take("acme", &charges, at(0)) else { panic!("refused") };
        assert_eq!(standings[0].remaining, left);
    }
    let Verdict::Limited(standing) = limiter.take("acme", &charges, at(0)) else { panic!("admitted") };
    assert_eq!((standing.capacity, standing.remaining, standing.wait_ms), (3, 0, 20_000));
    assert!(admitted(limiter.take("acme", &charges, at(20_000))));
}

#[test]
fn the_wait_counts_another_workers_clock_that_is_ahead() {
    let mut store = Memory::default();
    let mut limiter = SharedBuckets::new(&mut store);
    assert!(admitted(limiter.take("acme", &[charge(1, 1, 1)], at(900))));
    let Verdict::Limited(standing) = limiter.take("acme", &[charge(1, 1, 1)], at(0)) else { panic!("admitted") };
    assert_eq!(standing.wait_ms, 60_900);
    assert!(!admitted(limiter.take("acme", &[charge(1, 1, 1)], at(60_899))));
    assert!(admitted(limiter.take("acme", &[charge(1, 1, 1)], at(60_900))));
}

#[test]
fn a_bucket_is_created_on_either_gateway() {
    for compares_missing in [false, true] {
        let mut store = Memory { compares_missing, ..Memory::default() };
        let mut limiter = SharedBuckets::new(&mut store);
        assert!(admitted(limiter.take("acme", &[charge(1, 1, 1)], at(0))));
        assert!(!admitted(limiter.take("acme", &[charge(1, 1, 1)], at(0))));
    }
}

#[test]
fn tenants_do_not_share_buckets() {
    let mut store = Memory::default();
    let mut limiter = SharedBuckets::new(&mut store);
    assert!(admitted(limiter.take("acme", &[charge(1, 1, 1)], at(0))));
    assert!(!admitted(limiter.take("acme", &[charge(1, 1, 1)], at(0))));
    assert!(admitted(limiter.take("globex", &[charge(1, 1, 1)], at(0))));
}

#[test]
fn either_every_bucket_is_drawn_from_or_none() {
    let mut store = Memory::default();
    let mut limiter = SharedBuckets::new(&mut store);
    let both = [charge(1, 10, 1), charge(2, 1, 1)];
    assert!(admitted(limiter.take("acme", &both, at(0))));
    assert!(!admitted(limiter.take("acme", &both, at(0))));
    let Verdict::Admitted(standings) = limiter.take("acme", &[charge(1, 10, 1)], at(0)) else { panic!("refused") };
    assert_eq!(standings[0].remaining, 8, "the refused request took nothing");
}

#[test]
fn what_is_given_back_can_be_taken_again_but_never_more_than_the_capacity() {
    let mut store = Memory::default();
    let mut limiter = SharedBuckets::new(&mut store);
    let charges = [charge(1, 2, 2)];
    assert!(admitted(limiter.take("acme", &charges, at(0))));
    assert_eq!(limiter.give_back("acme", &charges, at(0)), Ok(()));
    assert_eq!(limiter.give_back("acme", &charges, at(0)), Ok(()));
    assert!(admitted(limiter.take("acme", &charges, at(0))));
    assert!(!admitted(limiter.take("acme", &[charge(1, 2, 1)], at(0))));
}

#[test]
fn a_failing_store_is_told_and_nothing_is_guessed() {
    let mut store = Memory { fails: true, ..Memory::default() };
    let mut limiter = SharedBuckets::new(&mut store);
    assert_eq!(limiter.take("acme", &[charge(1, 2, 1)], at(0)), Verdict::Unavailable(Fault::Store));
    assert_eq!(limiter.give_back("acme", &[charge(1, 2, 1)], at(0)), Err(Fault::Store));
}

#[test]
fn a_place_that_another_tenant_holds_is_left_to_it() {
    let mut store = Memory::default();
    let foreign = Record::default().encode("weir/limit/3/somebody-else");
    store.values.lock().expect("lock").insert("weir/limit/3/acme".to_owned(), (foreign.clone(), 9));
    let mut limiter = SharedBuckets::new(&mut store);
    assert!(admitted(limiter.take("acme", &[charge(1, 1, 1)], at(0))));
    assert!(!admitted(limiter.take("acme", &[charge(1, 1, 1)], at(0))), "its own bucket is kept elsewhere");
    let values = store.values.lock().expect("lock");
    assert_eq!(values.get("weir/limit/3/acme"), Some(&(foreign, 9)));
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn four_threads_on_one_bucket_admit_exactly_its_capacity() {
    let store = Memory::default();
    let admitted: u32 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut store = store.clone();
                scope.spawn(move || {
                    let mut limiter = SharedBuckets::new(&mut store);
                    (0..500).filter(|_| admitted(limiter.take("acme", &[charge(1, 1_000, 1)], at(0)))).count() as u32
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    assert_eq!(admitted, 1_000);
}
