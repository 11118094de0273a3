//! Splits hours at billing anchors: a billing period that begins in the middle of an hour makes two windows of it.
//!
//! The split is decided when the first usage of a tenant's hour is counted, and kept: later events fall into the same
//! windows, even if the anchor has changed.
use std::collections::{BTreeMap, HashMap};
use weir_fault::{self as fault, Point};

use weir_contract::time::HOUR_MS;
use weir_contract::{TenantId, Timestamp};
use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::LedgerError;
use super::periods::{self, Anchor};

/// How far behind the latest hour decisions stay in memory, in milliseconds. Older events are too late to count.
const REMEMBERED_MS: i64 = 60 * 24 * 3_600 * 1_000;

/// The start of the window of `tenant` that contains `time`. Decides the split if the hour has no usage yet; the owner
/// of [`WindowSplits`] must then call `forget`.
pub fn decide(db: &Connection, tenant: &str, time: Timestamp) -> Result<Timestamp, LedgerError> {
    let hour = time.hour();
    let key = params![tenant, hour.as_millis()];
    let sql = "SELECT at FROM cut WHERE tenant = ?1 AND hour = ?2";
    let decided: Option<u64> = db.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    let at = match decided {
        Some(at) => Timestamp::from_millis(at),
        None => match periods::anchor_of(db, tenant)?.within(hour) {
            Some(at) => note(db, tenant, hour, at)?,
            None => hour,
        },
    };
    Ok(if time >= at { at } else { hour })
}

/// The end of the window that begins at `window`.
pub fn window_end(db: &Connection, tenant: &str, window: Timestamp) -> Result<Timestamp, LedgerError> {
    let end = window.hour().plus_millis(HOUR_MS);
    if window != window.hour() {
        return Ok(end);
    }
    let sql = "SELECT at FROM cut WHERE tenant = ?1 AND hour = ?2 AND at > hour";
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query(params![tenant, window.as_millis()])?;
    let split = rows.next()?.map(|row| row.get::<_, u64>(0)).transpose()?;
    Ok(split.map_or(end, Timestamp::from_millis))
}

/// Splits `hour` at `at`, unless the hour already has usage. Returns the split in force; the hour itself means none.
fn note(db: &Connection, tenant: &str, hour: Timestamp, at: Timestamp) -> Result<Timestamp, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM usage WHERE window_start = ?1 AND tenant = ?2)";
    let counted: bool = db.prepare_cached(sql)?.query_row(params![hour.as_millis(), tenant], |row| row.get(0))?;
    let at = if counted { hour } else { at };
    db.prepare_cached("INSERT INTO cut(tenant, hour, at) VALUES (?1, ?2, ?3)")?.execute(params![
        tenant,
        hour.as_millis(),
        at.as_millis()
    ])?;
    Ok(at)
}

/// A cache of anchors and decided splits.
#[derive(Debug, Default)]
pub(super) struct WindowSplits {
    loaded: Option<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    tenants: HashMap<String, Tenant>,
}

#[derive(Debug, Default)]
struct Tenant {
    anchor: Option<Anchor>,
    decided: BTreeMap<Timestamp, Timestamp>,
    /// The last hour that was found to contain no anchor.
    plain: Option<Timestamp>,
}

impl WindowSplits {
    /// Clears the cache: the tables have changed, or a transaction has failed.
    pub(super) fn forget(&mut self) {
        self.loaded = None;
    }

    /// The start of the window in which usage of `tenant` at `time` counts.
    pub(super) fn window(
        &mut self,
        tx: &Transaction<'_>,
        tenant: &TenantId,
        time: Timestamp,
    ) -> Result<Timestamp, LedgerError> {
        let hour = time.hour();
        if fault::hit(Point::AnchorIgnored) {
            return Ok(hour);
        }
        let loaded = match &mut self.loaded {
            Some(loaded) => loaded,
            empty => empty.insert(Loaded::read(tx)?),
        };
        let Some(tenant_splits) = loaded.tenants.get_mut(tenant.as_str()) else { return Ok(hour) };
        let at = tenant_splits.split(tx, tenant, hour)?;
        Ok(if time >= at { at } else { hour })
    }
}

impl Loaded {
    fn read(tx: &Transaction<'_>) -> Result<Self, LedgerError> {
        let mut tenants: HashMap<String, Tenant> = HashMap::new();
        for (tenant, anchor) in periods::anchors(tx, None)? {
            tenants.entry(tenant).or_default().anchor = Some(anchor);
        }
        let sql = "SELECT tenant, hour, at FROM cut WHERE hour >= (SELECT coalesce(max(hour), 0) FROM cut) - ?1";
        let mut select = tx.prepare_cached(sql)?;
        let mut rows = select.query([REMEMBERED_MS])?;
        while let Some(row) = rows.next()? {
            let time = |column| Ok::<_, weir_database::Error>(Timestamp::from_millis(row.get::<_, u64>(column)?));
            tenants.entry(row.get(0)?).or_default().decided.insert(time(1)?, time(2)?);
        }
        Ok(Loaded { tenants })
    }
}

impl Tenant {
    /// The split of `hour`; the hour itself if there is none.
    fn split(&mut self, tx: &Transaction<'_>, tenant: &TenantId, hour: Timestamp) -> Result<Timestamp, LedgerError> {
        if let Some(at) = self.decided.get(&hour) {
            return Ok(*at);
        }
        if self.plain == Some(hour) {
            return Ok(hour);
        }
        let Some(at) = self.anchor.and_then(|anchor| anchor.within(hour)) else {
            self.plain = Some(hour);
            return Ok(hour);
        };
        let at = note(tx, tenant.as_str(), hour, at)?;
        self.decided.insert(hour, at);
        Ok(at)
    }
}
