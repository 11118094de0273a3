//! Critical findings about the borders between tenants, as receivers of alerts are told them: a record or a name of another tenant
//! stood in an answer. Several become one message, and messages keep their distance: a leak that lasts is told, and floods nobody.
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use weir_contract::Timestamp;
use weir_ledger::LedgerError;

use crate::message;
use crate::notice::insert;
use crate::receiver::Receiver;

/// The least time between two messages about findings, in milliseconds.
const DISTANCE_MS: u64 = 5 * 60 * 1_000;
/// How old a finding may be, in milliseconds: older ones come from a log that is counted anew.
const AGE_MAX_MS: u64 = 3_600 * 1_000;
/// The most findings that one message tells of.
const TOLD_MAX: u32 = 200;
/// The most findings that one message lists.
pub(crate) const LISTED_MAX: usize = 20;

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    #[serde(skip)]
    id: i64,
    /// The minute that it is from.
    pub(crate) minute: Timestamp,
    /// Whose request it was.
    pub(crate) tenant: String,
    pub(crate) kind: String,
    pub(crate) operation: String,
    pub(crate) count: u64,
    /// Whose records or names they were.
    pub(crate) owners: Vec<String>,
}

/// Whether findings wait to be told now.
pub(crate) fn are_due(db: &Connection, now: Timestamp) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM security WHERE told = 0)";
    let waits: bool = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if !waits {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM notice WHERE at > ?1 AND id LIKE 'msg!_%!_findings!_%' ESCAPE '!')";
    let since = now.as_millis().saturating_sub(DISTANCE_MS);
    Ok(!db.prepare_cached(sql)?.query_row([since], |row| row.get::<_, bool>(0))?)
}

/// Makes one message of the findings that nobody was told of, for each receiver that wants them.
pub(crate) fn take(
    tx: &Transaction<'_>,
    ledger: &str,
    receivers: &[Receiver],
    now: Timestamp,
) -> Result<(), LedgerError> {
    if !are_due(tx, now)? {
        return Ok(());
    }
    let untold = untold(tx)?;
    let Some(last) = untold.last().map(|finding| finding.id) else { return Ok(()) };
    for receiver in receivers {
        let is_for = |finding: &&Finding| {
            finding.minute.as_millis() + AGE_MAX_MS >= now.as_millis() && receiver.wants_findings_of(&finding.tenant)
        };
        let findings: Vec<&Finding> = untold.iter().filter(is_for).collect();
        if !findings.is_empty() {
            let body = message::of_findings(&receiver.target, &findings, now).to_string();
            insert(tx, &format!("msg_{ledger}_findings_{last}_{}", receiver.name), receiver, None, &body, now)?;
        }
    }
    tx.prepare_cached("UPDATE security SET told = 1 WHERE told = 0 AND id <= ?1")?.execute(params![last])?;
    Ok(())
}

fn untold(tx: &Transaction<'_>) -> Result<Vec<Finding>, LedgerError> {
    let sql =
        "SELECT id, minute, tenant, kind, operation, count, owners FROM security WHERE told = 0 ORDER BY id LIMIT ?1";
    let mut select = tx.prepare_cached(sql)?;
    let rows = select.query_map([TOLD_MAX], |row| {
        let owners: String = row.get(6)?;
        Ok(Finding {
            id: row.get(0)?,
            minute: Timestamp::from_millis(row.get(1)?),
            tenant: row.get(2)?,
            kind: row.get(3)?,
            operation: row.get(4)?,
            count: row.get(5)?,
            owners: serde_json::from_str(&owners).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice;

    const NOW: u64 = 1_800_000_000_000;

    fn receivers(text: &str) -> Vec<Receiver> {
        crate::receiver::compile(&serde_saphyr::from_str(text).expect("the shape")).expect("receivers")
    }

    fn ledger() -> Connection {
        let db = Connection::open_in_memory().expect("a database");
        for step in [
            // What a migration before them has made, as far as they need it.
            "CREATE TABLE cost(tenant TEXT, window_start INTEGER)",
            include_str!("../../ledger/src/migrations/10_security.sql"),
            include_str!("../../ledger/src/migrations/15_budgets.sql"),
            include_str!("../../ledger/src/migrations/17_told_findings.sql"),
        ] {
            db.execute_batch(step).expect("a migration");
        }
        db
    }

    fn find(db: &Connection, minute: u64, tenant: &str, told: bool) {
        let sql = "INSERT INTO security(minute, tenant, kind, severity, operation, route, count, owners, samples, told)
                   VALUES (?1, ?2, 'foreign_record', 'critical', 'points.query', '', 2, '[\"globex\"]', '[]', ?3)";
        db.execute(sql, params![minute, tenant, told]).expect("a finding");
    }

    fn told(db: &mut Connection, receivers: &[Receiver], at: u64) -> Vec<(String, String)> {
        let now = Timestamp::from_millis(at);
        let before = notice::history(db, 100).expect("messages").len();
        if notice::has_untold(db, now).expect("an answer") {
            notice::take(db, "l", receivers, now).expect("messages");
        }
        let all = notice::history(db, 100).expect("messages");
        let new = all.len() - before;
        all.into_iter().take(new).map(|notice| (notice.receiver, notice.body)).collect()
    }

    #[test]
    fn findings_are_told_once_together_and_not_too_often() {
        let (mut db, all) = (ledger(), receivers("receivers: [{name: a, slack: {env: S}}]"));
        find(&db, NOW, "acme", false);
        find(&db, NOW, "hooli", false);
        find(&db, NOW, "initech", true);
        let first = told(&mut db, &all, NOW);
        assert_eq!(first.len(), 1);
        assert!(first[0].1.contains("acme") && first[0].1.contains("hooli") && !first[0].1.contains("initech"));
        find(&db, NOW + 60_000, "acme", false);
        assert!(told(&mut db, &all, NOW + 60_000).is_empty(), "too soon after the last");
        assert_eq!(told(&mut db, &all, NOW + DISTANCE_MS + 1).len(), 1);
        assert!(told(&mut db, &all, NOW + 2 * DISTANCE_MS + 2).is_empty(), "all were told");
    }

    #[test]
    fn a_receiver_gets_what_it_asks_for_and_nobody_old_findings() {
        let text =
            "receivers: [{name: a, slack: {env: S}, tenants: [acme]}, {name: b, slack: {env: S}, findings: false}]";
        let (mut db, some) = (ledger(), receivers(text));
        find(&db, NOW - AGE_MAX_MS - 1, "acme", false);
        assert!(told(&mut db, &some, NOW).is_empty());
        find(&db, NOW, "hooli", false);
        find(&db, NOW, "acme", false);
        let messages = told(&mut db, &some, NOW);
        assert_eq!(messages.iter().map(|(receiver, _)| receiver.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(!messages[0].1.contains("hooli"));
    }
}
