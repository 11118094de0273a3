//! Sums of readings by name, exact to the millionth: what costs of their own are computed from.
use weir_contract::Timestamp;
use weir_database::{Transaction, params};

use super::LedgerError;
use crate::cost_query::{COST_ROWS_MAX, CostError, whole};
use crate::query::LedgerReader;
use crate::reading::Reading;
use crate::reading::amount::MICRO;
use crate::view::cost::{CostQuery, ReadingSum};

/// Adds a reading to its window.
pub(super) fn add(tx: &Transaction<'_>, window: Timestamp, reading: &Reading) -> Result<(), LedgerError> {
    let sql = "INSERT INTO reading_sum(window_start, tenant, name, units, micro) VALUES (?1,?2,?3,?4,?5)
               ON CONFLICT (window_start, tenant, name) DO UPDATE SET
                 units = reading_sum.units + ?4 + (reading_sum.micro + ?5) / 1000000,
                 micro = (reading_sum.micro + ?5) % 1000000";
    let (units, micro) = (reading.amount.micro() / MICRO, reading.amount.micro() % MICRO);
    let row = params![window.as_millis(), reading.tenant.as_str(), &*reading.name, units, micro];
    tx.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

impl LedgerReader {
    /// Sums of readings by step, tenant and name. The query's dimensions do not matter.
    pub fn reading_sums(&mut self, query: &CostQuery) -> Result<Result<Vec<ReadingSum>, CostError>, LedgerError> {
        let sql = format!(
            "SELECT {} AS start, tenant, name, sum(units), sum(micro) FROM reading_sum
             WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR window_start >= ?2) AND (?3 IS NULL OR window_start < ?3)
             GROUP BY start, tenant, name ORDER BY start, tenant, name LIMIT {} + 1",
            query.step.sql(self.connection()),
            COST_ROWS_MAX
        );
        let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
        let mut select = self.connection().prepare(&sql)?;
        let rows = select.query_map(params![query.tenant, millis(query.from), millis(query.to)], |row| {
            Ok(ReadingSum {
                start: row.get::<_, Option<u64>>(0)?.map(Timestamp::from_millis),
                tenant: row.get(1)?,
                name: row.get(2)?,
                micro: u128::from(row.get::<_, u64>(3)?) * u128::from(MICRO) + u128::from(row.get::<_, u64>(4)?),
            })
        })?;
        Ok(whole(rows.collect::<Result<_, _>>()?))
    }
}
