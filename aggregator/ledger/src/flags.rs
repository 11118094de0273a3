//! Sums by feature flag: what the requests that saw each of its values used and cost.
//!
//! A request that saw several flags is in the sums of each of them, so that these rows are read for one flag at a time. What else a
//! tenant used saw no value of it. Rows hold units by model and tariff, as those of `analysis` do: they are priced again with them
//! ([`crate::reprice`]), and expire with them. Events without flags cost nothing here.
use weir_contract::flags::members;
use weir_contract::{TenantId, Timestamp, UsageData};
use weir_database::{Row, Rows, Transaction, params};

use super::LedgerError;
use crate::analysis::{Analysis, FLAG_COLUMNS, Marks, Table};
use crate::cost::EventCost;
use crate::costs::{AMOUNTS, COUNTS, currency, of_analysis, parts, sums_of};
use crate::line::{DIMENSIONS, OTHER, model, truncated};
use crate::query::{LedgerReader, costs_by_tenant};
use crate::roll::day_start;
use crate::values::{ValueCost, Values, cost_of};

/// The most flags of one event that are counted; a gateway decides no more.
const FLAGS_MAX: usize = weir_contract::flags::FLAGS_MAX;
/// The most values of one tenant that an answer keeps apart.
const VALUES_MAX: usize = 20_000;

/// The sums of one transaction.
#[derive(Debug, Default)]
pub(super) struct FlagSums(Analysis);

impl FlagSums {
    /// Adds an event to the sums of each flag that it saw.
    pub(super) fn add(
        &mut self,
        (tenant, window): (&TenantId, Timestamp),
        data: &UsageData<'_>,
        (cost, marks): (Option<&EventCost>, Marks),
    ) {
        let Some(flags) = data.flags.as_deref() else { return };
        let mut seen: Vec<&str> = Vec::new();
        for (flag, value) in members(flags).take(FLAGS_MAX) {
            if seen.contains(&flag) {
                continue;
            }
            seen.push(flag);
            let value = shown(value);
            let mut dimensions = [""; DIMENSIONS.len()];
            dimensions[..FLAG_COLUMNS.len()].copy_from_slice(&[
                model(data),
                truncated(Some(flag)),
                truncated(Some(&value)),
            ]);
            self.0.add_by(&dimensions, (tenant, window), data, (cost.cloned(), marks));
        }
    }

    /// Writes everything.
    pub(super) fn write(&self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        self.0.write_to(tx, Table::Flags)
    }
}

/// Drops the sums of the days before `before`.
pub(super) fn expire(tx: &Transaction<'_>, before: Timestamp) -> Result<(), LedgerError> {
    let sql = "DELETE FROM flag_sum WHERE window_start < ?1";
    tx.prepare_cached(sql)?.execute([day_start(before).as_millis()])?;
    Ok(())
}

/// A value as people write it: true and false, and texts without their quotes.
fn shown(item: &str) -> String {
    match item {
        "?1" => "true".to_owned(),
        "?0" => "false".to_owned(),
        item => match item.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) => text.replace("\\\"", "\"").replace("\\\\", "\\"),
            None => item.to_owned(),
        },
    }
}

/// A query for the sums of a flag.
#[derive(Clone, Copy, Debug)]
pub struct FlagQuery<'q> {
    /// The flag.
    pub flag: &'q str,
    /// Only this tenant.
    pub tenant: Option<&'q str>,
    /// Windows from this moment on.
    pub from: Timestamp,
    /// Windows that start before this moment.
    pub to: Timestamp,
}

/// What the sums of a flag have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlagsFound {
    /// Some request saw the flag.
    pub seen: bool,
    /// Some tenant saw more flags and values than are kept apart: what exceeds them counts as having seen none.
    pub folded: bool,
}

impl LedgerReader {
    /// The first hour whose requests are in the sums of the flags that they saw; the beginning of time in a ledger that always kept them.
    pub fn flags_since(&self) -> Result<Timestamp, LedgerError> {
        let sql = "SELECT window_start FROM flag_sums_since";
        Ok(Timestamp::from_millis(self.connection().query_row(sql, [], |row| row.get(0))?))
    }

    /// Reads costs by value of a flag, and hands each tenant's to `each`, in the order of their names. What did not see the flag has
    /// an empty value: the values of a tenant add up to its costs.
    pub fn flag_costs(
        &mut self,
        query: &FlagQuery<'_>,
        each: &mut dyn FnMut(&str, Vec<ValueCost>),
    ) -> Result<FlagsFound, LedgerError> {
        let tx = self.db().transaction()?;
        let totals = costs_by_tenant(&tx, query.tenant, query.from, query.to)?;
        let sql = format!(
            "SELECT tenant, currency, {}, value, flag = ?4 FROM flag_sum
             WHERE window_start >= ?1 AND window_start < ?2 AND flag IN (?4, ?5) AND (?3 IS NULL OR tenant = ?3) AND marks & {} = 0
             GROUP BY tenant, flag, value, currency ORDER BY tenant",
            of_analysis(),
            Marks::UNCOSTED.0
        );
        let mut select = tx.prepare(&sql)?;
        let span = (query.from.as_millis(), query.to.as_millis().min(i64::MAX.unsigned_abs()));
        let mut rows = select.query(params![span.0, span.1, query.tenant, query.flag, OTHER])?;
        rows.next()?;
        let (mut found, mut values) = (FlagsFound::default(), Values::default());
        for of_tenant in totals.chunk_by(|one, other| one.tenant == other.tenant) {
            let Some(tenant) = of_tenant.first().map(|row| row.tenant.as_str()) else { continue };
            for row in of_tenant {
                values.add(("", row.currency), &parts(&row.sums), 1, VALUES_MAX);
            }
            take(tenant, &mut rows, &mut values, &mut found)?;
            each(tenant, values.drain().map(cost_of).collect());
        }
        Ok(found)
    }
}

/// Moves what a tenant's requests used that saw a value from those that saw none to the value.
fn take(tenant: &str, rows: &mut Rows<'_>, values: &mut Values, found: &mut FlagsFound) -> Result<(), LedgerError> {
    while let Some(row) = rows.get().filter(|row| tenant_of(row) <= tenant) {
        // The first columns after the sums.
        let after = 2 + COUNTS.len() + 3 * AMOUNTS.len();
        let (value, is_flag): (&str, bool) = (row.get_ref(after)?.as_str().unwrap_or_default(), row.get(after + 1)?);
        found.seen |= is_flag;
        found.folded |= !is_flag;
        if is_flag && tenant_of(&row) == tenant {
            let (currency, parts) = (currency(&row, 1)?, parts(&sums_of(&row, 2)?));
            values.add((value, currency), &parts, 1, VALUES_MAX);
            values.add(("", currency), &parts, -1, VALUES_MAX);
        }
        rows.next()?;
    }
    Ok(())
}

fn tenant_of<'r>(row: &'r Row<'_>) -> &'r str {
    row.get_ref(0).ok().and_then(|tenant| tenant.as_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_with_their_values_whatever_a_text_holds() {
        let read = |text| members(text).map(|(name, value)| (name.to_owned(), shown(value))).collect::<Vec<_>>();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read(r#"retries=3, share=0.25, tone="a, \"b\\", use-claude, v.2=?0"#),
            [
                pair("retries", "3"),
                pair("share", "0.25"),
                pair("tone", "a, \"b\\"),
                pair("use-claude", "true"),
                pair("v.2", "false")
            ]
        );
        assert_eq!(read("a,b=?1"), [pair("a", "true"), pair("b", "true")]);
        assert_eq!(read(""), []);
        assert_eq!(read("a, =b"), [pair("a", "true")], "what is no dictionary ends it");
        assert_eq!(read("a=\"open"), [pair("a", "\"open")]);
    }
}
