//! Where hours are cut: a billing period that begins in the middle of an hour makes two windows of it.
//!
//! It is decided when the first usage of a tenant and hour is counted, and kept: events that come later fall into the same
//! windows, whatever the anchors say by then.
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Transaction, params};
use weir_contract::{TenantId, Timestamp};

use super::{LedgerError, signed};
use crate::outbox::periods::{self, Anchor};

/// Decisions about hours this long before the latest one are not kept in memory: what is older is too late to be counted.
const REMEMBERED_MS: i64 = 60 * 24 * 3_600 * 1_000;

/// Anchors and what was decided by them, as the tables have it.
#[derive(Debug, Default)]
pub(super) struct Cuts {
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
    /// The last hour that was found to have no anchor in it.
    plain: Option<Timestamp>,
}

impl Cuts {
    /// Forgets what memory knows: the tables have changed, or a transaction has failed.
    pub(super) fn forget(&mut self) {
        self.loaded = None;
    }

    /// The window that usage of `tenant` at `time` is counted in, by its start.
    pub(super) fn window(
        &mut self,
        tx: &Transaction<'_>,
        tenant: &TenantId,
        time: Timestamp,
    ) -> Result<Timestamp, LedgerError> {
        let hour = time.hour();
        #[cfg(test)]
        if crate::sim::planted(crate::sim::Bug::AnchorIgnored) {
            return Ok(hour);
        }
        let loaded = match &mut self.loaded {
            Some(loaded) => loaded,
            empty => empty.insert(Loaded::read(tx)?),
        };
        let Some(tenant_cuts) = loaded.tenants.get_mut(tenant.as_str()) else { return Ok(hour) };
        let at = tenant_cuts.cut(tx, tenant, hour)?;
        Ok(if time >= at { at } else { hour })
    }
}

impl Loaded {
    fn read(tx: &Transaction<'_>) -> Result<Self, LedgerError> {
        let mut tenants: HashMap<String, Tenant> = HashMap::new();
        for (tenant, anchor) in periods::anchors(tx)? {
            tenants.entry(tenant).or_default().anchor = Some(anchor);
        }
        let sql = "SELECT tenant, hour, at FROM cut WHERE hour >= (SELECT coalesce(max(hour), 0) FROM cut) - ?1";
        let mut select = tx.prepare_cached(sql)?;
        let mut rows = select.query([REMEMBERED_MS])?;
        while let Some(row) = rows.next()? {
            let time =
                |column| Ok::<_, rusqlite::Error>(Timestamp::from_millis(row.get::<_, i64>(column)?.unsigned_abs()));
            tenants.entry(row.get(0)?).or_default().decided.insert(time(1)?, time(2)?);
        }
        Ok(Loaded { tenants })
    }
}

impl Tenant {
    /// Where `hour` is cut; the hour itself if nowhere.
    fn cut(&mut self, tx: &Transaction<'_>, tenant: &TenantId, hour: Timestamp) -> Result<Timestamp, LedgerError> {
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
        let at = if counted(tx, tenant, hour)? { hour } else { at };
        tx.prepare_cached("INSERT INTO cut(tenant, hour, at) VALUES (?1, ?2, ?3)")?.execute(params![
            tenant.as_str(),
            signed(hour.as_millis()),
            signed(at.as_millis())
        ])?;
        self.decided.insert(hour, at);
        Ok(at)
    }
}

/// Whether usage of this hour is counted already.
fn counted(tx: &Transaction<'_>, tenant: &TenantId, hour: Timestamp) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM usage WHERE window_start = ?1 AND tenant = ?2)";
    Ok(tx.prepare_cached(sql)?.query_row(params![signed(hour.as_millis()), tenant.as_str()], |row| row.get(0))?)
}
