//! How requests went in the last 15 minutes, by model and class: for people who look, and for gateways that choose by it.
//!
//! The figures are kept in memory alone, minute by minute, and nothing is billed from them. A transaction adds what it has counted
//! once it is committed. After a start they are read again from the end of the log, as far as [`REREAD_MAX_BYTES`] go.
//!
//! Latencies are counted in classes that grow by an eighth: a quantile is at most so much too high.
mod histogram;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_contract::catalogue::{LATENCY_REQUESTS_MIN, ModelFigures};
use weir_contract::{Class, Outcome, Timestamp};
use weir_event_log::{LogError, LogReader, Position, Record};

use crate::validate::{EventHasher, FactPayload, UsageFact, ValidatedBatch};
use histogram::Histogram;

/// The minutes that figures cover.
const MINUTES: u64 = 15;
/// The most models of one minute, each with its classes; requests of further ones are in no figure.
const MODELS_MAX: usize = 512;
/// The longest name of a model, in bytes: requests of one with a longer name are in no figure.
const NAME_MAX_BYTES: usize = 128;
/// The most records at the end of the log that are read again at a start.
const REREAD_MAX_RECORDS: u64 = 4_000;
/// The most bytes of them.
const REREAD_MAX_BYTES: usize = 32 * 1024 * 1024;
/// The bytes that are read at a time.
const REREAD_STEP_BYTES: usize = 4 * 1024 * 1024;

const MINUTE_MS: u64 = 60_000;

/// How one request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    model: Box<str>,
    class: Class,
    minute: u64,
    outcome: Outcome,
    duration_ms: u64,
    first_token_ms: Option<u64>,
}

/// The figures of the last minutes.
#[derive(Debug)]
pub struct Recent {
    /// The last record that was counted before these figures began.
    begins_after: Position,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    /// By minute, the earliest first; at most [`MINUTES`] and one.
    minutes: VecDeque<Minute>,
    /// Requests in no figure since the start, because there were too many models.
    left_out: u64,
}

#[derive(Debug)]
struct Minute {
    number: u64,
    models: HashMap<Box<str>, BTreeMap<Class, Counts>>,
}

/// Requests of one class at one model.
#[derive(Clone, Debug, Default)]
struct Counts {
    requests: u64,
    errors: u64,
    whole: Histogram,
    first: Histogram,
}

impl Call {
    /// How the request of an event went; None if the event names no model.
    pub(crate) fn of(fact: &UsageFact, raw: &[u8], at: Timestamp) -> Option<Self> {
        let model = fact.model_tried(raw).filter(|model| !model.is_empty() && model.len() <= NAME_MAX_BYTES)?;
        let (outcome, duration_ms, first_token_ms) = fact.timing();
        let minute = at.as_millis() / MINUTE_MS;
        Some(Call { model: model.into(), class: fact.class(), minute, outcome, duration_ms, first_token_ms })
    }
}

impl Recent {
    /// Figures of what is counted after a record.
    pub(crate) fn new(begins_after: Position) -> Self {
        Recent { begins_after, window: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds requests.
    pub(crate) fn add(&self, calls: &[Call]) {
        if calls.is_empty() {
            return;
        }
        let mut window = self.lock();
        calls.iter().for_each(|call| window.add(call));
    }

    /// The figures at `now`; those with the most requests first.
    pub fn figures(&self, now: Timestamp) -> Vec<ModelFigures> {
        let mut sums: BTreeMap<(String, Class), Counts> = BTreeMap::new();
        let first = (now.as_millis() / MINUTE_MS).saturating_sub(MINUTES - 1);
        let window = self.lock();
        for minute in window.minutes.iter().filter(|minute| minute.number >= first) {
            for (model, classes) in &minute.models {
                for (class, counts) in classes {
                    sums.entry((model.to_string(), *class)).or_default().add(counts);
                }
            }
        }
        drop(window);
        let mut figures: Vec<_> =
            sums.into_iter().map(|((model, class), counts)| counts.figures(model, class)).collect();
        figures.sort_by_key(|row| std::cmp::Reverse(row.requests));
        figures
    }

    /// Requests in no figure since the start, because there were too many models.
    pub fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    /// Adds the requests of the last minutes that were counted before these figures began. To be called once.
    pub fn reread(&self, log: &mut dyn LogReader, now: Timestamp, hasher: &EventHasher) -> Result<(), LogError> {
        let end = self.begins_after;
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(MINUTES * MINUTE_MS));
        let (mut from, mut bytes) = (end.saturating_sub(REREAD_MAX_RECORDS), 0);
        let mut seen = HashSet::new();
        while from < end && bytes < REREAD_MAX_BYTES {
            let records = log.read_after(from, REREAD_STEP_BYTES)?;
            let Some(last) = records.last() else { break };
            from = last.position;
            for record in records.iter().filter(|record| record.position <= end && record.received_at >= since) {
                bytes += record.body.len();
                self.add(&calls_of(record, hasher, &mut seen));
            }
        }
        Ok(())
    }
}

/// The requests of a record whose events were not seen before.
fn calls_of(record: &Record, hasher: &EventHasher, seen: &mut HashSet<[u8; 16]>) -> Vec<Call> {
    let Ok(batch) = ValidatedBatch::new(record.format, &record.body, record.admission(), hasher) else {
        return Vec::new();
    };
    let facts = batch.of(&record.body).filter_map(|(raw, verdict)| Some((raw, verdict.outcome.as_ref().ok()?)));
    let new = facts.filter(|(_, fact)| seen.insert(*fact.id.as_bytes()));
    new.filter_map(|(raw, fact)| match &fact.payload {
        FactPayload::Usage(usage) => Call::of(usage, raw, fact.time),
        _ => None,
    })
    .collect()
}

impl Window {
    fn add(&mut self, call: &Call) {
        let Some(minute) = self.minute(call.minute) else { return };
        if minute.models.len() >= MODELS_MAX && !minute.models.contains_key(&call.model) {
            self.left_out += 1;
            return;
        }
        let classes = minute.models.entry(call.model.clone()).or_default();
        classes.entry(call.class).or_default().count(call);
    }

    /// The minute of that number; None if it is over for too long. A new one drops those that are.
    fn minute(&mut self, number: u64) -> Option<&mut Minute> {
        let latest = self.minutes.back().map_or(number, |last| last.number.max(number));
        if number + MINUTES < latest {
            return None;
        }
        while self.minutes.front().is_some_and(|first| first.number + MINUTES < latest) {
            self.minutes.pop_front();
        }
        let at = self.minutes.partition_point(|minute| minute.number < number);
        if self.minutes.get(at).is_none_or(|found| found.number != number) {
            self.minutes.insert(at, Minute { number, models: HashMap::new() });
        }
        self.minutes.get_mut(at)
    }
}

impl Counts {
    fn count(&mut self, call: &Call) {
        self.requests += 1;
        match call.outcome {
            Outcome::UpstreamError | Outcome::UpstreamReset | Outcome::Timeout => self.errors += 1,
            // An error of the client is answered at once, and says nothing of the model.
            Outcome::ClientError | Outcome::ClientClosed => {}
            Outcome::Ok => {
                self.whole.count(call.duration_ms);
                call.first_token_ms.into_iter().for_each(|ms| self.first.count(ms));
            }
        }
    }

    fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.whole.add(&other.whole);
        self.first.add(&other.first);
    }

    fn figures(&self, model: String, class: Class) -> ModelFigures {
        let of = |histogram: &Histogram, percent| {
            (histogram.total() >= LATENCY_REQUESTS_MIN).then(|| histogram.quantile(percent)).flatten()
        };
        ModelFigures {
            model,
            class,
            requests: self.requests,
            errors: self.errors,
            p50_ms: of(&self.whole, 50),
            p99_ms: of(&self.whole, 99),
            first_token_p50_ms: of(&self.first, 50),
            first_token_p99_ms: of(&self.first, 99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn call(model: &str, ago_minutes: u64, outcome: Outcome, duration_ms: u64) -> Call {
        let minute = NOW.as_millis() / MINUTE_MS - ago_minutes;
        Call {
            model: model.into(),
            class: Class::Chat,
            minute,
            outcome,
            duration_ms,
            first_token_ms: Some(duration_ms / 2),
        }
    }

    #[test]
    fn errors_and_latencies_are_those_of_the_last_fifteen_minutes() {
        let recent = Recent::new(0);
        let old = vec![call("haiku", 15, Outcome::Ok, 60_000); 100];
        let mut new = vec![call("haiku", 3, Outcome::Ok, 100); 98];
        new.extend([call("haiku", 1, Outcome::Ok, 5_000), call("haiku", 0, Outcome::Ok, 5_000)]);
        new.push(call("haiku", 0, Outcome::UpstreamError, 1));
        recent.add(&old);
        recent.add(&new);
        let figures = recent.figures(NOW);
        let [row] = figures.as_slice() else { panic!("{figures:?}") };
        assert_eq!((row.requests, row.errors), (101, 1));
        let (p50, p99) = (row.p50_ms.expect("enough"), row.p99_ms.expect("enough"));
        assert!((100..=113).contains(&p50), "{p50}");
        assert!((5_000..=5_632).contains(&p99), "{p99}");
        assert!(row.first_token_p50_ms.is_some_and(|ms| (50..=57).contains(&ms)), "{row:?}");
    }

    #[test]
    fn a_few_requests_have_no_latency() {
        let recent = Recent::new(0);
        recent.add(&vec![call("haiku", 0, Outcome::Ok, 100); 19]);
        assert_eq!(recent.figures(NOW).first().map(|row| (row.requests, row.p99_ms)), Some((19, None)));
    }

    #[test]
    fn a_late_event_of_a_minute_that_is_over_is_left_out() {
        let recent = Recent::new(0);
        recent.add(&[call("haiku", 0, Outcome::Ok, 1), call("haiku", 16, Outcome::Ok, 1)]);
        assert_eq!(recent.figures(NOW).first().map(|row| row.requests), Some(1));
        assert!(recent.lock().minutes.len() <= 16);
    }

    #[test]
    fn models_beyond_the_bound_are_counted_as_left_out() {
        let recent = Recent::new(0);
        let calls: Vec<Call> = (0..MODELS_MAX + 3).map(|at| call(&format!("m{at}"), 0, Outcome::Ok, 1)).collect();
        recent.add(&calls);
        assert_eq!((recent.figures(NOW).len(), recent.left_out()), (MODELS_MAX, 3));
    }
}
