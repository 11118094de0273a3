//! The shared buckets against a model that a reader can check by eye: random schedules of workers that get in each
//! other's way, a clock that jumps, configurations that change, reservations that are settled late.
use std::collections::HashMap;

use proptest::prelude::*;
use weir_contract::Timestamp;
use weir_filter::limit::record::FIXED;
use weir_filter::limit::{Bucket, Charge, DrawnFrom, Limiter, Settlement, SharedBuckets, Unit, Verdict};
use weir_filter::store::{Read, Store, Write};

const START_MS: u64 = 1_800_000_000_000;
const NANO: i128 = 1_000_000_000;

/// Envoy's shared data, in which another worker is now and then first: between a read and its write, the value changes.
#[derive(Default)]
struct Contended {
    values: HashMap<String, (Vec<u8>, u32)>,
    /// Reads until another worker writes the same value again, under a new generation.
    until_race: u32,
}

impl Store for Contended {
    fn read(&mut self, key: &str) -> Read {
        let read = self.values.get(key).map_or(Read::Missing, |(value, cas)| Read::Found(value.clone(), *cas));
        self.until_race = self.until_race.wrapping_sub(1);
        if self.until_race == 0
            && let Some((_, cas)) = self.values.get_mut(key)
        {
            *cas += 1;
        }
        read
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        let next = match self.values.get(key) {
            Some((_, found)) if *found != cas => return Write::Mismatch,
            Some((_, found)) => found + 1,
            None => 1,
        };
        self.values.insert(key.to_owned(), (value.to_vec(), next));
        Write::Written
    }
}

/// One bucket, as one would explain it.
struct Model {
    nano: i128,
    at: i128,
}

impl Model {
    fn refill(&mut self, bucket: Bucket, now: i128) {
        let full = i128::from(bucket.capacity()) * NANO;
        let passed = now - self.at;
        if passed > 0 {
            self.nano += passed * i128::from(bucket.refill()) * NANO / i128::from(bucket.period_ms());
        }
        // A clock that is set back is believed when it goes back by more than a second.
        if !(-1_000..=0).contains(&passed) {
            self.at = now;
        }
        self.nano = self.nano.min(full);
    }

    fn take(&mut self, cost: u64) -> bool {
        let cost = i128::from(cost) * NANO;
        let enough = self.nano >= cost;
        self.nano -= if enough { cost } else { 0 };
        enough
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Take(u64),
    Settle(usize, u64),
    Configure(u64, u64),
    Race(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_i64..3_000).prop_map(Step::Wait),
        1 => (-100_000_i64..100_000).prop_map(Step::Wait),
        6 => (1_u64..60).prop_map(Step::Take),
        4 => (any::<usize>(), 0_u64..120).prop_map(|(which, used)| Step::Settle(which, used)),
        1 => (1_u64..100, 1_u64..500).prop_map(|(capacity, refill)| Step::Configure(capacity, refill)),
        1 => (1_u32..3).prop_map(Step::Race),
    ];
    proptest::collection::vec(step, 1..120)
}

fn charge(bucket: Bucket, cost: u64) -> Charge {
    let bucket_id = 1 | FIXED;
    Charge {
        limit: 0,
        unit: Unit::Tokens,
        bucket_id,
        shared_bucket_id: bucket_id,
        bucket,
        cost: cost.min(bucket.capacity()),
        fleet: None,
        from: DrawnFrom::Bucket,
    }
}

proptest! {
    #[test]
    fn every_verdict_is_the_models(steps in steps()) {
        let mut store = Contended::default();
        let mut bucket = Bucket::new(50, 100, 10_000).expect("a bucket");
        let (mut now, mut model) = (0_i128, None::<Model>);
        let mut open: Vec<Charge> = Vec::new();
        for step in steps {
            let time = Timestamp::from_millis(START_MS.saturating_add_signed(now as i64));
            match step {
                Step::Wait(ms) => now += i128::from(ms),
                Step::Race(reads) => store.until_race = reads,
                Step::Configure(capacity, refill) => bucket = Bucket::new(capacity, refill, 10_000).expect("a bucket"),
                Step::Take(cost) => {
                    let charge = charge(bucket, cost);
                    let full = Model { nano: i128::from(bucket.capacity()) * NANO, at: now };
                    let mut tried = model.take().unwrap_or(full);
                    let (nano, at) = (tried.nano, tried.at);
                    tried.refill(bucket, now);
                    let expected = tried.take(charge.cost);
                    let verdict = SharedBuckets::new(&mut store).take("acme", &[charge], time);
                    prop_assert_eq!(matches!(verdict, Verdict::Admitted(_)), expected);
                    // A refusal writes nothing, so nothing of it is remembered either.
                    model = if expected { Some(tried) } else { Some(Model { nano, at }) };
                    if expected { open.push(charge) }
                }
                Step::Settle(which, used) if !open.is_empty() => {
                    let drawn = open.swap_remove(which % open.len());
                    let settled = SharedBuckets::new(&mut store).settle("acme", &[Settlement { reserved: drawn, used }], time);
                    prop_assert_eq!(settled, Ok(()));
                    if let Some(model) = model.as_mut().filter(|_| used != drawn.cost) {
                        model.refill(drawn.bucket, now);
                        let full = i128::from(drawn.bucket.capacity()) * NANO;
                        model.nano += (i128::from(drawn.cost) - i128::from(used)) * NANO;
                        model.nano = if used < drawn.cost { model.nano.min(full) } else { model.nano };
                    }
                }
                Step::Settle(..) => {}
            }
        }
    }

    #[test]
    fn what_is_used_stays_within_capacity_and_refill_where_reservations_are_not_exceeded(
        steps in proptest::collection::vec((0_u64..2_000, 1_u64..60, 0_u64..100, any::<bool>()), 1..150),
    ) {
        let mut store = Contended::default();
        let bucket = Bucket::new(80, 50, 10_000).expect("a bucket");
        let (mut now, mut used_or_reserved) = (0_u64, 0_u64);
        let mut open: Vec<Charge> = Vec::new();
        for (wait, cost, percent, settles) in steps {
            now += wait;
            let time = Timestamp::from_millis(START_MS + now);
            let charge = charge(bucket, cost);
            if matches!(SharedBuckets::new(&mut store).take("acme", &[charge], time), Verdict::Admitted(_)) {
                used_or_reserved += charge.cost;
                open.push(charge);
            }
            if let Some(drawn) = open.pop().filter(|_| settles) {
                let used = drawn.cost * percent / 100;
                used_or_reserved -= drawn.cost - used;
                prop_assert_eq!(SharedBuckets::new(&mut store).settle("acme", &[Settlement { reserved: drawn, used }], time), Ok(()));
            }
            prop_assert!(used_or_reserved * 10_000 <= 80 * 10_000 + 50 * now, "{} after {} ms", used_or_reserved, now);
        }
    }
}
