//! The history of each tenant's customer: a change applies to later windows only.
use std::collections::{BTreeMap, HashMap};
use weir_fault::{self as fault, Point};

use weir_contract::Timestamp;
use weir_database::{Connection, params};

use super::{BillingError, sender};
use weir_ledger::signed;

/// Records changes of the tenants file. A tenant's first customer gets all its windows; a later one gets those that
/// begin from now on. The first read after a restore cannot tell when a change came into force, so it marks such
/// changes.
pub(super) fn note(db: &Connection, customers: &HashMap<String, String>, now: Timestamp) -> Result<(), BillingError> {
    let mut latest: BTreeMap<String, (i64, Option<String>)> = BTreeMap::new();
    {
        let mut select =
            db.prepare_cached("SELECT tenant, effective_at, customer FROM mapping ORDER BY tenant, effective_at")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            latest.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
        }
    }
    let unseen = sender::first_note(db)?;
    // Keeps the history in order when the clock has gone back.
    let now_ms = signed(now.as_millis())?;
    let after = |last: i64| now_ms.max(last + 1);
    for (tenant, customer) in customers.iter().collect::<BTreeMap<_, _>>() {
        match latest.get(tenant) {
            None => insert(db, tenant, 0, Some(customer), false)?,
            Some((_, Some(known))) if known == customer => {}
            Some((last, _)) => insert(db, tenant, after(*last), Some(customer), unseen)?,
        }
    }
    for (tenant, (last, customer)) in &latest {
        if customer.is_some() && !customers.contains_key(tenant) {
            insert(db, tenant, after(*last), None, unseen)?;
        }
    }
    Ok(())
}

fn insert(
    db: &Connection,
    tenant: &str,
    effective_at: i64,
    customer: Option<&String>,
    unseen: bool,
) -> Result<(), BillingError> {
    db.prepare_cached("INSERT INTO mapping(tenant, effective_at, customer, unseen) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![tenant, effective_at, customer, unseen])?;
    Ok(())
}

/// Returns true if windows of the tenant may have gone to a customer that this ledger does not know, before it was
/// restored at `restored_at`.
pub(super) fn changed_unseen(db: &Connection, tenant: &str, restored_at: Timestamp) -> Result<bool, BillingError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM mapping WHERE tenant = ?1 AND unseen = 1 AND effective_at >= ?2)";
    let key = params![tenant, restored_at.as_millis()];
    Ok(db.prepare_cached(sql)?.query_row(key, |row| row.get(0))?)
}

/// The customer of a tenant's window: the one in force when the window began, else the first one after it.
pub(super) fn customer(db: &Connection, tenant: &str, window: Timestamp) -> Result<Option<String>, BillingError> {
    let mut select =
        db.prepare_cached("SELECT effective_at, customer FROM mapping WHERE tenant = ?1 ORDER BY effective_at")?;
    let mut rows = select.query([tenant])?;
    let mut found: Option<String> = None;
    while let Some(row) = rows.next()? {
        let (effective_at, customer): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
        let effective_at = if fault::hit(Point::RemappedBackwards) { 0 } else { effective_at };
        if effective_at > signed(window.as_millis())? && found.is_some() {
            break;
        }
        found = customer;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn says(customer: Option<&str>) -> HashMap<String, String> {
        customer.map(|customer| ("acme".to_owned(), customer.to_owned())).into_iter().collect()
    }

    #[test]
    fn a_change_applies_to_windows_that_begin_after_it_and_never_again_to_others() {
        let (_dir, mut ledger) = crate::outbox::tests::ledger();
        let db = ledger.db();
        let who = |window| customer(db, "acme", at(window)).expect("read");
        note(db, &says(None), at(50)).expect("noted");
        assert_eq!(who(10), None);
        note(db, &says(Some("cus_1")), at(100)).expect("noted");
        assert_eq!(who(10).as_deref(), Some("cus_1"), "the first one gets what waited");
        note(db, &says(Some("cus_2")), at(200)).expect("noted");
        note(db, &says(Some("cus_2")), at(250)).expect("noted");
        assert_eq!((who(199).as_deref(), who(200).as_deref()), (Some("cus_1"), Some("cus_2")));
        note(db, &says(None), at(300)).expect("noted");
        assert_eq!(who(310), None, "nobody pays");
        note(db, &says(Some("cus_3")), at(400)).expect("noted");
        note(db, &says(Some("cus_4")), at(500)).expect("noted");
        let all = [10, 199, 200, 310, 400, 600].map(|window| who(window).expect("somebody"));
        assert_eq!(all, ["cus_1", "cus_1", "cus_2", "cus_3", "cus_3", "cus_4"]);
    }
}
