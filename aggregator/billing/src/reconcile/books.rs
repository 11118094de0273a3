//! Reads the outbox's side of a comparison from the ledger.
use std::collections::{BTreeMap, BTreeSet};

use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::{Connection, OptionalExtension, params};

use super::compare::{Cause, CauseAmount, Row, State, Suspect};
use super::{Scope, Series};
use crate::Account;
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;

/// The rows and hours to compare.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) account: Account,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Span {
    fn seconds(&self) -> (u64, u64) {
        (self.from.as_secs(), self.to.as_secs())
    }
}

/// The rows of one series by the provider's hour, and the times that make some of them suspect.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) hours: BTreeMap<Timestamp, Vec<Row>>,
    pub(super) suspects: Vec<Suspect>,
}

/// An amount of a tenant's hour that the provider cannot have yet.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) tenant: String,
    pub(super) event_name: String,
    pub(super) hour: Timestamp,
    pub(super) value: i64,
    pub(super) cause: CauseAmount,
}

/// A reader of the ledger.
#[derive(Debug)]
pub(super) struct Books(LedgerReader);

impl Books {
    pub(super) fn new(reader: LedgerReader) -> Self {
        Books(reader)
    }

    fn db(&mut self) -> &mut Connection {
        self.0.db()
    }

    /// The account pinned by the first report.
    pub(super) fn pinned(&mut self) -> Result<Option<Account>, LedgerError> {
        let sql = "SELECT account, livemode FROM billing";
        let pinned = self.db().query_row(sql, [], |row| Ok(Account { id: row.get(0)?, livemode: row.get(1)? }));
        Ok(pinned.optional()?)
    }

    /// Every pair of customer and meter, from rows and from the configuration.
    pub(super) fn series(
        &mut self,
        span: &Span,
        scope: &Scope,
        only: Option<&str>,
    ) -> Result<BTreeSet<Series>, LedgerError> {
        let (from, to) = span.seconds();
        let mut select = self.db().prepare(
            "SELECT DISTINCT customer, event_name FROM outbox
             WHERE customer IS NOT NULL AND timestamp >= ?1 AND timestamp < ?2 AND account = ?3 AND livemode = ?4",
        )?;
        let mut series: BTreeSet<Series> = select
            .query_map(params![from, to, span.account.id, span.account.livemode], |row| {
                Ok(Series { customer: row.get(0)?, event_name: row.get(1)? })
            })?
            .collect::<Result<_, _>>()?;
        let names: BTreeSet<&String> = scope.event_names.values().collect();
        let customers = scope.customers.iter().map(String::as_str).chain(only);
        series.extend(customers.flat_map(|customer| {
            let of = |name: &&String| Series { customer: customer.to_owned(), event_name: (*name).clone() };
            names.iter().map(of).collect::<Vec<_>>()
        }));
        series.retain(|series| only.is_none_or(|only| series.customer == only));
        Ok(series)
    }

    /// The rows of one series.
    pub(super) fn rows(&mut self, span: &Span, series: &Series) -> Result<Rows, LedgerError> {
        let (from, to) = span.seconds();
        let tx = self.db().transaction()?;
        let mut select = tx.prepare_cached(
            "SELECT timestamp, tenant, value, state, outbox.reason, unsure_at IS NOT NULL OR in_flight IS NOT NULL,
                    reported_at, refused_later.code
             FROM outbox LEFT JOIN refused_later USING (identifier)
             WHERE customer = ?1 AND event_name = ?2 AND timestamp >= ?3 AND timestamp < ?4
               AND account = ?5 AND livemode = ?6 AND state <> 'settled' ORDER BY id",
        )?;
        let key = params![series.customer, series.event_name, from, to, span.account.id, span.account.livemode];
        let mut found = select.query(key)?;
        let mut rows = Rows::default();
        while let Some(row) = found.next()? {
            let second: u64 = row.get(0)?;
            let reported_at: Option<u64> = row.get(6)?;
            let state = match row.get_ref(3)?.as_str().map_err(weir_database::Error::from)? {
                "reported" => State::Reported { at: millis(reported_at.unwrap_or(0)) },
                "held" => State::Held,
                _ => State::Pending,
            };
            rows.hours.entry(Timestamp::from_secs(second).hour()).or_default().push(Row {
                tenant: row.get(1)?,
                value: row.get(2)?,
                state,
                reason: row.get(4)?,
                in_doubt: row.get(5)?,
                refused_later: row.get(7)?,
            });
        }
        drop(found);
        let mut select = tx.prepare_cached("SELECT from_at, to_at, code FROM suspect WHERE event_name = ?1")?;
        rows.suspects = select
            .query_map([&series.event_name], |row| {
                Ok(Suspect { from: millis(row.get(0)?), to: millis(row.get(1)?), code: row.get(2)? })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Amounts that belong to no customer's series: windows that are over without a row, and rows without a customer.
    pub(super) fn without_series(
        &mut self,
        span: &Span,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Vec<Absent>, LedgerError> {
        let (from, to) = span.seconds();
        let mut select = self.db().prepare(
            "SELECT tenant, event_name, timestamp, value, reason FROM outbox
             WHERE customer IS NULL AND state <> 'settled' AND timestamp >= ?1 AND timestamp < ?2 AND account = ?3 AND livemode = ?4",
        )?;
        let mut absent: Vec<Absent> = select
            .query_map(params![from, to, span.account.id, span.account.livemode], |row| {
                let (second, value): (u64, i64) = (row.get(2)?, row.get(3)?);
                Ok(Absent {
                    tenant: row.get(0)?,
                    event_name: row.get(1)?,
                    hour: Timestamp::from_secs(second).hour(),
                    value,
                    cause: CauseAmount { why: Cause::Held, detail: row.get(4)?, rows: 1, value: -value },
                })
            })?
            .collect::<Result<_, _>>()?;
        drop(select);
        absent.extend(self.not_closed(span, scope, now)?);
        Ok(absent)
    }

    fn not_closed(&mut self, span: &Span, scope: &Scope, now: Timestamp) -> Result<Vec<Absent>, LedgerError> {
        let meters = serde_json::to_string(&scope.event_names.keys().collect::<Vec<_>>())
            .map_err(|error| LedgerError::Inconsistent(error.to_string()))?;
        let over = now.as_millis().saturating_sub(HOUR_MS + scope.grace_ms);
        let mut select = self.db().prepare(
            "SELECT tenant, meter, window_start, billable - outboxed FROM usage
             WHERE open = 1 AND billable <> outboxed AND window_start >= ?1 AND window_start < ?2 AND window_start <= ?3
               AND meter IN (SELECT value FROM json_each(?4))",
        )?;
        let (from, to) = (span.from.as_millis(), span.to.as_millis());
        let found = select.query_map(params![from, to, over, meters], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, millis(row.get(2)?), row.get::<_, i64>(3)?))
        })?;
        let mut absent = Vec::new();
        for row in found {
            let (tenant, meter, window, value) = row?;
            let Some(event_name) = scope.event_names.get(&meter).cloned() else { continue };
            let cause = CauseAmount { why: Cause::NotClosed, detail: None, rows: 0, value: -value };
            absent.push(Absent { tenant, event_name, hour: window.hour(), value, cause });
        }
        Ok(absent)
    }

    /// The oldest hour that an error report made suspect and no comparison has covered since.
    pub(super) fn suspect_since(&mut self) -> Result<Option<Timestamp>, LedgerError> {
        let oldest: Option<u64> = self.db().query_row(
            "SELECT min(outbox.timestamp) FROM suspect JOIN outbox
               ON outbox.event_name = suspect.event_name AND reported_at BETWEEN from_at AND to_at
             WHERE compared_at IS NULL",
            [],
            |row| row.get(0),
        )?;
        Ok(oldest.map(|second| Timestamp::from_secs(second).hour()))
    }
}

fn millis(stored: u64) -> Timestamp {
    Timestamp::from_millis(stored)
}
