//! Whose turn it is: which sagas go on now, and which wait.
//!
//! A saga that waits holds no place. Those that never went on come first, then those that have been due for longest; sagas whose
//! last call failed have some of the places only, however many they are, since their calls are likely to take long and to fail again.
use std::collections::{HashMap, HashSet};

use weir_contract::Timestamp;

/// The most sagas that go on at the same time.
const AT_ONCE_MAX: usize = 32;
/// The most of them whose last call failed.
const FAILING_AT_ONCE_MAX: usize = 24;

/// How long a saga waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// When it is due again.
    pub(super) until: Timestamp,
    /// Whether its last call failed.
    pub(super) fails: bool,
}

/// The turns of all sagas that go on. Each table has a saga at most once, and the database bounds how many there are.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pauses: HashMap<i64, Pause>,
    /// With whether its last call failed.
    running: HashMap<i64, bool>,
    woken: HashSet<i64>,
}

impl Turns {
    /// Ends the pauses of these sagas, also one that is about to begin.
    pub(super) fn wake(&mut self, numbers: impl IntoIterator<Item = i64>) {
        self.woken.extend(numbers);
    }

    /// Takes those of the `open` sagas whose turn it is.
    pub(super) fn take(&mut self, open: &[i64], now: Timestamp) -> Vec<i64> {
        let known: HashSet<i64> = open.iter().copied().collect();
        self.pauses.retain(|number, _| known.contains(number));
        self.woken.retain(|number| known.contains(number));
        let mut waiting: Vec<(Option<Timestamp>, i64)> = Vec::new();
        for number in open.iter().copied().filter(|number| !self.running.contains_key(number)) {
            let pause = self.pauses.get(&number).filter(|_| !self.woken.contains(&number));
            if pause.is_none_or(|pause| pause.until <= now) {
                waiting.push((pause.map(|pause| pause.until), number));
            }
        }
        waiting.sort_unstable();
        let mut taken = Vec::new();
        for (_, number) in waiting {
            let fails = self.pauses.get(&number).is_some_and(|pause| pause.fails) && !self.woken.contains(&number);
            let failing = self.running.values().filter(|fails| **fails).count();
            if self.running.len() >= AT_ONCE_MAX || (fails && failing >= FAILING_AT_ONCE_MAX) {
                continue;
            }
            self.running.insert(number, fails);
            self.pauses.remove(&number);
            self.woken.remove(&number);
            taken.push(number);
        }
        taken
    }

    /// A saga has gone on, and waits now or has ended.
    pub(super) fn give_back(&mut self, number: i64, pause: Option<Pause>) {
        self.running.remove(&number);
        if let Some(pause) = pause {
            self.pauses.insert(number, pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn pause(until_secs: u64, fails: bool) -> Option<Pause> {
        Some(Pause { until: NOW.plus_millis(until_secs * 1_000), fails })
    }

    #[test]
    fn sagas_that_fail_leave_places_to_others() {
        let mut turns = Turns::default();
        let stuck: Vec<i64> = (1..=200).collect();
        let mut seen = HashSet::new();
        let mut now = NOW;
        for _ in 0..20 {
            let taken = turns.take(&stuck, now);
            seen.extend(taken.iter().copied());
            now = now.plus_millis(1_000);
            taken.into_iter().for_each(|number| turns.give_back(number, pause(0, true)));
        }
        assert_eq!(seen.len(), stuck.len(), "each has its turn");
        assert_eq!(turns.take(&stuck, now).len(), FAILING_AT_ONCE_MAX);
        let with_new: Vec<i64> = (1..=201).collect();
        assert_eq!(turns.take(&with_new, now), [201], "while all of their calls are under way");
    }

    #[test]
    fn a_saga_that_waits_holds_no_place_and_is_taken_when_it_is_due() {
        let mut turns = Turns::default();
        let many: Vec<i64> = (1..=100).collect();
        for _ in 0..4 {
            for number in turns.take(&many, NOW) {
                turns.give_back(number, pause(60, false));
            }
        }
        assert_eq!(turns.take(&[1, 2, 101], NOW), [101]);
        assert_eq!(turns.take(&[1, 2], NOW.plus_millis(60_000)), [1, 2]);
    }

    #[test]
    fn one_that_is_woken_goes_on_at_once_also_when_its_pause_begins_later() {
        let mut turns = Turns::default();
        assert_eq!(turns.take(&[1], NOW), [1]);
        turns.wake([1]);
        assert!(turns.take(&[1], NOW).is_empty(), "its call is under way");
        turns.give_back(1, pause(30, true));
        assert_eq!(turns.take(&[1], NOW), [1]);
        turns.give_back(1, pause(30, true));
        assert!(turns.take(&[1], NOW).is_empty(), "once");
    }
}
