//! Counts everything again from the event log, and compares with the living ledger.
use weir_contract::Timestamp;
use weir_database::{Connection, Place, params};

use super::{LedgerError, SqliteLedger, apply};
use crate::cost::Rules;
use crate::line::OTHER;
use weir_event_log::{LogError, LogReader, Position};

/// Bytes of records per transaction, uncompressed.
const STEP_MAX_BYTES: usize = 8 * 1024 * 1024;

/// What is compared: a table and its columns. All of it follows from the log alone.
const COMPARED: [(&str, &str); 15] = [
    ("usage", "window_start, tenant, meter, billable"),
    ("excluded", "window_start, tenant, meter, reason, amount"),
    ("refused", "window_start, tenant, reason, count"),
    ("carry", "tenant, meter, reason, nano"),
    ("source", "name, ranges, announced, closed, spilled, accepted, quarantined, duplicates, conflicts"),
    ("cost", "*"),
    ("request_key", "tenant, hash, day"),
    ("reading_sum", "*"),
    ("kept_answer", "tenant, response_id, day"),
    ("reading", "id, day, hash, position, item"),
    ("attempt", "*"),
    ("attempt_failure", "*"),
    ("quarantine", "hash, position, item, source, sequence, reason, times"),
    ("flag_sum", "*"),
    ("total", "kind, key, value"),
];

/// The running totals that follow from the log; the others follow from the outbox, or from what was dropped since.
const TOTALS_OF_THE_LOG: &str =
    "kind IN ('source', 'billable', 'excluded', 'refused', 'early', 'unbooked', 'unpriced') AND value <> 0";

/// The sums by flag that follow from the log: of hours for which the living ledger keeps them, and where none are summed up because
/// there were too many. Which ones are kept apart then depends on how events were put into transactions.
fn flag_sums_of_the_log() -> String {
    let summed_up = |db: &str| format!("SELECT window_start, tenant FROM {db}.flag_sum WHERE flag = '{OTHER}'");
    format!(
        "window_start >= (SELECT window_start FROM living.flag_sums_since)
         AND (window_start, tenant) NOT IN ({} UNION {})",
        summed_up("living"),
        summed_up("main")
    )
}

/// Rows that the living ledger and the rebuilt one do not share.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// Rows that only the living ledger has.
    pub only_living: u64,
    /// Rows that only the rebuilt ledger has.
    pub only_rebuilt: u64,
}

/// Why a ledger cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log is pruned, so its first records are missing.
    #[error("the event log starts at record {0}: older ones are pruned, so not everything can be counted again")]
    Pruned(Position),
}

impl From<weir_database::Error> for RebuildError {
    fn from(error: weir_database::Error) -> Self {
        RebuildError::Ledger(error.into())
    }
}

/// Counts the log into a new ledger at `new`, up to the position of the living one at `living`. The new ledger takes
/// over name and hash key, so that all columns are comparable. It counts the early events that are due by `now`; the
/// caller must have the living one do so first. `progress` receives each position reached.
pub fn rebuild(
    new: impl Into<Place>,
    living: impl Into<Place>,
    log: &mut dyn LogReader,
    rules: impl Into<Rules>,
    now: Timestamp,
    mut progress: impl FnMut(Position),
) -> Result<SqliteLedger, RebuildError> {
    let (new, living) = (new.into(), living.into());
    let (id, log_id, key, through) = Connection::open_read_only(&living)?.query_row(
        "SELECT id, log_id, hash_key, position FROM ledger",
        [],
        |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, [u8; 16]>(2)?, row.get::<_, i64>(3)?))
        },
    )?;
    let Rules { meters, prices } = rules.into();
    drop(SqliteLedger::open(&new, &log_id, meters.clone())?);
    Connection::open(&new)?.execute("UPDATE ledger SET id = ?1, hash_key = ?2", params![id, key])?;
    let mut ledger = SqliteLedger::open(&new, &log_id, meters)?;
    ledger.adopt(&living)?;
    ledger.read_books_with(prices)?;
    count(&mut ledger, log, through.unsigned_abs(), now, &mut progress)?;
    ledger.adopt_drops(&living)?;
    Ok(ledger)
}

/// Counts the whole log into a new ledger at `new`, up to `through`, where none is left to be compared with: damaged, or gone.
/// It is another ledger, under a name of its own, and knows nothing of what was reported.
pub fn anew(
    new: impl Into<Place>,
    log_id: &str,
    log: &mut dyn LogReader,
    through: Position,
    rules: impl Into<Rules>,
    now: Timestamp,
    mut progress: impl FnMut(Position),
) -> Result<SqliteLedger, RebuildError> {
    let Rules { meters, prices } = rules.into();
    let mut ledger = SqliteLedger::open(new, log_id, meters)?;
    if let Some(prices) = prices {
        ledger.set_prices(prices, now)?;
    }
    count(&mut ledger, log, through, now, &mut progress)?;
    Ok(ledger)
}

fn count(
    ledger: &mut SqliteLedger,
    log: &mut dyn LogReader,
    through: Position,
    now: Timestamp,
    progress: &mut dyn FnMut(Position),
) -> Result<(), RebuildError> {
    while ledger.position() < through {
        let mut records = log.read_after(ledger.position(), STEP_MAX_BYTES)?;
        records.retain(|record| record.position <= through);
        match records.first() {
            None => {
                return Err(LedgerError::LogBehind { log: ledger.position(), ledger: through }.into());
            }
            Some(first) if first.follows != ledger.position() => return Err(RebuildError::Pruned(first.position)),
            Some(_) => ledger.apply(&records)?,
        };
        progress(ledger.position());
    }
    apply::release(ledger, now)?;
    Ok(())
}

impl SqliteLedger {
    /// Counts the early events that are due by `now`; returns their number.
    pub fn release_early(&mut self, now: Timestamp) -> Result<u64, LedgerError> {
        apply::release(self, now)
    }

    /// The differences between this ledger and the living one at `living`; empty if they agree.
    pub fn compare(&mut self, living: impl Into<Place>) -> Result<Vec<Difference>, LedgerError> {
        let both = self.db.attach(&living.into())?;
        let mut differences = Vec::new();
        for (table, columns) in COMPARED {
            let chosen = match table {
                "total" => TOTALS_OF_THE_LOG.to_owned(),
                "flag_sum" => flag_sums_of_the_log(),
                _ => "TRUE".to_owned(),
            };
            let only = |a: &str, b: &str| {
                let sql = format!(
                    "SELECT count(*) FROM (SELECT {columns} FROM {a}.{table} WHERE {chosen}
                     EXCEPT SELECT {columns} FROM {b}.{table} WHERE {chosen}) AS only_here"
                );
                self.db.query_row(&both.named(&sql), [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
            };
            let (only_living, only_rebuilt) = (only("living", "main")?, only("main", "living")?);
            if only_living + only_rebuilt > 0 {
                differences.push(Difference { table, only_living, only_rebuilt });
            }
        }
        self.db.detach()?;
        Ok(differences)
    }

    /// Takes over what no log contains: the splits of hours, which depend on anchors, which prices applied when, the plans
    /// of tenants, and how far exports are.
    fn adopt(&mut self, living: &Place) -> Result<(), LedgerError> {
        let both = self.db.attach(living)?;
        for table in
            ["cut", "price_book", "pricing", "repricing", "repriced", "repricing_left", "export", "tenant_plan"]
        {
            self.db.execute(&both.named(&format!("INSERT INTO main.{table} SELECT * FROM living.{table}")), [])?;
        }
        let sql = "UPDATE main.ledger SET costs_from = (SELECT costs_from FROM living.ledger)";
        self.db.execute(&both.named(sql), [])?;
        Ok(self.db.detach()?)
    }
}
