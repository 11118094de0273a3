//! `weir stripe status`: how reporting stands, and what needs a person.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_database::{Connection, params};

use super::webhook::reports::{self, ProviderError, UnreadReport};
use weir_billing::outbox::Hold;
use weir_billing::outbox::view::{self, BillingView};
use weir_billing::reconcile::record::{self, LastReconciliation};
use weir_ledger::LedgerError;

/// How far back windows without a row are searched, in milliseconds: Stripe accepts nothing older.
const LAG_MAX_MS: u64 = 35 * 24 * 3_600_000;
/// One step into an index, whatever the table's size.
const OLDEST_UNCLOSED: &str = "SELECT min(window_start) FROM usage
  WHERE open = 1 AND billable <> outboxed AND meter = ?1 AND window_start >= ?2 AND window_start < ?3";

/// Rows that are held for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRows {
    /// The reason.
    pub reason: String,
    /// The number of rows.
    pub rows: u64,
    /// When the first of them was held.
    pub since: Timestamp,
    /// What an operator can do.
    pub remedy: String,
}

/// Answer to `GET /v1/stripe`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Rows by state, and the rows not accepted yet.
    #[serde(flatten)]
    pub billing: BillingView,
    /// Pending rows whose call is under way, or ended without an answer.
    pub in_flight: u64,
    /// The age of the oldest window that is over and not accepted by Stripe, in seconds. Held rows do not count.
    pub lag_seconds: u64,
    /// Held rows, by reason.
    pub held_for: Vec<HeldRows>,
    /// Errors that Stripe found in events after accepting them.
    pub errors: Vec<ProviderError>,
    /// Reports of Stripe that could not be read so far.
    #[serde(default)]
    pub unread_reports: Vec<UnreadReport>,
    /// Tenants whose billing periods do not follow from their customers' subscriptions, as the server read them last; 0 where no
    /// server runs.
    #[serde(default)]
    pub periods_undecided: u64,
    /// The last comparison with Stripe's summaries.
    pub reconciliation: Option<LastReconciliation>,
}

impl StatusView {
    /// Returns true if something needs a person.
    pub fn needs_a_person(&self) -> bool {
        let differs = self.reconciliation.as_ref().is_some_and(|last| last.attention);
        self.billing.held > 0
            || differs
            || self.unseen_errors() > 0
            || !self.unread_reports.is_empty()
            || self.periods_undecided > 0
    }

    /// Errors that nobody has acknowledged.
    pub fn unseen_errors(&self) -> u64 {
        self.errors.iter().fold(0, |sum, error| sum.saturating_add(error.unseen))
    }
}

/// Reads the state. `rows` adds single rows; `billed` are the ledger's meters that are reported.
pub fn read(
    db: &mut Connection,
    now: Timestamp,
    rows: bool,
    billed: &BTreeMap<String, String>,
) -> Result<StatusView, LedgerError> {
    let mut billing = if rows { view::billing(db)? } else { view::totals(db)? };
    billing.oldest_open = billing.oldest_open.into_iter().chain(oldest_unclosed(db, now, billed)?).min();
    let lag_seconds = billing.oldest_open.map_or(0, |oldest| now.millis_since(oldest) / 1000);
    let sql =
        "SELECT count(*) FROM outbox WHERE state = 'pending' AND (in_flight IS NOT NULL OR unsure_at IS NOT NULL)";
    let in_flight: u64 = db.query_row(sql, [], |row| row.get(0))?;
    Ok(StatusView {
        in_flight,
        lag_seconds,
        held_for: if rows { held(db)? } else { Vec::new() },
        errors: reports::errors(db)?,
        unread_reports: reports::unread(db)?,
        periods_undecided: 0,
        reconciliation: record::last(db)?,
        billing,
    })
}

/// The oldest window that is over and has no row: it reveals a reporter that closes nothing.
fn oldest_unclosed(
    db: &Connection,
    now: Timestamp,
    billed: &BTreeMap<String, String>,
) -> Result<Option<Timestamp>, LedgerError> {
    let from = now.as_millis().saturating_sub(LAG_MAX_MS);
    let mut oldest: Option<u64> = None;
    for meter in billed.keys() {
        let key = params![meter, from, now.hour().as_millis()];
        let found: Option<u64> = db.prepare_cached(OLDEST_UNCLOSED)?.query_row(key, |row| row.get(0))?;
        oldest = oldest.into_iter().chain(found).min();
    }
    Ok(oldest.map(Timestamp::from_millis))
}

fn held(db: &Connection) -> Result<Vec<HeldRows>, LedgerError> {
    let mut all = Vec::new();
    for hold in Hold::ALL {
        let sql =
            "SELECT count(*), min(coalesce(held_at, created_at)) FROM outbox WHERE state = 'held' AND reason = ?1";
        let (rows, since): (u64, Option<u64>) =
            db.prepare_cached(sql)?.query_row(params![hold.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if rows > 0 {
            all.push(HeldRows {
                reason: hold.as_str().to_owned(),
                rows,
                since: Timestamp::from_millis(since.unwrap_or(0)),
                remedy: hold.remedy().to_owned(),
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_billing::Account;
    use weir_billing::outbox::close;
    use weir_billing::outbox::policy::{BillingPolicy, Late};
    use weir_database::testing::place;
    use weir_ledger::SqliteLedger;
    use weir_ledger::meters::{self, Meters};

    const HOUR_MS: i64 = 3_600_000;

    /// An empty ledger.
    fn ledger() -> (tempfile::TempDir, SqliteLedger) {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let ledger = SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "log", meters).expect("a ledger");
        (dir, ledger)
    }

    #[test]
    fn a_window_without_a_row_is_a_lag_and_a_held_row_is_none() {
        let (_dir, mut ledger) = ledger();
        let (db, now) = (ledger.db(), Timestamp::from_secs(10 * 3_600 + 60));
        let billed = BTreeMap::from([("requests".to_owned(), "weir_requests".to_owned())]);
        for hour in [8, 10] {
            let sql = "INSERT INTO usage(window_start, tenant, meter, billable) VALUES (?1, 'acme', 'requests', 5)";
            db.execute(sql, [hour * HOUR_MS]).expect("usage");
        }
        let lag = |db: &mut Connection| read(db, now, false, &billed).expect("read").lag_seconds;
        assert_eq!(lag(db), 2 * 3_600 + 60, "nobody closes it");
        assert_eq!(read(db, now, false, &BTreeMap::new()).expect("read").lag_seconds, 0, "nobody bills it");
        let policy = BillingPolicy {
            ledger: "l".to_owned(),
            account: Account { id: "acct_1".to_owned(), livemode: false },
            event_names: billed.clone(),
            grace_ms: 0,
            invoice_delay_ms: 0,
            late: Late::Hold,
            epoch: 0,
        };
        close::step(db, &policy, now, now).expect("closed");
        assert_eq!(read(db, now, false, &billed).expect("read").billing.held, 1, "nobody pays for it");
        assert_eq!(lag(db), 0, "the hour that runs is no lag either");
    }

    #[test]
    fn the_lag_is_read_from_an_index() {
        let (_dir, mut ledger) = ledger();
        if ledger.db().is_postgres() {
            return;
        }
        let plan = format!("EXPLAIN QUERY PLAN {OLDEST_UNCLOSED}");
        let mut explain = ledger.db().prepare(&plan).expect("a plan");
        let steps = explain.query_map(params!["requests", 0, 1], |row| row.get::<_, String>(3)).expect("steps");
        let steps: Vec<String> = steps.collect::<Result<_, _>>().expect("words");
        let wanted = "SEARCH usage USING INDEX usage_open (meter=? AND window_start>? AND window_start<?)";
        assert_eq!(steps, [wanted]);
    }
}
