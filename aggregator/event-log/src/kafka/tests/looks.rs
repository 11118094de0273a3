//! A look behind the known end that fails midway, over brokers that are told what to answer.
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::brokers::Outcome;
use crate::brokers::{Brokers, Found, Producing, Scanning, Topic};
use crate::kafka::appender::{Appender, Item};
use crate::kafka::entry::position_at;
use crate::kafka::opening::Opened;
use crate::kafka::tail::{Tail, Writer};
use crate::{End, KafkaProblem};

/// A topic that loses the answer to its first batch, and fails one of its reads.
#[derive(Clone, Debug)]
struct Told(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    entries: Vec<Vec<u8>>,
    batches: u32,
    reads: u32,
    failing_read: u32,
}

impl Brokers for Told {
    fn topic(&self) -> Result<Option<Topic>, KafkaProblem> {
        Ok(Some(Topic { partitions: 1, replicas: 1 }))
    }

    fn settings(&self) -> Result<Option<HashMap<String, String>>, KafkaProblem> {
        Ok(None)
    }

    fn create(&self, _: Duration) -> Result<(), KafkaProblem> {
        Ok(())
    }

    fn scan(&self) -> Result<Box<dyn Scanning>, KafkaProblem> {
        Ok(Box::new(self.clone()))
    }

    fn producer(&self) -> Result<Arc<dyn Producing>, KafkaProblem> {
        Ok(Arc::new(self.clone()))
    }
}

impl Producing for Told {
    fn append(&self, entries: Vec<(i64, Vec<u8>)>) -> Result<i64, Outcome> {
        let mut state = self.0.lock().expect("whole");
        let first = i64::try_from(state.entries.len()).expect("few");
        state.entries.extend(entries.into_iter().map(|(_, value)| value));
        state.batches += 1;
        if state.batches == 1 { Err(Outcome::Unknown("no answer".to_owned())) } else { Ok(first) }
    }

    fn end(&self) {}
}

impl Scanning for Told {
    fn ends(&self) -> Result<(i64, i64), KafkaProblem> {
        Ok((0, i64::try_from(self.0.lock().expect("whole").entries.len()).expect("few")))
    }

    /// One entry at a time.
    fn read(&mut self, offset: i64) -> Result<Found, KafkaProblem> {
        let mut state = self.0.lock().expect("whole");
        state.reads += 1;
        if state.reads == state.failing_read {
            return Err(KafkaProblem::Failed("no answer".to_owned()));
        }
        let found = state.entries.get(usize::try_from(offset).expect("an offset"));
        Ok(found.map_or(Found::End, |value| Found::Entries(vec![(offset, value.clone())])))
    }
}

#[test]
fn a_group_that_was_found_in_part_is_not_sent_again() {
    for failing_read in 1..=4 {
        let state = State { entries: Vec::new(), batches: 0, reads: 0, failing_read };
        let told = Told(Arc::new(Mutex::new(state)));
        let nobody = Writer { owner: 0, writer: 0, released: true };
        let end = End { position: position_at(1, 0), forgotten_before: 0 };
        let opened = Opened {
            client: Arc::new(told.clone()),
            scan: told.scan().expect("a scan"),
            producer: told.producer().expect("a producer"),
            tail: Tail { id: "a log".into(), first: 1, next: 0, end, list: 0, by: nobody },
            own: Writer { owner: 1, writer: 1, released: false },
            chunk_max_bytes: 1_000_000,
        };
        let mut appender = Appender::new(opened, clock());
        let records = [record(1), record(2)];
        let placed = appender.put(&records.each_ref().map(Item::Record)).expect("appended");
        let positions: Vec<_> = placed.iter().map(|placed| placed.position).collect();
        assert_eq!(positions, [0, 1], "read {failing_read} fails");
        assert_eq!(told.0.lock().expect("whole").entries.len(), 2, "read {failing_read} fails");
    }
}
