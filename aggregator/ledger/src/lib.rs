//! The ledger: counts every acknowledged event once.
//!
//! It follows the event log. One call of [`SqliteLedger::apply`] takes the next records. In one transaction it remembers their
//! ids, adds to the sums, tracks the numbers of each source, and advances its position. A crash at any moment therefore leaves a
//! ledger that has counted exactly the records up to its position.
//!
//! The life of a batch: [`intake`] splits and validates it and submits it to the log. [`thread`] receives the verdicts once the
//! log has synced, or reads the log if it is behind, and `apply` counts. [`meters`] decides what an event counts for, [`periods`]
//! and [`splits`] decide the window, and [`query`] answers questions with the types of [`view`].
//!
//! # Constraints
//!
//! - One connection writes, on one thread. Readers have their own connections and never delay it.
//! - A transaction takes whole records, each of which follows the one before ([`Record::follows`]); otherwise it fails with
//!   [`LedgerError::Gap`].
//! - An id counts once within the days for which ids are remembered ([`validate::DEDUPE_DAYS`]). Older events are refused.
//! - Sums are whole numbers. The fraction that a weight leaves is carried in billionths, so that `sum + carry` is always exact.
//! - The log, its hash key, the window splits and the price books determine all counted tables: [`rebuild`] counts again and compares table by
//!   table.
//! - Named constants bound sources, refused events, early events, analysis rows and waiting batches. Whatever exceeds a bound is
//!   counted and shown.
//!
//! # Layout
//!
//! `ledger.sqlite`, which `migrations/` create in order. `PRAGMA user_version` counts the applied ones; weir does not open a file
//! of a later version. Times are milliseconds since 1970 (UTC). In PostgreSQL a schema holds the same tables, which
//! `schema/postgres.sql` creates.
//!
//! | tables | content |
//! |---|---|
//! | `ledger` | one row: name, name of the log, hash key, position, oldest remembered day |
//! | `meter`, `usage`, `excluded`, `carry` | sums by window, tenant and meter, and the meters' definitions |
//! | `seen_DAY`, `reading`, `kept_answer` | counted ids: of events (one table per day), of readings, of answers that providers keep |
//! | `source` | the numbers received from each worker, as ranges |
//! | `cost`, `analysis`, `flag_sum`, `reading_sum`, `request_key` | cost by tenant for ever, usage and cost by dimensions and by flags for some time, sums of readings |
//! | `rolled`, `rolled_day`, `usage_month`, `usage_to_day`, `cost_month`, `cost_to_day`, `first_use`, `first_answer` | usage and cost by tenant and month, and by the month up to each day |
//! | `value_rolled`, `value_kept`, `value_day`, `value_month`, `value_to_day`, `value_late` | the same by model, feature and so on |
//! | `price_book`, `pricing`, `repricing`, `repriced`, `repricing_left` | which prices applied when, and which costs were computed again |
//! | `quarantine`, `early` | refused events, and events ahead of the clock |
//! | `refused`, `total`, `audit` | refusals by the hour, running totals, actions of administrators |
//! | `security`, `search` | findings about the borders between tenants, and searches of vector stores; they expire |
//! | `attempt`, `attempt_failure`, `provider_failure`, `breaker` | attempts of gateways at providers by the hour, which expire; last failures; breakers |
//! | `budget_use`, `budget_followed`, `budget_past`, `budget_stage`, `budget_transition`, `budget_raise`, `budget_known`, `notice`, `notice_failing` | budgets and alerts; written by `weir-steer` through a port ([`steering`]) |
//! | `anchor`, `cut` | billing periods, and the hours that they split |
//! | `outbox`, `adjustment`, `settlement`, `mapping`, `sender`, `look`, `billing` | written by `weir-billing`, in the same transactions |
//! | `reconciliation`, `suspect`, `refused_later`, `unread_report`, `provider_error`, `provider_event` | reports of the provider |
//!
//! # Recovery
//!
//! - Killed process, lost power: SQLite does not sync each commit of counting (`synchronous = NORMAL`). The ledger counts lost
//!   commits again from the log, which was synced before the acknowledgement. Records stay in the log until the ledger that
//!   counted them is on disk ([`SqliteLedger::sync_to_disk`]).
//! - Outbox rows must not be lost: their transactions are synced ([`SqliteLedger::durably`]) before weir sends anything.
//! - A failed transaction changes no table, and memory drops its effects, too.
//! - After a failed sync ([`LedgerError::Broken`]) only a new process may write again.
//! - A damaged ledger, or one that contradicts itself, is refused and never repaired silently: `weir restore` puts a backup in
//!   its place, and `weir ledger rebuild` counts again.
#![forbid(unsafe_code)]

mod ahead;
pub mod amount;
pub mod analysis;
mod apply;
pub mod attempts;
pub mod audit;
mod batch;
pub mod books;
mod carry;
pub mod cost;
pub mod cost_query;
mod costs;
pub mod counted;
mod dedupe;
pub mod exports;
pub mod files;
mod first_answers;
pub mod flags;
pub mod intake;
mod kept_answers;
pub(crate) mod line;
pub mod meters;
pub mod periods;
mod providers;
pub mod quarantine;
pub mod query;
pub mod ranges;
pub mod reading;
mod reading_sums;
mod readings;
pub mod rebuild;
pub mod recent;
pub mod reprice;
mod request_keys;
mod roll;
mod schema;
pub mod security;
pub mod sources;
pub mod splits;
pub mod steering;
mod sums;
pub mod tenant_plans;
pub mod thread;
pub mod totals;
pub mod transfer;
mod unsure;
pub mod validate;
pub mod values;
pub mod view;

use std::sync::Arc;
use std::time::Duration;
use weir_fault::{self as fault, Point};

use weir_contract::Timestamp;
use weir_database::{Connection, Failure, Place};

use crate::books::Books;
use crate::cost::Prices;
use crate::meters::Meters;
use crate::validate::EventHasher;
pub use batch::{LoggedBatch, ValidatedBody};
use recent::Recent;
pub use schema::VERSION as TABLES_VERSION;
use sources::Sources;
use splits::WindowSplits;
use steering::Steering;
use weir_event_log::{Position, Record};

/// The results of counting some records, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Counted now.
    pub counted: u64,
    /// Repeats of events counted before.
    pub duplicates: u64,
    /// Events with the id or number of another event, and other bytes.
    pub conflicts: u64,
    /// Refused for good and quarantined.
    pub quarantined: u64,
    /// Ahead of the clock, and waiting until they are due.
    pub early: u64,
}

/// The remedy for a file that cannot be read.
fn remedy(error: &weir_database::Error) -> &'static str {
    match error.failure() {
        Failure::Damaged => "; its file is damaged: `weir restore` puts a backup in its place",
        _ => "",
    }
}

/// Why the ledger cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database or the disk under it failed.
    #[error("ledger: {}{}", .0, remedy(.0))]
    Database(#[from] weir_database::Error),
    /// A later version wrote the file.
    #[error("ledger {place}: written by a later version (format {found}, this one knows {known})")]
    Version {
        /// Where it is.
        place: String,
        /// Its format.
        found: i64,
        /// The latest format that this version knows.
        known: i64,
    },
    /// A copy that has not ended.
    #[error("ledger {0}: a copy of another ledger that has not ended; run `weir migrate` again")]
    Unfinished(String),
    /// The ledger belongs to another log than the one beside it.
    #[error("the ledger does not belong to this event log: restore both from the same backup")]
    ForeignLog,
    /// The log ends before the ledger's position.
    #[error(
        "the event log ends at record {log}, the ledger has counted up to {ledger}: the log is older than the ledger; \
             restore both from the same backup"
    )]
    LogBehind {
        /// The log's last position.
        log: Position,
        /// The ledger's.
        ledger: Position,
    },
    /// A changed meter contradicts hours that are already counted.
    #[error(
        "meter {0:?} was changed or removed, but hours are counted under its old form: leave it as it was and add a \
             version with the same name and an effective_from in the future"
    )]
    MeterChanged(String),
    /// A new meter would start in the middle of an hour.
    #[error("meter {0:?} is new, but hours are counted already: give it an effective_from in the future")]
    MeterNew(String),
    /// A sync failed, so the state on disk is unknown.
    #[error("the ledger cannot be written any more: {0}; see that its disk is healthy and start again")]
    Broken(String),
    /// A gap before a record: the log no longer has the records before it, or weir has a bug.
    #[error(
        "the ledger has counted up to record {position}, and record {found} follows {follows}: what lies between is gone"
    )]
    Gap {
        /// The last record that is counted.
        position: Position,
        /// The next record that exists.
        found: Position,
        /// The one that it follows.
        follows: Position,
    },
    /// The ledger is behind the event log, and does not follow it at the moment.
    #[error("the ledger does not follow the event log: {0}")]
    Behind(String),
    /// Stored data contradicts itself.
    #[error("the ledger contradicts itself: {0}; rebuild it from the event log")]
    Inconsistent(String),
    /// The ledger's thread has ended.
    #[error("the ledger is closed")]
    Closed,
}

/// An error type for work on the ledger's database. Crates that keep tables there have errors of their own, which may
/// wrap the ledger's.
pub trait LedgerFailure: From<LedgerError> {
    /// The wrapped error of the ledger, if it is one.
    fn ledger(&self) -> Option<&LedgerError>;
}

impl LedgerFailure for LedgerError {
    fn ledger(&self) -> Option<&LedgerError> {
        Some(self)
    }
}

/// The embedded ledger: one SQLite database, one writing connection.
#[derive(Debug)]
pub struct SqliteLedger {
    db: Connection,
    meters: Meters,
    sources: Sources,
    splits: WindowSplits,
    books: Books,
    hasher: EventHasher,
    position: Position,
    id: String,
    /// Ids of days before this one are forgotten: days since 1970-01-01.
    forgotten_before: u64,
    /// Bytes of bodies counted since the last effective [`SqliteLedger::checkpoint`].
    uncheckpointed_bytes: usize,
    /// When [`SqliteLedger::checkpoint`] was effective last.
    checkpointed_at: Duration,
    options: LedgerOptions,
    broken: Option<String>,
    /// A commit lost its connection: the position in the database may be one transaction ahead of the one here.
    is_position_unsure: bool,
    steering: Option<Box<dyn Steering>>,
    recent: Arc<Recent>,
}

/// Bytes of counted bodies after which the write-ahead log moves into the database. Weir checkpoints itself, because
/// SQLite's automatic checkpoint reports no failed sync.
const CHECKPOINT_BYTES: usize = 32 * 1024 * 1024;
/// The longest time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// The most memory for records that wait for the ledger, in bytes. The ledger reads further records from the log.
const QUEUE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Sizes; production uses the defaults, the simulator sets them small.
#[derive(Clone, Copy, Debug)]
pub struct LedgerOptions {
    /// Bytes of counted bodies after which the write-ahead log moves into the database.
    pub checkpoint_bytes: usize,
    /// The most memory for records that wait for the ledger's thread, in bytes.
    pub queue_max_bytes: usize,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        LedgerOptions { checkpoint_bytes: CHECKPOINT_BYTES, queue_max_bytes: QUEUE_MAX_BYTES }
    }
}

impl SqliteLedger {
    /// Opens the ledger at `place`, which belongs to the log named `log_id`, or creates it.
    pub fn open(place: impl Into<Place>, log_id: &str, meters: Meters) -> Result<Self, LedgerError> {
        Self::open_with(place, log_id, meters, LedgerOptions::default())
    }

    /// As [`SqliteLedger::open`], with given sizes.
    pub fn open_with(
        place: impl Into<Place>,
        log_id: &str,
        meters: Meters,
        options: LedgerOptions,
    ) -> Result<Self, LedgerError> {
        let place = place.into();
        Self::open_on(Connection::open(&place)?, &place, log_id, meters, options)
    }

    /// As [`SqliteLedger::open_with`], over a connection to `place`, which may have the right to write already.
    pub(crate) fn open_on(
        db: Connection,
        place: &Place,
        log_id: &str,
        meters: Meters,
        options: LedgerOptions,
    ) -> Result<Self, LedgerError> {
        schema::open(&db, place, log_id)?;
        db.take_over()?;
        if fault::hit(Point::IdsLostAtTakeOver) {
            let tx = db.unchecked_transaction()?;
            dedupe::drop_days_before(&tx, u64::from(u32::MAX))?;
            tx.commit()?;
        }
        sources::mend(&db)?;
        schema::admit_meters(&db, &meters)?;
        // Pages whose sync failed in an earlier process may be in memory only: write and sync all of them again.
        db.checkpoint_all()?;
        let sql = "SELECT position, id, hash_key, forgotten_before FROM ledger";
        let (position, id, key, forgotten_before) = db.query_row(sql, [], |row| {
            let forgotten_before = row.get::<_, u64>(3)?;
            Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?, row.get::<_, [u8; 16]>(2)?, forgotten_before))
        })?;
        let books = Books::load(&db)?;
        Ok(SqliteLedger {
            db,
            meters,
            sources: Sources::default(),
            splits: WindowSplits::default(),
            books,
            hasher: EventHasher::new(&key),
            position,
            id,
            forgotten_before,
            uncheckpointed_bytes: 0,
            checkpointed_at: Duration::ZERO,
            options,
            broken: None,
            is_position_unsure: false,
            steering: None,
            recent: Arc::new(Recent::new(position)),
        })
    }

    /// The ledger's name: 32 random hex digits, chosen at its creation. Part of every Stripe identifier.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The sizes that the ledger was opened with.
    pub fn options(&self) -> LedgerOptions {
        self.options
    }

    /// The hasher of events' bytes.
    pub fn hasher(&self) -> &EventHasher {
        &self.hasher
    }

    /// How requests went lately.
    pub fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// The ledger's meters.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The database, for the outbox, whose tables live in the same file so that a row and its sum share a transaction.
    pub fn db(&mut self) -> &mut Connection {
        &mut self.db
    }

    /// Prices the events of all records that are not counted yet with a book; returns whether it is another one than before.
    pub fn set_prices(&mut self, prices: Prices, now: Timestamp) -> Result<bool, LedgerError> {
        self.check_whole()?;
        let (books, position) = (&mut self.books, self.position);
        let outcome = self.db.transaction().map_err(LedgerError::from).and_then(|tx| {
            let changed = books.set(&tx, prices, position, now)?;
            tx.commit()?;
            Ok(changed)
        });
        if outcome.is_err() {
            self.load_books()?;
        }
        self.remember_failure(outcome)
    }

    /// Reads again which books apply; reads them with `prices`, and does not put their book in use.
    fn read_books_with(&mut self, prices: Option<Prices>) -> Result<(), LedgerError> {
        self.load_books()?;
        self.books.read_with(prices);
        Ok(())
    }

    /// Reads again which books apply.
    fn load_books(&mut self) -> Result<(), LedgerError> {
        self.books = Books::load(&self.db)?.with_prices(&mut self.books);
        Ok(())
    }

    /// Syncs everything counted so far. Returns the position up to which records may be pruned.
    pub(crate) fn sync_to_disk(&mut self) -> Result<Position, LedgerError> {
        if fault::hit(Point::PrunedUnsettled) {
            return Ok(self.position);
        }
        // An update that leaves a row unchanged writes and syncs nothing, so the row must change.
        self.durably(|db| Ok::<_, LedgerError>(db.execute("UPDATE ledger SET settled = settled + 1", [])?))?;
        Ok(self.position)
    }

    /// Drops some sources that were last heard of before `before` and miss no number; returns how many.
    pub fn drop_silent_sources(&mut self, before: Timestamp) -> Result<usize, LedgerError> {
        self.check_whole()?;
        let outcome = self.db.transaction().map_err(LedgerError::from).and_then(|tx| {
            let gone = sources::drop_silent(&tx, before)?;
            tx.commit()?;
            Ok(gone)
        });
        // Sources in memory would be written back.
        self.sources.forget();
        self.remember_failure(outcome)
    }

    /// Runs `work`, whose transactions survive a power loss once it returns.
    pub fn durably<T, E: LedgerFailure>(&mut self, work: impl FnOnce(&mut Connection) -> Result<T, E>) -> Result<T, E> {
        self.check_whole()?;
        if fault::hit(Point::SentBeforeSynced) {
            return work(&mut self.db);
        }
        self.db.sync_commits(true).map_err(LedgerError::from)?;
        let outcome = work(&mut self.db);
        self.db.sync_commits(false).map_err(LedgerError::from)?;
        self.remember_failure(outcome)
    }

    /// Notes where billing periods begin as the provider says. Hours that have usage already stay as they are; budgets follow.
    pub fn note_provider_anchors(
        &mut self,
        anchors: &[(String, periods::Anchor)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        if self.durably(|db| periods::note_provider_anchors(db, anchors))? {
            self.splits.forget();
            self.review_steering(now, false)?;
        }
        Ok(())
    }

    /// Reads billing periods and window splits from their tables again, after another writer has changed them.
    pub fn forget_splits(&mut self) {
        self.splits.forget();
    }

    /// Moves the write-ahead log into the database once it is large enough, and every minute: what others than events write, such as
    /// reporting, is not measured. `now` is any moment of one clock that never goes back.
    pub fn checkpoint(&mut self, now: Duration) -> Result<(), LedgerError> {
        let is_small = self.uncheckpointed_bytes < self.options.checkpoint_bytes;
        if is_small && now.saturating_sub(self.checkpointed_at) < CHECKPOINT_EVERY {
            return Ok(());
        }
        (self.uncheckpointed_bytes, self.checkpointed_at) = (0, now);
        let outcome = self.db.checkpoint();
        self.remember_failure(outcome.map_err(LedgerError::from))
    }

    /// Why the ledger accepts no more writes, if so.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    fn check_whole(&self) -> Result<(), LedgerError> {
        self.broken.clone().map_or(Ok(()), |why| Err(LedgerError::Broken(why)))
    }

    /// A failed sync is final: a later one that succeeds proves nothing about the pages of the failed one.
    fn remember_failure<T, E: LedgerFailure>(&mut self, outcome: Result<T, E>) -> Result<T, E> {
        if let Err(error) = &outcome
            && let Some(LedgerError::Database(error)) = error.ledger()
            && error.failure() == Failure::Unsynced
        {
            self.broken = Some(error.to_string());
        }
        outcome
    }

    /// Checks that `last`, the log's end, is not before the ledger's position.
    pub(crate) fn check_log(&self, last: Position) -> Result<(), LedgerError> {
        if last < self.position && !fault::hit(Point::OffsetReset) {
            return Err(LedgerError::LogBehind { log: last, ledger: self.position });
        }
        Ok(())
    }
}

impl SqliteLedger {
    /// The position of the last counted record.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Counts `records`, which must follow [`SqliteLedger::position`] by the log's own account. All or nothing.
    pub fn apply(&mut self, records: &[Record]) -> Result<Applied, LedgerError> {
        self.counting(|ledger| apply::run(ledger, records))
    }

    /// Counts records that the intake has validated already, as [`SqliteLedger::apply`] does.
    pub(crate) fn apply_batches(&mut self, batches: &[LoggedBatch]) -> Result<Applied, LedgerError> {
        self.counting(|ledger| apply::run_batches(ledger, batches))
    }

    fn counting(
        &mut self,
        count: impl FnOnce(&mut Self) -> Result<Applied, LedgerError>,
    ) -> Result<Applied, LedgerError> {
        self.check_whole()?;
        if self.is_position_unsure && self.read_position()? {
            // The caller's records were counted by the commit of which nobody heard.
            return Ok(Applied::default());
        }
        let forgotten_before = self.forgotten_before;
        let outcome = count(self);
        self.is_position_unsure = matches!(&outcome, Err(LedgerError::Database(error)) if error.failure() == Failure::Lost)
            && !fault::hit(Point::CommitLostIsUndone);
        if outcome.is_err() {
            // The transaction was rolled back, so its changes in memory must go as well.
            self.forgotten_before = forgotten_before;
            if fault::hit(Point::MemoryOutlivesRollback) {
                return self.remember_failure(outcome);
            }
            self.sources.forget();
            self.splits.forget();
            if let Some(steering) = &mut self.steering {
                steering.forget();
            }
        }
        self.remember_failure(outcome)
    }
}

/// SQLite's integers are signed. Stored values stay far below their limit; a larger one is a bug, and must not be
/// written as another number.
pub fn signed(value: u64) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|_| LedgerError::Inconsistent(format!("{value} is larger than the database can hold")))
}
