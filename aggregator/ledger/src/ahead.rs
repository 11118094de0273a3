//! Reads the log for the ledger, and judges its events. While a transaction waits for its database, the records of the next one are
//! prepared, so that a ledger that is behind catches up on two cores.
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::validate::EventHasher;
use crate::{LedgerError, LoggedBatch, apply};
use weir_event_log::{LogError, LogReader, Position};

/// Why the ledger does not follow the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

type Batches = Result<Vec<LoggedBatch>, StepError>;

/// Where the ledger reads the log.
pub(crate) enum Reading {
    /// On its own thread.
    Here(Judge),
    /// On another one.
    Ahead(Ahead),
}

impl Reading {
    /// The records after `after` with the verdicts on their events; none at the log's end.
    pub(crate) fn after(&mut self, after: Position) -> Batches {
        match self {
            Reading::Here(judge) => judge.after(after),
            Reading::Ahead(ahead) => ahead.after(after),
        }
    }
}

/// A reading end of the log, and what judges its events.
pub(crate) struct Judge {
    pub(crate) log: Box<dyn LogReader>,
    pub(crate) hasher: EventHasher,
    /// Bytes of records at once, uncompressed.
    pub(crate) max_bytes: usize,
}

impl Judge {
    fn after(&mut self, after: Position) -> Batches {
        let records = self.log.read_after(after, self.max_bytes)?;
        let judged = records.into_iter().map(|record| {
            let validated = apply::judge(&record, &self.hasher)?;
            Ok(LoggedBatch { record, validated })
        });
        judged.collect()
    }

    /// Starts a thread that reads ahead.
    pub(crate) fn start(mut self) -> std::io::Result<Ahead> {
        let max_bytes = self.max_bytes;
        let (asks, asked) = sync_channel(1);
        let (answers, answered) = sync_channel(1);
        let run = move || {
            while let Ok(after) = asked.recv() {
                if answers.send(self.after(after)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("log-reader".to_owned()).spawn(run)?;
        Ok(Ahead { ways: Some((asks, answered)), thread: Some(thread), begun: None, max_bytes })
    }
}

/// Records that are read on another thread, at most one step ahead.
pub(crate) struct Ahead {
    /// None once it ends.
    ways: Option<(SyncSender<Position>, Receiver<Batches>)>,
    thread: Option<JoinHandle<()>>,
    /// The position after which records are being read, or have been.
    begun: Option<Position>,
    max_bytes: usize,
}

impl Ahead {
    fn after(&mut self, after: Position) -> Batches {
        let batches = match self.begun.take() {
            None => self.read(after)?,
            Some(begun) => match self.answer() {
                // What was not there then may be there now.
                Ok(batches) if begun == after && !batches.is_empty() => batches,
                Err(error) if begun == after => return Err(error),
                // Meanwhile these records were handed over by the intake, or were not counted.
                Ok(_) | Err(_) => self.read(after)?,
            },
        };
        let bytes: usize = batches.iter().map(|batch| batch.record.body.len()).sum();
        if let Some(last) = batches.last().filter(|_| bytes >= self.max_bytes) {
            self.begin(last.record.position)?;
        }
        Ok(batches)
    }

    fn read(&mut self, after: Position) -> Batches {
        self.begin(after)?;
        self.begun = None;
        self.answer()
    }

    fn begin(&mut self, after: Position) -> Result<(), LedgerError> {
        let (asks, _) = self.ways.as_ref().ok_or(LedgerError::Closed)?;
        asks.send(after).map_err(|_| LedgerError::Closed)?;
        self.begun = Some(after);
        Ok(())
    }

    fn answer(&self) -> Batches {
        let (_, answered) = self.ways.as_ref().ok_or(LedgerError::Closed)?;
        answered.recv().map_err(|_| LedgerError::Closed)?
    }
}

impl Drop for Ahead {
    /// Ends the thread, and with it the reading end of the log.
    fn drop(&mut self) {
        self.ways = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::validate::Format;
    use weir_contract::Timestamp;
    use weir_event_log::Record;

    /// A log of records of 10 bytes, and the positions after which it was read.
    #[derive(Clone, Default)]
    struct Told {
        last: Arc<Mutex<Position>>,
        asked: Arc<Mutex<Vec<Position>>>,
    }

    impl LogReader for Told {
        fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError> {
            self.asked.lock().expect("whole").push(after);
            let last = *self.last.lock().expect("whole");
            let record = |position| Record {
                position,
                follows: position - 1,
                received_at: Timestamp::from_millis(1),
                format: Format::Batch,
                gateway: None,
                forgotten_before: 0,
                body: b"[{}]      ".to_vec(),
            };
            Ok((after + 1..=last).take(max_bytes / 10).map(record).collect())
        }

        fn get(&mut self, _: Position) -> Result<Option<Record>, LogError> {
            Ok(None)
        }

        fn before(&mut self, _: Timestamp) -> Result<Position, LogError> {
            Ok(0)
        }
    }

    fn ahead(log: &Told) -> Ahead {
        let judge = Judge { log: Box::new(log.clone()), hasher: EventHasher::new(&[7; 16]), max_bytes: 20 };
        judge.start().expect("a thread")
    }

    fn positions(batches: Batches) -> Vec<Position> {
        batches.expect("read").iter().map(|batch| batch.record.position).collect()
    }

    fn asked(log: &Told) -> Vec<Position> {
        log.asked.lock().expect("whole").clone()
    }

    #[test]
    fn a_full_step_has_the_next_one_read_and_the_end_is_read_when_it_is_asked_for() {
        let log = Told::default();
        *log.last.lock().expect("whole") = 3;
        let mut ahead = ahead(&log);
        assert_eq!(positions(ahead.after(0)), [1, 2]);
        assert_eq!(positions(ahead.after(2)), [3], "was read ahead");
        assert_eq!(asked(&log), [0, 2]);
        assert!(positions(ahead.after(3)).is_empty());
        *log.last.lock().expect("whole") = 4;
        assert_eq!(positions(ahead.after(3)), [4], "and not the emptiness of before");
        assert_eq!(asked(&log), [0, 2, 3, 3]);
    }

    #[test]
    fn what_was_read_ahead_is_dropped_where_the_ledger_stands_elsewhere() {
        let log = Told::default();
        *log.last.lock().expect("whole") = 6;
        let mut ahead = ahead(&log);
        assert_eq!(positions(ahead.after(0)), [1, 2]);
        assert_eq!(positions(ahead.after(0)), [1, 2], "the transaction failed");
        assert_eq!(positions(ahead.after(5)), [6], "the intake handed over what lies between");
        assert_eq!(asked(&log), [0, 2, 0, 2, 5]);
    }

    #[test]
    fn nothing_that_appeared_after_an_empty_look_ahead_is_missed() {
        let log = Told::default();
        *log.last.lock().expect("whole") = 2;
        let mut ahead = ahead(&log);
        assert_eq!(positions(ahead.after(0)), [1, 2]);
        while asked(&log).len() < 2 {
            std::thread::yield_now();
        }
        *log.last.lock().expect("whole") = 3;
        assert_eq!(positions(ahead.after(2)), [3]);
    }
}
