//! All limits of one center, in memory.
use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use weir_contract::lease::{Answer, Call, Definition, DrawAnswer, DrawCall, Grant, Key, LeaseState, Short};
use weir_fault::{Point, hit};

use crate::limit::{Caller, Levels, Limit, LimitView, Timing};

/// The most limits in memory: each takes some 300 bytes, and 150 for each lease. Further ones are
/// [`LeaseState::Refused`] until some are full again.
pub const LIMITS_MAX: usize = 200_000;

/// How often limits that are full again are dropped.
const SWEEP_MS: u64 = 30_000;

/// How long beyond its period a budget, which never refills, is remembered after a gateway last named it: a month in which clocks
/// change is an hour longer than the longest period.
const BUDGET_KEPT_MS: u64 = 86_400_000;

/// The center of a fleet's limits.
#[derive(Debug)]
pub struct Center {
    epoch: u64,
    timing: Timing,
    /// The latest time seen: the center's time never goes backwards.
    now: u64,
    /// When this memory began, if an earlier one was lost.
    lost_ms: Option<u64>,
    swept_ms: u64,
    limits: HashMap<Key, Limit>,
    /// Limits that changed, began or were dropped since [`Center::saved`].
    changed: BTreeSet<Key>,
    counts: Counts,
}

/// What a center did since its start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reports answered, by [`LeaseState`].
    pub held: u64,
    /// [`LeaseState::Draw`].
    pub draw: u64,
    /// [`LeaseState::Lapsed`].
    pub lapsed: u64,
    /// [`LeaseState::Refused`].
    pub refused: u64,
    /// Requests that drew at the center.
    pub drawn: u64,
    /// Requests that found too little at the center.
    pub short: u64,
    /// Leases that ended without a word, with units unspent.
    pub lost_leases: u64,
    /// Those units.
    pub lost_units: u64,
}

/// A center's memory, to be stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    epoch: u64,
    now: u64,
    lost_ms: Option<u64>,
    timing: Timing,
    limits: Vec<(Key, Limit)>,
}

impl Checkpoint {
    /// Adds a limit that a store kept by its key.
    pub fn with(&mut self, key: Key, limit: Limit) {
        self.limits.push((key, limit));
    }
}

impl Center {
    /// A center that nobody has asked before.
    pub fn new(epoch: u64, now: u64, timing: Timing) -> Self {
        let (limits, changed, counts) = (HashMap::new(), BTreeSet::new(), Counts::default());
        Center { epoch, timing, now, lost_ms: None, swept_ms: now, limits, changed, counts }
    }

    /// A center that has lost its memory: each limit begins empty, and until every earlier lease has ended all of it may
    /// be out.
    pub fn forgotten(epoch: u64, now: u64, timing: Timing) -> Self {
        let lost_ms = (!hit(Point::ForgottenIsFull)).then_some(now);
        Center { lost_ms, ..Self::new(epoch, now, timing) }
    }

    /// The center of a checkpoint that holds everything it ever answered.
    pub fn restored(checkpoint: Checkpoint) -> Self {
        let Checkpoint { epoch, now, lost_ms, timing, limits } = checkpoint;
        Center { lost_ms, limits: limits.into_iter().collect(), ..Self::new(epoch, now, timing) }
    }

    /// Goes on with other settings than those of its checkpoint.
    #[must_use]
    pub fn with_timing(self, timing: Timing) -> Self {
        Center { timing, ..self }
    }

    /// Its memory.
    pub fn checkpoint(&self) -> Checkpoint {
        let limits = self.limits.iter().map(|(key, limit)| (key.clone(), limit.clone())).collect();
        Checkpoint { limits, ..self.head() }
    }

    /// What changed since [`Center::saved`], for a store that keeps each limit by its key: None was dropped.
    pub fn changes(&self) -> impl Iterator<Item = (&Key, Option<&Limit>)> {
        self.changed.iter().map(|key| (key, self.limits.get(key)))
    }

    /// The store has all of [`Center::changes`].
    pub fn saved(&mut self) {
        self.changed.clear();
    }

    /// What a store keeps beside the limits: a checkpoint without any.
    pub fn head(&self) -> Checkpoint {
        let Center { epoch, now, lost_ms, timing, .. } = *self;
        Checkpoint { epoch, now, lost_ms, timing, limits: Vec::new() }
    }

    /// The number of its memory.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What it did since its start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many limits it holds.
    pub fn len(&self) -> usize {
        self.limits.len()
    }

    /// How they stand, all together.
    pub fn levels(&self) -> Levels {
        let mut levels = Levels::default();
        self.limits.values().for_each(|limit| levels.count(limit));
        levels
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Answers `POST /v1/leases`. The caller has checked the call.
    pub fn call(&mut self, call: &Call, now: u64) -> Answer {
        let now = self.advance(now);
        let caller = Caller { gateway: &call.gateway, draws: call.draws, epoch: self.epoch, now };
        let mut leases = Vec::with_capacity(call.leases.len());
        for report in &call.leases {
            let grant = match self.limit(&report.key, &report.definition) {
                Some(limit) => {
                    let grant = limit.report(caller, report);
                    let lost = limit.take_lost();
                    self.counts.count_lost(lost.leases, lost.units);
                    grant
                }
                None => Grant { lease: report.lease, state: LeaseState::Refused, ..Grant::default() },
            };
            self.counts.count_report(grant.state);
            leases.push(grant);
        }
        Answer { epoch: self.epoch, sent_ms: call.sent_ms, at_ms: now, ttl_ms: self.timing.ttl_ms, leases }
    }

    /// Answers `POST /v1/leases/draw`: draws everything or nothing. The caller has checked the call.
    pub fn draw(&mut self, call: &DrawCall, now: u64) -> DrawAnswer {
        let now = self.advance(now);
        let mut drawn = Vec::with_capacity(call.draws.len());
        let mut short: Option<Short> = None;
        for (index, draw) in call.draws.iter().enumerate() {
            let outlived_ms = self.timing.outlived_ms();
            let found = self.limit(&draw.key, &draw.definition);
            match found.map_or(Err(Some(outlived_ms)), |limit| limit.draw(draw, now)) {
                Ok(()) => drawn.push(draw),
                Err(wait_ms) => short = Some(longer(short, Short { index, wait_ms })),
            }
        }
        if short.is_some() {
            for draw in drawn {
                self.limits.entry(draw.key.clone()).and_modify(|limit| limit.undo(draw));
            }
        }
        self.counts.count_draw(short.is_none());
        let level = |draw: &weir_contract::lease::Draw| {
            self.limits.get(&draw.key).map_or(0, |limit| limit.available(draw.tier.as_deref()))
        };
        DrawAnswer { epoch: self.epoch, short, levels: call.draws.iter().map(level).collect() }
    }

    /// The state of every limit that `wanted` selects, in the order of their keys; at most `max`.
    pub fn views(&mut self, now: u64, max: usize, wanted: impl Fn(&Key) -> bool) -> Vec<(Key, LimitView)> {
        let now = self.advance(now);
        let mut keys: Vec<Key> = self.limits.keys().filter(|key| wanted(key)).cloned().collect();
        keys.sort_unstable();
        keys.truncate(max);
        let view = |key: Key| self.limits.get_mut(&key).map(|limit| limit.view(now)).map(|view| (key, view));
        keys.into_iter().filter_map(view).collect()
    }

    /// The limit of a key, which begins here if it is new. None if there are too many.
    fn limit(&mut self, key: &Key, definition: &Definition) -> Option<&mut Limit> {
        if !self.limits.contains_key(key) {
            if self.limits.len() >= LIMITS_MAX {
                return None;
            }
            let limit = begin(definition, self.now, self.lost_ms, self.timing);
            self.limits.insert(key.clone(), limit);
        }
        if !self.changed.contains(key) {
            self.changed.insert(key.clone());
        }
        let limit = self.limits.get_mut(key)?;
        limit.set_timing(self.timing);
        Some(limit)
    }

    /// Moves the center's time on. Drops limits that say no more than new ones from time to time.
    fn advance(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        let now = self.now;
        if now - self.swept_ms >= SWEEP_MS {
            self.swept_ms = now;
            let (counts, changed) = (&mut self.counts, &mut self.changed);
            self.limits.retain(|key, limit| {
                let keep = !limit.is_over(now, BUDGET_KEPT_MS);
                let lost = limit.take_lost();
                counts.count_lost(lost.leases, lost.units);
                if !keep {
                    changed.insert(key.clone());
                }
                keep
            });
        }
        now
    }
}

/// A limit that a gateway names for the first time in this memory, which began at `lost_ms` if an earlier one was lost.
fn begin(definition: &Definition, now: u64, lost_ms: Option<u64>, timing: Timing) -> Limit {
    match lost_ms {
        Some(lost_ms) => Limit::forgotten(definition, lost_ms, timing),
        None => Limit::new(definition, now, timing),
    }
}

/// The one that takes longer to have enough; never is longest.
pub fn longer(one: Option<Short>, other: Short) -> Short {
    let wait = |short: &Short| short.wait_ms.unwrap_or(u64::MAX);
    one.filter(|one| wait(one) >= wait(&other)).unwrap_or(other)
}

impl Counts {
    /// Counts an answered report.
    pub fn count_report(&mut self, state: LeaseState) {
        match state {
            LeaseState::Held => self.held += 1,
            LeaseState::Draw => self.draw += 1,
            LeaseState::Lapsed => self.lapsed += 1,
            LeaseState::Refused => self.refused += 1,
        }
    }

    /// Counts leases that ended without a word.
    pub fn count_lost(&mut self, leases: u64, units: u64) {
        self.lost_leases += leases;
        self.lost_units += units;
    }

    /// Counts a request that drew at the center, or found too little.
    pub fn count_draw(&mut self, is_drawn: bool) {
        if is_drawn { self.drawn += 1 } else { self.short += 1 }
    }
}

#[cfg(test)]
mod tests;
