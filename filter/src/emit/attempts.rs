//! Sums attempts at providers by model and minute. One event per attempt would double the events of a gateway whose provider
//! fails.
//!
//! A minute's sums leave with its end, or within [`SOONEST_MS`] of a breaker that changed: who looks after the providers should
//! not wait a minute to learn of that.
use std::collections::BTreeMap;

use weir_contract::event::attempts::{BREAKERS_MAX, MODELS_MAX, OTHER};
use weir_contract::{AttemptFailure, AttemptsData, BreakerChange, LastFailure, ModelAttempts, Timestamp};

use super::refusals::minute;

/// The most models of one minute: those of a catalogue, and of the one before it. Attempts at further ones count together.
pub(crate) const KNOWN_MAX: usize = 512;

/// The shortest time between two events because of breakers, in milliseconds.
const SOONEST_MS: u64 = 5_000;

/// One attempt at a provider.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'a> {
    /// The provider, by its name in the catalogue.
    pub provider: &'a str,
    /// The model, by its name in the catalogue.
    pub model: &'a str,
    /// How it failed; None if it did not.
    pub failure: Option<AttemptFailure>,
    /// The provider's status.
    pub status: Option<u16>,
    /// The tokens of its prompt, by estimate.
    pub input_tokens: u64,
}

/// The sums of the current minute.
#[derive(Debug, Default)]
pub struct AttemptSums {
    start: Timestamp,
    /// By provider, then by model: both are looked up without a name of its own for each attempt.
    models: BTreeMap<String, BTreeMap<String, ModelAttempts>>,
    /// How many models these are.
    known: usize,
    /// By provider: at most as many as events may name, and the rest is told with the next one.
    breakers: BTreeMap<String, BreakerChange>,
    told: Timestamp,
}

impl AttemptSums {
    /// Adds an attempt of a request that has ended.
    pub fn add(&mut self, tried: &Tried<'_>, now: Timestamp) {
        self.begin(now);
        match self.models.get_mut(tried.provider).and_then(|models| models.get_mut(tried.model)) {
            Some(sums) => count(sums, tried, now),
            None => self.add_new(tried, now),
        }
    }

    /// Adds an attempt at a model of which there was none yet.
    fn add_new(&mut self, tried: &Tried<'_>, now: Timestamp) {
        count(self.sums(tried.provider, tried.model), tried, now);
    }

    /// Notes that the budget of retries has refused another attempt after one at this model, which was added before.
    pub fn retry_refused(&mut self, provider: &str, model: &str, now: Timestamp) {
        self.begin(now);
        let sums = self.sums(provider, model);
        sums.retries_refused = sums.retries_refused.saturating_add(1);
    }

    /// The sums of a model; those of all others where there are too many.
    fn sums(&mut self, provider: &str, model: &str) -> &mut ModelAttempts {
        let is_known = self.models.get(provider).is_some_and(|models| models.contains_key(model));
        let names = if is_known || self.known < KNOWN_MAX { (provider, model) } else { (OTHER, OTHER) };
        let (provider, model) = (names.0.to_owned(), names.1.to_owned());
        let models = self.models.entry(provider.clone()).or_default();
        let known = &mut self.known;
        models.entry(model.clone()).or_insert_with(|| {
            *known = known.saturating_add(1);
            ModelAttempts { provider, model, ..ModelAttempts::default() }
        })
    }

    /// Notes that a breaker opened or closed. The newest state of a provider takes the place of those before it.
    pub fn breaker(&mut self, provider: &str, open_until: Option<Timestamp>, now: Timestamp) {
        self.begin(now);
        if self.breakers.len() < BREAKERS_MAX || self.breakers.contains_key(provider) {
            let change = BreakerChange { provider: provider.to_owned(), at: now, open_until };
            self.breakers.insert(provider.to_owned(), change);
        }
    }

    fn begin(&mut self, now: Timestamp) {
        if self.is_empty() {
            self.start = minute(now);
        }
    }

    fn is_empty(&self) -> bool {
        self.models.is_empty() && self.breakers.is_empty()
    }

    /// The sums that are due: of a minute that is over, or with a breaker that changed.
    pub fn close(&mut self, now: Timestamp) -> Vec<(Timestamp, AttemptsData)> {
        if self.is_empty() {
            return Vec::new();
        }
        let tells = !self.breakers.is_empty() && now.millis_since(self.told) >= SOONEST_MS;
        if minute(now) == self.start && !tells {
            return Vec::new();
        }
        self.told = now;
        self.take()
    }

    /// The sums so far, in as many events as they need. Later attempts of that minute make another event.
    pub fn take(&mut self) -> Vec<(Timestamp, AttemptsData)> {
        let start = self.start;
        let mut breakers: Vec<BreakerChange> = std::mem::take(&mut self.breakers).into_values().collect();
        self.known = 0;
        let mut models = std::mem::take(&mut self.models).into_values().flat_map(BTreeMap::into_values);
        let mut events = Vec::new();
        loop {
            let data = AttemptsData {
                models: models.by_ref().take(MODELS_MAX).collect(),
                breakers: std::mem::take(&mut breakers),
            };
            if data == AttemptsData::default() {
                return events;
            }
            events.push((start, data));
        }
    }
}

fn count(sums: &mut ModelAttempts, tried: &Tried<'_>, now: Timestamp) {
    sums.made = sums.made.saturating_add(1);
    let Some(reason) = tried.failure else { return };
    let count = sums.failed.entry(reason).or_default();
    *count = count.saturating_add(1);
    if reason.may_be_charged() {
        sums.unanswered_input_tokens = sums.unanswered_input_tokens.saturating_add(tried.input_tokens);
    }
    sums.last_failure = Some(LastFailure { at: now, reason, status: tried.status });
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_030);
    const MINUTE: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn tried(model: &str, failure: Option<AttemptFailure>) -> Tried<'_> {
        Tried { provider: "one", model, failure, status: failure.map(|_| 529), input_tokens: 100 }
    }

    #[test]
    fn attempts_of_a_minute_add_up_by_model_and_reason() {
        let mut sums = AttemptSums::default();
        for failure in
            [None, Some(AttemptFailure::Overloaded), Some(AttemptFailure::Silent), Some(AttemptFailure::Silent)]
        {
            sums.add(&tried("a", failure), NOW);
        }
        sums.add(&tried("b", None), NOW);
        assert_eq!(sums.close(NOW), [], "the minute goes on");
        let closed = sums.close(NOW.plus_millis(30_000));
        let [(start, AttemptsData { models, breakers })] = &closed[..] else { panic!("{closed:?}") };
        assert_eq!((*start, models.len(), breakers.len()), (MINUTE, 2, 0));
        assert_eq!(
            (models[0].made, models[0].unanswered_input_tokens),
            (4, 200),
            "an overloaded provider charges nothing"
        );
        assert_eq!(models[0].failed, BTreeMap::from([(AttemptFailure::Overloaded, 1), (AttemptFailure::Silent, 2)]));
        assert_eq!(models[0].last_failure.map(|last| last.reason), Some(AttemptFailure::Silent));
        assert_eq!((models[1].made, models[1].last_failure), (1, None));
        assert_eq!(sums.close(NOW.plus_millis(90_000)), []);
    }

    #[test]
    fn a_retry_that_was_refused_counts_with_the_model_that_was_tried_last() {
        let mut sums = AttemptSums::default();
        sums.add(&tried("a", Some(AttemptFailure::Overloaded)), NOW);
        sums.retry_refused("one", "a", NOW);
        let events = sums.take();
        assert_eq!((events[0].1.models[0].made, events[0].1.models[0].retries_refused), (1, 1));
    }

    #[test]
    fn a_breaker_is_told_soon_and_a_flapping_one_not_with_every_tick() {
        let mut sums = AttemptSums::default();
        let open = |at: Timestamp| Some(at.plus_millis(5_000));
        sums.breaker("one", open(NOW), NOW);
        let events = sums.close(NOW.plus_millis(100));
        assert_eq!(events[0].1.breakers[0].open_until, open(NOW));
        sums.breaker("one", None, NOW.plus_millis(200));
        sums.breaker("one", open(NOW.plus_millis(300)), NOW.plus_millis(300));
        assert_eq!(sums.close(NOW.plus_millis(400)), []);
        let events = sums.close(NOW.plus_millis(5_100));
        assert_eq!(events[0].1.breakers.len(), 1, "the newest state alone");
        assert_eq!(events[0].1.breakers[0].open_until, open(NOW.plus_millis(300)));
    }

    #[test]
    fn a_large_catalogue_needs_several_events_and_nothing_is_lost_at_the_bound() {
        let mut sums = AttemptSums::default();
        for number in 0..KNOWN_MAX + 10 {
            sums.add(&tried(&format!("m{number}"), None), NOW);
        }
        let events = sums.take();
        assert!(events.iter().all(|(_, data)| data.models.len() <= MODELS_MAX));
        let models = || events.iter().flat_map(|(_, data)| &data.models);
        assert_eq!(models().map(|model| model.made).sum::<u64>(), KNOWN_MAX as u64 + 10);
        assert_eq!(models().find(|model| model.model == OTHER).map(|model| model.made), Some(10));
    }
}
