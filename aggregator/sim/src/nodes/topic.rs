//! A topic of a Kafka as the event log uses one: batches at offsets, whole or not at all, each of a producer once.
//!
//! A model. What a broker may do is what the fake broker of the Kafka client does in the tests of the event log (`kafka/tests`), where the
//! same log is held against it and against a real broker.
use std::collections::BTreeMap;

use weir_event_log::simulated::{Found, Raw};

/// Entries of one answer.
const ANSWER_MAX: usize = 20;

/// A batch on its way.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) producer: u64,
    pub(super) number: u64,
    pub(super) entries: Vec<(i64, Vec<u8>)>,
}

/// The topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) exists: bool,
    pub(super) entries: Vec<Vec<u8>>,
    /// The last batch of each producer, as the brokers remember it.
    seen: BTreeMap<u64, u64>,
}

impl Topic {
    /// Takes a batch. Returns the offset of its first entry; None if it was there already.
    pub(super) fn append(&mut self, batch: Batch) -> Option<i64> {
        if self.seen.get(&batch.producer).is_some_and(|seen| *seen >= batch.number) {
            return None;
        }
        self.seen.insert(batch.producer, batch.number);
        let first = self.end();
        self.entries.extend(batch.entries.into_iter().map(|(_, value)| value));
        Some(first)
    }

    /// Forgets which batches producers have sent, as brokers do after a while, or as a new leader may: a repeat is taken again.
    pub(super) fn forget_producers(&mut self) {
        self.seen.clear();
    }

    /// Loses the last entries, so that `end` is the end, as an unclean election does.
    pub(super) fn lose(&mut self, end: i64) {
        self.entries.truncate(usize::try_from(end).unwrap_or(0));
    }

    /// The offset behind the last entry.
    pub(super) fn end(&self) -> i64 {
        i64::try_from(self.entries.len()).expect("few")
    }

    /// What is at an offset.
    pub(super) fn read(&self, offset: i64) -> Found {
        let Ok(from) = usize::try_from(offset) else { return Found::Dropped(0) };
        if from > self.entries.len() {
            return Found::Short(self.end());
        }
        let entries: Vec<Raw> = (offset..).zip(self.entries[from..].iter().take(ANSWER_MAX).cloned()).collect();
        if entries.is_empty() { Found::End } else { Found::Entries(entries) }
    }
}

/// Whether an entry at an offset stands where it says; by its bytes alone, as `kafka/entry.rs` describes them.
pub(super) fn counts(offset: i64, value: &[u8]) -> bool {
    let number = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    let asks = value[1] == 6;
    !asks && number(22) == number(14) - 1 + offset.unsigned_abs()
}

/// Whether an entry takes the right to write.
pub(super) fn claims(value: &[u8]) -> bool {
    value[1] == 2
}
