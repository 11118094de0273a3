//! The last hour in which a tenant had requests.
use weir_contract::Timestamp;
use weir_database::{OptionalExtension, params};

use super::{LedgerReader, millis};
use crate::LedgerError;

/// How many hours back a tenant's requests are looked for: those of as many days as single hours are of use to anybody.
const HOURS_MAX: u32 = 100 * 24;
/// Goes back from hour to hour in which anybody had requests, and looks the tenant's rows up in each.
const LAST: &str = "WITH RECURSIVE times(at, hours) AS (
       SELECT max(window_start), 1 FROM cost WHERE window_start <= ?1
       UNION ALL SELECT (SELECT max(window_start) FROM cost WHERE window_start < times.at), hours + 1 FROM times
       WHERE times.at IS NOT NULL AND hours < ?3)
     SELECT at FROM times CROSS JOIN cost WHERE window_start = times.at AND tenant = ?2 ORDER BY hours LIMIT 1";

impl LedgerReader {
    /// The last hour that begins at `until` or earlier in which a tenant had requests; None if there is none within
    /// [`HOURS_MAX`] hours in which anybody had.
    pub fn last_window(&self, tenant: &str, until: Timestamp) -> Result<Option<Timestamp>, LedgerError> {
        let key = params![until.as_millis(), tenant, HOURS_MAX];
        let last: Option<u64> = self.0.prepare_cached(LAST)?.query_row(key, |row| row.get(0)).optional()?;
        Ok(last.map(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteLedger;
    use crate::meters::{self, Meters};
    use weir_database::testing::place;

    /// The first columns of a row, and sums.
    const ROW: &str = "INSERT INTO cost(window_start, tenant, currency, requests, failed_requests, retried_requests, estimated_requests,
        unpriced_requests, own_key_requests, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
        unpriced_tokens, cost_units, cost_pico, failed_units, failed_pico, retried_units, retried_pico, estimated_units, estimated_pico)
        VALUES (?1, ?2, 'USD', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)";

    #[test]
    fn the_last_hour_of_a_tenant_is_found_behind_those_of_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let path = dir.path().join("ledger.sqlite");
        let mut ledger = SqliteLedger::open(place(&path), "log", meters).expect("a ledger");
        for (hour, tenant) in [(1, "acme"), (2, "acme"), (3, "globex"), (4, "globex"), (5, "initech")] {
            ledger.db().execute(ROW, params![hour, tenant]).expect("a row");
        }
        let reader = LedgerReader::open(place(&path)).expect("a reader");
        let last = |tenant, until| {
            let found = reader.last_window(tenant, Timestamp::from_millis(until)).expect("an answer");
            found.map(Timestamp::as_millis)
        };
        assert_eq!(
            (last("acme", 9), last("acme", 2), last("acme", 1), last("acme", 0)),
            (Some(2), Some(2), Some(1), None)
        );
        assert_eq!((last("globex", 3), last("nobody", 9)), (Some(3), None));
    }
}
