//! An aggregator that fails at random and remembers the events it received.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_host_tests::scenario::{Gateway, status};
use weir_seeded::SplitMix64;

use super::traffic::Sender;

/// The percentage of batches that a failing ledger refuses.
const FAILURES: u64 = 20;

/// Every event by source and number, from batches that were taken or not.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Books>);

#[derive(Default)]
struct Books {
    events: Mutex<BTreeMap<(String, u64), Value>>,
    /// The highest number that each source has announced, and how many events it says it had to leave in the log.
    announced: Mutex<BTreeMap<String, (u64, u64)>>,
    well: AtomicBool,
}

impl Ledger {
    pub(crate) fn listen(&self, gateway: &Gateway, seed: u64) {
        let (books, dice) = (Arc::clone(&self.0), Mutex::new(SplitMix64::new(seed)));
        gateway.answer_all("weir", move |call| {
            call.json().as_array().expect("a batch").iter().for_each(|event| books.enter(event));
            let chance = dice.lock().expect("no panic").below(100);
            match chance {
                _ if books.well.load(Ordering::SeqCst) => taken(),
                chance if chance >= FAILURES => taken(),
                chance if chance % 4 == 0 => status(503).header("retry-after", "1"),
                chance if chance % 4 == 1 => status(429).header("retry-after", "1"),
                chance if chance % 4 == 2 => taken().reset(),
                _ => taken().timed_out(),
            }
        });
    }

    /// From now on every batch is taken.
    pub(crate) fn recover(&self) {
        self.0.well.store(true, Ordering::SeqCst);
    }

    /// Every source's numbers are known to the last one: each is one event, or one of those that it says it has left in the
    /// log. Each request is one event at most, and each event its tenant's. How many usage events there are.
    pub(crate) fn assert_true(&self) -> usize {
        let events = self.0.events.lock().expect("no panic");
        let announced = self.0.announced.lock().expect("no panic");
        let mut numbers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for (source, number) in events.keys() {
            numbers.entry(source).or_default().insert(*number);
        }
        for (source, numbers) in &numbers {
            let (last, spilled) = announced.get(*source).copied().expect("a source that sends announces itself");
            assert!(numbers.first() >= Some(&1) && numbers.last() <= Some(&last), "{source}: {last} {numbers:?}");
            let missing = last - numbers.len() as u64;
            // A nonsense time makes events too old to wait: they leave as signed lines. Some were sent before.
            assert!(missing <= spilled, "{source}: {missing} of {last} are nowhere, {spilled} were spilled");
        }
        let mut models = BTreeSet::new();
        let usage: Vec<&Value> = events.values().filter(|event| event["type"] == "weir.usage.v1").collect();
        for event in &usage {
            let subject = event["subject"].as_str().expect("a subject");
            assert!(Sender::ALL.iter().any(|sender| sender.tenant() == subject), "{event}");
            let Some(model) = event["data"]["request_model"].as_str() else { continue };
            let Some((owner, _)) = model.split_once('-') else { panic!("{event}") };
            assert_eq!(owner, subject, "{event}");
            assert!(models.insert(model), "{model} has two events");
        }
        usage.len()
    }
}

fn taken() -> weir_host_tests::scenario::Response {
    status(202).json(&json!({"accepted": 1, "rejected": []}))
}

impl Books {
    fn enter(&self, event: &Value) {
        let source = event["source"].as_str().expect("a source").to_owned();
        if event["type"] == "weir.source.v1" {
            let told = |field: &str| event["data"][field].as_u64().expect("a number");
            let mut announced = self.announced.lock().expect("no panic");
            let known = announced.entry(source).or_default();
            *known = (told("last").max(known.0), told("spilled").max(known.1));
            return;
        }
        let number = event["sequence"].as_str().and_then(|digits| digits.parse().ok()).expect("a number");
        let known = self.events.lock().expect("no panic").insert((source, number), event.clone());
        assert!(known.as_ref().is_none_or(|known| known == event), "one number, two events: {known:?} {event}");
    }
}
