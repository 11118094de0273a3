//! The audit of the borders between tenants: findings, and searches of vector stores. Nothing is billed from them, and they
//! expire as the configuration says.
use serde::de::DeserializeOwned;
use weir_contract::event::security::{SecurityKind, Severity};
use weir_contract::{SearchData, SecurityData, TenantId, Timestamp};
use weir_database::{Transaction, params};

use super::query::LedgerReader;
use super::view::{FindingRow, SearchRow, SecurityQuery};
use super::{LedgerError, SqliteLedger, signed, totals};

/// The most findings that are kept; the oldest go first. A hundred tenants with ten kinds a minute fill it in three hours, so an
/// attack that lasts leaves its beginning in the totals alone.
pub(crate) const FINDINGS_KEPT_MAX: u64 = 200_000;
/// The most searches that are kept; the oldest go first. At 200 bytes each that is a gigabyte.
pub(crate) const SEARCHES_KEPT_MAX: u64 = 5_000_000;
/// The most rows of one answer.
pub const ROWS_SHOWN: u32 = 1_000;
/// The most rows that one step of expiry deletes, so that counting waits for milliseconds only.
const EXPIRED_PER_STEP: u32 = 10_000;

/// Keeps one event's findings.
pub(super) fn keep_findings(
    tx: &Transaction<'_>,
    tenant: Option<&TenantId>,
    minute: Timestamp,
    data: &SecurityData,
) -> Result<(), LedgerError> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO security(minute, tenant, kind, severity, operation, route, count, owners, samples)
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    )?;
    let tenant = tenant.map_or("", TenantId::as_str);
    for finding in &data.findings {
        let route = finding.route.as_deref().unwrap_or_default();
        let (owners, samples) = (json(&finding.owners)?, json(&finding.samples)?);
        // By the table, and not as the sender says: one that understates a finding would silence the alert.
        let severity = finding.kind.severity().as_str();
        let kind = finding.kind.as_str();
        let count = signed(finding.count)?;
        let row = params![minute.as_millis(), tenant, kind, severity, finding.operation, route, count, owners, samples];
        insert.execute(row)?;
        totals::add(tx, "security", kind, count)?;
    }
    bound(tx, "security", FINDINGS_KEPT_MAX)
}

/// Keeps a search.
pub(super) fn keep_search(
    tx: &Transaction<'_>,
    tenant: &TenantId,
    at: Timestamp,
    data: &SearchData,
) -> Result<(), LedgerError> {
    let sql = "INSERT INTO search(at, tenant, request_id, store, collection, operation, status, results, removed)
               VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)";
    let SearchData { request_id, store, collection, operation, status, results, removed } = data;
    let results = signed(*results)?;
    let row = params![
        at.as_millis(),
        tenant.as_str(),
        request_id,
        store,
        collection,
        operation,
        status,
        results,
        json(removed)?
    ];
    tx.prepare_cached(sql)?.execute(row)?;
    bound(tx, "search", SEARCHES_KEPT_MAX)
}

/// Drops the oldest rows beyond `max`, and counts them.
fn bound(tx: &Transaction<'_>, table: &'static str, max: u64) -> Result<(), LedgerError> {
    let sql = format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1");
    let dropped = tx.prepare_cached(&sql)?.execute([signed(max)?])?;
    if dropped > 0 {
        totals::add(tx, "audit_dropped", table, signed(dropped as u64)?)?;
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| LedgerError::Inconsistent(error.to_string()))
}

fn parsed<T: DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}

impl SqliteLedger {
    /// Drops some findings and searches from before these moments. Returns how many; none are left if it is 0.
    pub fn expire_audit(&mut self, findings_before: Timestamp, searches_before: Timestamp) -> Result<u64, LedgerError> {
        let step = |table: &str, column: &str| {
            format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < ?1 LIMIT {EXPIRED_PER_STEP})"
            )
        };
        let findings = self.db().execute(&step("security", "minute"), [findings_before.as_millis()])?;
        let searches = self.db().execute(&step("search", "at"), [searches_before.as_millis()])?;
        Ok((findings + searches) as u64)
    }
}

impl LedgerReader {
    /// Findings, the latest first.
    pub fn findings(&mut self, query: &SecurityQuery) -> Result<Vec<FindingRow>, LedgerError> {
        let sql = "SELECT minute, tenant, kind, severity, operation, route, count, owners, samples FROM security
                   WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR minute >= ?2) AND (?3 IS NULL OR minute < ?3)
                   ORDER BY id DESC LIMIT ?4";
        let mut select = self.db().prepare(sql)?;
        let rows = select.query_map(bounds(query)?, |row| {
            Ok(FindingRow {
                minute: Timestamp::from_millis(row.get(0)?),
                tenant: row.get(1)?,
                kind: row.get(2)?,
                severity: row.get(3)?,
                operation: row.get(4)?,
                route: row.get(5)?,
                count: row.get(6)?,
                owners: parsed(&row.get::<_, String>(7)?),
                samples: parsed(&row.get::<_, String>(8)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many records and names of other tenants were taken out of answers in these minutes and since.
    pub fn critical_findings_since(&self, minute: Timestamp) -> Result<u64, LedgerError> {
        let sql = "SELECT coalesce(sum(count), 0) FROM security WHERE minute >= ?1 AND severity = ?2";
        let critical = Severity::Critical.as_str();
        Ok(self.connection().prepare_cached(sql)?.query_row(params![minute.as_millis(), critical], |row| row.get(0))?)
    }

    /// How many requests of each tenant failed for its own key at a provider in these hours and since.
    pub fn own_key_failures_since(&self, hour: Timestamp) -> Result<Vec<(String, u64)>, LedgerError> {
        let sql = "SELECT tenant, sum(count) FROM (
                     SELECT tenant, count FROM refused WHERE window_start >= ?1 AND reason LIKE 'provider_key_%'
                     UNION ALL SELECT tenant, count FROM security WHERE minute >= ?1 AND kind = ?2) AS failed
                   WHERE tenant <> '' GROUP BY tenant";
        let kind = SecurityKind::RefusedProviderKey.as_str();
        let mut select = self.connection().prepare_cached(sql)?;
        let rows = select.query_map(params![hour.as_millis(), kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Searches, the latest first.
    pub fn searches(&mut self, query: &SecurityQuery) -> Result<Vec<SearchRow>, LedgerError> {
        let sql = "SELECT at, tenant, request_id, store, collection, operation, status, results, removed FROM search
                   WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR at >= ?2) AND (?3 IS NULL OR at < ?3)
                   ORDER BY at DESC, id DESC LIMIT ?4";
        let mut select = self.db().prepare(sql)?;
        let rows = select.query_map(bounds(query)?, |row| {
            Ok(SearchRow {
                at: Timestamp::from_millis(row.get(0)?),
                tenant: row.get(1)?,
                request_id: row.get(2)?,
                store: row.get(3)?,
                collection: row.get(4)?,
                operation: row.get(5)?,
                status: row.get(6)?,
                results: row.get(7)?,
                removed: parsed(&row.get::<_, String>(8)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The parameters of a query: tenant, from, to, and the most rows.
type Bounds<'a> = (Option<&'a str>, Option<i64>, Option<i64>, u32);

/// The bounds of a query as its statement takes them.
fn bounds(query: &SecurityQuery) -> Result<Bounds<'_>, LedgerError> {
    let time = |time: Option<Timestamp>| time.map(|time| signed(time.as_millis())).transpose();
    Ok((query.tenant.as_deref(), time(query.from)?, time(query.to)?, ROWS_SHOWN))
}
