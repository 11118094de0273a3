//! Closing windows: a sum that is not yet in the outbox becomes a row.
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;

use super::{Hold, Identity};
use crate::billing::Account;
use crate::ledger::{LedgerError, signed};

/// Windows are closed in transactions of at most this many rows, so that counting goes on in between.
const ROWS_PER_STEP: u32 = 5_000;
/// The largest amount that the provider takes: 15 digits.
const VALUE_MAX: i64 = 999_999_999_999_999;

/// What is needed to make rows.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The ledger's name.
    pub ledger: String,
    /// The account they go to.
    pub account: Account,
    /// The provider's meter for each meter that is billed.
    pub event_names: BTreeMap<String, String>,
    /// The provider's customer for each tenant that has one.
    pub customers: HashMap<String, String>,
    /// How long after its end a window stays open, in milliseconds.
    pub grace_ms: u64,
}

/// A sum that is not wholly in the outbox.
struct Open {
    window: Timestamp,
    tenant: String,
    meter: String,
    missing: i64,
}

/// Makes rows from windows that are over by `as_of`, a few thousand. Returns how many, and whether
/// that was all.
pub fn step(db: &mut Connection, terms: &Terms, as_of: Timestamp, now: Timestamp) -> Result<(u64, bool), LedgerError> {
    let tx = db.transaction()?;
    pin(&tx, &terms.account)?;
    let open = open_sums(&tx, terms, as_of)?;
    for sum in &open {
        let row = Row::of(&tx, terms, sum, now)?;
        row.insert(&tx, terms, sum, now)?;
        tx.prepare_cached(
            "UPDATE usage SET outboxed = outboxed + ?1 WHERE window_start = ?2 AND tenant = ?3 AND meter = ?4",
        )?
        .execute(params![sum.missing, signed(sum.window.as_millis()), sum.tenant, sum.meter])?;
    }
    tx.commit()?;
    Ok((open.len() as u64, open.len() < ROWS_PER_STEP as usize))
}

/// Rows are made for one account and mode. The first report pins it.
fn pin(tx: &Transaction<'_>, account: &Account) -> Result<(), LedgerError> {
    let pinned = tx
        .query_row("SELECT account, livemode FROM billing", [], |row| {
            Ok(Account { id: row.get(0)?, livemode: row.get(1)? })
        })
        .optional()?;
    match pinned {
        None => {
            tx.execute(
                "INSERT INTO billing(account, livemode) VALUES (?1, ?2)",
                params![account.id, account.livemode],
            )?;
            Ok(())
        }
        Some(pinned) if pinned == *account => Ok(()),
        Some(pinned) => Err(LedgerError::OtherAccount { pinned, configured: account.clone() }),
    }
}

fn open_sums(tx: &Transaction<'_>, terms: &Terms, as_of: Timestamp) -> Result<Vec<Open>, LedgerError> {
    // A window [start, start + 1 h) is over by `as_of` when start + 1 h + grace <= as_of.
    let Some(latest) = as_of.as_millis().checked_sub(HOUR_MS + terms.grace_ms) else { return Ok(Vec::new()) };
    let meters = serde_json::to_string(&terms.event_names.keys().collect::<Vec<_>>())
        .map_err(|error| LedgerError::Inconsistent(error.to_string()))?;
    let mut select = tx.prepare_cached(
        "SELECT window_start, tenant, meter, billable - outboxed FROM usage
         WHERE billable <> outboxed AND window_start <= ?1 AND meter IN (SELECT value FROM json_each(?2))
         ORDER BY window_start LIMIT ?3",
    )?;
    let rows = select.query_map(params![signed(latest), meters, ROWS_PER_STEP], |row| {
        Ok(Open {
            window: Timestamp::from_millis(row.get::<_, i64>(0)?.unsigned_abs()),
            tenant: row.get(1)?,
            meter: row.get(2)?,
            missing: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What is decided about a row when it is made. All of it is frozen.
struct Row<'a> {
    revision: i64,
    event_name: &'a str,
    customer: Option<&'a str>,
    identifier: Option<String>,
    timestamp: u64,
    hold: Option<Hold>,
}

impl<'a> Row<'a> {
    fn of(tx: &Transaction<'_>, terms: &'a Terms, sum: &Open, now: Timestamp) -> Result<Self, LedgerError> {
        let sql =
            "SELECT coalesce(max(revision) + 1, 0) FROM outbox WHERE window_start = ?1 AND tenant = ?2 AND meter = ?3";
        let key = params![signed(sum.window.as_millis()), sum.tenant, sum.meter];
        let revision = tx.prepare_cached(sql)?.query_row(key, |row| row.get(0))?;
        let event_name = terms.event_names.get(&sum.meter).map(String::as_str).unwrap_or_default();
        let customer = terms.customers.get(&sum.tenant).map(String::as_str);
        let identifier = customer.map(|customer| {
            Identity {
                ledger: &terms.ledger,
                account: &terms.account,
                customer,
                tenant: &sum.tenant,
                meter: &sum.meter,
                event_name,
                window: sum.window,
                revision,
            }
            .identifier()
        });
        let hold = match customer {
            _ if sum.missing.abs() > VALUE_MAX => Some(Hold::TooLarge),
            None => Some(Hold::NoCustomer),
            Some(_) => None,
        };
        let timestamp = timestamp(sum.window, now);
        Ok(Row { revision, event_name, customer, identifier, timestamp, hold })
    }

    fn insert(&self, tx: &Transaction<'_>, terms: &Terms, sum: &Open, now: Timestamp) -> Result<(), LedgerError> {
        tx.prepare_cached(
            "INSERT INTO outbox(window_start, tenant, meter, revision, value, account, livemode, event_name, customer,
                                identifier, timestamp, state, reason, created_at)
             VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
        )?
        .execute(params![
            signed(sum.window.as_millis()),
            sum.tenant,
            sum.meter,
            self.revision,
            sum.missing,
            terms.account.id,
            terms.account.livemode,
            self.event_name,
            self.customer,
            self.identifier,
            signed(self.timestamp),
            if self.hold.is_some() { "held" } else { "pending" },
            self.hold.map(Hold::as_str),
            signed(now.as_millis()),
        ])?;
        Ok(())
    }
}

/// The moment a window's amount is billed at, in seconds: its last second, so that a subscription that begins within the
/// hour gets it; never ahead of now, which the provider would refuse.
fn timestamp(window: Timestamp, now: Timestamp) -> u64 {
    let last = window.as_secs() + HOUR_MS / 1000 - 1;
    last.min(now.as_secs()).max(window.as_secs())
}

/// Gives customers to rows that wait for one. Returns how many.
pub fn map_held(db: &mut Connection, terms: &Terms) -> Result<u64, LedgerError> {
    let tx = db.transaction()?;
    let waiting: Vec<(i64, i64, String, String, String, i64)> = tx
        .prepare_cached(
            "SELECT id, window_start, tenant, meter, event_name, revision FROM outbox
             WHERE state = 'held' AND reason = 'no_customer'",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)))?
        .collect::<Result<_, _>>()?;
    let mut mapped = 0;
    for (id, window, tenant, meter, event_name, revision) in &waiting {
        let Some(customer) = terms.customers.get(tenant) else { continue };
        let identity = Identity {
            ledger: &terms.ledger,
            account: &terms.account,
            customer,
            tenant,
            meter,
            event_name,
            window: Timestamp::from_millis(window.unsigned_abs()),
            revision: *revision,
        };
        tx.prepare_cached(
            "UPDATE outbox SET customer = ?2, identifier = ?3, state = 'pending', reason = NULL WHERE id = ?1",
        )?
        .execute(params![id, customer, identity.identifier()])?;
        mapped += 1;
    }
    tx.commit()?;
    Ok(mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_stamped_inside_its_window_and_never_ahead() {
        let window = Timestamp::from_secs(7_200);
        assert_eq!(timestamp(window, Timestamp::from_secs(50_000)), 10_799);
        assert_eq!(timestamp(window, Timestamp::from_secs(8_000)), 8_000, "closed early");
        assert_eq!(timestamp(window, Timestamp::from_secs(100)), 7_200, "a clock gone back");
    }
}
