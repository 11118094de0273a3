//! A process of the aggregator: open files, a writer and a follower, all driven by hand.
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use weir_contract::Timestamp;

use weir_clock::{Clock, ManualClock};
use weir_database::Place;
use weir_event_log::place::{LogPlace, Opening};
use weir_event_log::sqlite::{LogOptions, SqliteLogReader};
use weir_event_log::writer::{LogWriter, Turn, Writer};
use weir_ledger::cost::{Prices, Rules};
use weir_ledger::files::{self, Files, FilesError};
use weir_ledger::intake::{Intake, IntakeError, Taken, readings};
use weir_ledger::meters::{self, Conditions, Field, Meter, Meters};
use weir_ledger::rebuild::{Difference, RebuildError, rebuild};
use weir_ledger::thread::{Follower, LedgerHandle, Next};
use weir_ledger::validate::Format;
use weir_ledger::{LedgerError, LedgerFailure, LedgerOptions, SqliteLedger, ValidatedBody};
use weir_money::cost::read_book;
use weir_money::prices::{Book, Layer, file};

pub(super) const LOG: &str = "file:log.sqlite?vfs=weir-disk";
pub(super) const LEDGER: &str = "file:ledger.sqlite?vfs=weir-disk";

/// Small sizes, so that checkpoints are frequent, and some records find no room and are read from the log.
const SMALL_LOG: LogOptions = LogOptions { checkpoint_bytes: 4_000 };
const SMALL_LEDGER: LedgerOptions = LedgerOptions { checkpoint_bytes: 4_000, queue_max_bytes: 12_000 };
const REBUILT: &str = "file:rebuilt.sqlite?vfs=weir-disk";

/// Counts the log into a second ledger and returns its differences to the first.
pub(super) fn differences(clock: &Arc<ManualClock>) -> Result<Vec<Difference>, RebuildError> {
    let mut log = SqliteLogReader::open(Path::new(LOG))?;
    let rules = Rules { meters: meters(), prices: Some(prices()) };
    let mut rebuilt = rebuild(REBUILT, LEDGER, &mut log, rules, clock.now(), |_| ())?;
    Ok(rebuilt.compare(LEDGER)?)
}

/// The most polls of a future before it is given up, because the turns that it waits for no longer come.
const POLLS_MAX: usize = 50;

/// The simulated meters: the defaults, and one for readings.
pub(super) fn meters() -> Meters {
    let mut all = meters::defaults();
    let requests = all.first().cloned().expect("a meter");
    let (name, sum) = ("storage".to_owned(), Field::Reading("storage".to_owned()));
    all.push(Meter { name, sum, conditions: Conditions::default(), ..requests });
    Meters::new(all, vec!["test".to_owned()]).expect("good meters")
}

/// The simulated prices. The oracle knows them by heart: 2.5 a million tokens of input, 10 a million of output.
fn prices() -> Prices {
    const ENTRIES: &str = "entries: [{model: '*', per_million: {input: 2.5, output: 10}}]";
    let entries = file::parse(Path::new("prices.yaml"), ENTRIES).expect("prices").entries;
    let book = Book::new(vec![Layer { name: "prices.yaml".to_owned(), entries }]).expect("a book");
    Prices { book: Some(Arc::new(book)), read: read_book }
}

/// A running process.
pub(super) struct Machine {
    log: LogWriter<ValidatedBody>,
    intake: Intake,
    writer: Writer<ValidatedBody>,
    ledger: LedgerHandle,
    follower: Follower,
    clock: Arc<ManualClock>,
    /// True if the writer or the ledger has given up; only a new process helps.
    pub(super) over: bool,
}

impl Machine {
    /// Starts on the files on disk.
    pub(super) fn start(clock: &Arc<ManualClock>) -> Result<Self, FilesError> {
        let opening = Opening { options: SMALL_LOG, ..Opening::embedded(clock.clone()) };
        let place = LogPlace::Sqlite(LOG.into());
        Ok(Self::over(Files::open(&place, opening, &Place::from(LEDGER), meters(), SMALL_LEDGER)?, clock)?)
    }

    /// Takes a shared log and ledger over, as a node does that has the right to write.
    pub(super) fn own(clock: &Arc<ManualClock>, place: &LogPlace, opening: Opening) -> Result<Self, FilesError> {
        let files = Files::open_by_right(place, opening, &Place::from(LEDGER), meters(), SMALL_LEDGER)?;
        Ok(Self::over(files, clock)?)
    }

    fn over(Files { log, reader, mut ledger }: Files, clock: &Arc<ManualClock>) -> Result<Self, LedgerError> {
        ledger.set_prices(prices(), clock.now())?;
        let forgotten_before = log.end().forgotten_before;
        let (ledger, follower) = LedgerHandle::without_thread(ledger, reader, clock.clone());
        let (log, writer) = LogWriter::without_thread(log, clock.clone());
        let intake = Intake::new(log.clone(), forgotten_before, *ledger.hasher());
        Ok(Machine { log, intake, writer, ledger, follower, clock: clock.clone(), over: false })
    }

    /// Accepts a body, as `POST /v1/events` does.
    pub(super) fn take(&self, format: Format, body: &[u8], gateway: Option<&str>) -> Result<Taken, IntakeError> {
        self.intake.take(self.clock.now(), gateway, format, body.to_vec())
    }

    /// Accepts a body of readings, as `POST /v1/readings` does.
    pub(super) fn take_readings(&self, format: Format, body: &[u8]) -> Result<readings::Taken, IntakeError> {
        self.intake.take_readings(&meters(), self.clock.now(), format, body.to_vec())
    }

    /// Lets the writer append waiting records.
    pub(super) fn write(&mut self) {
        let ledger = &self.ledger;
        self.over |= self.writer.turn(Duration::ZERO, &|batches| ledger.hand_over(batches)) == Turn::End;
    }

    /// Lets the ledger count records of the log.
    pub(super) fn count(&mut self) {
        self.over |= self.follower.turn(Duration::ZERO) == Next::End;
    }

    /// Runs `call` on the ledger. None if the process died in it.
    pub(super) fn ask<T: Send + 'static, E: LedgerFailure + Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut SqliteLedger) -> Result<T, E> + Send + 'static,
    ) -> Option<Result<T, E>> {
        let ledger = self.ledger.clone();
        let mut asking = pin!(ledger.call(call));
        for _ in 0..POLLS_MAX {
            if let Poll::Ready(answer) = asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(answer);
            }
            if self.over {
                return None;
            }
            self.count();
        }
        None
    }

    /// Prunes records that are counted and older than `before`. Returns their number; None if it was not completed.
    pub(super) fn prune(&mut self, before: Timestamp) -> Option<usize> {
        let (log, ledger) = (self.log.clone(), self.ledger.clone());
        let mut pruning = pin!(files::prune(&log, &ledger, before));
        for _ in 0..POLLS_MAX {
            if let Poll::Ready(pruned) = pruning.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return pruned.ok();
            }
            if self.over {
                return None;
            }
            self.count();
            self.write();
        }
        None
    }

    /// Where bodies go in.
    pub(super) fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Returns true if another process has taken the ledger over.
    pub(super) fn is_superseded(&self) -> bool {
        self.ledger.progress().is_taken_over()
    }

    /// The position up to which the log is counted.
    pub(super) fn counted(&self) -> u64 {
        self.ledger.progress().position()
    }

    /// Returns true if the whole log is counted.
    pub(super) fn caught_up(&self) -> bool {
        self.ledger.progress().position() == self.log.progress().last()
    }

    /// Why the ledger is not following the log, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.ledger.progress().failure()
    }
}
