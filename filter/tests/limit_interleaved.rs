//! Several workers draw from one tenant's buckets, one access to the shared data at a time, in any order that threads could
//! take. A model that draws one after the other must give the same answers.
//!
//! Every worker is a thread that waits for its turn before each read and each write. So an order is a list of turns,
//! which proptest makes up and shrinks.
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use proptest::prelude::*;
use weir_contract::Timestamp;
use weir_filter::limit::record::{Decoded, FIXED, Record};
use weir_filter::limit::{Bucket, Charge, DrawnFrom, Limiter, Settlement, SharedBuckets, Unit, Verdict};
use weir_filter::store::{Read, Store, Write};

const START_MS: i64 = 1_800_000_000_000;
const NANO: i128 = 1_000_000_000;
const PERIOD_MS: u64 = 10_000;
const KEY: &str = "weir/limit/3/acme";

/// What all workers see.
#[derive(Default)]
struct World {
    values: HashMap<String, (Vec<u8>, u32)>,
    /// Kong: a missing key takes 0 only, an existing one never. Envoy: a missing key takes anything.
    compares_missing: bool,
    clock_ms: i64,
    accesses: u64,
    done: Vec<Done>,
}

/// Something that was done, as of the access at which it counted.
struct Done {
    access: u64,
    now: i64,
    deed: Deed,
}

enum Deed {
    /// Admitted, with what is left in each bucket; or refused, with the milliseconds to wait.
    Take(Vec<Charge>, Result<Vec<u64>, u64>),
    Settle(Vec<Settlement>),
}

/// What a worker does, in order.
#[derive(Clone, Debug)]
enum Step {
    /// The machine's clock jumps by this many milliseconds, forward or back.
    Clock(i64),
    /// A user sends a request with this many tokens.
    Take(u64, u64),
    /// An open request ends, having used this many tokens, or without use, which also returns its request.
    Settle(usize, u64),
    /// The worker gets another configuration: capacity and refill of every bucket.
    Configure(u64, u64),
}

/// A worker's view of the shared data.
struct Turns<'w> {
    worker: usize,
    world: &'w Mutex<World>,
    granted: Receiver<()>,
    waiting: Sender<(usize, bool)>,
    /// The access that decided the last call.
    decided_at: u64,
}

impl Turns<'_> {
    fn wait(&self) {
        self.waiting.send((self.worker, true)).expect("somebody grants turns");
        self.granted.recv().expect("somebody grants turns");
    }

    fn now(&self) -> i64 {
        self.world.lock().expect("lock").clock_ms
    }
}

impl Store for Turns<'_> {
    fn read(&mut self, key: &str) -> Read {
        self.wait();
        let mut world = self.world.lock().expect("lock");
        world.accesses += 1;
        self.decided_at = world.accesses;
        world.values.get(key).map_or(Read::Missing, |(value, cas)| Read::Found(value.clone(), *cas))
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        self.wait();
        let mut world = self.world.lock().expect("lock");
        world.accesses += 1;
        let next = match world.values.get(key) {
            Some((_, found)) if *found != cas => return Write::Mismatch,
            Some((_, found)) => found + 1,
            None if world.compares_missing && cas != 0 => return Write::Mismatch,
            None => 1,
        };
        world.values.insert(key.to_owned(), (value.to_vec(), next));
        self.decided_at = world.accesses;
        Write::Written
    }
}

fn bucket((capacity, refill): (u64, u64)) -> Bucket {
    Bucket::new(capacity, refill, PERIOD_MS).expect("a bucket")
}

/// A request draws one request, its tokens, and its tokens once more from its user's bucket.
fn charges(config: (u64, u64), tokens: u64, user: u64) -> Vec<Charge> {
    let charge = |limit, unit, bucket_id, cost: u64| {
        let bucket = bucket(config);
        let (cost, from) = (cost.min(bucket.capacity()), DrawnFrom::Bucket);
        Charge { limit, unit, bucket_id, shared_bucket_id: 3 | FIXED, bucket, cost, fleet: None, from }
    };
    vec![
        charge(0, Unit::Requests, 1 | FIXED, 1),
        charge(1, Unit::Tokens, 2 | FIXED, tokens),
        charge(2, Unit::Tokens, 100 + user, tokens),
    ]
}

/// Does one worker's steps.
fn work(turns: &mut Turns<'_>, steps: &[Step], mut config: (u64, u64)) {
    turns.wait();
    let mut open: Vec<Vec<Charge>> = Vec::new();
    for step in steps {
        let now = turns.now();
        let time = Timestamp::from_millis(u64::try_from(START_MS + now).expect("a time"));
        let deed = match step {
            Step::Clock(by) => {
                turns.world.lock().expect("lock").clock_ms += by;
                continue;
            }
            Step::Configure(capacity, refill) => {
                config = (*capacity, *refill);
                continue;
            }
            Step::Take(tokens, user) => {
                let charges = charges(config, *tokens, *user);
                let told = match SharedBuckets::new(turns).take("acme", &charges, time) {
                    Verdict::Admitted(standings) => Ok(standings.iter().map(|s| s.remaining).collect()),
                    Verdict::Limited(standing) => Err(standing.wait_ms),
                    other => panic!("{other:?}"),
                };
                if told.is_ok() {
                    open.push(charges.clone());
                }
                Deed::Take(charges, told)
            }
            Step::Settle(which, used) if !open.is_empty() => {
                let drawn = open.swap_remove(which % open.len());
                let settle = |drawn: &Charge| match drawn.unit {
                    Unit::Requests => Settlement { reserved: *drawn, used: u64::from(*used > 0) },
                    Unit::Tokens | Unit::Cost => Settlement { reserved: *drawn, used: *used },
                };
                let settlements: Vec<_> = drawn.iter().map(settle).collect();
                if settlements.iter().all(|settled| settled.used == settled.reserved.cost) {
                    continue;
                }
                SharedBuckets::new(turns).settle("acme", &settlements, time).expect("settled");
                Deed::Settle(settlements)
            }
            Step::Settle(..) => continue,
        };
        let access = turns.decided_at;
        turns.world.lock().expect("lock").done.push(Done { access, now, deed });
    }
}

/// Lets the workers run, in the order of `turns`, over and over.
fn run(workers: &[Vec<Step>], turns: &[usize], compares_missing: bool, config: (u64, u64)) -> World {
    let world = Mutex::new(World { compares_missing, ..World::default() });
    let (waiting, reports) = channel();
    std::thread::scope(|scope| {
        let mut grants = Vec::new();
        for (worker, steps) in workers.iter().enumerate() {
            let (grant, granted) = channel();
            grants.push(grant);
            let (world, waiting) = (&world, waiting.clone());
            scope.spawn(move || {
                let mut turns = Turns { worker, world, granted, waiting, decided_at: 0 };
                work(&mut turns, steps, config);
                turns.waiting.send((worker, false)).expect("somebody listens");
            });
        }
        drop(waiting);
        let mut ready: Vec<usize> = (0..workers.len()).map(|_| reports.recv().expect("a worker").0).collect();
        ready.sort_unstable();
        for turn in turns.iter().cycle() {
            if ready.is_empty() {
                break;
            }
            let at = turn % ready.len();
            grants[ready[at]].send(()).expect("a worker waits");
            // The channel stays empty after a worker has panicked. The others then must not wait for ever.
            let Ok((worker, waits)) = reports.recv_timeout(Duration::from_secs(60)) else { break };
            if !waits {
                ready.retain(|known| *known != worker);
            }
        }
    });
    let mut world = world.into_inner().expect("no worker panicked");
    world.done.sort_by_key(|done| done.access);
    world
}

/// The buckets, as one would explain them.
#[derive(Clone, Default)]
struct Model(HashMap<u64, (i128, i64)>);

impl Model {
    fn level(&self, charge: &Charge, now: i64) -> (i128, i64) {
        let full = i128::from(charge.bucket.capacity()) * NANO;
        let (mut nano, mut at) = self.0.get(&charge.bucket_id).copied().unwrap_or((full, now));
        let passed = now - at;
        if passed > 0 {
            nano += i128::from(passed) * i128::from(charge.bucket.refill()) * NANO / i128::from(PERIOD_MS);
        }
        // A clock that is set back is believed when it goes back by more than a second.
        if !(-1_000..=0).contains(&passed) {
            at = now;
        }
        (nano.min(full), at)
    }

    /// Whether a level is of a moment so late that the clock must have been set back since.
    fn is_ahead(&self, charge: &Charge, now: i64) -> bool {
        self.0.get(&charge.bucket_id).is_some_and(|(_, at)| at - now > 1_000)
    }

    fn take(&mut self, charges: &[Charge], now: i64) -> Option<Vec<u64>> {
        let levels: Vec<_> = charges.iter().map(|charge| self.level(charge, now)).collect();
        let enough = |(charge, (nano, _)): (&Charge, &(i128, i64))| *nano >= i128::from(charge.cost) * NANO;
        if !charges.iter().zip(&levels).all(enough) {
            return None;
        }
        let draw = |(charge, (nano, at)): (&Charge, (i128, i64))| {
            let left = nano - i128::from(charge.cost) * NANO;
            self.0.insert(charge.bucket_id, (left, at));
            u64::try_from(left / NANO).expect("not below 0")
        };
        Some(charges.iter().zip(levels).map(draw).collect())
    }

    fn settle(&mut self, settlements: &[Settlement], now: i64) {
        for Settlement { reserved: drawn, used } in settlements {
            let (nano, at) = self.level(drawn, now);
            let put_right = nano + (i128::from(drawn.cost) - i128::from(*used)) * NANO;
            let full = i128::from(drawn.bucket.capacity()) * NANO;
            self.0.insert(drawn.bucket_id, (if *used < drawn.cost { put_right.min(full) } else { put_right }, at));
        }
    }
}

fn record(world: &World) -> Record {
    let Some((bytes, _)) = world.values.get(KEY) else { return Record::default() };
    let Decoded::Record(record) = Record::decode(bytes, KEY) else { panic!("damaged") };
    record
}

fn take() -> impl Strategy<Value = Step> {
    (1_u64..40, 0_u64..3).prop_map(|(tokens, user)| Step::Take(tokens, user))
}

fn settle() -> impl Strategy<Value = Step> {
    (any::<usize>(), 0_u64..80).prop_map(|(which, used)| Step::Settle(which, used))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => take(),
        4 => settle(),
        3 => (0_i64..2_000).prop_map(Step::Clock),
        1 => (-100_000_i64..100_000).prop_map(Step::Clock),
        1 => (1_u64..100, 1_u64..500).prop_map(|(capacity, refill)| Step::Configure(capacity, refill)),
    ]
}

fn workers(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<Vec<Step>>> {
    proptest::collection::vec(proptest::collection::vec(step, 1..25), 2..5)
}

fn turns() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0_usize..60, 1..80)
}

proptest! {
    #[test]
    fn whatever_the_order_of_reads_and_writes_every_verdict_and_every_level_is_the_models(
        workers in workers(step()), turns in turns(), on_kong: bool,
    ) {
        let world = run(&workers, &turns, on_kong, (50, 100));
        let mut model = Model::default();
        for Done { now, deed, .. } in &world.done {
            match deed {
                Deed::Take(charges, Ok(left)) => {
                    let taken = model.take(charges, *now);
                    prop_assert_eq!(taken.as_ref(), Some(left));
                }
                Deed::Take(charges, Err(wait_ms)) => {
                    prop_assert_eq!(model.take(charges, *now), None);
                    // A refusal writes nothing, so the bucket notices a clock that was set back only at the next draw.
                    if charges.iter().any(|charge| model.is_ahead(charge, *now)) {
                        continue;
                    }
                    let after = |wait_ms: u64| model.clone().take(charges, now + i64::try_from(wait_ms).expect("a span"));
                    prop_assert!(after(*wait_ms).is_some(), "who waits {} ms is admitted", wait_ms);
                    prop_assert!(after(wait_ms - 1).is_none(), "a millisecond too early");
                }
                Deed::Settle(settlements) => model.settle(settlements, *now),
            }
        }
        let record = record(&world);
        for (bucket_id, (nano, at)) in model.0 {
            let found = record.level(bucket_id).map(|level| (i128::from(level.nano), level.at.as_millis()));
            prop_assert_eq!(found, Some((nano, u64::try_from(START_MS + at).expect("a time"))), "bucket {}", bucket_id);
        }
    }

    #[test]
    fn while_no_time_passes_no_token_is_lost_and_none_is_created(
        workers in workers(prop_oneof![3 => take(), 2 => settle()]), turns in turns(), on_kong: bool,
    ) {
        let capacity = 500;
        let world = run(&workers, &turns, on_kong, (capacity, 1));
        let mut gone: HashMap<u64, i128> = HashMap::new();
        for done in &world.done {
            match &done.deed {
                Deed::Take(charges, Ok(_)) => {
                    charges.iter().for_each(|charge| *gone.entry(charge.bucket_id).or_default() += i128::from(charge.cost));
                }
                Deed::Take(_, Err(_)) => {}
                Deed::Settle(settled) => settled.iter().for_each(|Settlement { reserved: drawn, used }| {
                    *gone.entry(drawn.bucket_id).or_default() += i128::from(*used) - i128::from(drawn.cost);
                }),
            }
        }
        let record = record(&world);
        for (bucket_id, gone) in gone {
            let level = record.level(bucket_id).map(|level| i128::from(level.nano));
            prop_assert_eq!(level, Some((i128::from(capacity) - gone) * NANO), "bucket {}", bucket_id);
        }
    }
}
