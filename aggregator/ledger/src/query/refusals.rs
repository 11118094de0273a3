//! The most frequent refusals since a moment: rows begin with their hour, so the span alone bounds what is read.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_database::params;

use super::LedgerReader;
use crate::LedgerError;
use crate::view::RefusedRow;

/// The most rows of one answer.
const SHOWN: u32 = 200;
const FREQUENT: &str = "SELECT tenant, reason, sum(count) FROM refused WHERE window_start >= ?1 AND ?2 IS NULL
    GROUP BY tenant, reason ORDER BY sum(count) DESC, tenant, reason LIMIT ?3";
const BY_REASON: &str = "SELECT reason, sum(count) FROM refused WHERE window_start >= ?1 GROUP BY reason";
/// The same of one tenant, whose rows are looked up in each hour by themselves.
const FREQUENT_OF: &str = "WITH RECURSIVE times(at) AS (
       SELECT min(window_start) FROM refused WHERE window_start >= ?1
       UNION ALL SELECT (SELECT min(window_start) FROM refused WHERE window_start > times.at) FROM times WHERE times.at IS NOT NULL)
     SELECT tenant, reason, sum(count) FROM times CROSS JOIN refused WHERE window_start = times.at AND tenant = ?2
     GROUP BY tenant, reason ORDER BY sum(count) DESC, tenant, reason LIMIT ?3";

impl LedgerReader {
    /// The most frequent refusals in windows that begin at `from` or later, of one tenant or of all.
    pub fn frequent_refusals(&mut self, tenant: Option<&str>, from: Timestamp) -> Result<Vec<RefusedRow>, LedgerError> {
        let sql = if tenant.is_some() { FREQUENT_OF } else { FREQUENT };
        let mut select = self.db().prepare_cached(sql)?;
        let rows = select.query_map(params![from.as_millis(), tenant, SHOWN], |row| {
            Ok(RefusedRow { tenant: row.get(0)?, reason: row.get(1)?, count: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How often requests of all tenants were refused for each reason, in windows that begin at `from` or later.
    pub fn refusals_by_reason(&mut self, from: Timestamp) -> Result<BTreeMap<String, u64>, LedgerError> {
        let mut select = self.db().prepare_cached(BY_REASON)?;
        let rows = select.query_map([from.as_millis()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteLedger;
    use crate::meters::{self, Meters};
    use weir_database::testing::place;

    #[test]
    fn refusals_are_read_from_the_hours_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let path = dir.path().join("ledger.sqlite");
        let mut ledger = SqliteLedger::open(place(&path), "log", meters).expect("a ledger");
        for (hour, tenant, count) in [(1, "acme", 50), (2, "acme", 3), (2, "globex", 4), (3, "acme", 2)] {
            let sql = "INSERT INTO refused(window_start, tenant, reason, count) VALUES (?1, ?2, 'rate_limited', ?3)";
            ledger.db().execute(sql, params![hour, tenant, count]).expect("a row");
        }
        let mut reader = LedgerReader::open(place(&path)).expect("a reader");
        let mut found = |tenant| -> Vec<(String, u64)> {
            let rows = reader.frequent_refusals(tenant, Timestamp::from_millis(2)).expect("rows");
            rows.into_iter().map(|row| (row.tenant, row.count)).collect()
        };
        assert_eq!(found(None), [("acme".to_owned(), 5), ("globex".to_owned(), 4)]);
        assert_eq!(found(Some("globex")), [("globex".to_owned(), 4)]);
        let reasons = reader.refusals_by_reason(Timestamp::from_millis(2)).expect("reasons");
        assert_eq!(reasons, [("rate_limited".to_owned(), 9)].into());
        if ledger.db().is_postgres() {
            return;
        }
        let mut steps = |sql: &str| -> Vec<String> {
            let mut plan = ledger.db().prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
            let steps = plan.query_map(params![1, "acme", 1], |row| row.get::<_, String>(3)).expect("steps");
            steps.collect::<Result<_, _>>().expect("words")
        };
        // Each has the same parameters.
        let by_reason = BY_REASON.replace("GROUP BY", "AND (?2 = ?3 OR true) GROUP BY");
        for sql in [FREQUENT, by_reason.as_str()] {
            assert_eq!(steps(sql)[0], "SEARCH refused USING PRIMARY KEY (window_start>?)");
        }
        let of_one = steps(FREQUENT_OF);
        let by_key = "SEARCH refused USING PRIMARY KEY (window_start=? AND tenant=?)";
        assert!(of_one.iter().any(|step| step == by_key), "{of_one:?}");
    }
}
